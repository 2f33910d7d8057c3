"""Writes what compare.py measured as tables and as a picture."""
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

MIB = 1 << 20

# Each goal: what is compared with what, how to compute it, the value that it must not exceed, and the value that is the aim.
GOALS = [
    ("5,000 pods, library, wall: against kube-rs", lambda r: ratio(r, 5_000, "wall", "incluster, library (list)", "kube-rs"), 0.45, 0.3),
    ("5,000 pods, library, wall: against curl with the same protobuf", lambda r: ratio(r, 5_000, "wall", "incluster, library (list)", "curl, protobuf"), 1.2, 1.15),
    ("5,000 pods, library, CPU: against kube-rs", lambda r: ratio(r, 5_000, "cpu", "incluster, library (list)", "kube-rs"), 0.35, 0.2),
    ("5,000 pods, library, peak memory in MiB", lambda r: find(r, 5_000, "incluster, library (list)").median("memory") / MIB, 48, 40),
    ("50,000 pods by pages, peak memory: against 5,000", lambda r: (
        find(r, 50_000, "incluster, library (pages)").median("memory") / find(r, 5_000, "incluster, library (pages)").median("memory")), 1.1, 1.02),
    ("`incluster pods`, 100 pods, wall: against kube-rs", lambda r: ratio(r, 100, "wall", "incluster pods", "kube-rs"), 0.8, 0.5),
    ("`incluster-standalone pods`, compiled, 100 pods, wall: against curl with the same Table", lambda r: ratio(
        r, 100, "wall", "incluster-standalone pods, compiled", "curl, Table"), 3, 1.5),
    ("`incluster pods`, 5,000 pods, wall: against `kubectl get pods`", lambda r: ratio(r, 5_000, "wall", "incluster pods", "kubectl get pods"), 0.5, 0.25),
]


def find(results, size, name):
    return next(runs for runs in results[size] if runs.name == name)


def ratio(results, size, what, name, other):
    return find(results, size, name).median(what) / find(results, size, other).median(what)


def tables(results, machine):
    lines = ["# Clients compared", "", "Written by `./justw bench`; what it means is in [performance.md](../performance.md).", "", *machine, ""]
    lines += ["![wall time and peak memory of each client](clients.svg)", ""]
    for size, listed in results.items():
        lines += [f"## {size:,} pods", ""]
        lines.append("| client | wall, median (least–most) | × the curl | CPU | peak memory | runs | requests | connections | received |")
        lines.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for runs in listed:
            floor = find(results, size, runs.floor) if any(r.name == runs.floor for r in listed) else None
            kind = runs.floor.removeprefix("curl, ")
            times = f"{runs.median('wall') / floor.median('wall'):.2f} ({kind})" if floor else ""
            lines.append(
                f"| {runs.name} | {seconds(runs.median('wall'))} ({seconds(min(runs.wall))}–{seconds(max(runs.wall))}) | {times} "
                f"| {seconds(runs.median('cpu'))} | {runs.median('memory') / MIB:.1f} MiB | {len(runs.wall)} "
                f"| {'' if runs.requests is None else runs.requests} | {runs.connections} | {runs.received / 1e6:.2f} MB |")
        lines.append("")
    lines += ["## Goals", "", "| | measured | must | aim | |", "| --- | --- | --- | --- | --- |"]
    for name, value, must, aim in GOALS:
        try:
            measured = value(results)
        except (KeyError, StopIteration):
            continue
        verdict = "aim reached" if measured <= aim else "within the limit" if measured <= must else "**missed**"
        lines.append(f"| {name} | {measured:.2f} | ≤ {must} | ≤ {aim} | {verdict} |")
    return "\n".join(lines) + "\n"


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def picture(results, path):
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "incluster", "font.size": 9})
    figure, axes = plt.subplots(len(results), 2, figsize=(11, 0.6 + 2.6 * len(results)), squeeze=False)
    for row, (size, listed) in zip(axes, results.items()):
        for axis, (what, scale, unit) in zip(row, [("wall", 1, "seconds"), ("memory", MIB, "MiB, peak")]):
            values = [runs.median(what) / scale for runs in listed]
            colours = ["#9aa5b1" if runs.name.startswith("curl") else "#1f6f5c" if "incluster" in runs.name else "#c9803a" for runs in listed]
            bars = axis.barh([runs.name for runs in listed], values, color=colours)
            axis.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
            axis.set_xscale("log")
            axis.set_xlim(min(values) / 2, max(values) * 3)
            axis.invert_yaxis()
            axis.set_title(f"{size:,} pods: {unit} (logarithmic)")
            axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
