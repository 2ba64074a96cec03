"""What the demo's processes say to each other, and how words are counted. No sockets here.

A job is a message of three frames: a file's name, the number of a first line, and the text of some lines from there.
A worker answers with a `REPORT` on the jobs it found waiting. A lone `END` says that there will be no more jobs; the
worker then sends its `TOTALS`, in several messages, and an `END` of its own. `SENT` is the feeder's: how many jobs
it has sent, when it has sent them all.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

__all__ = ["END", "REPORT", "SENT", "TOTALS", "Count", "find_words", "make_jobs", "parse_worker_arguments"]

END = b"end"
REPORT = b"report"
SENT = b"sent"
TOTALS = b"totals"

_LINES = 40  # of a job
_ENTRIES = 500  # of a message of totals

_WORD = re.compile(r"[^\W\d_]\w*")


def find_words(text: bytes) -> list[str]:
    """The words of a text of whole lines, in lower case: a letter, then letters, digits and underscores."""
    return _WORD.findall(text.decode("utf-8", "replace").lower())


def make_jobs(name: str, lines: Sequence[bytes], first: int) -> list[list[bytes]]:
    """Jobs for these lines of a file, of which the first has this number."""
    file = name.encode("utf-8", "surrogateescape")
    return [
        [file, b"%d" % (first + start), b"".join(lines[start : start + _LINES])]
        for start in range(0, len(lines), _LINES)
    ]


class Count:
    """What one worker has counted, as the messages that tell it."""

    def __init__(self, worker: str) -> None:
        self._worker = worker.encode()
        self._words: Counter[str] = Counter()

    def do(self, jobs: Sequence[Sequence[bytes]]) -> list[bytes]:
        """Does some jobs; returns the report: the worker's name, how many jobs, bytes and words they were."""
        texts = [job[2] for job in jobs]
        words = find_words(b"\n".join(texts))  # a file's last line may lack its end
        self._words.update(words)
        return [REPORT, self._worker, b"%d" % len(jobs), b"%d" % sum(map(len, texts)), b"%d" % len(words)]

    def totals(self) -> Iterator[list[bytes]]:
        """All that was counted: words and their counts in turn, then the end."""
        entries = iter(self._words.items())
        while some := list(islice(entries, _ENTRIES)):
            yield [TOTALS, *(frame for word, count in some for frame in (word.encode(), b"%d" % count))]
        yield [END]


def parse_worker_arguments() -> argparse.Namespace:
    """A worker process's arguments: its ``name``, and the endpoints ``jobs`` and ``results``."""
    parser = argparse.ArgumentParser(description="A worker of trimq's demo, which starts it.")
    for argument in ("name", "jobs", "results"):
        parser.add_argument(argument)
    return parser.parse_args()
