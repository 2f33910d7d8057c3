#!/usr/bin/env python3
"""Makes what is published of the components in dist/: artifacts.py WASM_TOOLS CARGO_CYCLONEDX

Each component gets metadata (name, description, version, licence, source, revision), and an OCI archive with the layout that the CNCF's
working group for WebAssembly describes: one layer, which is the component. A bill of materials in CycloneDX's format says which crates are
in the binary and in each component of the client. The same commit always makes the same bytes.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import image

ROOT = Path(__file__).resolve().parents[1]

DIST = ROOT / "dist"
ARCHIVES = DIST / "components"

MANIFEST = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))

# The media types of <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>.
CONFIGURATION = "application/vnd.wasm.config.v0+json"
COMPONENT = "application/wasm"

# What each component is, for people who meet it in a registry.
DESCRIPTIONS = {
    "controller": "An extension that watches pods and EndpointSlices: an example for incluster",
    "incluster": "The command `incluster`, which lists and watches pods from within a pod, for hosts with wasi:http",
    "incluster-plugin": "A Kubernetes client for pods, which exports incluster:kubernetes, for hosts with wasi:http",
    "incluster-plugin-over-sockets": "A Kubernetes client for pods, which exports incluster:kubernetes, with TLS of its own over wasi:sockets",
    "incluster-standalone": "The command `incluster`, which lists and watches pods from within a pod, with TLS of its own over wasi:sockets",
    "sticky": "An extension that keeps a session on one pod: an example for incluster's gateway",
}

# The crates that have a bill of materials: the crate's folder, what it is built for, its features, and the file.
MATERIALS = [
    ("host/cli", None, "standalone", "incluster"),
    ("guest/plugin", "wasm32-wasip2", "", "incluster-plugin.wasm"),
    ("guest/command", "wasm32-wasip2", "", "incluster.wasm"),
    ("guest/command", "wasm32-wasip2", "sockets", "incluster-standalone.wasm"),
]


def main(wasm_tools: str, cargo_cyclonedx: str) -> None:
    """Makes everything, from what `just dist` has built."""
    package = MANIFEST["workspace"]["package"]
    facts = {"version": package["version"], "licenses": package["license"], "source": package.get("repository"), "revision": revision()}
    ARCHIVES.mkdir(exist_ok=True)
    for name, description in DESCRIPTIONS.items():
        describe(wasm_tools, name, {**facts, "description": description})
    contract = next(DIST.glob("incluster-kubernetes-*.wasm")).stem.removesuffix(f"-{package['version']}")
    text = re.search(r'^description = "(.*)"$', (ROOT / "wit" / "wkg.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert text is not None
    for name, description in {**DESCRIPTIONS, contract: text[1]}.items():
        pack(wasm_tools, name, {**facts, "description": description})
    for folder, target, features, name in MATERIALS:
        materials(cargo_cyclonedx, folder, target, features, DIST / f"{name}.cdx.json")


def revision() -> str | None:
    """Returns the commit that is built, marked if files differ from it. There is none outside a git repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip() or None


def describe(wasm_tools: str, name: str, facts: dict[str, str | None]) -> None:
    """Writes metadata into a component."""
    path = DIST / f"{name}.wasm"
    options = [f"--{field}={value}" for field, value in {"name": name, **facts}.items() if value]
    subprocess.run([wasm_tools, "metadata", "add", *options, path, "--output", path], check=True)


def pack(wasm_tools: str, name: str, facts: dict[str, str | None]) -> None:
    """Makes the OCI archive of a component, or of the contract, which is a component without code."""
    path = next(path for path in (DIST / f"{name}.wasm", DIST / f"{name}-{facts['version']}.wasm") if path.exists())
    layer = path.read_bytes()
    configuration = image.as_json(
        {
            "created": image.creation_time(),
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [f"sha256:{image.digest(layer)}"],
            "component": interfaces(wasm_tools, path),
        }
    )
    annotations = {"created": image.creation_time(), "title": name, **{field: value for field, value in facts.items() if value}}
    manifest = image.as_json(
        {
            "schemaVersion": 2,
            "mediaType": image.MANIFEST,
            "config": image.descriptor(CONFIGURATION, configuration),
            "layers": [{**image.descriptor(COMPONENT, layer), "annotations": {"org.opencontainers.image.title": path.name}}],
            "annotations": {f"org.opencontainers.image.{field}": value for field, value in annotations.items()},
        }
    )
    reference = image.Reference.parse(f"{name}:{facts['version']}")
    platform = {"architecture": "wasm", "os": "wasip2"}
    (ARCHIVES / f"{name}.tar").write_bytes(image.archive(reference, platform, manifest, (configuration, layer)))


def interfaces(wasm_tools: str, path: Path) -> dict[str, Any]:
    """Returns the names of what a component imports and exports."""
    wit = subprocess.run([wasm_tools, "component", "wit", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    world = re.search(r"^world root \{\n(.*?)^\}", wit, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"exports": [], "imports": [], "target": None}
    for kind, name in re.findall(r"^  (import|export) ([a-z0-9:/@.-]+);$", world[1] if world else "", re.MULTILINE):
        names[f"{kind}s"].append(name)
    return names


def materials(cargo_cyclonedx: str, folder: str, target: str | None, features: str, out: Path) -> None:
    """Writes a bill of materials of a crate: the crates that are built into it, with their licences and sums."""
    host = re.search(r"^host: (.*)$", subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout, re.MULTILINE)
    assert host is not None
    name = "incluster-bill-of-materials"
    command = [cargo_cyclonedx, "cyclonedx", "--quiet", "--format=json", "--spec-version=1.5", "--no-build-deps", f"--override-filename={name}"]
    command += [f"--target={target or host[1]}", f"--manifest-path={ROOT / folder / 'Cargo.toml'}"]
    command += [f"--features={features}"] if features else []
    try:
        subprocess.run(command, check=True, cwd=ROOT)
        bill = json.loads((ROOT / folder / f"{name}.json").read_text(encoding="utf-8"))
    finally:
        # It writes one for each crate of the workspace.
        for member in MANIFEST["workspace"]["members"]:
            (ROOT / member / f"{name}.json").unlink(missing_ok=True)
    # A random number, and where this machine keeps the sources.
    bill.pop("serialNumber", None)
    text = json.dumps(bill, indent=1, sort_keys=True).replace(f"path+file://{ROOT}", "path+file://.").replace(f"file://{ROOT}", "file://.")
    out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (subprocess.CalledProcessError, OSError, image.Invalid) as error:
        sys.exit(f"artifacts.py: {error}")
