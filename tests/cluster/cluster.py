#!/usr/bin/env python3
"""A real Kubernetes on this machine, for tests: a control plane and one node that runs pods.

It lives in a network namespace of its own, without a way out and without DNS. `exec` runs commands in that namespace, and `load`
loads images. The state is in the folder of --dir:

  kube-VERSION, pause, pause.tar  the results of `build`, which `down` keeps; it also keeps logs, until the next `up`
  NAME.pid, NAME.log, audit.log   the process ID and the logs of each component
  ca.crt, ca.key                  the CA that clients and pods trust; pods get a changed one after `restart controllers`
  client-ca.crt                   the CA of the clients that the API server trusts
  apiserver.crt, apiserver.key    the certificate of the API server, which reads a changed one while it runs
  admin.kubeconfig                the administrator's access
  node/                           the data; node/log/pods has the logs of pods

Volumes of pods are mounted only for the node. To see them: nsenter --target=$(cat DIR/node.pid) --mount ls /var/lib/kubelet/pods

KUBERNETES_VERSION sets the version for `build` and `up`. APISERVER_FLAGS adds flags when the API server is started.
Exit status: 1 after a failure, 2 after wrong usage, 3 if no cluster can run here; after `exec`, that of the command.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Callable, NoReturn, Optional

# No compiled modules in the repository. This must be set before they are imported.
sys.dont_write_bytecode = True

import build
import certificates
import claims
import configuration
import machine
from build import say
from claims import Claim

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "target/cluster"

# How long the cluster may take to start, and how often to look, in seconds.
PATIENCE = 300.0
INTERVAL = 0.2

# How many lines of a failed component's log are shown.
LOG_LINES = 12

# The commands that need no root, or check that themselves.
UNPRIVILEGED = ("build", "up", "module", "certificates")

# The processes with a NAME.pid and a NAME.log.
PROCESSES = ("node", *configuration.COMPONENTS)

# Programs for `exec`: links to the Kubernetes binary.
LINKS = ("kube", "kubectl", "etcdctl")


# The proxy variables in upper case; programs also read them in lower case.
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")


class Failed(Exception):
    """Something went wrong. The message is for the user."""


class Interrupted(BaseException):
    """A signal asks this program to stop."""


class Cluster:
    """The cluster of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def up(self) -> None:
        """Starts the cluster, and waits until it is ready. Cleans up if that fails."""
        began = time.monotonic()
        build.check(self.folder)
        with Claim().take() as claim:
            self.refuse_second(claim)
            try:
                claim.write(self.folder, claims.STARTING)
                self.start_all(build.build(self.folder))
                claim.write(self.folder, claims.READY)
            except BaseException:
                handle_signals(signal.SIG_IGN)
                self.end_all()
                self.remove_data()
                claim.remove()
                raise
        say(f"ready after {time.monotonic() - began:.0f} s: {self.folder}")

    def down(self) -> None:
        """Stops the cluster, even a partial one, and removes its data."""
        with Claim().take_over() as claim:
            folder = claim.folder()
            if folder and folder != self.folder and Cluster(folder).is_up(claim):
                raise Failed(f"a cluster is running in another folder, {folder}: stop it with `{sys.argv[0]} down --dir {folder}`")
            left = Cluster(folder or self.folder)
            claim.write(left.folder, claims.STOPPING)
            left.end_all()
            if folder:
                left.remove_data()
            # If nothing was built here, nothing was started here, and files with these names do not belong to a cluster.
            if (self.folder / "pause.tar").exists():
                self.remove_data()
            claim.remove()

    def refuse_second(self, claim: Claim) -> None:
        """Fails if a cluster is running. Cleans up what is left of one that has ended, or whose `up` was killed."""
        folder = claim.folder()
        if folder and Cluster(folder).is_up(claim):
            raise Failed(f"a cluster is already running in {folder}: stop it with `{sys.argv[0]} down --dir {folder}`")
        if folder or any(machine.members()):
            say(f"cleaning up what is left of a cluster in {folder or 'an unknown folder'}")
            left = Cluster(folder or self.folder)
            left.end_all()
            left.remove_data()

    def is_up(self, claim: Claim) -> bool:
        """Says whether this cluster, which was started last, has been ready and was not stopped since."""
        return claim.is_ready() and self.pid("node") is not None

    def end_all(self) -> None:
        """Ends all processes of the cluster."""
        machine.end_all(self.pid("node"))

    def start_all(self, kube: Path) -> None:
        """Makes certificates and configuration, and starts each component once the ones that it needs are ready."""
        self.remove_data()
        for name in (*PROCESSES, "audit"):
            (self.folder / f"{name}.log").unlink(missing_ok=True)
        self.prepare(kube)
        machine.make_control_groups()
        node = machine.start_node(self.folder, configuration.NODE_ADDRESS, configuration.SERVICE_RANGE)
        (self.folder / "node.pid").write_text(f"{node}\n")
        for name in ("etcd", "containerd", "apiserver"):
            self.start(name)
        self.wait("containerd", lambda: self.succeeds("ctr", "version"))
        self.load(self.folder / "pause.tar")
        self.wait("apiserver", lambda: self.succeeds("kubectl", "get", "--raw=/readyz"))
        for name in ("controllers", "scheduler", "kubelet", "proxy"):
            self.start(name)
        self.wait("kubelet", self.node_is_ready)
        self.wait("controllers", self.has_service_account)
        self.wait("proxy", self.has_service)

    def prepare(self, kube: Path) -> None:
        """Makes everything in the folder that the components read."""
        self.folder.chmod(0o700)  # Whoever reads the keys has the administrator's rights.
        programs = self.folder / "node/bin"
        programs.mkdir(parents=True)
        for link in LINKS:
            (programs / link).symlink_to(kube)
        certificates.make_all(self.folder, configuration.NODE, configuration.API_SERVER_ADDRESSES)
        configuration.write(self.folder, build.PAUSE_IMAGE, self.snapshotter(), machine.CONTROL_GROUP)

    def snapshotter(self) -> str:
        """Returns containerd's snapshotter: one that copies an image's layers if the folder does not support overlays."""
        return "overlayfs" if machine.has_overlays(self.folder) else "native"

    def wait(self, component: str, condition: Callable[[], bool]) -> None:
        """Waits for a condition that a component brings about. Fails at once if any component ends in the meantime."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            for name in configuration.COMPONENTS:
                if (self.folder / f"{name}.pid").exists() and not self.pid(name):
                    raise Failed(f"{name} has ended; {self.end_of_log(name)}")
            if time.monotonic() > deadline:
                raise Failed(f"{component} is not ready after {PATIENCE:.0f} s; {self.end_of_log(component)}")
            time.sleep(INTERVAL)

    def end_of_log(self, name: str) -> str:
        """Quotes the last lines of a component's log."""
        log = self.folder / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return f"{log} ends with:\n" + "\n".join(lines)

    def node_is_ready(self) -> bool:
        """Says whether the node is ready for pods."""
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self.prints("True", "kubectl", "get", "node", configuration.NODE, f"--output=jsonpath={path}")

    def has_service_account(self) -> bool:
        """Says whether the sources of the service-account volume of pods in the namespace `default` exist."""
        return self.succeeds("kubectl", "get", "serviceaccount/default", "configmap/kube-root-ca.crt")

    def has_service(self) -> bool:
        """Says whether the Service `kubernetes` leads to the API server."""
        return self.prints(configuration.KUBERNETES_SERVICE, "nft", "list", "map", "ip", "kube-proxy", "service-ips")

    def succeeds(self, *command: str) -> bool:
        """Says whether a command succeeds on the node."""
        return self.run(*command).returncode == 0

    def prints(self, text: str, *command: str) -> bool:
        """Says whether a command succeeds on the node with this text in its output."""
        done = self.run(*command)
        return done.returncode == 0 and text in done.stdout

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command on the node."""
        whole = [*self.inside(), *command]
        return subprocess.run(whole, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def inside(self) -> list[str]:
        """Returns the beginning of a command line that runs a command in the node's namespaces."""
        return machine.inside(self.node(), "net", "mount")

    def pid(self, name: str) -> Optional[int]:
        """Returns the process of a component, or of the node's namespaces, if it is running."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if machine.is_running(pid) else None

    def node(self) -> int:
        """Returns the process that holds the node's namespaces open."""
        node = self.pid("node")
        if node is None:
            raise Failed(f"no cluster is running in {self.folder}: start one with `{sys.argv[0]} up --dir {self.folder}`")
        return node

    def environment(self) -> dict[str, str]:
        """Returns the environment of commands that talk to the cluster, without proxies, which they could not reach."""
        return {
            **{name: value for name, value in os.environ.items() if name.upper() not in PROXIES},
            "CLUSTER_DIR": str(self.folder),
            "ETCDCTL_ENDPOINTS": configuration.ETCD,
            "KUBECACHEDIR": str(self.folder / "node/cache"),
            "KUBECONFIG": str(self.folder / "admin.kubeconfig"),
            "PATH": f"{self.folder / 'node/bin'}:{os.environ['PATH']}",
        }

    def exec(self, command: list[str]) -> NoReturn:
        """Replaces this process by a command in the node's network."""
        whole = [*machine.inside(self.node(), "net"), *command]
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would inherit that.
        os.execvpe(whole[0], whole, self.environment())

    def load(self, archive: Path) -> None:
        """Loads an image archive into containerd, which unpacks it when the kubelet first needs it."""
        command = ["ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--no-unpack", "-"]
        # Passed as standard input, because the node may have a folder of its own at the archive's path.
        with archive.open("rb") as content:
            done = subprocess.run([*self.inside(), *command], stdin=content, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise Failed(f"{archive} cannot be loaded: {done.stdout.decode(errors='replace').strip()}")

    def start(self, name: str) -> None:
        """Starts a component, unless it is running."""
        if self.pid(name):
            return
        command = configuration.command(self.folder, self.folder / "node/bin/kube", name)
        pid = machine.start([*self.inside(), *command], self.folder / f"{name}.log")
        (self.folder / f"{name}.pid").write_text(f"{pid}\n")

    def stop(self, name: str) -> None:
        """Stops a component, if it is running."""
        self.node()
        pid = self.pid(name)
        if pid:
            machine.end(pid)
        (self.folder / f"{name}.pid").unlink(missing_ok=True)

    def remove_data(self) -> None:
        """Removes what `up` has put into the folder, except logs."""
        clients = (client.name for client in certificates.clients(configuration.NODE))
        names = ("ca", "client-ca", "apiserver", "sa", *clients, *PROCESSES)
        files = [f"{name}.{kind}" for name in names for kind in ("crt", "key", "kubeconfig", "pid", "pub")]
        for file in (*files, *configuration.FILES):
            (self.folder / file).unlink(missing_ok=True)
        for scratch in (self.folder / "node", *self.folder.glob(f"{build.PART}*")):
            if scratch.exists():
                shutil.rmtree(scratch)


def handle_signals(handler: "Callable[[int, Optional[FrameType]], None] | signal.Handlers") -> None:
    """Sets what happens when a signal asks this program to stop."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def interrupt(number: int, _: Optional[FrameType]) -> NoReturn:
    """Unwinds the program, so that it cleans up."""
    raise Interrupted(number)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--dir", type=Path, default=DEFAULT_FOLDER, help="the state folder; default: %(default)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, parents=[folder])

    add("build", "install and build what is missing; print the path of the Kubernetes binary")
    add("up", "start the cluster, and return when it is ready for pods")
    add("down", "stop the cluster, even a partial one, and remove its data")
    add("exec", "run a command in the node's network as the administrator: exec -- COMMAND…")
    add("load", "load an OCI image archive into the node").add_argument("image", metavar="IMAGE.tar", type=Path)
    for name in ("stop", "start", "restart"):
        add(name, f"{name} a component").add_argument("name", choices=configuration.COMPONENTS)
    module = add("module", "write go.mod and go.sum for KUBERNETES_VERSION; in `kube`, this makes it the default")
    module.add_argument("folder", metavar="FOLDER", type=Path, help="the folder with main.go")
    renew = add("certificates", "make a new CA and a certificate of it for the API server, without installing them")
    renew.add_argument("--ca", metavar="FOLDER", type=Path, required=True, help="the folder to write them to")
    renew.add_argument("--key", choices=certificates.KEYS, default="rsa", help="the kind of their keys; default: %(default)s")
    # argparse's own treatment of `--` differs between versions.
    ours, command = split(sys.argv[1:])
    options = parser.parse_args(ours)
    if bool(command) != (options.command == "exec"):
        parser.error("`exec` needs `-- COMMAND…`, which no other command takes")
    options.arguments = command
    return options


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits a command line at the first `--`."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def execute(options: argparse.Namespace) -> None:
    """Executes a command."""
    cluster = Cluster(options.dir)
    if os.geteuid() != 0 and options.command not in UNPRIVILEGED:
        raise build.Missing(build.NOT_ROOT)
    if options.command == "build":
        print(build.build(cluster.folder))
    elif options.command == "up":
        cluster.up()
    elif options.command == "down":
        cluster.down()
    elif options.command == "exec":
        cluster.exec(options.arguments)
    elif options.command == "load":
        cluster.load(options.image)
    elif options.command == "module":
        build.write_module(options.folder.resolve())
    elif options.command == "certificates":
        certificates.make_authority(options.ca, configuration.API_SERVER_ADDRESSES, options.key)
    else:
        if options.command != "start":
            cluster.stop(options.name)
        if options.command != "stop":
            cluster.start(options.name)


def main() -> int:
    """Runs the program, and returns its exit status."""
    options = arguments()
    handle_signals(interrupt)
    try:
        execute(options)
    except build.Missing as missing:
        for line in str(missing).splitlines():
            say(line)
        return 3
    except (Failed, build.Failed, claims.Taken, machine.Unusable, certificates.Failed) as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    except Interrupted as interrupted:
        say("interrupted")
        return 128 + int(interrupted.args[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
