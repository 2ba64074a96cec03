"""The cancellation harness: it finds what loses messages, says where, and refuses what does not repeat."""

from __future__ import annotations

import importlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trimq
import trimq._sockets._flow as flow
from trimq.testing import Trial, cancel_everywhere

Receive = Callable[[trimq.Pull], Awaitable[bytes]]


async def sound(pull: trimq.Pull) -> bytes:
    return (await pull.receive())[0]


async def loses_after_waiting(pull: trimq.Pull) -> bytes:
    """A schedule point between taking a message and returning it, as a call must not have."""
    [frame] = await pull.receive()
    await trio.lowlevel.checkpoint()
    return frame


async def loses_what_it_looked_at(pull: trimq.Pull) -> bytes:
    """It looks for a cancellation, without yielding, when it has its message already."""
    [frame] = await pull.receive()
    await trio.lowlevel.checkpoint_if_cancelled()
    return frame


async def loses_when_cancelled_first(pull: trimq.Pull) -> bytes:
    """It takes what is there before it looks whether it was cancelled."""
    try:
        frame = pull.receive_nowait()[0]
    except trio.WouldBlock:
        return await sound(pull)
    await trio.lowlevel.checkpoint_if_cancelled()
    return frame


def receives(receive: Receive, address: str = "inproc://a") -> Callable[[Trial], Awaitable[None]]:
    """Five messages: two are there, the others come while they are waited for."""

    async def scenario(trial: Trial) -> None:
        push, pull = trial.context.socket(trimq.Push), trial.context.socket(trimq.Pull)
        push.connect(pull.bind(address))
        sent = [b"%d" % n for n in range(5)]
        got: list[bytes] = []

        async def send_more() -> None:
            for message in sent[2:]:
                await trio.sleep(1)
                await push.send(message)

        for message in sent[:2]:
            await push.send(message)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_more)
            with trial.cancelling():
                for _ in sent:
                    got.append(await receive(pull))
        while len(got) < len(sent):
            with trio.fail_after(10):
                got.append(await sound(pull))
        assert got == sent

    return scenario


@pytest.mark.parametrize("address", ["inproc://a", "tcp://a:1"])
def test_nothing_is_found_where_nothing_is_wrong(address: str) -> None:
    assert cancel_everywhere(receives(sound, address)) >= 10
    assert cancel_everywhere(receives(sound, address), meanwhile=True) > cancel_everywhere(receives(sound, address))


@pytest.mark.parametrize("receive", [loses_after_waiting, loses_what_it_looked_at, loses_when_cancelled_first])
def test_what_loses_is_found(receive: Receive) -> None:
    """The moment is told, where the block stood, what was raised, and what repeats just that moment."""
    with pytest.raises(
        AssertionError, match=r"cancelled at moment (\d+) of \d+ \((waiting|woken|as it begins)"
    ) as found:
        cancel_everywhere(receives(receive))
    assert isinstance(found.value.__cause__, trio.TooSlowError)
    text = str(found.value)
    assert "TooSlowError" in text
    assert "test_cancellation.py:" in text
    number = int(text.partition("only=")[2].partition(")")[0])
    with pytest.raises(AssertionError, match=rf"cancelled at moment {number} \("):
        cancel_everywhere(receives(receive), only=number)
    if number > 1:
        assert cancel_everywhere(receives(receive), only=number - 1) == 1


def test_the_place_is_the_users() -> None:
    """A failure names the line of whoever wrote the scenario, and the call of trimq below it."""

    async def scenario(trial: Trial) -> None:
        pull = trial.context.socket(trimq.Pull)
        with trial.cancelling() as scope, trio.move_on_after(1):
            await sound(pull)
        assert not scope.cancelled_caught

    with pytest.raises(AssertionError, match=r"\(waiting, at test_cancellation.py:\d+, in sound, in Receiving.receive"):
        cancel_everywhere(scenario, only=3)


def test_the_arguments_that_repeat_are_told() -> None:
    async def scenario(trial: Trial) -> None:
        with trial.cancelling() as scope:
            await trio.sleep(1)
        assert not scope.cancelled_caught

    with pytest.raises(AssertionError, match=r"only=1, meanwhile=True, seed=7\)"):
        cancel_everywhere(scenario, meanwhile=True, seed=7)


def test_every_moment_is_tried_once() -> None:
    """Both ways at each checkpoint: while the task waits, and when it has been woken; and before the first."""
    caught: list[tuple[int, bool]] = []

    async def scenario(trial: Trial) -> None:
        steps, event = 0, trio.Event()

        async def wake() -> None:
            await wait_all_tasks_blocked()
            event.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake)
            with trial.cancelling() as scope:
                await trio.lowlevel.cancel_shielded_checkpoint()  # yields: one moment, when it is woken
                steps += 1
                await event.wait()  # waits: two moments
                steps += 1
        caught.append((steps, scope.cancelled_caught))

    assert cancel_everywhere(scenario) == 4
    assert caught == [(2, False), (2, False), (1, True), (1, True), (1, True), (2, False)]


def test_only_the_block_is_cancelled() -> None:
    """Tasks of the block are cancelled with it; helpers started before live on; the count is of the block's tasks."""
    ended: list[str] = []

    async def scenario(trial: Trial) -> None:
        async def helper() -> None:
            await trio.sleep(100)
            ended.append("helper")

        async def child() -> None:
            try:
                await trio.sleep(50)
            except trio.Cancelled:
                ended.append("child")
                raise

        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            with trial.cancelling() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(child)
            assert not scope.cancelled_caught or trio.current_time() < 100

    total = cancel_everywhere(scenario)
    assert ended.count("helper") == total + 2
    assert 0 < ended.count("child") < total


def test_runs_do_not_meet() -> None:
    """Each run has a network, a context and a clock of its own; chance is the same, and afterwards as it was."""
    seen: list[tuple[float, float]] = []

    async def scenario(trial: Trial) -> None:
        pull = trial.context.socket(trimq.Pull)
        pull.bind("tcp://a:1")
        with trial.cancelling():
            await trio.sleep(1)
        seen.append((random.random(), trio.current_time()))

    random.seed(3)
    first = random.random()
    random.seed(3)
    total = cancel_everywhere(scenario)
    assert random.random() == first
    assert len(seen) == total + 2
    assert len({chance for chance, _ in seen}) == 1
    assert {time for _, time in seen} == {0.0, 1.0}


@pytest.mark.parametrize("seed", range(6))
def test_the_seed_is_the_order(seed: int) -> None:
    """One seed is one order of the tasks in a tick, run after run."""
    orders: set[tuple[int, ...]] = set()

    async def scenario(trial: Trial) -> None:
        order: list[int] = []

        async def note(n: int) -> None:
            order.append(n)

        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(note, n)
        with trial.cancelling():
            await trio.lowlevel.checkpoint()
        orders.add(tuple(order))

    cancel_everywhere(scenario, seed=seed)
    assert len(orders) == 1
    _orders.update(orders)
    if seed == 5:
        assert len(_orders) > 1


_orders: set[tuple[int, ...]] = set()


def test_what_does_not_repeat_is_refused() -> None:
    runs = 0

    async def scenario(trial: Trial) -> None:
        nonlocal runs
        runs += 1
        with trial.cancelling():
            for _ in range(runs):
                await trio.lowlevel.checkpoint()

    with pytest.raises(RuntimeError, match="does not repeat: its block has 2 moments in one run and 3 in another"):
        cancel_everywhere(scenario)


def test_a_moment_that_does_not_come_again_is_refused() -> None:
    runs = 0

    async def scenario(trial: Trial) -> None:
        nonlocal runs
        runs += 1
        with trial.cancelling():
            for _ in range(3 if runs < 5 else 1):
                await trio.lowlevel.checkpoint()

    with pytest.raises(RuntimeError, match="moment 3 of 4 did not come again"):
        cancel_everywhere(scenario)


def test_a_scenario_that_fails_by_itself() -> None:
    """Without a cancellation, that is what is told."""

    async def scenario(trial: Trial) -> None:
        with trial.cancelling():
            await trio.lowlevel.checkpoint()
        raise KeyError("mine")

    with pytest.raises(AssertionError, match="without any cancellation") as found:
        cancel_everywhere(scenario)
    assert isinstance(found.value.__cause__, KeyError)


def test_a_scenario_that_hangs_fails() -> None:
    """In the mock clock's time, and it says at which moment."""

    async def scenario(trial: Trial) -> None:
        with trial.cancelling() as scope:
            await trio.sleep(1)
        if scope.cancelled_caught:
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match="moment 1 of") as found:
        cancel_everywhere(scenario)
    assert isinstance(found.value.__cause__, trio.TooSlowError)


def test_ways_to_end_a_test_are_not_failures() -> None:
    """KeyboardInterrupt and what test frameworks raise pass as they are, and say at which moment it was."""

    async def scenario(trial: Trial) -> None:
        with trial.cancelling() as scope:
            await trio.lowlevel.checkpoint()
        if scope.cancelled_caught:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        cancel_everywhere(scenario)
    assert any("moment 1 of 2" in note for note in caught.value.__notes__)


def test_one_block() -> None:
    async def none(trial: Trial) -> None:
        await wait_all_tasks_blocked()

    async def two(trial: Trial) -> None:
        for _ in range(2):
            with trial.cancelling():
                await trio.lowlevel.checkpoint()

    async def broken(trial: Trial) -> None:
        raise LookupError

    with pytest.raises(RuntimeError, match="with trial.cancelling"):
        cancel_everywhere(none)
    with pytest.raises(AssertionError, match="entered twice"):
        cancel_everywhere(two)
    with pytest.raises(LookupError):
        cancel_everywhere(broken)


@pytest.mark.parametrize("only", [0, -1, 999])
def test_there_is_no_such_moment(only: int) -> None:
    with pytest.raises(ValueError, match=f"no moment {only}"):
        cancel_everywhere(receives(sound), only=only)


def test_options_are_the_contexts() -> None:
    options: list[Any] = []

    async def scenario(trial: Trial) -> None:
        pull = trial.context.socket(trimq.Pull)
        options.append((pull.receive_hwm, pull.linger))
        with trial.cancelling():
            await trio.lowlevel.checkpoint()

    cancel_everywhere(scenario, receive_hwm=7, linger=0.0)
    assert set(options) == {(7, 0.0)}


def test_the_checkpoints_of_programs() -> None:
    """With checkpoints="amortised" only what waits is a checkpoint, and what loses messages there is found as well."""
    assert cancel_everywhere(receives(sound), checkpoints="amortised") < cancel_everywhere(receives(sound))
    with pytest.raises(AssertionError, match=r'only=\d+, checkpoints="amortised"\)'):
        cancel_everywhere(receives(loses_after_waiting), checkpoints="amortised")


@pytest.mark.parametrize("name", ["_r", "_ALLOW_DETERMINISTIC_SCHEDULING"])
def test_a_trio_that_cannot_repeat(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A future trio without the switch that runs need to repeat is told as that, before anything runs."""
    monkeypatch.delattr(f"trio._core._run.{name}")

    async def scenario(trial: Trial) -> None:
        raise AssertionError("nothing runs")

    with pytest.raises(RuntimeError, match=f"trio {trio.__version__}, whose run loop has no {name}: use"):
        cancel_everywhere(scenario)


def test_all_is_as_before() -> None:
    """What was switched to make runs repeat is switched back, also after a failure."""
    scheduler: Any = importlib.import_module("trio._core._run")
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate(), flow.perf_counter

    async def scenario(trial: Trial) -> None:
        with trial.cancelling():
            raise KeyError

    with pytest.raises(AssertionError):
        cancel_everywhere(scenario)
    assert before == (scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate(), flow.perf_counter)
