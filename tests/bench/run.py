"""All benchmarks, one after the other: a table on the terminal, the figures as JSON and CSV, and a plot of them.

    python tests/bench/run.py [--quick] [--rounds N] [--out FOLDER] [FILE ...]

Each scenario's file runs by itself, too, and knows more options. A file that fails is reported at the end; the others
go on. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILES = [
    "push_pull.py",
    "mixed.py",
    "batches.py",
    "with_libzmq.py",
    "shapes.py",
    "large.py",
    "round_trip.py",
    "client_server.py",
    "echo.py",
    "fan_out.py",
    "radio_dish.py",
    "matching.py",
    "inproc.py",
    "multicast.py",
    "idle.py",
    "fairness.py",
    "proxy.py",
]


def ratios(figures: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """What has a target: a label, the ratio, the target, and whether more is better."""
    rows = []
    for result in figures["results"]:
        for ratio in result["ratios"]:
            if ratio["target"] is not None:
                label = f"{result['scenario']}: {ratio['of']} / {ratio['to']}"
                rows.append((label, ratio["ratio"], ratio["target"], result["metric"] == "rate"))
    return rows


def number(value: float) -> str:
    """For people: a few digits."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def table(figures: dict[str, Any], path: Path) -> None:
    """What has a target, as the docs show it."""
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["scenario", "trimq", "rival", "ratio", "wanted", "CPU", "reached"])
        for result in figures["results"]:
            seen = result["contenders"]
            for ratio in result["ratios"]:
                if ratio["target"] is None:
                    continue
                mine, theirs = (seen[ratio[key]] for key in ("of", "to"))
                sign = "≥" if result["metric"] == "rate" else "≤"
                cpu = "" if ratio["cpu"] is None else f"{ratio['cpu']:.2f}"
                out.writerow(
                    [
                        f"{result['title']} ({ratio['of']})",
                        f"{number(mine['median'])} {result['unit']}",
                        f"{ratio['to']}: {number(theirs['median'])} {result['unit']}",
                        f"{ratio['ratio']:.2f}",
                        f"{sign} {ratio['target']:g}",
                        cpu,
                        "yes" if ratio["met"] else "no",
                    ]
                )
            for limit in result.get("limits", ()):
                value, most = number(limit["value"]), f"≤ {limit['limit']:g}"
                name = f"{result['title']} ({limit['of']}, {limit['figure']})"
                out.writerow([name, value, "", "", most, "", "yes" if limit["met"] else "no"])


def conditions(figures: dict[str, Any]) -> str:
    """A sentence on what the figures were taken on, and how."""
    machine = figures["machine"]
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['system']}, {machine['python']}; {figures['rounds']} rounds"
        f"{', a tenth of the messages' if figures['quick'] else ''}. CPU is the time of all ends together, as a part of "
        f"the rival's.\n"
    )


def plot(figures: dict[str, Any], path: Path) -> None:
    """Every ratio with a target as a point beside it, on a logarithmic scale, better to the right."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trimq"  # the same figures give the same file
    from matplotlib import pyplot as plt

    rows = ratios(figures)[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.27 * len(rows) + 1.2), layout="constrained")
    for place, (_, ratio, target, more) in enumerate(rows):
        reached = ratio >= target if more else ratio <= target
        value, goal = (ratio, target) if more else (1 / ratio, 1 / target)
        axes.plot([goal, value], [place, place], color="0.8", zorder=1)
        axes.scatter([goal], [place], marker="|", color="0.3", zorder=2)
        axes.scatter([value], [place], color="tab:green" if reached else "tab:red", zorder=3)
    axes.axvline(1, color="0.5", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=7)
    axes.set_xlabel("ratio to the rival (where less is better: its inverse); the bar is what was to be reached")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Runs what is asked for, or all."""
    parser = argparse.ArgumentParser(description="All benchmarks: a table, JSON and a plot.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for the figures, the table and the plot")
    parser.add_argument("files", nargs="*", default=FILES, metavar="FILE")
    args = parser.parse_args()
    figures: dict[str, Any] = {"machine": None, "rounds": args.rounds, "quick": args.quick, "results": []}
    failed = []
    for file in args.files:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part.json"
            command = [sys.executable, str(HERE / file), "--rounds", str(args.rounds), "--json", str(part)]
            status = subprocess.run(command + ["--quick"] * args.quick, check=False).returncode
            if status or not part.exists():
                failed.append(file)
                continue
            one = json.loads(part.read_text())
            figures["machine"] = figures["machine"] or one["machine"]
            figures["results"] += one["results"]
    rows = ratios(figures)
    rows += [
        (f"{result['scenario']}: {limit['of']}, {limit['figure']}", limit["value"], limit["limit"], False)
        for result in figures["results"]
        for limit in result.get("limits", ())
    ]
    missed = [row for row in rows if not (row[1] >= row[2] if row[3] else row[1] <= row[2])]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} targets reached; not reached:")
    for label, ratio, target, more in missed:
        print(f"  {label}: {ratio:.2f}, {'at least' if more else 'at most'} {target:g} wanted")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "performance.json").write_text(json.dumps(figures, indent=1) + "\n")
        table(figures, args.out / "performance.csv")
        (args.out / "performance-conditions.txt").write_text(conditions(figures))
        plot(figures, args.out / "performance.svg")
        print(f"written: performance.json, .csv, .svg and -conditions.txt in {args.out}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
