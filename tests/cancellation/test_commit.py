"""The commit point: what a cancellation, a hand-over and a queue of waiters may not get wrong (promise 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from cancellation.scenes import MINE, RECEIVE, SEND, Make, cases, scene_context
from cancellation.test_ends import Caller, pending
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq

Joined = tuple[Any, Any]


async def push_pull(context: trimq.Context, address: str, *, hwm: int = 1) -> tuple[trimq.Push, trimq.Pull]:
    push, pull = context.socket(trimq.Push, send_hwm=hwm), context.socket(trimq.Pull, receive_hwm=hwm)
    push.connect(pull.bind(address))
    await push.wait_for_peers(1)
    return push, pull


every_address = pytest.mark.parametrize("address", ["inproc://a", "tcp://a:1"])


# Cancellation and hand-over in one tick


def _arrive(pull: trimq.Pull, messages: list[bytes]) -> None:
    """What a link's reader does when these have arrived, in this tick."""
    [remote] = pull._remotes
    remote.inbox.put_many(messages)


@every_address
@pytest.mark.parametrize("many", [False, True])
async def test_handed_then_cancelled(many: bool, address: str, autojump_clock: MockClock) -> None:
    """A receive that was handed its message returns it, even if it is cancelled in that tick."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        _, pull = await push_pull(context, address)
        scope = trio.CancelScope()
        got: list[Any] = []

        async def receive() -> None:
            with scope:
                got.append(await (pull.receive_many() if many else pull.receive()))
                got.append("returned")
                await trio.lowlevel.checkpoint()
                got.append("went on")

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        _arrive(pull, [MINE])
        scope.cancel()
        await wait_all_tasks_blocked()
        assert got == [[[MINE]] if many else [MINE], "returned"]
        assert scope.cancelled_caught


@every_address
@pytest.mark.parametrize("many", [False, True])
async def test_cancelled_then_arrived(many: bool, address: str, autojump_clock: MockClock) -> None:
    """A receive that is cancelled before the message arrives takes nothing, though all is in one tick."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        _, pull = await push_pull(context, address)
        scope = trio.CancelScope()

        async def receive() -> None:
            with scope:
                await (pull.receive_many() if many else pull.receive())
                raise AssertionError("it was cancelled first")

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        scope.cancel()
        _arrive(pull, [MINE])
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert pull.receive_nowait() == [MINE]


@pytest.mark.parametrize("room_first", [True, False])
@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer, trimq.Pair])
async def test_room_and_cancellation_in_one_tick(kind: Any, room_first: bool, autojump_clock: MockClock) -> None:
    """A send that was given room has queued and returns; one that was cancelled first has queued nothing."""
    peer_kind: Any = {trimq.Push: trimq.Pull}.get(kind, kind)
    async with scene_context() as context, trio.open_nursery() as nursery:
        socket, peer = context.socket(kind, send_hwm=1), context.socket(peer_kind, receive_hwm=1)
        socket.connect(peer.bind("inproc://a"))
        socket.send_nowait(b"1")
        socket.send_nowait(b"2")
        scope = trio.CancelScope()
        returned = False

        async def send() -> None:
            nonlocal returned
            with scope:
                await socket.send(MINE)
                returned = True

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        if not room_first:
            scope.cancel()
        taken = [peer.receive_nowait() for _ in range(2)]
        scope.cancel()
        await wait_all_tasks_blocked()
        assert taken == [[b"1"], [b"2"]]
        assert returned is room_first
        if room_first:
            assert peer.receive_nowait() == [MINE]
        with pytest.raises(trio.WouldBlock):
            peer.receive_nowait()


@pytest.mark.parametrize("end", ["close", "shutdown"])
async def test_handed_then_ended(end: str, autojump_clock: MockClock) -> None:
    """A call that was handed its result returns it also if the socket or the context ends in that tick."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = await push_pull(context, "inproc://a")
        got: list[Any] = []

        async def receive() -> None:
            got.append(await pull.receive())

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        push.send_nowait(MINE)
        if end == "close":
            pull.close()
        else:
            context.shutdown()
        await wait_all_tasks_blocked()
        assert got == [[MINE]]


# First come, first served


@every_address
@pytest.mark.parametrize("calls", ["receive", "receive_many", "mixed"])
async def test_receivers_are_served_in_order(calls: str, address: str, autojump_clock: MockClock) -> None:
    """First come, first served, nobody overtakes, also where some are cancelled and others come later."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = await push_pull(context, address, hwm=100)
        got: dict[int, bytes] = {}
        scopes: list[trio.CancelScope] = []

        async def receive(n: int, scope: trio.CancelScope) -> None:
            with scope:
                if calls == "receive" or (calls == "mixed" and n % 2):
                    [got[n]] = await pull.receive()
                else:
                    [[got[n]]] = await pull.receive_many(1)

        for n in range(10):
            scopes.append(trio.CancelScope())
            nursery.start_soon(receive, n, scopes[n])
            await wait_all_tasks_blocked()
        for n in (0, 4, 9):
            scopes[n].cancel()
        for n in range(5):
            await push.send(b"%d" % n)
        with pytest.raises(trio.WouldBlock):
            pull.receive_nowait()  # those in line come first, though they have not run yet
        await wait_all_tasks_blocked()
        assert got == {1: b"0", 2: b"1", 3: b"2", 5: b"3", 6: b"4"}
        nursery.cancel_scope.cancel()


@every_address
async def test_senders_are_served_in_order(address: str, autojump_clock: MockClock) -> None:
    """The same for room; send_nowait does not overtake who waits, nor does a send that comes just as room does."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = context.socket(trimq.Push, send_hwm=2), context.socket(trimq.Pull, receive_hwm=2)
        push.connect(address)
        push.send_nowait(b"a")
        push.send_nowait(b"b")
        scopes: list[trio.CancelScope] = []

        async def send(n: int, scope: trio.CancelScope) -> None:
            with scope:
                if n == 2:
                    await push.send_many([b"2", b"2."])
                else:
                    await push.send(b"%d" % n)

        for n in range(6):
            scopes.append(trio.CancelScope())
            nursery.start_soon(send, n, scopes[n])
            await wait_all_tasks_blocked()
        for n in (0, 4):
            scopes[n].cancel()
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"pushy")
        pull.bind(address)
        got: list[bytes] = []
        for _ in range(4 + 3):
            got += await pull.receive()
        # Others may come between the messages of a send_many, so its second one stands anywhere behind its first.
        got.remove(b"2.")
        assert got == [b"a", b"b", b"1", b"2", b"3", b"5"]


@pytest.mark.parametrize("call", ["send", "send_many", "send_nowait"])
async def test_nobody_overtakes_a_send_many(call: str, autojump_clock: MockClock) -> None:
    """A send_many whose turn has come, but that has not run yet, is before whoever comes in between."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = await push_pull(context, "inproc://a", hwm=2)
        for _ in range(4):
            push.send_nowait(b"full")
        nursery.start_soon(push.send_many, [b"1", b"2"])
        await wait_all_tasks_blocked()
        context._pace.slice.due = math.inf  # what follows is in one tick
        got = [pull.receive_nowait() for _ in range(4)]
        if call == "send_nowait":
            with pytest.raises(trio.WouldBlock):
                push.send_nowait(b"3")
            nursery.start_soon(push.send, b"3")
        elif call == "send":
            await push.send(b"3")
        else:
            await push.send_many([b"3"])
        got += [await pull.receive() for _ in range(3)]
        assert got == [[b"full"]] * 4 + [[b"1"], [b"2"], [b"3"]]


async def test_as_many_waiters_as_there_is_work(autojump_clock: MockClock) -> None:
    """Whoever brings messages hands them to as many as there are for, in one go; the rest stays in the queue."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        _, pull = await push_pull(context, "tcp://a:1", hwm=100)
        got: list[Any] = []

        async def receive(most: int) -> None:
            got.append(await (pull.receive_many(most) if most else pull.receive()))

        for most in (0, 3, 0, 2):
            nursery.start_soon(receive, most)
            await wait_all_tasks_blocked()
        _arrive(pull, [b"%d" % n for n in range(9)])
        assert not pull._receivers
        assert pull.receive_nowait() == [b"7"]
        await wait_all_tasks_blocked()
        assert sorted(got, key=str) == sorted(
            [[b"0"], [[b"1"], [b"2"], [b"3"]], [b"4"], [[b"5"], [b"6"]]],
            key=str,
        )


@pytest.mark.parametrize("kind", [trimq.Req, trimq.Rep])
@pytest.mark.parametrize("call", ["receive", "receive_many"])
async def test_one_at_a_time(kind: Any, call: str, autojump_clock: MockClock) -> None:
    """Promise 1: on Req and Rep a second concurrent receive raises trio.BusyResourceError; the first is not harmed."""
    name = f"{kind.__name__}.{call}"
    make, address = cases({name: RECEIVE[name]})[f"{name}-inproc"]
    async with scene_context() as context, trio.open_nursery() as nursery:
        scene = await make(context, address)
        first = await pending(nursery, scene)
        for other in (scene.socket.receive, scene.socket.receive_many):
            with pytest.raises(trio.BusyResourceError):
                await other()
        first.scope.cancel()
        await wait_all_tasks_blocked()
        second = await pending(nursery, scene)
        await scene.unblock()
        await wait_all_tasks_blocked()
        assert second.result[-1] == MINE


# send_many and its iterator


class Counting(Iterator[bytes]):
    """An iterator that knows how many were taken from it."""

    def __init__(self, total: int) -> None:
        self.taken = 0
        self.total = total

    def __next__(self) -> bytes:
        if self.taken == self.total:
            raise StopIteration
        self.taken += 1
        return b"%d" % (self.taken - 1)


@every_address
@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer, trimq.Pair, trimq.Pub, trimq.XPub])
async def test_send_many_took_what_it_queued(kind: Any, address: str, autojump_clock: MockClock) -> None:
    """Promise 1: a cancelled send_many took from its iterator exactly what it queued: going on loses and doubles none."""
    publishes = kind in (trimq.Pub, trimq.XPub)
    options: dict[str, Any] = {"nodrop": True} if publishes else {}
    peer_kind: Any = {trimq.Push: trimq.Pull, trimq.Pub: trimq.Sub, trimq.XPub: trimq.Sub}.get(kind, kind)
    async with scene_context() as context:
        socket, peer = context.socket(kind, send_hwm=3, **options), context.socket(peer_kind, receive_hwm=3)
        socket.connect(peer.bind(address))
        if publishes:
            peer.subscribe(b"")
            await socket.wait_for_subscribers(1, b"")
        values = Counting(200)
        got: list[list[bytes]] = []
        cancelled = 0
        while values.taken < values.total:
            with trio.move_on_after(1) as scope:
                await socket.send_many(values)
            cancelled += scope.cancelled_caught
            taken = values.taken
            for _ in range(5):
                with trio.move_on_after(1):
                    got.append(await peer.receive())
            assert values.taken == taken  # nobody takes behind our back
        while len(got) < values.total:
            got.append(await peer.receive())
        assert cancelled >= 10
        assert got == [[b"%d" % n] for n in range(200)]


async def test_send_many_by_many(autojump_clock: MockClock) -> None:
    """Several send_many take turns; each one's order is kept, none is lost, none comes twice."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = await push_pull(context, "inproc://a", hwm=2)
        for name in range(5):
            nursery.start_soon(push.send_many, [b"%d.%d" % (name, n) for n in range(50)])
        got = [(await pull.receive())[0] for _ in range(250)]
        for name in range(5):
            mine = [frame for frame in got if frame.startswith(b"%d." % name)]
            assert mine == [b"%d.%d" % (name, n) for n in range(50)]


async def test_send_many_of_what_is_no_message(autojump_clock: MockClock) -> None:
    """What came before a value that is no message is queued; others that wait are served."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = await push_pull(context, "inproc://a", hwm=2)
        values = iter([b"1", b"2", "three", b"4"])
        with pytest.raises(TypeError, match="str"):
            await push.send_many(values)  # type: ignore[arg-type]  # that is the point
        assert next(values) == b"4"
        for _ in range(2):
            await push.send(b"full")
        nursery.start_soon(push.send, b"waits")
        await wait_all_tasks_blocked()
        assert [(await pull.receive())[0] for _ in range(5)] == [b"1", b"2", b"full", b"full", b"waits"]


async def test_send_many_whose_iterator_fails(autojump_clock: MockClock) -> None:
    """An error of the iterator is the caller's; what it gave before is queued, and who waits behind is served."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push, pull = await push_pull(context, "inproc://a", hwm=2)

        def values() -> Iterator[bytes]:
            yield b"1"
            raise KeyError

        await push.send_many([b"0"] * 4)

        async def failing() -> None:
            with pytest.raises(KeyError):
                await push.send_many(values())

        nursery.start_soon(failing)
        await wait_all_tasks_blocked()
        nursery.start_soon(push.send, b"2")
        await wait_all_tasks_blocked()
        assert [(await pull.receive())[0] for _ in range(6)] == [b"0"] * 4 + [b"1", b"2"]


# Waits for a level


async def test_wait_sendable_is_not_forgotten(autojump_clock: MockClock) -> None:
    """A wait for room behind a send_many that leaves room over is woken, whoever runs first in the tick."""
    for _ in range(10):
        async with scene_context() as context, trio.open_nursery() as nursery:
            push, pull = await push_pull(context, "inproc://a", hwm=2)
            for _ in range(4):
                push.send_nowait(b"x")
            nursery.start_soon(push.send_many, [b"y"])
            await wait_all_tasks_blocked()
            nursery.start_soon(push.wait_sendable)
            await wait_all_tasks_blocked()
            for _ in range(3):
                pull.receive_nowait()


async def test_wait_sendable_after_a_cancelled_send(autojump_clock: MockClock) -> None:
    """A Router's sender for one full peer gives up: there is room for others, and who waits for that is told."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        router = context.socket(trimq.Router, mandatory=True, send_hwm=1)
        router.connect("inproc://a", routing_id=b"a")
        router.send_nowait([b"a", b"1"])
        scope = trio.CancelScope()

        async def send() -> None:
            with scope:
                await router.send([b"a", b"2"])

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        nursery.start_soon(router.wait_sendable)
        await wait_all_tasks_blocked()
        router.connect("inproc://b", routing_id=b"b")
        scope.cancel()


async def test_router_peers_have_lines_of_their_own(autojump_clock: MockClock) -> None:
    """Nobody waits for room at one peer behind those who wait for room at another; each peer's line is in order."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        router = context.socket(trimq.Router, mandatory=True, send_hwm=1)
        for name in (b"a", b"b"):
            router.connect("inproc://" + name.decode(), routing_id=name)
            router.send_nowait([name, b"0"])
            for n in (1, 2, 3):
                nursery.start_soon(router.send, [name, b"%d" % n])
                await wait_all_tasks_blocked()
        b = context.socket(trimq.Dealer)
        b.bind("inproc://b")
        assert [await b.receive() for _ in range(4)] == [[b"%d" % n] for n in range(4)]
        assert len(router._senders) == 3
        await router.send([b"b", b"more"])
        assert await b.receive() == [b"more"]
        a = context.socket(trimq.Dealer)
        a.bind("inproc://a")
        assert [await a.receive() for _ in range(4)] == [[b"%d" % n] for n in range(4)]


# Each call again, cancelled at every possible moment


_moments = cases(RECEIVE, SEND)


@pytest.mark.parametrize(("make", "address"), _moments.values(), ids=list(_moments))
async def test_cancelled_at_every_tick(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Promise 1, whatever the tick: over many tries, what is sent arrives once, or was cancelled and never does."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        scene = await make(context, address)
        unblocked = trio.Event()

        async def unblock() -> None:
            await scene.unblock()
            unblocked.set()

        nursery.start_soon(unblock)
        done = 0
        for ticks in range(12):
            caller = Caller(scene)
            nursery.start_soon(caller.run)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            caller.scope.cancel()
            await wait_all_tasks_blocked()
            assert caller.ended
            assert caller.cancelled or caller.error is None
            done += not caller.cancelled
            if not scene.sends and caller.result is not None:
                assert caller.result[-1] == MINE
                break
            if scene.sends and done:
                break
        if not scene.sends and not done:
            assert (await scene.call())[-1] == MINE  # it was not lost in all those tries
        if scene.sends:
            await unblocked.wait()  # the peer has taken all there was
            assert b"".join(scene.got).count(MINE) == done
        nursery.cancel_scope.cancel()
