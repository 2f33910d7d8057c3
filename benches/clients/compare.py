"""Runs the same work with each client on one server, and writes the costs: compare.py SERVER SIZE…

SERVER is `testbed`, which is started here, or two arguments: a URL and the folder of a service account. Such a server has
namespaces called pods-SIZE, and KUBECONFIG and KUBECTL lead to it. Clients take turns, one run per round, so that a machine
that becomes slower affects all of them. hyperfine measures each run.
"""
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "performance"
ROUNDS = {100: 15, 5_000: 7}
# Above this size, clients list by pages and run fewer times.
WHOLE_LIST = 5_000
ROUNDS_BEYOND = 2
PAGE = 500
STANDALONE = ROOT / "target/standalone/incluster-standalone.wasm"
TABLE = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"
# The request of each kind of answer: headers and query. With curl's own User-Agent, the server would indent the JSON.
BYTES = {
    "protobuf": (["Accept: application/vnd.kubernetes.protobuf"], ""),
    "JSON": (["Accept: application/json"], ""),
    "Table": ([TABLE], "?includeObject=None"),
    "Table, metadata, gzip": ([TABLE, "Accept-Encoding: gzip"], ""),
}


@dataclass
class Server:
    url: str
    namespace: str
    account: Path
    real: bool


@dataclass
class Runs:
    name: str
    floor: str
    wall: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    memory: list = field(default_factory=list)
    requests: int | None = None
    connections: int = 0
    received: int = 0

    def median(self, what):
        return statistics.median(getattr(self, what))


def clients(server, size, work):
    """Returns for each client: the name, the curl that downloads the same bytes, the most rounds, and a function from URL to command."""
    namespace, account = server.namespace, str(server.account)
    release, python = ROOT / "target/release", ROOT / "target/bench/venv/bin/python"
    paged = [str(PAGE)] if size > WHOLE_LIST else []
    library = "list" if size <= WHOLE_LIST else "pages"

    def curl(kind):
        lines, query = BYTES[kind]
        token, headers = (server.account / "token").read_text(encoding="ascii").strip(), work / f"{kind}.headers"
        headers.write_text("\n".join([*lines, "User-Agent: floor", f"Authorization: Bearer {token}", ""]), encoding="ascii")
        path = f"/api/v1/namespaces/{namespace}/pods{query}"
        return lambda url: ["curl", "-sf", "--cacert", f"{account}/ca.crt", "-H", f"@{headers}", "-o", "/dev/null", url + path]

    # kubectl's kind of answer: the testbed does not support all that kubectl needs.
    kinds = [kind for kind in BYTES if server.real or "gzip" not in kind]
    found = [(f"curl, {kind}", f"curl, {kind}", 99, curl(kind)) for kind in kinds]
    found += [
        (f"incluster, library ({library})", "curl, protobuf", 99, lambda url: [release / "examples" / library, namespace, url, account]),
        ("kube-rs", "curl, JSON", 99, lambda url: [ROOT / "target/bench/kube-rs/release/list-with-kube-rs", namespace, url, account, *paged]),
        ("Python client", "curl, JSON", 3 if size <= WHOLE_LIST else 1,
         lambda url: [python, ROOT / "benches/clients/list_pods.py", namespace, url, account, *paged]),
    ]
    if size == WHOLE_LIST:
        found.append(("incluster, library (pages)", "curl, protobuf", 99, lambda url: [release / "examples/pages", namespace, url, account]))
    found.append(("incluster pods", "curl, Table", 99, lambda url: [
        release / "incluster", "--server", url, "--service-account-dir", account, "pods", "-n", namespace]))
    # Measured over the whole run, an upper bound of the time to the first pod.
    compiled = work / "incluster-standalone.cwasm"
    if not compiled.exists():
        subprocess.run([os.environ["WASMTIME"], "compile", STANDALONE, "-o", compiled], check=True)
    ways = [("compiled", ["--allow-precompiled"], compiled)]
    if size < WHOLE_LIST:
        ways += [("cache", ["-C", "cache=y"], STANDALONE), ("no cache", ["-C", "cache=n"], STANDALONE)]
    for way, options, component in ways:
        found.append((f"incluster-standalone pods, {way}", "curl, Table", 99, standalone(account, options, component, namespace)))
    if server.real:
        found.append(("kubectl get pods", "curl, Table, metadata, gzip", 3 if size <= WHOLE_LIST else 1, lambda url: [
            os.environ["KUBECTL"], "--server", url, "get", "pods", "-n", namespace]))
    return found


def standalone(account, options, component, namespace):
    """Returns a function from a server's URL to the command that runs the standalone component in the wasmtime CLI."""
    def command(url):
        host, port = url.removeprefix("https://").split(":")
        return [
            os.environ["WASMTIME"], "run", *options, "-S", "inherit-network",
            "--env", f"KUBERNETES_SERVICE_HOST={host}", "--env", f"KUBERNETES_SERVICE_PORT={port}",
            "--dir", f"{account}::/var/run/secrets/kubernetes.io/serviceaccount", component, "pods", "-n", namespace]
    return command


def measure(server, size, work):
    listed = clients(server, size, work)
    results = {name: Runs(name, floor) for name, floor, _, _ in listed}
    rounds = ROUNDS.get(size, ROUNDS_BEYOND if size > WHOLE_LIST else max(ROUNDS.values()))
    for turn in range(rounds):
        for name, _, most, command in listed:
            if turn < most:
                one_run(results[name], [str(word) for word in command(server.url)], warm_up=turn == 0 and size <= WHOLE_LIST)
        print(f"{size} pods: round {turn + 1} of {rounds}", file=sys.stderr)
    for name, _, _, command in listed:
        asked = lists_answered() if server.real else 0
        results[name].connections, results[name].received = asyncio.run(through_a_counter(server.url, command))
        results[name].requests = lists_answered() - asked if server.real else None
    return list(results.values())


def one_run(runs, command, warm_up):
    with tempfile.NamedTemporaryFile(suffix=".json") as export:
        hyperfine = [os.environ["HYPERFINE"], "--shell=none", "--runs=1", f"--warmup={int(warm_up)}", "--style=none"]
        subprocess.run([*hyperfine, "--export-json", export.name, quoted(command)], check=True, stdout=subprocess.DEVNULL)
        (result,) = json.load(export)["results"]
    runs.wall += result["times"]
    runs.cpu.append(result["user"] + result["system"])
    runs.memory += result["memory_usage_byte"]


def quoted(command):
    return " ".join(f"'{word}'" for word in command)


def lists_answered():
    """Returns how many lists of pods the API server has answered."""
    metrics = subprocess.run([os.environ["KUBECTL"], "get", "--raw", "/metrics"], check=True, capture_output=True, text=True).stdout
    lines = re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", metrics, re.M)
    return int(sum(float(count) for labels, count in lines if 'resource="pods"' in labels and 'verb="LIST"' in labels))


async def through_a_counter(url, command):
    """Runs a command through a relay. Returns its number of connections, and the bytes that it received, including TLS."""
    host, port = url.removeprefix("https://").split(":")
    counts = {"connections": 0, "received": 0}

    async def pass_on(reader, writer, count):
        while data := await reader.read(1 << 16):
            counts["received"] += len(data) if count else 0
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader, writer):
        counts["connections"] += 1
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pass_on(reader, server_writer, False), pass_on(server_reader, writer, True), return_exceptions=True)

    counter = await asyncio.start_server(connected, "127.0.0.1", 0)
    ours = f"https://127.0.0.1:{counter.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(*map(str, command(ours)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, said = await process.communicate()
    counter.close()
    if process.returncode:
        sys.exit(f"{command(ours)} failed: {said.decode()}")
    return counts["connections"], counts["received"]


def said_by(pattern, *command):
    said = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
    return re.search(pattern, said).group(1)


def machine(server):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="ascii")).group(1)
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="ascii")).group(1)) / (1 << 20)
    curl = said_by(r"curl (\S+)", "curl", "--version")
    python = said_by(r"Version: (\S+)", ROOT / "target/bench/venv/bin/pip", "show", "kubernetes")
    wasmtime = said_by(r"wasmtime (\S+)", os.environ["WASMTIME"], "--version")
    locked = (ROOT / "benches/clients/kube-rs/Cargo.lock").read_text(encoding="utf-8")
    kube_rs = re.search(r'^name = "kube"\nversion = "(.*)"$', locked, re.M).group(1)
    lines = [
        f"- {os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, Linux {platform.release()}; "
        "client and server on the same machine, over loopback",
        f"- curl {curl}, kube-rs {kube_rs}, kubernetes (Python) {python}; incluster-standalone.wasm in the wasmtime CLI {wasmtime}",
    ]
    if not server.real:
        return [*lines, "- the server is the testbed, which keeps its answers ready"]
    client = said_by(r"Client Version: (\S+)", os.environ["KUBECTL"], "version", "--client")
    api_server = said_by(r'"gitVersion": "(\S+?)"', os.environ["KUBECTL"], "get", "--raw", "/version")
    if api_server.startswith("v0.0.0"):
        # As a build does that sets no version; tests/cluster/build.py sets it.
        sys.exit(f"compare.py: the API server says that its version is {api_server}: build it with its version")
    return [*lines, f"- kubectl {client}; kube-apiserver {api_server} with etcd"]


def main():
    where, *sizes = sys.argv[1:]
    account = None if where == "testbed" else Path(sizes.pop(0))
    all_results, described = {}, None
    with tempfile.TemporaryDirectory() as work:
        for size in map(int, sizes):
            if account:
                server = Server(where, f"pods-{size}", account, True)
                described = described or machine(server)
                all_results[size] = measure(server, size, Path(work))
            else:
                process = subprocess.Popen(
                    [ROOT / "target/release/serve", str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                url, account = process.stdout.readline().strip(), process.stdout.readline().strip()
                server = Server(url, "shop", Path(account), False)
                described = described or machine(server)
                all_results[size] = measure(server, size, Path(work))
                process.communicate()
    import report
    OUT.mkdir(parents=True, exist_ok=True)
    text = report.tables(all_results, described)
    (OUT / "clients.md").write_text(text, encoding="utf-8")
    report.picture(all_results, OUT / "clients.svg")
    print(text)


if __name__ == "__main__":
    main()
