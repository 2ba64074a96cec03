"""What the demo shows: its progress while it runs, and the table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self, TextIO

import attrs

from . import _words
from ._files import DemoError

__all__ = ["ProgressLine", "Tally", "print_check", "print_tally"]

_TOP = 10  # words, or differences


@attrs.define
class Share:
    """What one worker has reported, or all together."""

    jobs: int = 0
    size: int = 0  # bytes
    words: int = 0


@attrs.define
class Tally:
    """What was collected: the workers' reports and totals."""

    shares: dict[str, Share] = attrs.Factory(dict[str, Share])  # by the worker's name
    total: Share = attrs.Factory(Share)
    words: Counter[str] = attrs.Factory(Counter[str])
    sent: int | None = None  # jobs; known once all are sent
    ended: int = 0  # workers that have said all
    messages: int = 0  # from workers
    seconds: float = 0.0

    def add(self, message: Sequence[bytes]) -> None:
        """Notes a message: a worker's, or the feeder's only one.

        Raises:
          DemoError: it is none of these.
        """
        self.messages += 1
        match message:
            case [_words.REPORT, worker, *numbers]:
                jobs, size, words = map(int, numbers)
                for share in (self.shares.setdefault(worker.decode(), Share()), self.total):
                    share.jobs += jobs
                    share.size += size
                    share.words += words
            case [_words.TOTALS, *entries]:
                for word, count in zip(entries[::2], entries[1::2], strict=True):
                    self.words[word.decode()] += int(count)
            case [_words.END]:
                self.ended += 1
            case [_words.SENT, jobs_sent]:
                self.messages -= 1
                self.sent = int(jobs_sent)
            case _:
                raise DemoError(f"a message that no worker of this demo sends: {message[:5]!r}")


class ProgressLine:
    """A line on a terminal, written again and again; elsewhere a line for each quarter of the way, and the last."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rewrites = out.isatty()
        self._quarter = 0
        self._text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._text:
            print("" if self._rewrites else self._text, file=self._out, flush=True)

    def show(self, text: str, share: float) -> None:
        """Shows how it stands; ``share`` is how much of the way that is, 0 to 1."""
        self._text = text
        quarter = int(share * 4)
        if self._rewrites:
            print(f"\r{text}\x1b[K", end="", file=self._out, flush=True)
        elif self._quarter < quarter < 4:
            print(text, file=self._out, flush=True)
        self._quarter = quarter


def print_tally(tally: Tally, *, files: int, kinds: Mapping[str, str], transport: str, out: TextIO) -> None:
    """Prints the most frequent words, and what was done to find them.

    Args:
      tally: what was collected.
      files: how many files were read.
      kinds: each worker's kind, by its name.
      transport: what was between the processes.
      out: where to print.
    """
    total = tally.total
    messages = total.jobs + tally.messages
    ranking = sorted(tally.words.items(), key=lambda entry: (-entry[1], entry[0]))
    lines = [f"{count:>11,}  {word}" for word, count in ranking[:_TOP]]
    lines += [
        "",
        f"{files:>11,}  files",
        f"{total.size:>11,}  bytes",
        f"{total.words:>11,}  words, {len(tally.words):,} of them different",
        f"{total.jobs:>11,}  messages to workers, {tally.messages:,} back, over {transport}",
    ]
    for name, kind in kinds.items():
        share = tally.shares.get(name, Share())
        lines += [f"{share.jobs:>11,}  by {name} ({kind}): {share.words:,} words"]
    lines += [
        f"{tally.seconds:>11.2f}  seconds from the first message to the last",
        f"{messages / tally.seconds:>11,.0f}  messages a second, {total.size / tally.seconds / 1e6:,.1f} MB/s",
    ]
    print(*lines, sep="\n", file=out, flush=True)


def print_check(counted: Counter[str], expected: Counter[str], seconds: float, *, out: TextIO) -> bool:
    """Prints whether the workers' count is the one of a single process, and if not, where they differ.

    Returns:
      whether it is.
    """
    alone = f"one process counts {expected.total():,} words in {seconds:.2f} seconds"
    if counted == expected:
        print(f"{'OK':>11}  {alone}, and they are the same", file=out, flush=True)
        return True
    lines = [f"{'DIFFERENT':>11}  {alone}:"]
    apart = {word: counted[word] - expected[word] for word in counted | expected if counted[word] != expected[word]}
    for word in sorted(apart, key=lambda word: (-abs(apart[word]), word))[:_TOP]:
        lines += [f"{apart[word]:>+11,}  {word}: {counted[word]:,} by workers, {expected[word]:,} alone"]
    print(*lines, sep="\n", file=out, flush=True)
    return False
