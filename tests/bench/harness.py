"""What the scenarios share: ends in processes of their own, rounds taken in turn, medians, ratios, a table and JSON.

A scenario's file has its ends as plain functions at module level, says in `Scenario` values who is set beside whom, and
closes with ``main(__file__, [...])``. Each round runs every contender once, one after the other, since these machines
are shared and noisy: what counts is the ratio of the medians, and the CPU time beside the wall time.

An end is called as ``end(endpoint, options)`` and calls `report` once, after its clock has stopped and before it
leaves. An end that binds gets ``options["bind"]`` as its endpoint and calls `announce` with what it is bound to; the
other end is started then. An end that finds messages missing, doubled, out of order or of other content calls `wrong`.
Where messages may be lost by what carries them, the receiving end reports ``arrived``: rate and CPU time are then of those.

Not here: any library that is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["HWM", "Clock", "Contender", "Scenario", "announce", "main", "report", "wrong"]

HWM = 1000
"""The high-water mark on every side of every contender, unless a scenario says otherwise."""

ROUNDS = 5
QUICK = 10  # --quick divides the counts by this
PATIENCE = 120  # seconds until an end that says nothing is given up
HERE = Path(__file__).parent

End = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Contender:
    """One way to do what a scenario measures.

    Args:
      name: as tables show it.
      ends: one or two functions of the scenario's file; the first binds and is started first. The two run in
        processes of their own.
      options: what is particular to it, over the scenario's own options.
      share: the part of the scenario's count that it is given; slow ones need not run for minutes.
    """

    name: str
    ends: Sequence[End]
    options: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0


@dataclass(frozen=True)
class Scenario:
    """Contenders side by side.

    Scenarios that differ only in what is compared (same contenders, count and options) share one set of runs.

    Args:
      name: short, for files and ``--only``.
      title: a line that says what is measured and how.
      contenders: trimq first.
      count: how many messages (or round trips, or whatever the ends count), before ``--quick``.
      options: handed to every end, with ``count`` and ``hwm`` in it.
      metric: the figure that is compared: ``"rate"`` (count a second, from the end that reports ``wall``; more is
        better), ``"cpu_us_all"`` (CPU microseconds a count, all ends together), or another key that an end reports; of
        these, less is better.
      targets: what is to be reached: the name of a rival, and the ratio of trimq (the first contender) to it, as at
        least so much for a rate, at most so much otherwise. ``("a", "b")`` as a key sets contender a beside b.
      limits: what is to be reached whatever rivals do: a figure of the first contender, and the most it may be.
        ``("a", "figure")`` as a key means contender a's.
    """

    name: str
    title: str
    contenders: Sequence[Contender]
    count: int
    options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "rate"
    unit: str = "/s"
    targets: Mapping[str | tuple[str, str], float] = field(default_factory=dict)
    limits: Mapping[str | tuple[str, str], float] = field(default_factory=dict)


# what ends call


def announce(endpoint: object) -> None:
    """Says where the binding end is bound, for the other to connect to."""
    print(json.dumps({"endpoint": str(endpoint)}), flush=True)


def report(**figures: object) -> None:
    """Says what an end has measured: ``wall`` and ``cpu`` in seconds (see `Clock`), or whatever a scenario compares."""
    print(json.dumps(figures), flush=True)


def wrong(what: str) -> NoReturn:
    """Ends this end, and with it the benchmark: what arrived is not what was sent."""
    sys.exit(f"wrong: {what}")


class Clock:
    """Wall and CPU time of this process, all its threads included, from now on.

    What was made before, such as the messages, and lists for those that arrive, is out of the garbage collector's sight
    (`gc.freeze`): a scenario keeps millions of messages only to compare them, and whoever makes more containers a message
    would be charged for the collector's way through all of them.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        self.cpu = time.process_time()
        self.wall = time.perf_counter()

    def stop(self) -> dict[str, float]:
        """Seconds since the start, as `report` takes them."""
        wall = time.perf_counter()
        return {"wall": wall - self.wall, "cpu": time.process_time() - self.cpu}


# the parent


def _options(scenario: Scenario, contender: Contender, quick: bool) -> dict[str, Any]:
    count = max(1, round(scenario.count * contender.share / (QUICK if quick else 1)))
    options = {"bind": "tcp://127.0.0.1:*", "hwm": HWM, **scenario.options, **contender.options}
    return {"count": count, **options}


def _start(file: str, end: End, endpoint: str, options: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, file, "--end", end.__name__, "--endpoint", endpoint, "--options", json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE)


def _announced(child: subprocess.Popen[str], name: str) -> str:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], PATIENCE)
    line = child.stdout.readline() if ready else ""
    if not line:
        raise SystemExit(f"{name}: the binding end has not said where it is bound")
    return json.loads(line)["endpoint"]  # type: ignore[no-any-return]


def _outcomes(children: Sequence[subprocess.Popen[str]], name: str) -> list[dict[str, Any]]:
    """What the ends report, once all of them have ended; if one fails, the others are not waited for."""
    give_up = time.monotonic() + PATIENCE
    running = list(children)
    while running:
        with suppress(subprocess.TimeoutExpired):
            running[0].wait(0.1)
        for child in children:
            if child.poll():
                raise SystemExit(f"{name}: an end failed with status {child.returncode}")
        running = [child for child in running if child.poll() is None]
        if time.monotonic() > give_up:
            raise SystemExit(f"{name}: its ends have not come to an end in {PATIENCE} s")
    # What an end prints is less than a pipe holds.
    return [json.loads(child.communicate()[0].splitlines()[-1]) for child in children]


def measure(file: str, scenario: Scenario, contender: Contender, quick: bool) -> dict[str, Any]:
    """One run of one contender: its figure, and the CPU microseconds a count of each end, in order."""
    options = _options(scenario, contender, quick)
    children = [_start(file, contender.ends[0], options["bind"], options)]
    try:
        if len(contender.ends) > 1:
            endpoint = _announced(children[0], contender.name)
            children.append(_start(file, contender.ends[1], endpoint, options))
        ends = _outcomes(children, contender.name)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
    found: dict[str, Any] = {}
    for end in ends:
        found.update(end)
    if "wall" in found:
        found["rate"] = found.get("arrived", options["count"]) / found["wall"]
    found["cpu_us"] = [
        1e6 * end["cpu"] / end.get("arrived", options["count"]) if "cpu" in end else None for end in ends
    ]
    if None not in found["cpu_us"]:
        found["cpu_us_all"] = sum(found["cpu_us"])
    return found


def _same_runs(one: Scenario, other: Scenario) -> bool:
    return (one.contenders, one.count, one.options) == (other.contenders, other.count, other.options)


def _median(rounds: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(one[key] for one in rounds)


def compare(scenario: Scenario, rounds: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """The figures of a scenario: medians, spread, ratios beside their targets."""
    figures = {}
    for contender in scenario.contenders:
        mine = rounds[contender.name]
        values = [one[scenario.metric] for one in mine]
        ends = range(len(contender.ends))
        cpu = [
            statistics.median(one["cpu_us"][end] for one in mine) if mine[0]["cpu_us"][end] is not None else None
            for end in ends
        ]
        others = {
            key: _median(mine, key)
            for key, value in mine[0].items()
            if isinstance(value, int | float)
            and key not in ("wall", "cpu", "rate", "cpu_us_all", "arrived", scenario.metric)
        }
        figures[contender.name] = {
            "median": statistics.median(values),
            "low": min(values),
            "high": max(values),
            "rounds": values,
            "cpu_us": cpu,
            "others": others,
        }
    first = scenario.contenders[0].name
    ratios = []
    pairs = dict.fromkeys([key if isinstance(key, tuple) else (first, key) for key in scenario.targets])
    pairs.update(dict.fromkeys((first, contender.name) for contender in scenario.contenders[1:]))
    targets = {key if isinstance(key, tuple) else (first, key): value for key, value in scenario.targets.items()}
    for one, other in pairs:
        ratio = figures[one]["median"] / figures[other]["median"]
        target = targets.get((one, other))
        met = None if target is None else (ratio >= target if scenario.metric == "rate" else ratio <= target)
        ratios.append(
            {
                "of": one,
                "to": other,
                "ratio": ratio,
                "target": target,
                "met": met,
                "cpu": _cpu_ratio(figures, one, other),
            }
        )
    limits = []
    for key, most in scenario.limits.items():
        one, figure = key if isinstance(key, tuple) else (first, key)
        value = _median(rounds[one], figure)
        limits.append({"of": one, "figure": figure, "value": value, "limit": most, "met": value <= most})
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "metric": scenario.metric,
        "unit": scenario.unit,
        "count": scenario.count,
        "contenders": figures,
        "ratios": ratios,
        "limits": limits,
    }


def _cpu_ratio(figures: Mapping[str, Any], one: str, other: str) -> float | None:
    """The CPU time of all ends of one contender, as a part of the other's."""
    mine, theirs = (figures[name]["cpu_us"] for name in (one, other))
    if None in mine or None in theirs or not sum(theirs):
        return None
    return sum(mine) / sum(theirs)  # type: ignore[no-any-return]


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else ""
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def show(result: dict[str, Any], rounds: int) -> None:
    """One scenario as a table."""
    print(f"\n{result['title']}")
    print(f"  {rounds} rounds in turn, {os.cpu_count()} cores; medians [spread], CPU a message of each end")
    for name, one in result["contenders"].items():
        cpu = " + ".join("-" if value is None else f"{value:.2f}" for value in one["cpu_us"])
        others = "  ".join(f"{key} {_number(value)}" for key, value in one["others"].items())
        spread = f"[{_number(one['low'])} - {_number(one['high'])}]"
        print(f"  {name:<34} {_number(one['median']):>11} {result['unit']:<5} {spread:<26} {cpu:>14} us  {others}")
    for ratio in result["ratios"]:
        goal = ""
        if ratio["target"] is not None:
            sign = ">=" if result["metric"] == "rate" else "<="
            goal = f"   {sign} {ratio['target']:g}: {'reached' if ratio['met'] else 'NOT reached'}"
        cpu = "" if ratio["cpu"] is None else f" (CPU {ratio['cpu']:.2f})"
        print(f"    {ratio['of']} / {ratio['to']}: {ratio['ratio']:.2f}{cpu}{goal}")
    for limit in result["limits"]:
        met = "reached" if limit["met"] else "NOT reached"
        print(f"    {limit['of']}: {limit['figure']} {_number(limit['value'])}   <= {limit['limit']:g}: {met}")
    sys.stdout.flush()


def _without(scenario: Scenario, names: Sequence[str]) -> Scenario:
    """The scenario without these contenders, and without what was to be reached beside them."""
    targets = {
        key: value
        for key, value in scenario.targets.items()
        if not set(key if isinstance(key, tuple) else (key,)) & set(names)
    }
    contenders = [one for one in scenario.contenders if one.name not in names]
    limits = {key: value for key, value in scenario.limits.items() if not (isinstance(key, tuple) and key[0] in names)}
    return replace(scenario, contenders=contenders, targets=targets, limits=limits)


def main(file: str, scenarios: Sequence[Scenario]) -> None:
    """Runs a scenario file: as the parent, or as one of its ends."""
    parser = argparse.ArgumentParser(description=(sys.modules["__main__"].__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds, each contender once in each ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help=f"counts divided by {QUICK}")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="scenarios with this in their name")
    parser.add_argument("--without", action="append", default=[], metavar="RIVAL", help="leave these contenders out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, for the plot")
    parser.add_argument("--end", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.end:
        end: End = getattr(sys.modules["__main__"], args.end)
        end(args.endpoint, json.loads(args.options))
        return
    chosen = [one for one in scenarios if not args.only or any(part in one.name for part in args.only)]
    if not chosen:
        raise SystemExit(f"no scenario here has {args.only} in its name; there are {[one.name for one in scenarios]}")
    results = []
    taken: list[tuple[Scenario, dict[str, list[dict[str, Any]]]]] = []
    for scenario in (_without(one, args.without) for one in chosen):
        contenders = scenario.contenders
        rounds = next((theirs for other, theirs in taken if _same_runs(scenario, other)), None)
        if rounds is None:
            rounds = {contender.name: [] for contender in contenders}
            for _ in range(args.rounds):
                for contender in contenders:
                    rounds[contender.name].append(measure(file, scenario, contender, args.quick))
            taken.append((scenario, rounds))
        results.append(compare(scenario, rounds))
        show(results[-1], args.rounds)
    if args.json:
        text = json.dumps({"machine": machine(), "rounds": args.rounds, "results": results}, indent=1)
        with tempfile.NamedTemporaryFile("w", dir=args.json.parent, delete=False) as whole:
            whole.write(text + "\n")
        Path(whole.name).replace(args.json)
