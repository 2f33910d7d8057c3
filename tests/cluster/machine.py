"""The control groups, namespaces and processes of the cluster on this machine.

Every process of the cluster, including those of pods, is in one control group, so that all of them can be found and ended. All
processes but those of pods, which have their own namespaces, are in the network and mount namespaces of the node. A process called
`node` holds these open. So interfaces, routes, mounts and files at fixed paths vanish with the processes, however they end.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Callable, Iterator, Optional

CONTROL_GROUP = "incluster-cluster"
# The subgroup for all processes but those of pods: with version 2, a control group has either processes or subgroups.
COMPONENTS_GROUP = f"{CONTROL_GROUP}/components"

MOUNTED = Path("/sys/fs/cgroup")
# The controllers that the kubelet and runc require.
CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}
CONTROLLERS_OF_VERSION_1 = CONTROLLERS | {"cpuacct", "devices", "freezer"}

# The kubelet sets these for the whole machine unless they already have the values, which the node's mount namespace pretends.
SYSCTLS = {
    "kernel/keys/root_maxbytes": 25000000,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
}

# A script that sets up the node in new namespaces, and becomes the process that holds them open. Arguments: the folder, the node's
# address and the range of the services' addresses.
# - The components have a /run, /var/lib and /var/log of their own. If the folder itself is below one of these, it is mounted there
#   again. For that, `mount` must not canonicalize paths: they are relative to the script's first folder, which is now hidden.
# - /var/lib is shared with the mount namespaces of pods, so that they see what is mounted into their volumes later.
# - Services need a route, which is usually the default route: without one, packets are dropped before kube-proxy's rules see them.
NODE = """
bind() { mount --no-mtab --no-canonicalize --bind "$@"; }
cd "$1"
mount --no-mtab -t tmpfs -o mode=755 node /run
bind node/lib /var/lib
mount --no-mtab --make-shared /var/lib
bind node/log /var/log
mkdir -p "$1"
bind . "$1"
cd "$1/node/sysctl"
find . -type f | while read -r name; do [ ! -e "/proc/sys/$name" ] || bind "$name" "/proc/sys/$name"; done
cd /
ip link set lo up
ip address add "$2/32" dev lo
ip link add services type veth peer name nowhere
ip link set nowhere up
ip link set services up
ip route add "$3" dev services
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
exec "$1/pause" >/dev/null
"""

# How long a process may take to end by itself, and how often to look, in seconds.
GRACE = 5.0
INTERVAL = 0.05


class Unusable(Exception):
    """This machine cannot do what the cluster needs."""


def hierarchies() -> list[Path]:
    """Finds where control groups are mounted: in one place with version 2, in one place per controller with version 1.

    Returns nothing if controllers that pods need are missing.
    """
    if is_unified():
        controllers = (MOUNTED / "cgroup.controllers").read_text().split()
        return [MOUNTED] if CONTROLLERS.issubset(controllers) and os.access(MOUNTED, os.W_OK) else []
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options = line.split()[:4]
        # Besides version 1, runc also makes groups in a hierarchy of version 2.
        if kind in ("cgroup", "cgroup2") and os.access(place, os.W_OK):
            found.update((option, Path(place)) for option in options.split(","))
    return sorted(set(found.values())) if found.keys() >= CONTROLLERS_OF_VERSION_1 else []


def is_unified() -> bool:
    """Says whether the machine has control groups of version 2."""
    return (MOUNTED / "cgroup.controllers").exists()


def is_divisible() -> bool:
    """Says whether subgroups with controllers can be made. For that, a group must have no processes, unless it is the root group."""
    if not is_unified() or not (MOUNTED / "cgroup.type").exists():
        return True
    divided = CONTROLLERS.issubset((MOUNTED / "cgroup.subtree_control").read_text().split())
    return divided or not (MOUNTED / "cgroup.procs").read_text().split()


def wanted() -> list[str]:
    """Returns the required controllers."""
    return sorted(CONTROLLERS if is_unified() else CONTROLLERS_OF_VERSION_1)


def tracker() -> Path:
    """Returns the hierarchy in which the cluster's processes are found."""
    return MOUNTED if is_unified() else MOUNTED / "pids"


def make_control_groups() -> None:
    """Makes the control groups, and enables every controller in the group that the kubelet divides among pods."""
    for place in hierarchies():
        if place == MOUNTED:
            enable_controllers(place)
        (place / COMPONENTS_GROUP).mkdir(parents=True, exist_ok=True)
        if place == MOUNTED:
            enable_controllers(place / CONTROL_GROUP)


def enable_controllers(group: Path) -> None:
    """Enables this group's controllers in its subgroups."""
    for controller in CONTROLLERS.union((group / "cgroup.controllers").read_text().split()):
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            if controller in CONTROLLERS:
                raise Unusable(f"control group {group} cannot enable {controller} in its subgroups: {error.strerror}") from error


def remove_control_groups() -> bool:
    """Removes the control groups. Returns false if one is still in use."""
    for place in hierarchies():
        for folder, _, _ in os.walk(place / CONTROL_GROUP, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
    return True


def members(group: str = CONTROL_GROUP) -> Iterator[int]:
    """Finds the processes of a control group and of its subgroups."""
    for folder, _, _ in os.walk(tracker() / group):
        with contextlib.suppress(OSError):  # The group may have gone.
            yield from map(int, Path(folder, "cgroup.procs").read_text().split())


def has_overlays(folder: Path) -> bool:
    """Says whether a folder's file system can be the upper layer of an overlay. (Another overlay cannot.)"""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for name in ("lower", "upper", "work", "merged"):
            Path(scratch, name).mkdir()
        options = "lowerdir=lower,upperdir=upper,workdir=work"
        mount = ["mount", "--no-mtab", "-t", "overlay", "-o", options, "overlay", "merged"]
        return subprocess.run([*unshare("mount"), *mount], cwd=scratch, stderr=subprocess.DEVNULL).returncode == 0


def start_node(folder: Path, address: str, services: str) -> int:
    """Makes the node's namespaces, and returns the process that holds them open."""
    for name in ("lib", "log"):
        (folder / "node" / name).mkdir(parents=True, exist_ok=True)
    for sysctl, value in SYSCTLS.items():
        file = folder / "node/sysctl" / sysctl
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    script = [*unshare("net", "mount"), "sh", "-eu", "-c", NODE, "node", str(folder), address, services]
    with (folder / "node.log").open("wb") as log:
        node = spawn(script, stdout=subprocess.PIPE, stderr=log)
    assert node.stdout is not None
    with node.stdout as output:
        if output.readline() != b"ready\n":
            raise Unusable(f"failed to make the node's namespaces: {(folder / 'node.log').read_text().strip()}")
    return node.pid


def start(command: list[str], log: Path) -> int:
    """Starts a component."""
    with log.open("ab") as output:
        return spawn(command, stdout=output, stderr=output).pid


def spawn(command: list[str], stdout: "int | IO[bytes]", stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Starts a process of the cluster in a session of its own, so that a signal that interrupts this program does not end it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        # Without the user's variables: proxies in them would keep components from reaching each other.
        env={"PATH": os.environ["PATH"]},
        start_new_session=True,
        preexec_fn=join_control_group,
    )


def join_control_group() -> None:
    """Puts this process into the components' control group."""
    (tracker() / COMPONENTS_GROUP / "cgroup.procs").write_text(str(os.getpid()))


def unshare(*namespaces: str) -> list[str]:
    """Returns the beginning of a command line that runs a command in new namespaces (`net`, `mount`) with private mounts."""
    propagation = ["--propagation", "private"] if "mount" in namespaces else []
    return ["unshare", *(f"--{namespace}" for namespace in namespaces), *propagation, "--"]


def inside(node: int, *namespaces: str) -> list[str]:
    """Returns the beginning of a command line that runs a command in namespaces of the node (`net`, `mount`).

    Unlike `ip netns exec`, nsenter leaves /sys alone, and with it the control groups.
    """
    return ["nsenter", f"--target={node}", *(f"--{namespace}" for namespace in namespaces), "--"]


def is_running(pid: Optional[int]) -> bool:
    """Says whether this is a process of the cluster that has not ended."""
    if pid is None:
        return False
    reap()
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX" and pid in members(COMPONENTS_GROUP)


def reap() -> None:
    """Reaps the children of this process that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end(pid: int) -> None:
    """Ends a process, by force if it takes too long."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        send(number, [pid] if is_running(pid) else [])
        if wait_until(lambda: not is_running(pid), GRACE):
            return
    raise Unusable(f"process {pid} cannot be ended")


def end_all(node: Optional[int]) -> None:
    """Ends every process of the cluster by force, and all others in the node's network. Removes the control groups."""
    network = network_of(node) if node else None
    others = {pid for pid in every_process() if network and network_of(pid) == network} - ancestors()

    def ended() -> bool:
        thaw()
        left = [*members(), *(pid for pid in others if network_of(pid) == network)]
        send(signal.SIGKILL, left)
        reap()
        return not left and remove_control_groups()

    if not wait_until(ended, 6 * GRACE):
        raise Unusable(f"control group {CONTROL_GROUP} cannot be removed; it has the processes {sorted(members())}")


def thaw() -> None:
    """Lets processes that runc has frozen receive signals. With version 2, they do so anyway."""
    for folder, _, files in os.walk(MOUNTED / "freezer" / CONTROL_GROUP):
        if "freezer.state" in files:
            Path(folder, "freezer.state").write_text("THAWED")


def network_of(pid: int) -> Optional[str]:
    """Returns the identity of a process's network namespace."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def every_process() -> list[int]:
    """Finds the processes of this machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def ancestors() -> set[int]:
    """Finds this process and its ancestors, which may be in the cluster's network."""
    found = set()
    pid = os.getpid()
    while pid:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def send(number: signal.Signals, pids: list[int]) -> None:
    """Sends a signal to processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits for a condition, and returns whether it was met in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(INTERVAL)
    return True
