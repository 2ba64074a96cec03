"""What the demo shows, and the sum of what it was told."""

from __future__ import annotations

import io
from collections import Counter

import pytest

from trimq._cli._files import DemoError
from trimq._cli._report import ProgressLine, Tally, print_check
from trimq._cli._words import END, REPORT, SENT, TOTALS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_line_is_rewritten() -> None:
    out = Terminal()
    with ProgressLine(out) as line:
        for number in range(3):
            line.show(f"{number} of 2", number / 2)
    assert out.getvalue() == "\r0 of 2\x1b[K\r1 of 2\x1b[K\r2 of 2\x1b[K\n"


def test_elsewhere_a_line_now_and_then() -> None:
    out = io.StringIO()
    with ProgressLine(out) as line:
        for number in range(1001):
            line.show(f"{number} of 1000", number / 1000)
    assert out.getvalue().splitlines() == ["250 of 1000", "500 of 1000", "750 of 1000", "1000 of 1000"]


@pytest.mark.parametrize("out", [Terminal(), io.StringIO()])
def test_nothing_shown_leaves_no_line(out: io.StringIO) -> None:
    with ProgressLine(out):
        pass
    assert out.getvalue() == ""


def test_a_tally_adds_up() -> None:
    """Reports by worker and in all, totals over workers; the feeder's message is no worker's."""
    tally = Tally()
    for message in [
        [REPORT, b"a", b"2", b"80", b"10"],
        [REPORT, b"b", b"1", b"40", b"5"],
        [REPORT, b"a", b"1", b"20", b"1"],
        [SENT, b"4"],
        [TOTALS, b"egg", b"3", b"spam", b"1"],
        [TOTALS, b"egg", b"4"],
        [END],
    ]:
        tally.add(message)
    assert (tally.total.jobs, tally.total.size, tally.total.words) == (4, 140, 16)
    assert {name: share.jobs for name, share in tally.shares.items()} == {"a": 3, "b": 1}
    assert tally.words == {"egg": 7, "spam": 1}
    assert (tally.sent, tally.ended, tally.messages) == (4, 1, 6)


@pytest.mark.parametrize("message", [[b""], [b"hello", b"world"], [END, END], [SENT]])
def test_a_strange_message_is_no_result(message: list[bytes]) -> None:
    with pytest.raises(DemoError, match="no worker of this demo"):
        Tally().add(message)


def test_the_same_count_is_ok() -> None:
    out = io.StringIO()
    assert print_check(Counter("aab"), Counter("aba"), 0.5, out=out)
    assert out.getvalue() == "         OK  one process counts 3 words in 0.50 seconds, and they are the same\n"


def test_a_difference_is_told() -> None:
    """The largest first; a word that only one side has, too."""
    out = io.StringIO()
    assert not print_check(Counter(a=5, b=2, c=1), Counter(a=5, b=3, d=1200), 0.5, out=out)
    title, *differences = out.getvalue().splitlines()
    assert "DIFFERENT" in title
    assert [" ".join(line.split()) for line in differences] == [
        "-1,200 d: 0 by workers, 1,200 alone",
        "-1 b: 2 by workers, 3 alone",
        "+1 c: 1 by workers, 0 alone",
    ]
