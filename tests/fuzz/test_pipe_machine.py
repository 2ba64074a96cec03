"""Pipes, and calls that wait in line, beside naive models: what each call back and each wake promises.

Held: promise 1 (first come, first served; who was handed its result returns it even if cancelled in that tick), and the
contracts of `Pipe` (each side that left word is called once, libzmq's low-water mark included).
"""

from __future__ import annotations

import math
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trimq._pace import Pace
from trimq._pipe import Pipe
from trimq._remote import FilteredPipe, Intake
from trimq._util import Bell, Waiter, park, until

items = st.integers(0, 9)


class PipeMachine(RuleBasedStateMachine):
    """`Pipe` and `FilteredPipe` beside a list."""

    @initialize(hwm=st.sampled_from([1, 2, 3, 7, 8, math.inf]), filtered=st.booleans())
    def begin(self, hwm: float, filtered: bool) -> None:
        """Which of the two."""
        self.unwanted: set[int] = set()
        self.filtered = filtered
        if filtered:
            self.pipe: Any = FilteredPipe(hwm, self.wanted, lambda values: [one for one in values if self.wanted(one)])
        else:
            self.pipe = Pipe(hwm)
        self.hwm = hwm
        self.queue: list[int] = []
        self.held: list[int] = []
        self.passed = 0
        self.ended = False
        self.calls = {"readable": 0, "writable": 0, "passed": 0}
        self.expected = dict(self.calls)
        self.reader_asks = self.writer_asks = False
        self.hook()

    def hook(self) -> None:
        """Counts the calls."""
        self.pipe.on_readable = lambda: self.call("readable")
        self.pipe.on_writable = lambda: self.call("writable")
        self.pipe.on_passed = lambda: self.call("passed")

    def call(self, what: str) -> None:
        self.calls[what] += 1

    def wanted(self, item: int) -> bool:
        return not self.filtered or item not in self.unwanted

    def wake_reader(self) -> None:
        self.expected["readable"] += self.reader_asks
        self.reader_asks = False

    def wake_writer(self) -> None:
        if self.writer_asks and 2 * (len(self.queue) + len(self.held)) <= self.hwm:
            self.expected["writable"] += 1
            self.writer_asks = False

    @rule(item=items, first=st.booleans())
    def put(self, item: int, first: bool) -> None:
        """One, at the end or before all that waits."""
        (self.pipe.put_first if first else self.pipe.put)(item)
        if self.wanted(item):
            self.queue.insert(0 if first else len(self.queue), item)
            self.passed -= first
            self.wake_reader()

    @rule(some=st.lists(items, max_size=4))
    def put_many(self, some: list[int]) -> None:
        """Several; if none of them is wanted, nobody is woken for them."""
        self.pipe.put_many(some)
        self.queue += [item for item in some if self.wanted(item)]
        if self.queue:
            self.wake_reader()

    @rule(limit=st.integers(1, 5))
    def hold(self, limit: int) -> None:
        """A batch is taken out, and counts as queued."""
        assert self.pipe.hold(limit) == self.queue[:limit]
        self.held += self.queue[:limit]
        del self.queue[:limit]

    @rule()
    def taken(self) -> None:
        """It is dealt with."""
        self.passed += len(self.held)
        self.held = []
        self.pipe.taken()
        self.wake_writer()
        self.expected["passed"] += 1

    @rule()
    def clear(self) -> None:
        """All of it is dropped, and counted."""
        count = len(self.queue) + len(self.held)
        assert self.pipe.clear() == count
        self.passed += count
        self.queue, self.held = [], []
        self.wake_writer()
        self.expected["passed"] += 1

    @rule(limit=st.integers(1, 5))
    def room_beside_a_batch(self, limit: int) -> None:
        """A writer waits, a batch is held, and the filter lets all the rest go."""
        self.writer_asks_to_be_called()
        self.hold(limit)
        self.refilter(set(range(10)))

    @rule()
    def reader_asks_to_be_called(self) -> None:
        """As a reader does that found nothing."""
        if not self.queue:
            self.pipe.reader_waits = self.reader_asks = True

    @rule()
    def writer_asks_to_be_called(self) -> None:
        """As a writer does that found no room."""
        if len(self.queue) + len(self.held) >= self.hwm:
            self.pipe.writer_waits = self.writer_asks = True

    @rule(how=st.sampled_from(["nudge", "end", "release", "leave"]))
    def wake(self, how: str) -> None:
        """Without anything put or taken."""
        getattr(self.pipe, how)()
        if how in ("nudge", "end"):
            self.ended = self.ended or how == "end"
            self.wake_reader()
        elif how == "release":
            self.expected["writable"] += self.writer_asks
            self.writer_asks = False
        else:
            self.reader_asks = False
            self.hook()  # the next reader

    @rule(unwanted=st.sets(items, max_size=6))
    def refilter(self, unwanted: set[int]) -> None:
        """What is no longer wanted is taken out, and may make room."""
        if not self.filtered:
            return
        self.unwanted = unwanted
        left = [item for item in self.queue if item not in unwanted]
        gone, self.queue = len(self.queue) - len(left), left
        self.pipe.refilter()
        if gone:
            self.wake_writer()

    @invariant()
    def same(self) -> None:
        """What it holds, says, and whom it has called how often."""
        if not hasattr(self, "pipe"):
            return
        pipe = self.pipe
        count = len(self.queue) + len(self.held)
        assert list(pipe.queue) == self.queue
        assert len(pipe) == count
        assert pipe.room == (1 << 30 if self.hwm == math.inf else self.hwm - count)
        assert (pipe.passed, pipe.ended) == (self.passed, self.ended)
        assert self.calls == self.expected
        assert (pipe.reader_waits, pipe.writer_waits) == (self.reader_asks, self.writer_asks)


TestPipe = PipeMachine.TestCase
TestPipe.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.lists(st.one_of(items, st.lists(items, max_size=4), st.tuples(items))))
def test_intake(puts: list[Any]) -> None:
    """Whatever way an item is put, it is dealt with at once, in order, and nothing is kept."""
    got: list[int] = []
    intake = Intake(got.append)
    expected: list[int] = []
    for put in puts:
        match put:
            case list():
                intake.put_many(put)
                expected += put
            case tuple():
                intake.put_first(put[0])
                expected += put
            case _:
                intake.put(put)
                expected.append(put)
        assert got == expected
        assert len(intake) == 0
        assert intake.room > 0


steps = st.lists(st.tuples(st.sampled_from(["serve", "cancel", "fail", "tick"]), st.integers(0, 4)), max_size=16)


@settings(max_examples=80)
@given(st.integers(1, 5), steps)
def test_a_line(callers: int, plan: list[tuple[str, int]]) -> None:
    """Any mixture of handing out, cancelling and failing, in one tick or in several: a model decides who has what."""
    outcome: dict[int, str] = {}
    expected: dict[int, str] = {}

    async def call(number: int, scope: trio.CancelScope, line: dict[Waiter, None], pace: Pace) -> None:
        with scope:
            try:
                outcome[number] = await park(Waiter(number, pace), line, lambda: left.append(number))
            except LookupError:
                outcome[number] = "failed"
        if scope.cancelled_caught:
            outcome[number] = "cancelled"

    left: list[int] = []

    async def main() -> None:
        line: dict[Waiter, None] = {}
        pace = Pace()
        scopes = [trio.CancelScope() for _ in range(callers)]
        waiting: list[int] = []
        failed: set[int] = set()
        async with trio.open_nursery() as nursery:
            for number in range(callers):
                nursery.start_soon(call, number, scopes[number], line, pace)
                await trio.testing.wait_all_tasks_blocked()
                waiting.append(number)
            for what, number in [*plan, *(("cancel", number) for number in range(callers))]:
                assert [waiter.want for waiter in line] == waiting
                if what == "tick":
                    await trio.testing.wait_all_tasks_blocked()
                    failed.clear()
                elif what == "cancel" and number < callers:
                    scopes[number].cancel()
                    if number in waiting:
                        waiting.remove(number)
                        expected[number] = "cancelled"
                    elif number in failed:
                        expected[number] = "cancelled"  # an error yields to a cancellation
                elif what in ("serve", "fail") and line:
                    waiter = next(iter(line))
                    del line[waiter]
                    assert waiter.want == waiting.pop(0)
                    if what == "serve":
                        waiter.serve(f"item {number}")
                        expected[waiter.want] = f"item {number}"
                    else:
                        waiter.fail(LookupError())
                        failed.add(waiter.want)
                        expected[waiter.want] = "failed"
        assert pace.waking == 0
        assert line == {}

    trio.run(main)
    assert outcome == expected
    assert all(expected[number] == "cancelled" for number in left)
    assert len(left) == len(set(left))


levels = st.lists(
    st.tuples(st.sampled_from(["ring", "raise", "lower", "cancel", "tick"]), st.integers(0, 3)), max_size=16
)


@settings(max_examples=60)
@given(levels)
def test_until_is_true_when_it_returns(plan: list[tuple[str, int]]) -> None:
    """Several bells, rung at any time, together and for nothing: nobody returns while the level is low, nobody sleeps
    through a high one, and a cancelled wait leaves no trace in any bell.
    """

    async def main() -> None:
        bells = [Bell(), Bell()]
        pace = Pace()
        level = False
        done: list[int] = []

        async def wait(number: int) -> None:
            with scopes[number]:
                assert await until(lambda: level, *bells, pace=pace) is True
                assert level  # still so
                done.append(number)

        scopes = [trio.CancelScope() for _ in range(4)]
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
            cancelled: set[int] = set()
            for what, number in [*plan, ("raise", 0)]:
                if done:
                    break
                match what:
                    case "ring":
                        bells[number % 2].ring()
                    case "cancel":
                        scopes[number].cancel()
                        cancelled.add(number)
                    case "tick":
                        await trio.testing.wait_all_tasks_blocked()
                    case _:
                        level = what == "raise"
                        bells[number % 2].ring()
                        if level and number < 2:
                            await trio.testing.wait_all_tasks_blocked()
            level = True
            bells[0].ring()
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(done + list(cancelled - set(done))) == [0, 1, 2, 3]
        assert all(not bell._sleepers for bell in bells)

    trio.run(main)
