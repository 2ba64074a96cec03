"""What a PGM receiver knows of one sender, under any history: each packet is had once, in order, or told as lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from trimq._wire._pgm_events import Stream
from trimq._wire._pgm_window import ASK, KNOCK, Round, Timers, Window

SIZE = 12
SQNS = st.integers(-3, 40)
STEPS = st.lists(
    st.tuples(st.sampled_from(("data", "data", "data", "hold", "empty")), SQNS)
    | st.tuples(st.sampled_from(("lead", "trail")), SQNS)
    | st.tuples(st.just("confirm"), st.lists(SQNS, max_size=5))
    | st.tuples(st.just("wait"), st.sampled_from((0.01, 0.1, 0.3, 3.0)))
    | st.tuples(st.just("give up"), st.none()),
    max_size=60,
)


@given(st.sampled_from((0, 5, 2**31 - 4, 2**32 - 5)), STEPS)
@settings(max_examples=400)
def test_any_history(first: int, steps: list[tuple[str, object]]) -> None:
    """Had and lost are all that there is between the first packet and the next; what is held and missing is the rest."""
    timers, now = Timers(), 0.0
    window = Window(Stream(b"somebody", "10.0.0.1"), first, SIZE, timers, lambda: 0.5, math.inf, now)
    begin, had = window.next, set[int]()
    for what, argument in steps:
        if isinstance(argument, int):
            sqn = begin + argument
            if what == "data" and window.reaches(sqn):
                new = sqn >= window.next and sqn not in window._held
                assert window.data(sqn, b"%d" % sqn, now) == new
            elif what == "empty" and window.reaches(sqn):
                window.data(sqn, None, now)
            elif what == "hold" and window.ahead >= 0:
                assert window.ahead == (window.lead + 1) & 0xFFFFFFFF
                lead = window.lead
                if window.hold(b"%d" % (lead + 1), sqn & 0xFFFFFFFF):
                    assert window.lead == lead + 1
                    assert sqn <= window.next
            elif what == "lead" and window.reaches(sqn):
                window.there_is(sqn, now)
            elif what == "trail" and window.reaches(sqn):
                window.there_is_no_more(sqn, now)
                assert window.next >= sqn
        elif isinstance(argument, list):
            window.confirmed([begin + one for one in argument], now)
        elif isinstance(argument, float):
            now += argument
            while (ended := timers.pop(now)) is not None:
                if ended.kind == ASK:
                    window.asked(window.living(ended), now)
                else:
                    window.in_vain(ended, now)
        else:
            window.give_up_all()
        _check(window, begin, had, timers)


def _check(window: Window, begin: int, had: set[int], timers: Timers) -> None:
    numbers = [int(tsdu) for tsdu in window.fresh if tsdu is not None]
    window.fresh.clear()
    assert numbers == sorted(set(numbers))
    assert not had or not numbers or numbers[0] > max(had)
    had.update(numbers)
    held = [sqn for sqn, tsdu in window._held.items() if tsdu is None]
    assert (
        window.next - begin + len(held) == len(had) + window.lost
    )  # one that is lost is counted before its turn comes
    outstanding = set(range(window.next, window.lead + 1))
    assert len(outstanding) <= SIZE
    assert set(window._held) | set(window._missing) == outstanding
    assert not set(window._held) & set(window._missing)
    assert window.cost >= 0
    assert (window.cost == 0) == (not outstanding)
    if outstanding:
        assert window.next in window._missing
        assert window.expected == -1
        assert timers.next < math.inf  # somebody looks after what is missing
    else:
        assert window.expected == window.next & 0xFFFFFFFF
        assert window.ahead == -1


@pytest.mark.parametrize("distance", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_the_nearest_number(distance: int) -> None:
    """RFC 3208, 5.1.1: a number of 32 bits is the one half a round ahead or behind."""
    window = Window(Stream(b"somebody", "10.0.0.1"), 5, SIZE, Timers(), lambda: 0.5, math.inf, 0.0)
    assert window.absolute((window.next + distance) & 0xFFFFFFFF) == window.next + distance


def test_timers() -> None:
    """The earliest first; of the same time, in order."""
    timers = Timers()
    window = Window(Stream(b"somebody", "10.0.0.1"), 0, SIZE, timers, lambda: 0.5, math.inf, 0.0)
    rounds = [Round(window, KNOCK, ()) for _ in range(4)]
    assert timers.next == math.inf
    for when, one in zip((2.0, 1.0, 2.0, 3.0), rounds, strict=True):
        timers.add(when, one)
    assert timers.next == 1.0
    assert timers.pop(0.9) is None
    assert [timers.pop(2.0) for _ in range(4)] == [rounds[1], rounds[0], rounds[2], None]
    assert timers.next == 3.0
    timers.clear()
    assert timers.next == math.inf
