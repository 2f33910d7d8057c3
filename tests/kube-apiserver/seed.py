#!/usr/bin/env python3
"""Fills a namespace with pods that look like running ones: seed.py NAMESPACE COUNT

The cluster is that of kubectl's current context; KUBECTL names another kubectl. No scheduler, kubelet or controller touches these
pods, so that they stay as they are. Pods of an earlier run are kept.
"""

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Iterator

Object = dict[str, Any]

THREADS = 16
# How long a request is retried, and how long one answer may take, in seconds.
PATIENCE, TIMEOUT = 60.0, 30.0
APPS = ("checkout", "payments", "search", "frontend", "catalog", "ledger", "mailer")
PROXY = "registry.example.com/mesh/proxy:2.4.1"
STARTED, ENDED = "2025-03-01T08:00:00Z", "2025-03-01T09:30:00Z"
RUNNING: Object = {"running": {"startedAt": STARTED}}


@contextmanager
def proxy() -> Iterator[str]:
    """Starts `kubectl proxy`, which supports every way to log in. Yields the path of its socket, which no other user can reach."""
    kubectl = shutil.which(os.environ.get("KUBECTL") or "kubectl") or sys.exit("seed.py: kubectl not found: set KUBECTL to its path")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        command = [kubectl, "proxy", f"--unix-socket={path}"]
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            # The proxy prints a line when it serves. If it cannot, it has printed why.
            if not running.stdout or not running.stdout.readline():
                sys.exit("seed.py: `kubectl proxy` does not start: set KUBECONFIG")
            yield path
        finally:
            running.kill()
            running.wait()


class Connection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self.path = path

    def connect(self) -> None:
        """Connects."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self.path)


class Client:
    """A connection to the API server that is kept between requests."""

    def __init__(self, path: str) -> None:
        self.connection = Connection(path)

    def send(self, method: str, path: str, kind: str, body: Object) -> None:
        """Sends a request until it succeeds, or can no longer succeed."""
        deadline, pause = time.monotonic() + PATIENCE, 0.1
        while True:
            wait = pause
            try:
                self.connection.request(method, path, json.dumps(body), {"Content-Type": kind})
                response = self.connection.getresponse()
                status, after = response.status, response.getheader("Retry-After", "")
                text = response.read().decode(errors="replace")
                if status < 300 or (status == 409 and '"reason":"AlreadyExists"' in text):
                    return
                # A proxy in front of the API server may answer with something other than JSON.
                problem = f"{status} {json.loads(text).get('message') if text.startswith('{') else text[:300]}"
                # In a cluster with controllers, the service account appears soon after the namespace.
                early = status == 403 and 'serviceaccount "default" not found' in problem
                again, wait = early or status in (409, 429) or status >= 500, float(after) if after.isdecimal() else pause
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                problem, again = str(error) or type(error).__name__, True
            if not again or time.monotonic() + wait > deadline:
                sys.exit(f"seed.py: {method} {path}: {problem}")
            time.sleep(wait)
            pause = min(2 * pause, 5.0)


def digest(text: str) -> str:
    """Returns hex digits that look random and depend only on the text."""
    return hashlib.sha256(text.encode()).hexdigest()


class Pod:
    """A pod, made from its number."""

    def __init__(self, number: int) -> None:
        self.number, self.app, version = number, APPS[number % len(APPS)], f"1.{number % 40}.0"
        self.template = digest(self.app)[:10]
        self.name = f"{self.app}-{self.template}-{number:05}"
        self.image, self.migrate = (f"registry.example.com/shop/{self.app}{part}:{version}" for part in ("", "-migrate"))
        common = {"name": self.app, "instance": f"{self.app}-production", "part-of": "shop", "version": version}
        self.labels = {f"app.kubernetes.io/{name}": value for name, value in common.items()}
        self.labels.update({"pod-template-hash": self.template, "tier": "backend" if number % 3 else "edge"})

    def manifest(self) -> Object:
        """Returns the pod without a status. It names no node and no owner: a controller deletes pods whose node or owner does not exist."""
        annotations = {"checksum/config": digest(self.name), "prometheus.io/port": "9090", "prometheus.io/scrape": "true"}
        probes = {
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "initialDelaySeconds": 10},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 5},
        }
        containers = [self.container(self.app, self.image, 8080), self.container("proxy", PROXY, 15020)]
        spec = {
            "schedulerName": "nobody",
            "serviceAccountName": "default",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [self.container("migrate", self.migrate, 8081)],
            "containers": [{**container, **probes} for container in containers],
            "volumes": [{"name": "config", "configMap": {"name": f"{self.app}-config"}}, {"name": "scratch", "emptyDir": {}}],
        }
        return {"metadata": {"name": self.name, "labels": self.labels, "annotations": annotations}, "spec": spec}

    def container(self, name: str, image: str, port: int) -> Object:
        """Returns the specification of a container."""
        return {
            "name": name,
            "image": image,
            "ports": [{"name": "http", "containerPort": port}, {"name": "metrics", "containerPort": 9090}],
            "env": [
                {"name": "LOG_LEVEL", "value": "info"},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": f"{self.app}-database", "key": "url"}}},
                {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.observability.svc:4317"},
            ],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/config"}, {"name": "scratch", "mountPath": "/tmp"}],
        }

    def status(self) -> Object:
        """Returns what a kubelet would have reported."""
        number, failing, restarts = self.number, self.number % 23 == 0, self.number % 5
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
        app = self.container_status(self.app, self.image, waiting if failing else RUNNING)
        app.update(ready=not failing, restartCount=restarts, lastState=self.ended(137, "OOMKilled") if restarts else {})
        ready = {"PodScheduled": True, "Initialized": True, "ContainersReady": not failing, "Ready": not failing}
        address = f"10.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
        return {
            "phase": "Running",
            "startTime": STARTED,
            "hostIP": f"10.0.0.{1 + number % 50}",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": kind, "status": str(true), "lastTransitionTime": STARTED} for kind, true in ready.items()],
            "initContainerStatuses": [self.container_status("migrate", self.migrate, self.ended(0, "Completed"))],
            "containerStatuses": [app, self.container_status("proxy", PROXY, RUNNING)],
        }

    def container_status(self, name: str, image: str, state: Object) -> Object:
        """Returns the status of a container that has not failed."""
        identities = {"imageID": f"{image}@sha256:{digest(image)}", "containerID": f"containerd://{digest(self.name + name)}"}
        return {"name": name, "image": image, **identities, "ready": True, "restartCount": 0, "state": state, "lastState": {}}

    def ended(self, code: int, why: str) -> Object:
        """Returns the state of a container that has ended."""
        times, identity = {"startedAt": STARTED, "finishedAt": ENDED}, f"containerd://{digest(self.name + why)}"
        return {"terminated": {"exitCode": code, "reason": why, **times, "containerID": identity}}


def fill(socket_path: str, namespace: str, count: int) -> None:
    """Creates the pods with several threads. After a failure, no thread starts another pod."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    clients: SimpleQueue[Client] = SimpleQueue()
    for _ in range(THREADS):
        clients.put(Client(socket_path))

    def make(pod: Pod) -> None:
        client = clients.get()
        try:
            client.send("POST", path, "application/json", pod.manifest())
            client.send("PATCH", f"{path}/{pod.name}/status", "application/merge-patch+json", {"status": pod.status()})
        finally:
            clients.put(client)

    with ThreadPoolExecutor(THREADS) as threads:
        try:
            for done in as_completed([threads.submit(make, Pod(number)) for number in range(count)]):
                done.result()
        finally:
            threads.shutdown(cancel_futures=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.exit(__doc__)
    with proxy() as path:
        fill(path, sys.argv[1], int(sys.argv[2]))
