"""The components of the cluster: their addresses, configuration files and command lines."""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any, Optional

import certificates

# Addresses that RFC 5737 reserves for documentation. They exist only in the cluster's own network namespace.
NODE = "node-1"
NODE_ADDRESS = "192.0.2.1"
POD_RANGE = "198.51.100.0/24"
SERVICE_RANGE = "203.0.113.0/24"
KUBERNETES_SERVICE = "203.0.113.1"
API_SERVER_ADDRESSES = (KUBERNETES_SERVICE, NODE_ADDRESS, "127.0.0.1", "::1")
API_SERVER_PORT = "6443"
ETCD = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"

# The components, in the order in which they start.
COMPONENTS = ("etcd", "containerd", "apiserver", "controllers", "scheduler", "kubelet", "proxy")

# The folders where distributions and the CNI project install the plugins.
PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
PLUGINS = ("host-local", "loopback", "ptp")

# containerd's socket, in the node's own /run.
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

# The default folder would be outside the folders that the node has for itself.
VOLUME_PLUGINS = "/var/lib/kubelet/volume-plugins"

CONTAINERD = """version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # In a container, root may not lower the score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""

# For pods of a RuntimeClass with the handler `wasmtime`.
WASMTIME_SHIM = "containerd-shim-wasmtime-v1"
WASMTIME = """  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.wasmtime]
    runtime_type = "io.containerd.wasmtime.v1"
"""

# The configuration files, except kubeconfigs and those below `node`.
FILES = ("audit-policy", "containerd.toml", "kubelet-configuration")

# Plugins for the network of pods. With `ptp`, packets between two pods pass through the node's own network stack, which kube-proxy
# needs to change the addresses of answers back; on a bridge they do so only with the kernel module br_netfilter.
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "node",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }
    ],
}

# The groups and users that the audit log leaves out, because no test looks for their requests.
OWN_GROUPS = ["system:nodes", "system:masters", "system:serviceaccounts:kube-system"]
OWN_USERS = ["system:apiserver", "system:kube-controller-manager", "system:kube-proxy", "system:kube-scheduler"]
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": OWN_GROUPS},
        {"level": "None", "users": OWN_USERS},
        {"level": "Metadata"},
    ],
}


def plugin_folder() -> Optional[Path]:
    """Finds the folder with the CNI plugins."""
    return next((folder for folder in PLUGIN_FOLDERS if all((folder / name).exists() for name in PLUGINS)), None)


def write(folder: Path, pause: str, snapshotter: str, control_group: str) -> None:
    """Writes every component's configuration. It is JSON, which all but containerd accept although they document YAML."""
    files = {
        "audit-policy": AUDIT_POLICY,
        "kubelet-configuration": kubelet(folder, control_group),
        "node/cni/node.conflist": NETWORK,
    }
    for client in certificates.clients(NODE):
        files[f"{client.name}.kubeconfig"] = kubeconfig(folder, client.name)
    (folder / "node/cni").mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    text = CONTAINERD.format(pause=pause, plugins=plugin_folder(), cni=folder / "node/cni", snapshotter=snapshotter)
    (folder / "containerd.toml").write_text(text + (WASMTIME if shutil.which(WASMTIME_SHIM) else ""))


def kubeconfig(folder: Path, name: str) -> dict[str, Any]:
    """Returns a kubeconfig for the client with this certificate."""
    cluster = {"server": f"https://{NODE_ADDRESS}:{API_SERVER_PORT}", "certificate-authority": str(folder / "ca.crt")}
    user = {"client-certificate": str(folder / f"{name}.crt"), "client-key": str(folder / f"{name}.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": name}}],
        "current-context": "cluster",
    }


def kubelet(folder: Path, control_group: str) -> dict[str, Any]:
    """Returns the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "client-ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": control_group,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # There is no DNS. Without this, pods would get the machine's name servers, which they cannot reach.
        "resolvConf": "",
        # If the machine's disk is full, pods must not be evicted, nor images deleted, which no registry has.
        "evictionHard": {"imagefs.available": "1%", "nodefs.available": "1%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        # Changed tokens and certificates reach running pods within seconds.
        "fileCheckFrequency": "5s",
        "syncFrequency": "2s",
        "volumePluginDir": VOLUME_PLUGINS,
    }


def command(folder: Path, kube: Path, name: str) -> list[str]:
    """Returns the command line of a component."""
    if name == "containerd":
        return ["containerd", "--config", str(folder / "containerd.toml")]
    program, flags = FLAGS[name]
    extra = shlex.split(os.environ.get("APISERVER_FLAGS", "")) if name == "apiserver" else []
    return [str(kube), program, *(flag.format(folder=folder) for flag in flags), *extra]


# The name of each component in the Kubernetes binary, and its flags.
FLAGS: dict[str, tuple[str, list[str]]] = {
    "etcd": (
        "etcd",
        [
            "--data-dir={folder}/node/etcd",
            # The data need not survive a crash of the machine.
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={ETCD_PEER}",
            f"--initial-advertise-peer-urls={ETCD_PEER}",
            f"--initial-cluster=default={ETCD_PEER}",
        ],
    ),
    "apiserver": (
        "kube-apiserver",
        [
            f"--etcd-servers={ETCD}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--bind-address={NODE_ADDRESS}",
            f"--secure-port={API_SERVER_PORT}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--tls-cert-file={folder}/apiserver.crt",
            "--tls-private-key-file={folder}/apiserver.key",
            "--client-ca-file={folder}/client-ca.crt",
            # No client has a certificate with this name, but without the setting other components complain every few seconds.
            "--requestheader-client-ca-file={folder}/client-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--kubelet-client-certificate={folder}/apiserver-kubelet-client.crt",
            "--kubelet-client-key={folder}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file={folder}/sa.pub",
            "--service-account-signing-key-file={folder}/sa.key",
            # Tokens of pods expire at their stated time, and not after a year.
            "--service-account-extend-token-expiration=false",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            "--audit-policy-file={folder}/audit-policy",
            "--audit-log-path={folder}/audit.log",
            # In megabytes: large enough that there is only one file.
            "--audit-log-maxsize=100000",
        ],
    ),
    "controllers": (
        "kube-controller-manager",
        [
            "--kubeconfig={folder}/controllers.kubeconfig",
            "--authentication-kubeconfig={folder}/controllers.kubeconfig",
            "--authorization-kubeconfig={folder}/controllers.kubeconfig",
            "--bind-address=127.0.0.1",
            f"--flex-volume-plugin-dir={VOLUME_PLUGINS}",
            "--leader-elect=false",
            "--root-ca-file={folder}/ca.crt",
            "--service-account-private-key-file={folder}/sa.key",
            "--use-service-account-credentials",
        ],
    ),
    "scheduler": (
        "kube-scheduler",
        [
            "--kubeconfig={folder}/scheduler.kubeconfig",
            "--authentication-kubeconfig={folder}/scheduler.kubeconfig",
            "--authorization-kubeconfig={folder}/scheduler.kubeconfig",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ],
    ),
    "kubelet": (
        "kubelet",
        [
            "--config={folder}/kubelet-configuration",
            "--kubeconfig={folder}/kubelet.kubeconfig",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
        ],
    ),
    "proxy": (
        "kube-proxy",
        [
            "--kubeconfig={folder}/proxy.kubeconfig",
            "--proxy-mode=nftables",
            f"--bind-address={NODE_ADDRESS}",
            f"--hostname-override={NODE}",
            f"--cluster-cidr={POD_RANGE}",
            # Zero leaves alone these limits of the whole machine, which only its own network namespace may change.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ],
    ),
}
