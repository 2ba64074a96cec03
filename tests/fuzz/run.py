"""The coverage-guided fuzzer: `python tests/fuzz/run.py [TARGET ...] [--max-total-time SECONDS] [--keep]`.

Runs each target in a process of its own with atheris, from its corpus and seeds on, at most so many seconds each. An
exception, an input that takes 5 s, or 1 GiB of memory is a finding: it is told with the file that has the input, and the
exit status is 1. With --keep, whatever reached something new goes into the corpus, which is cut down to the smallest
inputs that reach all that any of them does.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # tests/, as pytest has it

from fuzz.targets import NAMES  # noqa: E402 - found only now

MOST_FILES = 48
LONGEST = 4096


def child(name: str, arguments: list[str]) -> None:
    """Fuzzes one target; never returns."""
    import atheris

    with atheris.instrument_imports(include=["trimq"]):
        module = importlib.import_module(f"fuzz.targets.{name}")
    atheris.Setup([sys.argv[0], *arguments], module.target)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, work: Path) -> bool:
    """Runs one target in a child process; true if it found nothing."""
    seeds, new, found = work / "seeds", work / "new", work / "found"
    for folder in (seeds, new, found):
        folder.mkdir(parents=True)
    for data in importlib.import_module(f"fuzz.targets.{name}").seeds():
        write(seeds, data)
    corpus = HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--child", name, str(new), str(corpus), str(seeds)]
    command += [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=5", "-rss_limit_mb=1024"]
    command += [f"-artifact_prefix={found}/", "-print_final_stats=1"]
    with (work / "log").open("wb") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    findings = sorted(found.iterdir())
    text = (work / "log").read_text(errors="replace")
    runs = next((line.split()[-1] for line in text.splitlines() if line.startswith("stat::number_of_exec")), "?")
    print(f"{name}: {runs} runs, {len(list(new.iterdir()))} new inputs, {len(findings)} findings", flush=True)
    if code == 0 and not findings:
        return True
    print("\n".join(text.splitlines()[-60:]))
    for path in findings:
        kept = Path(tempfile.gettempdir()) / f"{name}-{path.name}"
        kept.write_bytes(path.read_bytes())
        print(f"{name}: {kept}: {path.read_bytes()[:200]!r}")
    print("when it is fixed, put the input into tests/fuzz/corpus/")
    return False


def write(folder: Path, data: bytes) -> None:
    """Saves an input under a name that says what is in it, as libFuzzer does."""
    (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]).write_bytes(data)


def reached(target: Callable[[bytes], object], data: bytes) -> set[Any]:
    """Which steps from line to line of trimq an input takes, and roughly how often."""
    steps: Counter[tuple[object, int, int]] = Counter()

    def enter(frame: FrameType, event: str, _: object) -> Any:
        if "/trimq/" not in frame.f_code.co_filename:
            return None
        last = 0

        def line(frame: FrameType, event: str, _: object) -> Any:
            nonlocal last
            if event == "line":
                steps[frame.f_code, last, frame.f_lineno] += 1
                last = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return {(*step, times.bit_length()) for step, times in steps.items()}


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Rewrites a target's corpus: the few small inputs that reach most of what these do."""
    target = importlib.import_module(f"fuzz.targets.{name}").target
    left = {data: reached(target, data) for data in set(inputs)}
    corpus = HERE / "corpus" / name
    for path in corpus.iterdir():
        path.unlink()
    have: set[Any] = set()
    for _ in range(MOST_FILES):
        best = min(left, key=lambda data: (-len(left[data] - have), len(data), data))
        if not left[best] - have:
            break
        have |= left.pop(best)
        write(corpus, best)
    print(f"{name}: {len(list(corpus.iterdir()))} inputs kept")


def main() -> int:
    """Runs the targets one after the other."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--max-total-time", type=int, default=60, help="seconds for each target; 60 if not given")
    parser.add_argument("--keep", action="store_true", help="put what is new into the corpus, and minimise it")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    good = True
    for name in options.targets or NAMES:
        with tempfile.TemporaryDirectory(prefix="trimq-fuzz-") as directory:
            work = Path(directory)
            good &= fuzz(name, options.max_total_time, work)
            if options.keep:
                folders = (work / "new", work / "seeds", HERE / "corpus" / name)
                keep(name, [path.read_bytes() for folder in folders for path in folder.iterdir()])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
