"""Words, jobs and what a worker says, without any socket."""

from __future__ import annotations

from collections import Counter

import pytest

from trimq._cli._report import Tally
from trimq._cli._words import END, REPORT, Count, find_words, make_jobs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", []),
        (b"def f(x1, _y): return 2 * x1 + 3e5\n", ["def", "f", "x1", "y", "return", "x1", "e5"]),
        (b"The the THE", ["the", "the", "the"]),
        ("Übung, naïve; 漢字!".encode(), ["übung", "naïve", "漢字"]),
        (b"caf\xe9 b\xff\n", ["caf", "b"]),  # no UTF-8: what cannot be read is no letter
        (b"one\r\ntwo\n", ["one", "two"]),
    ],
)
def test_words(text: bytes, words: list[str]) -> None:
    """A letter, then letters, digits and underscores; in lower case."""
    assert find_words(text) == words


@pytest.mark.parametrize("lines", [0, 1, 39, 40, 41, 100])
def test_jobs_are_the_text(lines: int) -> None:
    """Together the jobs are the lines, in order, each job distinct by its first line's number."""
    text = [b"line %d\n" % number for number in range(lines)]
    jobs = make_jobs("a name \udcff", text, 7)
    assert b"".join(job[2] for job in jobs) == b"".join(text)
    assert [int(job[1]) for job in jobs] == list(range(7, 7 + lines, 40))
    assert {job[0] for job in jobs} <= {b"a name \xff"}


def test_a_worker_tells_what_it_counted() -> None:
    """Words of neighbouring jobs do not grow together, and the totals give back every count."""
    count = Count("me")
    assert count.do([[b"a", b"1", b"spam egg"], [b"b", b"1", b"egg\n"]]) == [REPORT, b"me", b"2", b"12", b"3"]
    many = b" ".join(b"word%d" % number for number in range(1234))
    count.do([[b"c", b"1", many]])
    *totals, end = count.totals()
    assert end == [END]
    assert len(totals) > 1
    tally = Tally()
    for message in totals:
        tally.add(message)
    assert tally.words == Counter({"egg": 2, "spam": 1}) + Counter(find_words(many))
