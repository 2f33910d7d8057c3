#!/usr/bin/env python3
"""Prints everything of a cluster that `cluster.py down` should have removed, and fails if something is left.

It looks at the machine itself. All that it takes from cluster.py is the names of the cluster's things.
usage: leftovers.py [DIR]
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

# No compiled modules in the repository. This must be set before they are imported.
sys.dont_write_bytecode = True

from machine import ancestors

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "target/cluster"

CONTROL_GROUPS = ("incluster-cluster", "kubepods", "k8s.io")
# Prefixes of the node's, pods' and services' addresses. The machine itself may have other addresses in the node's range.
ADDRESSES = ("192.0.2.1/", "198.51.100.", "203.0.113.")
PATHS = (
    "/etc/cni/net.d",
    "/etc/kubernetes",
    "/opt/cni",
    "/run/containerd/s",
    "/run/flannel",
    "/run/incluster-cluster",
    "/run/kubernetes",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kube-proxy",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
# Files that may stay in the folder.
KEPT = ("kube-*", "pause", "pause.tar", "*.log")


def processes(folder: Path) -> Iterator[str]:
    """Finds processes that are connected to the folder or run in one of the control groups."""
    passed_over = ancestors()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) in passed_over:
            continue
        try:
            if (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            variables = (process / "environ").read_bytes().decode(errors="replace").split("\0")
            groups = (process / "cgroup").read_text()
            links = [os.readlink(process / link) for link in ("exe", "cwd", "root")]
        except OSError:
            continue  # The process has ended, or is a kernel thread.
        is_near = any(str(folder) in text for text in (command, *links)) or f"CLUSTER_DIR={folder}" in variables
        if is_near or any(f"/{group}" in groups for group in CONTROL_GROUPS):
            yield f"process {process.name}: {command or links[0]}"


def mounts(folder: Path) -> Iterator[str]:
    """Finds mounts in or from the folder, in the mount namespace of any process."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            lines = (process / "mountinfo").read_text().splitlines() if process.name.isdigit() else []
        except OSError:
            continue
        found |= {line.split(" ", 3)[3] for line in lines if f"{folder}/" in line or "/run/netns/cni-" in line}
    for mount in sorted(found):
        yield f"mount: {mount}"


def networks() -> Iterator[str]:
    """Finds named network namespaces, addresses, and rules of kube-proxy."""
    for namespace in Path("/run/netns").glob("cni-*"):
        yield f"network namespace: {namespace}"
    for line in output("ip", "-oneline", "address"):
        if any(f" {address}" in line for address in ADDRESSES):
            yield f"interface: {line.strip()}"
    for line in output("ip", "route"):
        if line.startswith(ADDRESSES):
            yield f"route: {line.strip()}"
    for line in output("nft", "list", "tables"):
        if "kube-proxy" in line:
            yield f"nftables: {line.strip()}"


def output(*command: str) -> list[str]:
    """Runs a command, and returns the lines of its output, or none if it is not installed or fails."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()
    except FileNotFoundError:
        return []


def control_groups() -> Iterator[str]:
    """Finds control groups, in every hierarchy."""
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        for name in sorted(set(names).intersection(CONTROL_GROUPS)):
            names.remove(name)
            yield f"control group: {folder}/{name}"


def files(folder: Path) -> Iterator[str]:
    """Finds files in the folder, and at the components' fixed paths."""
    for path in map(Path, PATHS):
        if path.exists():
            yield f"file: {path}"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not any(path.match(pattern) for pattern in KEPT):
            yield f"file: {path}"


def main() -> int:
    """Prints what is found, and returns the exit status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_FOLDER).resolve()
    found = [*processes(folder), *mounts(folder), *networks(), *control_groups(), *files(folder)]
    print("\n".join(found) or "nothing is left")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
