#!/usr/bin/env python3
"""Makes an OCI image archive with one layer, which holds the files of a folder.

The same files make the same archive, byte for byte: owners, times and the order of files are fixed, and modes are 0755 for
folders and executables, and 0644 for other files. SOURCE_DATE_EPOCH, if set, is the creation time in the image's configuration.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import stat
import sys
import tarfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

ARCHITECTURES = ("amd64", "arm64", "wasm")
SYSTEMS = ("linux", "wasip1")

# The grammar of image references, without digests.
REFERENCE = re.compile(
    r"(?:(?P<registry>[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+(?::[0-9]+)?|[a-zA-Z0-9-]+:[0-9]+|localhost)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}))?"
)


class Invalid(Exception):
    """No image can be made from the given input."""


@dataclass(frozen=True)
class Reference:
    """The name of an image, as container runtimes write it in full."""

    repository: str
    tag: str

    @classmethod
    def parse(cls, name: str) -> "Reference":
        """Reads a name, and adds what `docker pull` would add to it."""
        match = REFERENCE.fullmatch(name)
        if match is None:
            raise Invalid(f"image name `{name}` is not of the form [REGISTRY/]NAME[:TAG]")
        registry, path = match["registry"] or "docker.io", match["path"]
        if registry == "docker.io" and "/" not in path:
            path = f"library/{path}"
        return cls(f"{registry}/{path}", match["tag"] or "latest")

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass
class Image:
    """The contents of an image."""

    reference: Reference
    root: Path
    entrypoint: list[str]
    architecture: str = "amd64"
    system: str = "linux"
    user: Optional[str] = None
    environment: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def archive(self) -> bytes:
        """Returns the image as an OCI archive."""
        layer = layer_of(self.root)
        packed = compressed(layer)
        configuration = as_json(self.configuration(f"sha256:{digest(layer)}"))
        manifest = as_json(self.manifest(configuration, packed))
        return archive(self.reference, self.platform(), manifest, (configuration, packed))

    def platform(self) -> dict[str, str]:
        """Returns the image's platform."""
        return {"architecture": self.architecture, "os": self.system}

    def configuration(self, layer: str) -> dict[str, Any]:
        """Returns how a runtime starts the image. `layer` is the digest of the layer before compression."""
        process: dict[str, Any] = {"Entrypoint": self.entrypoint, "WorkingDir": "/"}
        if self.user:
            process["User"] = self.user
        if self.environment:
            process["Env"] = self.environment
        if self.labels:
            process["Labels"] = self.labels
        layers = {"type": "layers", "diff_ids": [layer]}
        return {"created": creation_time(), **self.platform(), "config": process, "rootfs": layers}

    def manifest(self, configuration: bytes, layer: bytes) -> dict[str, Any]:
        """Returns the list of the image's blobs."""
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIGURATION, configuration),
            "layers": [descriptor(LAYER, layer)],
        }
        if self.annotations:
            manifest["annotations"] = self.annotations
        return manifest


def archive(reference: Reference, platform: dict[str, str], manifest: bytes, blobs: Iterable[bytes]) -> bytes:
    """Returns an OCI archive of a manifest and the blobs that it names."""
    # containerd and skopeo read the name from these annotations.
    names = {"io.containerd.image.name": str(reference), "org.opencontainers.image.ref.name": reference.tag}
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**descriptor(MANIFEST, manifest), "platform": platform, "annotations": names}],
    }
    files = {"oci-layout": as_json({"imageLayoutVersion": "1.0.0"}), "index.json": as_json(index)}
    for blob in sorted((manifest, *blobs), key=digest):
        files[f"blobs/sha256/{digest(blob)}"] = blob
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            tar.addfile(entry(name, size=len(content)), io.BytesIO(content))
    return written.getvalue()


def layer_of(root: Path) -> bytes:
    """Returns the files below a folder as a tar file."""
    if not root.is_dir():
        raise Invalid(f"`{root}` is not a folder")
    layer = io.BytesIO()
    # PAX has no limits on names, and needs no extra headers for short ones.
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in files_below(root):
            add(tar, path, path.relative_to(root).as_posix())
    return layer.getvalue()


def files_below(root: Path) -> Iterator[Path]:
    """Finds everything below a folder, each folder before its contents."""
    for path in sorted(root.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from files_below(path)


def add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Adds one file, folder or symbolic link to a layer."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        link = entry(name, kind=tarfile.SYMTYPE, mode=0o777)
        link.linkname = os.readlink(path)
        tar.addfile(link)
    elif stat.S_ISDIR(status.st_mode):
        tar.addfile(entry(name, kind=tarfile.DIRTYPE, mode=0o755))
    elif stat.S_ISREG(status.st_mode):
        mode = 0o755 if status.st_mode & 0o111 else 0o644
        with path.open("rb") as content:
            tar.addfile(entry(name, size=status.st_size, mode=mode), content)
    else:
        raise Invalid(f"`{path}` is neither a file nor a folder nor a symbolic link")


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    """Returns the header of a file in a tar file. The owner is root and the time is 1970, TarInfo's defaults."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = size, kind, mode
    return info


def compressed(content: bytes) -> bytes:
    """Compresses, with a header without time and file name. gzip.compress() writes other headers in some versions."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream:
        stream.write(content)
    return packed.getvalue()


def descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    """Returns how a manifest refers to a blob."""
    return {"mediaType": media_type, "digest": f"sha256:{digest(blob)}", "size": len(blob)}


def digest(blob: bytes) -> str:
    """Returns the SHA-256 sum of a blob in hexadecimal."""
    return hashlib.sha256(blob).hexdigest()


def as_json(value: dict[str, Any]) -> bytes:
    """Writes JSON without white space, and always the same way."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def creation_time() -> str:
    """Returns the time of SOURCE_DATE_EPOCH, else of 1970, in the form of RFC 3339."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH") or "0"
    if not seconds.isdecimal():
        raise Invalid(f"SOURCE_DATE_EPOCH is `{seconds}`, which is not a number of seconds")
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def pair(text: str) -> tuple[str, str]:
    """Reads `K=V`."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"`{text}` is not of the form K=V")
    return key, value


def user(text: str) -> str:
    """Reads `UID:GID`. Names would have to be looked up in the image, and Kubernetes checks `runAsNonRoot` by number."""
    if not re.fullmatch(r"[0-9]+:[0-9]+", text):
        raise argparse.ArgumentTypeError(f"`{text}` is not of the form UID:GID")
    return text


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Make a reproducible OCI image archive of one folder.",
        allow_abbrev=False,  # Otherwise it would take the program's options for its own.
        usage="%(prog)s OUT.tar NAME:TAG ROOT_FOLDER [OPTION…] ENTRYPOINT [ARG…]",
    )
    parser.add_argument("out", metavar="OUT.tar", type=Path, help="where the archive goes")
    parser.add_argument("name", metavar="NAME:TAG", help="the image's name")
    parser.add_argument("root", metavar="ROOT_FOLDER", type=Path, help="the folder that becomes the image's root")
    parser.add_argument("entrypoint", metavar="ENTRYPOINT", help="the program that the image runs")
    parser.add_argument("arguments", metavar="ARG", nargs=argparse.REMAINDER, help="arguments for the program")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="amd64", help="default: %(default)s")
    parser.add_argument("--os", choices=SYSTEMS, default="linux", help="default: %(default)s")
    parser.add_argument("--user", metavar="UID:GID", type=user, help="the user that the program runs as; default: root")
    parser.add_argument("--env", metavar="K=V", type=pair, action="append", default=[], help="an environment variable")
    parser.add_argument("--label", metavar="K=V", type=pair, action="append", default=[], help="a label of the configuration")
    parser.add_argument("--annotation", metavar="K=V", type=pair, action="append", default=[], help="an annotation of the manifest")
    return parser.parse_args()


def main() -> None:
    """Makes the archive that the command line describes."""
    options = arguments()
    try:
        image = Image(
            Reference.parse(options.name),
            options.root,
            [options.entrypoint, *options.arguments],
            architecture=options.architecture,
            system=options.os,
            user=options.user,
            environment=[f"{key}={value}" for key, value in options.env],
            labels=dict(options.label),
            annotations=dict(options.annotation),
        )
        options.out.write_bytes(image.archive())
    except (Invalid, OSError) as error:
        sys.exit(f"image.py: {error}")


if __name__ == "__main__":
    main()
