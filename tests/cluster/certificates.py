"""Certificates and keys of a cluster, made by openssl with the subjects that Kubernetes expects."""

import secrets
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Sequence

DAYS = "30"

# The kinds of keys. By default, those that pods see are RSA, as with kubeadm. Clients' keys are ECDSA, which are made faster.
KEYS = {"rsa": ["-newkey", "rsa:2048"], "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}

# kubeadm's extensions. The explicit file keeps out whatever the machine's own openssl.cnf adds.
EXTENSIONS = """
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = {names}
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
"""


class Failed(Exception):
    """openssl has failed."""


@dataclass(frozen=True)
class Client:
    """A client of the API server that is identified by a certificate."""

    name: str
    user: str
    group: Optional[str] = None

    def subject(self) -> str:
        """Returns the certificate's subject: the API server reads the user from CN, and the group from O."""
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"


def clients(node: str) -> tuple[Client, ...]:
    """Returns the clients of a cluster with one node. `admin` and `apiserver-kubelet-client` may do everything."""
    return (
        Client("admin", "kubernetes-admin", "system:masters"),
        Client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Client("controllers", "system:kube-controller-manager"),
        Client("scheduler", "system:kube-scheduler"),
        Client("kubelet", f"system:node:{node}", "system:nodes"),
        Client("proxy", "system:kube-proxy"),
    )


def make_all(folder: Path, node: str, addresses: Sequence[str]) -> None:
    """Makes the CA, the API server's certificate for these addresses, all clients' certificates, and the key for tokens."""
    make_authority(folder, addresses)
    # The CA of the clients that the API server trusts. It is a copy, so that ca.crt, which clients trust, can be replaced without it.
    shutil.copyfile(folder / "ca.crt", folder / "client-ca.crt")
    for client in clients(node):
        sign(folder, client.name, client.subject(), "client", addresses, "ecdsa")
    openssl("genrsa", "-out", str(folder / "sa.key"), "2048")
    openssl("rsa", "-in", str(folder / "sa.key"), "-pubout", "-out", str(folder / "sa.pub"))


def make_authority(folder: Path, addresses: Sequence[str], key_kind: str = "rsa") -> None:
    """Makes a CA (ca.crt and ca.key) and a certificate of it for the API server (apiserver.crt and apiserver.key)."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = str(folder / "ca.crt"), str(folder / "ca.key")
    with extensions(addresses) as file:
        request = ["req", "-x509", *KEYS[key_kind], "-nodes", "-days", DAYS, "-subj", "/CN=kubernetes"]
        openssl(*request, "-config", file, "-extensions", "authority", "-keyout", key, "-out", certificate)
    sign(folder, "apiserver", "/CN=kube-apiserver", "server", addresses, key_kind)


def sign(folder: Path, name: str, subject: str, kind: str, addresses: Sequence[str], key_kind: str) -> None:
    """Makes NAME.key and NAME.crt, signed by the CA of the folder."""
    key, certificate = str(folder / f"{name}.key"), str(folder / f"{name}.crt")
    authority = ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"), "-set_serial", f"0x{secrets.token_hex(8)}"]
    with extensions(addresses) as file:
        request = openssl("req", *KEYS[key_kind], "-nodes", "-subj", subject, "-config", file, "-keyout", key)
        signing = ["x509", "-req", "-days", DAYS, "-extfile", file, "-extensions", kind]
        openssl(*signing, *authority, "-out", certificate, request=request)


@contextmanager
def extensions(addresses: Sequence[str]) -> Iterator[str]:
    """Writes the extensions to a temporary file, and yields its name."""
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:
        file.write(EXTENSIONS.format(names=", ".join(server_names(addresses))))
        file.flush()
        yield file.name


def server_names(addresses: Sequence[str]) -> list[str]:
    """Returns the names and addresses by which clients reach the API server."""
    service = "kubernetes.default.svc"
    names = ["localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local"]
    return [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]


def openssl(*arguments: str, request: bytes = b"") -> bytes:
    """Runs openssl with `request` as its input, and returns its output."""
    done = subprocess.run(["openssl", *arguments], input=request, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Failed(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
