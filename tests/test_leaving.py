"""Leaving: close, aclose, linger, flush and the block's end (design 1, promise 3)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq.testing import MemoryTransport

NOBODY = "tcp://nobody:1"


@pytest.fixture
def network() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "trimq")


async def queued(context: trimq.Context, n: int = 3, address: str = NOBODY, **options: Any) -> trimq.Push:
    """A Push with this many messages for somebody who is not there."""
    push = context.socket(trimq.Push, **options)
    push.connect(address)
    await push.send_many([b"%d" % i for i in range(n)])
    return push


async def collect(network: MemoryTransport, address: str, n: int, *, after: float = 0) -> list[list[bytes]]:
    """Binds a Pull in a context of its own, after a while, and receives so many, unless they never come."""
    await trio.sleep(after)
    got: list[list[bytes]] = []
    async with trimq.open_context(transports=[network]) as context:
        pull = context.socket(trimq.Pull)
        pull.bind(address)
        with trio.move_on_after(1000):
            while len(got) < n:
                got.append(await pull.receive())
    return got


async def test_nothing_queued_nothing_waited_for(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: a normal exit waits only where something is queued, connected or not."""
    async with trimq.open_context(transports=[network]) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(NOBODY)
        push.connect(pull.bind("tcp://here:1"))
        context.socket(trimq.Sub).connect(NOBODY)
        context.socket(trimq.Push).connect("inproc://nobody")
        await push.wait_for_peers(1)
    assert trio.current_time() == 0
    assert caplog.text == ""


async def test_linger_0(network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """linger=0: dropped at once when the block is left, and it says how much, and for whom."""
    async with trimq.open_context(transports=[network]) as context:
        await queued(context, 3, linger=0.0)
    assert trio.current_time() == 0
    assert caplog.messages == [f"Push: 3 unsent messages for {NOBODY} were dropped"]


async def test_linger_finite(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A finite linger: each socket has its own, counted from its close; the rest is dropped, and it says how much."""
    async with trimq.open_context(transports=[network]) as context:
        await queued(context, 1, linger=0.25)
        early = await queued(context, 2, linger=3.0)
        early.close()
        await trio.sleep(2.5)
        await queued(context, 4, linger=0.75)
    assert trio.current_time() == pytest.approx(3.25, abs=0.01)
    dropped = [text for text in caplog.messages if "dropped" in text]
    assert [text.split()[1] for text in dropped] == ["1", "2", "4"]


@pytest.mark.parametrize("linger", [math.inf, 60.0])
async def test_a_peer_that_comes_late(linger: float, network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: what is queued lingers in the context, for a peer that is not there yet; leaving ends once it is written."""
    got: list[list[bytes]] = []

    async def late() -> None:
        got.extend(await collect(network, NOBODY, 3, after=30))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        async with trimq.open_context(transports=[network]) as context:
            await queued(context, 3, linger=linger)
    assert got == [[b"0"], [b"1"], [b"2"]]
    assert 30 <= trio.current_time() < 40


async def test_the_warning_names_what_it_waits_for(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: by default it waits for ever, with a warning after a second that names what it waits for."""
    with trio.move_on_after(0.9):
        async with trimq.open_context(transports=[network]) as context:
            await queued(context, 3)
    assert not any("waits" in text for text in caplog.messages)
    caplog.clear()
    with trio.move_on_after(10_000):
        async with trimq.open_context(transports=[network]) as context:
            await queued(context, 3)
            (await queued(context, 5, "tcp://other:1")).close()
    [warning] = [text for text in caplog.messages if "waits" in text]
    assert f"3 of a Push for {NOBODY}" in warning
    assert "5 of a Push for tcp://other:1" in warning
    assert trio.current_time() == pytest.approx(10_000.9)


async def test_a_cancel_scope_ends_it(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: any cancel scope ends the waiting; what is left is dropped, and it says how much."""
    with trio.move_on_after(0.5) as scope:
        async with trimq.open_context(transports=[network]) as context:
            await queued(context, 2)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(0.5)
    assert caplog.messages == [f"Push: 2 unsent messages for {NOBODY} were dropped"]


@pytest.mark.parametrize("how", ["error", "cancelled"])
@pytest.mark.parametrize("closed", [False, True])
async def test_exit_by_an_exception_drops(
    how: str,
    closed: bool,
    network: MemoryTransport,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise 3: an exit by an exception or a cancellation drops at once what is unsent, and says how much."""
    with trio.CancelScope() as scope:
        try:
            async with trimq.open_context(transports=[network]) as context:
                push = await queued(context, 4)
                joined = await queued(context, 2, "inproc://nobody")
                if closed:
                    push.close()
                    joined.close()
                if how == "error":
                    raise KeyError
                scope.cancel()
                await trio.sleep_forever()
        except KeyError:
            pass
    assert trio.current_time() == 0
    assert sorted(caplog.messages) == [
        "Push: 2 unsent messages for inproc://nobody were dropped",
        f"Push: 4 unsent messages for {NOBODY} were dropped",
    ]


async def test_an_exit_by_eterm_is_normal(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Promise 2: a ContextTerminated of this context counts as a normal exit: what is queued lingers."""
    got: list[list[bytes]] = []

    async def late() -> None:
        got.extend(await collect(network, NOBODY, 1, after=2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        async with trimq.open_context(transports=[network]) as context:
            push = await queued(context, 1)
            context.shutdown()
            await push.send(b"too late")
    assert got == [[b"0"]]


async def test_after_shutdown_sockets_can_be_closed(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: after shutdown(), close and aclose still work and raise no ContextTerminated; what is queued lingers."""
    got: list[list[bytes]] = []

    async def late() -> None:
        got.extend(await collect(network, NOBODY, 1, after=2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        async with trimq.open_context(transports=[network]) as context:
            one, other = await queued(context, 1), await queued(context, 1, linger=0.5)
            context.shutdown()
            one.close()
            await other.aclose()
            assert trio.current_time() == pytest.approx(0.5)
            await one.aclose()
    assert got == [[b"0"]]


async def test_a_shielded_clean_up(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: in a cancelled body, a clean-up that shields on purpose can still connect, send and flush."""
    got: list[list[bytes]] = []

    async def late() -> None:
        got.extend(await collect(network, "tcp://late:1", 2, after=5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        with trio.CancelScope() as scope:
            async with trimq.open_context(transports=[network]) as context:
                push = context.socket(trimq.Push)
                push.connect("tcp://late:1")
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await push.send(b"good")
                        await push.send(b"bye")
                        await push.flush()
                        assert trio.current_time() >= 5
        assert scope.cancelled_caught
    assert got == [[b"good"], [b"bye"]]
    assert caplog.text == ""


async def test_a_peer_that_reads_nothing(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: a peer that is there but reads nothing holds up as far as linger goes, and no further."""
    network = MemoryTransport(buffer=64)
    async with trimq.open_context(transports=[network]) as far:
        pull = far.socket(trimq.Pull, receive_hwm=1)
        pull.bind("tcp://slow:1")
        async with trimq.open_context(transports=[network]) as context:
            push = context.socket(trimq.Push, linger=7.0)
            push.connect("tcp://slow:1")
            await push.send_many([b"-" * 100] * 10)
        assert trio.current_time() == pytest.approx(7)
    # All are in the one write that the peer holds up (promise 6 calls that in doubt).
    assert [text for text in caplog.messages if "10 messages are in doubt" in text]


async def test_an_accepted_peer_is_waited_for_too(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: what is queued for a peer that connected to us lingers as well."""
    network = MemoryTransport(buffer=64)
    async with trimq.open_context(transports=[network]) as far:
        pull = far.socket(trimq.Pull, receive_hwm=1)
        pull.connect("tcp://near:1")
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                await trio.sleep(5)
                assert [await pull.receive() for _ in range(10)] == [[b"-" * 100]] * 10

            nursery.start_soon(read)
            async with trimq.open_context(transports=[network]) as context:
                push = context.socket(trimq.Push)
                push.bind("tcp://near:1")
                await push.send_many([b"-" * 100] * 10)
            assert 5 <= trio.current_time() < 6


async def test_lingering_outlives_a_loss(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """A closed socket's dialer connects again after a loss while something lingers."""
    got: list[list[bytes]] = []
    network = MemoryTransport(buffer=64)
    async with trimq.open_context(transports=[network]) as far:
        pull = far.socket(trimq.Pull, receive_hwm=1)
        pull.bind("tcp://slow:1")
        async with trio.open_nursery() as nursery:

            async def cut_then_read() -> None:
                await trio.sleep(5)
                assert network.drop_all() == 1
                with trio.move_on_after(60):
                    while True:
                        got.append(await pull.receive())

            nursery.start_soon(cut_then_read)
            async with trimq.open_context(transports=[network]) as context:
                push = context.socket(trimq.Push)
                push.connect("tcp://slow:1")
                await push.send_many([b"%d" % i + b"-" * 100 for i in range(2000)])
            assert 5 <= trio.current_time() < 6
    assert got[-1] == [b"1999" + b"-" * 100]  # the last batch came through, in order
    numbers = [int(message.partition(b"-")[0]) for [message] in got]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("kind", [trimq.Sub, trimq.XSub])
async def test_subscribers_do_not_linger(kind: Any, network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Promise 3: linger is 0 by default for SUB and XSUB, also in a context without a default of its own."""
    async with trimq.open_context(transports=[network]) as context:
        sub = context.socket(kind)
        assert sub.linger == 0
        sub.connect(NOBODY)
        sub.subscribe(b"")
        if kind is trimq.XSub:
            await sub.send(b"upstream")
    assert trio.current_time() == 0


@pytest.mark.parametrize("closed", [False, True])
async def test_inproc_cannot_be_bound_any_more(
    closed: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: what waits for an inproc name that nobody can bind any more is not waited for, and said to be dropped."""
    async with trimq.open_context() as context:
        push = await queued(context, 2, "inproc://never")
        if closed:
            push.close()
    assert trio.current_time() == 0
    assert caplog.messages == ["Push: 2 unsent messages for inproc://never were dropped"]


async def test_inproc_lingers_for_a_binder(autojump_clock: MockClock) -> None:
    """Design 1: what a closed socket has queued for an inproc name waits for its binder, as long as linger says."""
    async with trimq.open_context() as context:
        (await queued(context, 2, "inproc://late", linger=5.0)).close()
        (await queued(context, 1, "inproc://late", linger=1.0)).close()
        await trio.sleep(3)
        pull = context.socket(trimq.Pull)
        pull.bind("inproc://late")
        assert pull.peers == ()  # who came only to deliver is gone
        assert [await pull.receive() for _ in range(2)] == [[b"0"], [b"1"]]
        with trio.move_on_after(10) as scope:
            await pull.receive()
        assert scope.cancelled_caught


async def test_leaving_with_a_full_inbox(autojump_clock: MockClock) -> None:
    """A socket that is closed reads on, so that its peer can go on and the goodbye be answered; nothing of it is kept."""
    network = MemoryTransport(buffer=64)
    async with trimq.open_context(transports=[network], linger=0.0) as context:
        near, far = context.socket(trimq.Dealer, receive_hwm=1, linger=math.inf), context.socket(trimq.Dealer)
        near.connect(far.bind("tcp://far:1"))
        await near.wait_for_peers(1)
        await far.send_many([b"-" * 100] * 50)
        await near.wait_receivable()
        await wait_all_tasks_blocked()  # its reader waits for room
        await near.send(b"bye")
        await near.aclose()
        assert trio.current_time() < 0.1
        assert await far.receive() == [b"bye"]


# close and aclose


async def test_close_frees_the_address_at_once(tmp_path: Path) -> None:
    """Design 1: close() frees the socket's addresses synchronously, in memory, tcp, ipc and inproc."""
    network = MemoryTransport("mem")
    async with trimq.open_context(transports=[network]) as context:
        for address in ("mem://a:1", "tcp://127.0.0.1:*", f"ipc://{tmp_path}/a", "inproc://a"):
            one = context.socket(trimq.Pull)
            bound = str(one.bind(address))
            with pytest.raises(trimq.AddressInUse):
                context.socket(trimq.Pull).bind(bound)
            one.close()
            context.socket(trimq.Pull).bind(bound)


@pytest.mark.parametrize("aclose", [False, True])
async def test_closing_is_idempotent(aclose: bool, network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: close and aclose may be called again, in any state, before and after the context's end."""
    async with trimq.open_context(transports=[network]) as context:
        push = context.socket(trimq.Push)
        endpoint = push.connect(NOBODY)
        for _ in range(3):
            await push.aclose() if aclose else push.close()
            assert endpoint.state is trimq.EndpointState.CLOSED
        context.shutdown()
        await push.aclose() if aclose else push.close()
    await push.aclose() if aclose else push.close()


async def test_aclose_waits(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: aclose waits until what is queued is written."""
    async with trimq.open_context(transports=[network]) as context, trio.open_nursery() as nursery:
        push = await queued(context, 3)

        async def late() -> None:
            assert await collect(network, NOBODY, 3, after=5) == [[b"0"], [b"1"], [b"2"]]

        nursery.start_soon(late)
        await push.aclose()
        assert 5 <= trio.current_time() < 10
        assert context._sockets == {}


async def test_aclose_waits_up_to_linger(
    network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Design 1: and no longer than linger; what is left is dropped, and it says how much."""
    async with trimq.open_context(transports=[network]) as context:
        push = await queued(context, 3, linger=2.0)
        await push.aclose()
        assert trio.current_time() == pytest.approx(2)
        assert caplog.messages == [f"Push: 3 unsent messages for {NOBODY} were dropped"]


@pytest.mark.parametrize("when", ["before", "while"])
async def test_aclose_cancelled(
    when: str, network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Design 1: cancelled, aclose drops the rest, logs how much, and raises Cancelled; the socket is closed."""
    async with trimq.open_context(transports=[network]) as context:
        push = await queued(context, 3)
        with trio.move_on_after(1) as scope:
            if when == "before":
                scope.cancel()
            await push.aclose()
        assert scope.cancelled_caught
        with pytest.raises(trimq.SocketClosed):
            push.send_nowait(b"")
    assert caplog.messages == [f"Push: 3 unsent messages for {NOBODY} were dropped"]
    assert trio.current_time() <= 1


async def test_aclose_by_several_tasks(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Several tasks may wait in aclose; one that is cancelled drops for all, and the others return."""
    returned = 0
    async with trimq.open_context(transports=[network]) as context, trio.open_nursery() as nursery:
        push = await queued(context, 3)

        async def close() -> None:
            nonlocal returned
            await push.aclose()
            returned += 1

        nursery.start_soon(close)
        nursery.start_soon(close)
        await wait_all_tasks_blocked()
        assert returned == 0
        with trio.move_on_after(1):
            await push.aclose()
        await wait_all_tasks_blocked()
        assert returned == 2


async def test_async_with_a_socket(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: a socket is an async context manager; leaving its block normally is aclose."""
    async with trimq.open_context(transports=[network]) as context:
        async with context.socket(trimq.Push, linger=2.0) as push:
            push.connect(NOBODY)
            await push.send(b"never")
        assert trio.current_time() == pytest.approx(2)
        with pytest.raises(trimq.SocketClosed):
            await push.send(b"")


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_async_with_a_socket_by_an_exception(
    how: str, network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Design 1: leaving its block by an exception or Cancelled drops at once, and the exception goes on as it is."""
    mine = KeyError("mine")
    async with trimq.open_context(transports=[network]) as context:
        with trio.CancelScope() as scope:
            try:
                async with context.socket(trimq.Push) as push:
                    push.connect(NOBODY)
                    await push.send(b"never")
                    if how == "error":
                        raise mine
                    scope.cancel()
                    await trio.sleep_forever()
            except KeyError as error:
                assert error is mine  # noqa: PT017 - the very same object
    assert trio.current_time() == 0
    assert caplog.messages == [f"Push: 1 unsent messages for {NOBODY} were dropped"]


@pytest.mark.parametrize("grouped", [False, True])
async def test_async_with_a_socket_by_eterm(
    grouped: bool, network: MemoryTransport, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promises 2 and 3: the context's normal end passes through a socket's block, alone or in groups: nothing is dropped."""
    got: list[list[bytes]] = []

    async def late() -> None:
        got.extend(await collect(network, NOBODY, 1, after=0.5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        async with (
            trimq.open_context(transports=[network]) as context,
            context.socket(trimq.Pull) as pull,
            context.socket(trimq.Push) as push,
        ):
            push.connect(NOBODY)
            await push.send(b"goodbye")
            context.shutdown()
            if not grouped:
                await pull.receive()
            async with trio.open_nursery() as inner:
                inner.start_soon(pull.receive)
    assert got == [[b"goodbye"]]
    assert "dropped" not in caplog.text


# flush


async def test_flush_waits_until_written(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """Design 1: flush waits until all that was sent before it is written; not for what is sent after."""
    async with trimq.open_context(transports=[network], linger=0.0) as context, trio.open_nursery() as nursery:
        push = await queued(context, 3)
        flushed = False

        async def flush() -> None:
            nonlocal flushed
            await push.flush()
            flushed = True

        nursery.start_soon(flush)
        await trio.sleep(5)
        assert not flushed
        pull = context.socket(trimq.Pull)
        pull.bind(NOBODY)
        with trio.move_on_after(20):
            while True:  # sends go on: they are none of that flush's business
                await push.send(b"later")
                await trio.sleep(0.1)
                if flushed:
                    return
        raise AssertionError("flush waits for what was sent after it")


async def test_flush_of_nothing_and_of_inproc() -> None:
    """For inproc, flush waits until it is in the peer's queue."""
    async with trimq.open_context() as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        with trio.fail_after(1):
            await push.flush()
            endpoint = push.connect("inproc://a")
            await push.send(b"1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push.flush)
                await wait_all_tasks_blocked()
                assert nursery.child_tasks
                pull.bind("inproc://a")
            await push.send(b"2")
            await push.flush()
        assert endpoint.state is trimq.EndpointState.READY
        assert [await pull.receive(), await pull.receive()] == [[b"1"], [b"2"]]


@pytest.mark.parametrize(
    "end", [lambda endpoint, network: endpoint.close(), lambda endpoint, network: network.drop_all()]
)
async def test_flush_ends_with_the_peer(
    end: Callable[[trimq.Endpoint, MemoryTransport], object],
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is dropped with its peer is nothing to wait for any more."""
    network = MemoryTransport(buffer=64)
    async with trimq.open_context(transports=[network], linger=0.0) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull, receive_hwm=1)
        endpoint = push.bind("tcp://here:1")
        pull.connect(endpoint)
        await push.wait_for_peers(1)
        await push.send_many([b"-" * 100] * 10)
        with trio.move_on_after(10) as scope:
            await push.flush()
        assert scope.cancelled_caught  # the peer reads nothing
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.flush)
            await wait_all_tasks_blocked()
            end(endpoint, network)
    assert "10 messages are in doubt" in caplog.text


async def test_flush_counts_what_was_there(network: MemoryTransport, autojump_clock: MockClock) -> None:
    """A probe that goes before what waits does not stand for one of the messages that flush waits for."""
    async with trimq.open_context(transports=[network], linger=0.0) as context, trio.open_nursery() as nursery:
        dealer = context.socket(trimq.Dealer, probe_router=True)
        dealer.connect("tcp://a:1")
        for number in range(64):
            dealer.send_nowait(b"%d" % number)
        left: list[int] = []

        async def flush() -> None:
            await dealer.flush()
            left.extend(len(remote.outbox) for remote in dealer._remotes)

        nursery.start_soon(flush)
        await wait_all_tasks_blocked()
        context.socket(trimq.Router).bind("tcp://a:1")
    assert left == [0]
