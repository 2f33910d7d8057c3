"""Counts the instructions that things take, by callgrind, and compares them with instructions.txt: check.py compare|record

Each thing is done a few times, and more often; the difference tells what one of them takes, without what comes before the first.
It fails where one takes over 5 % more than is written down. Where one takes over 5 % less, it asks to write that down.
"""
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benches" / "instructions.txt"
# What is done, how often at first, and how much more often then.
SCENARIOS = {
    "decode-protobuf-native": (2, 10),
    "decode-protobuf-wasm": (2, 10),
    "decode-json-native": (2, 10),
    "decode-json-wasm": (2, 10),
    "instantiate": (10, 100),
    "load-incluster-config": (10, 100),
    "list": (5, 20),
}
TOLERANCE = 0.05


def main(mode):
    valgrind = subprocess.run([ROOT / "tools/valgrind.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    program = build("bench", ("incluster", "incluster-cli"), "count")
    serve = build("build", ("incluster-testbed",), "serve")
    server = subprocess.Popen([serve, "7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    where = [server.stdout.readline().strip(), server.stdout.readline().strip()]

    def instructions(run):
        scenario, times = run
        command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", program, scenario, str(times), *where]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{said.stderr}")
        return int(re.search(r"Collected : (\d+)", said.stderr).group(1))

    runs = [(scenario, times) for scenario, (few, more) in SCENARIOS.items() for times in (few, few + more)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        counted = dict(zip(runs, pool.map(instructions, runs)))
    server.communicate()
    each = {name: (counted[name, few + more] - counted[name, few]) // more for name, (few, more) in SCENARIOS.items()}
    if mode == "record":
        RECORD.write_text("".join(f"{name} {count}\n" for name, count in each.items()), encoding="ascii")
    return verdict(each)


def build(how, packages, name):
    """The path of a binary, built."""
    kind = ["--bench", name, "--no-run"] if how == "bench" else ["--release", "--bin", name]
    command = ["cargo", how, "--locked", "--message-format=json-render-diagnostics", *(f"--package={package}" for package in packages), *kind]
    messages = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    return re.search(rf'"name":"{name}".*"executable":"([^"]+)"', messages).group(1)


def verdict(each):
    written = dict(line.split() for line in RECORD.read_text(encoding="ascii").splitlines())
    slower = []
    for name, count in each.items():
        before = int(written.get(name, 0))
        change = count / before - 1 if before else 1
        print(f"{name:24} {count:>12,} instructions, {change:+.1%} of what is written down")
        if change > TOLERANCE:
            slower.append(name)
        if change < -TOLERANCE:
            print(f"{name} takes less: write that down with `./justw bench-check record`, so that it stays so")
    if slower:
        print(f"{', '.join(slower)}: over {TOLERANCE:.0%} more than in {RECORD.relative_to(ROOT)}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["compare"], ["record"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
