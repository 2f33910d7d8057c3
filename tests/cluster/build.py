"""The prerequisites of a cluster: programs of the machine, the Kubernetes binary, and the image `pause`."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Optional

import configuration
import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import image  # noqa: E402

SOURCE = Path(__file__).resolve().parent / "kube"
GO_VERSION = (1, 26)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PAUSE_IMAGE = "cluster.invalid/pause:1"

NOT_ROOT = "not root: run this as root, or in a container with root's capabilities"

# The Debian package of each program that the cluster or its components run.
PACKAGES = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "ip": "iproute2",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "unshare": "util-linux",
}
PLUGINS_PACKAGE = "containernetworking-plugins"

# The prefix of unfinished files.
PART = "part."

# The packages with the variables that the components take their version from.
VERSION_PACKAGES = ("k8s.io/client-go/pkg/version", "k8s.io/component-base/version")


class Failed(Exception):
    """A build has failed."""


class Missing(Exception):
    """The cluster cannot run here. Each line says what is missing and what to do."""


def build(folder: Path) -> Path:
    """Builds everything that is missing, and returns the path of the Kubernetes binary."""
    check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kube, pause, archive = products(folder)
    if not kube.exists():
        say(f"building Kubernetes {version()}, once; this takes minutes")
        made(kube, build_kube)
    if not pause.exists():
        made(pause, build_pause)
    if not archive.exists():
        made(archive, lambda out: pack(pause, out))
    return kube


def check(folder: Path) -> None:
    """Makes sure that the cluster can run here, and can be built if it has not been yet. Installs packages if it may."""
    if os.geteuid() == 0:
        install(missing_packages())
    lines = missing_here()
    if not all(product.exists() for product in products(folder)):
        lines += missing_go()
    if lines:
        raise Missing("\n".join(lines))


def products(folder: Path) -> tuple[Path, Path, Path]:
    """Returns the paths of the Kubernetes binary, the pause program and its image."""
    return folder / f"kube-{version()}", folder / "pause", folder / "pause.tar"


def version() -> str:
    """Returns the version of Kubernetes to build."""
    wanted = os.environ.get("KUBERNETES_VERSION") or default_version()
    if not re.fullmatch(r"v?1\.\d+\.\d+", wanted):
        raise Failed(f"KUBERNETES_VERSION is `{wanted}`: set it to a version like {default_version()}")
    return wanted.lstrip("v")


def default_version() -> str:
    """Returns the version that the module in `kube` builds."""
    found = re.search(r"^\s*k8s\.io/kubernetes v(\S+)$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def missing_packages() -> list[str]:
    """Finds the Debian packages of missing programs."""
    packages = {package for program, package in PACKAGES.items() if not shutil.which(program)}
    if configuration.plugin_folder() is None:
        packages.add(PLUGINS_PACKAGE)
    return sorted(packages)


def install(packages: list[str]) -> None:
    """Installs Debian packages if apt-get exists. What it cannot install is reported as missing later."""
    if not packages or not shutil.which("apt-get"):
        return
    say(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", *arguments], stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)


def missing_here() -> list[str]:
    """Returns a line for each thing that this machine lacks, with what to do."""
    if platform.system() != "Linux" or platform.machine() not in ARCHITECTURES:
        return [f"this is {platform.system()} on {platform.machine()}: the cluster runs on Linux on {' or '.join(ARCHITECTURES)}"]
    lines = [f"{package} is not installed: install this package, or its equivalent here" for package in missing_packages()]
    if os.geteuid() != 0:
        return [*lines, NOT_ROOT]
    if not machine.hierarchies():
        lines.append(f"no usable control groups: mount {machine.MOUNTED} writable, with the controllers {', '.join(machine.wanted())}")
    elif not machine.is_divisible():
        lines.append(f"control groups cannot have subgroups: move the processes of {machine.MOUNTED} to a group below it")
    test = subprocess.run([*machine.unshare("net", "mount"), "true"], stderr=subprocess.PIPE, text=True)
    if test.returncode:
        lines.append(f"namespaces cannot be made ({test.stderr.strip()}): run this where root has the capability CAP_SYS_ADMIN")
    return lines


def missing_go() -> list[str]:
    """Returns a line if Go is missing or too old."""
    wanted = ".".join(map(str, GO_VERSION))
    if not shutil.which("go"):
        return [f"Go is not installed: install Go {wanted} or later"]
    found = go(SOURCE, "env", "GOVERSION", output=True).strip()
    numbers = re.match(r"go(\d+)\.(\d+)", found)
    if numbers and tuple(map(int, numbers.groups())) < GO_VERSION:
        return [f"Go is too old ({found}): install Go {wanted} or later"]
    return []


def made(out: Path, make: Callable[[Path], None]) -> None:
    """Makes a file under another name first, so that it is either complete or missing."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=PART) as scratch:
        part = Path(scratch, out.name)
        make(part)
        part.replace(out)


def build_kube(out: Path) -> None:
    """Builds the Kubernetes binary."""
    minor = version().split(".")[1]
    values = {"gitVersion": f"v{version()}", "gitMajor": "1", "gitMinor": minor}
    variables = " ".join(f"-X {package}.{name}={value}" for package in VERSION_PACKAGES for name, value in values.items())
    arguments = ["build", "-trimpath", f"-ldflags=-s -w {variables}", "-o", str(out), "."]
    if version() == default_version():
        go(SOURCE, *arguments)
    else:
        scratch = Path(out.parent, "module")
        scratch.mkdir()
        shutil.copyfile(SOURCE / "main.go", scratch / "main.go")
        write_module(scratch)
        go(scratch, *arguments)


def build_pause(out: Path) -> None:
    """Builds the pause program, the first process of every pod."""
    go(SOURCE, "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", str(out), "./pause")


def write_module(folder: Path) -> None:
    """Writes go.mod and go.sum for the version into the folder of a main.go.

    All other versions are those that Kubernetes requires. Kubernetes refers to its staging modules by path, which works only within its
    repository, so each must be replaced by its published version.
    """
    module = f"k8s.io/kubernetes@v{version()}"
    downloaded = json.loads(go(folder, "mod", "download", "-json", module, output=True))
    requirements = Path(downloaded["GoMod"]).read_text()
    language = re.search(r"^go (\S+)$", requirements, re.MULTILINE)
    etcd = re.search(r"^\s*go\.etcd\.io/etcd/server/v3 (\S+)", requirements, re.MULTILINE)
    staging = re.findall(r"^\s*(k8s\.io/\S+) => \./staging/", requirements, re.MULTILINE)
    if language is None or etcd is None or not staging:
        raise Failed(f"{module}: its go.mod is not as expected: build another version")
    lines = [
        "module cluster",
        f"go {language[1]}",
        "require (",
        f"go.etcd.io/etcd/etcdctl/v3 {etcd[1]}",
        f"go.etcd.io/etcd/server/v3 {etcd[1]}",
        f"k8s.io/kubernetes v{version()}",
        ")",
        "replace (",
        *(f"{name} => {name} v0.{version()[2:]}" for name in staging),
        ")",
    ]
    (folder / "go.mod").write_text("\n".join(lines) + "\n")
    go(folder, "mod", "tidy")


def pack(pause: Path, out: Path) -> None:
    """Packs the pause program as an image."""
    with tempfile.TemporaryDirectory() as root:
        shutil.copy(pause, root)
        reference = image.Reference.parse(PAUSE_IMAGE)
        architecture = ARCHITECTURES[platform.machine()]
        out.write_bytes(image.Image(reference, Path(root), ["/pause"], architecture=architecture).archive())


def go(folder: Path, *arguments: str, output: bool = False) -> str:
    """Runs go in a folder. What it prints goes to standard error unless it is asked for."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    stdout: Optional[int] = subprocess.PIPE if output else sys.stderr.fileno()
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, stdout=stdout, text=True)
    if done.returncode:
        raise Failed(f"go {arguments[0]} failed, see above; it needs the Go module proxy or modules that it has already downloaded")
    return done.stdout or ""


def say(line: str) -> None:
    """Tells the user about progress."""
    print(f"cluster: {line}", file=sys.stderr, flush=True)
