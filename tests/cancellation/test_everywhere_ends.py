"""Every call that waits for peers, for what is sent to be written, or for an end, cancelled at every moment (promise 1).

As test_everywhere.py: docs/explanation/cancellation.rst has a row for each, with the test that proves it.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from cancellation.everywhere import (
    ALL,
    END,
    GROUP,
    PEERS,
    Reading,
    Two,
    body,
    every,
    everywhere,
    later,
    listening,
    make,
    message,
    number,
    schemes_of,
    two,
)
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq.testing import Trial

# Waiting for peers


@every(*ALL)
def test_wait_for_peers(kind: Any) -> None:
    """It changes nothing: the peer comes, and the wait made again sees it. Each pattern has an end that is bound here."""

    async def scenario(trial: Trial, address: str) -> None:
        socket, peer = make(trial.context, kind, hwm=1), make(trial.context, PEERS[kind], hwm=1)
        first, second = (socket.bind, peer.connect) if ALL.index(kind) % 2 else (socket.connect, peer.bind)
        first(address)

        async def come() -> None:
            await later()
            second(address)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            with trial.cancelling():
                await socket.wait_for_peers()
        with trio.fail_after(10):
            await socket.wait_for_peers()
        assert [info.socket_type for info in socket.peers] == ["" if kind is trimq.Stream else PEERS[kind].socket_type]

    everywhere(scenario, schemes=schemes_of(kind))


@every(trimq.Pub, trimq.XPub)
def test_wait_for_subscribers(kind: Any) -> None:
    """It changes nothing: the subscription comes, and what is then published arrives."""

    async def scenario(trial: Trial, address: str) -> None:
        socket, peer = make(trial.context, kind, hwm=1), trial.context.socket(trimq.Sub)
        peer.connect(socket.bind(address))

        async def come() -> None:
            await later()
            peer.subscribe(b"1")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            with trial.cancelling():
                await socket.wait_for_subscribers(1, b"1")
        with trio.fail_after(10):
            await socket.wait_for_subscribers(1, b"1")
            await socket.send(message(END))
            assert number(await peer.receive()) == END

    everywhere(scenario)


@every(trimq.Radio)
def test_wait_for_members(kind: Any) -> None:
    """It changes nothing: the Dish joins, and what is then sent arrives."""

    async def scenario(trial: Trial, address: str) -> None:
        socket, peer = make(trial.context, kind, hwm=1), trial.context.socket(trimq.Dish)
        peer.connect(socket.bind(address))

        async def come() -> None:
            await later()
            peer.join(GROUP)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            with trial.cancelling():
                await socket.wait_for_members(1, GROUP)
        with trio.fail_after(10):
            await socket.wait_for_members(1, GROUP)
            await socket.send(trimq.GroupMessage(GROUP, body(END)))
            assert number(await peer.receive()) == END

    everywhere(scenario)


@every(trimq.Dish)
def test_wait_joined(kind: Any) -> None:
    """It changes nothing: the joining reaches the peer, and the wait made again says so."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, hwm=10)
        pair.socket.leave(GROUP)
        pair.socket.join(b"another")
        message = trimq.GroupMessage(b"another", b"heard")
        with trial.cancelling():
            assert await pair.socket.wait_joined()
            pair.peer.send_nowait(message)
        with trio.fail_after(10):
            assert await pair.socket.wait_joined()
            await pair.peer.send(message)
            assert await pair.socket.receive() == message

    everywhere(scenario)


@every(trimq.Sub, trimq.XSub)
def test_wait_subscribed(kind: Any) -> None:
    """It changes nothing: the subscription reaches the peer, and the wait made again says so."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, hwm=10)
        pair.socket.unsubscribe(b"")
        pair.socket.subscribe(b"%d" % END)
        with trial.cancelling():
            assert await pair.socket.wait_subscribed()
            pair.peer.send_nowait(message(END))
        with trio.fail_after(10):
            assert await pair.socket.wait_subscribed()
            await pair.peer.send(message(END))
            assert number(await pair.socket.receive()) == END

    everywhere(scenario)


@pytest.mark.parametrize("call", ["receive", "async_for"])
def test_events(call: str) -> None:
    """No event is taken but those that were returned: what is left comes next."""

    async def scenario(trial: Trial, address: str) -> None:
        pull, push = trial.context.socket(trimq.Pull), trial.context.socket(trimq.Push)

        async def connect() -> None:
            await later()
            push.connect(pull.bind(address))
            await later()
            push.close()
            await later()
            pull.close()

        async with pull.events() as events, pull.events() as witness, trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            got: list[Any] = []
            with trial.cancelling(), pytest.raises(trimq.SocketClosed):
                while call == "receive":
                    got.append(await events.receive())
                async for event in events:
                    got.append(event)
            with trio.fail_after(10), pytest.raises(trimq.SocketClosed):
                while True:
                    got.append(await events.receive())
            with pytest.raises(trimq.SocketClosed):
                while True:
                    seen = witness.receive_nowait()
                    assert got.pop(0) == seen
            assert not got

    everywhere(scenario, schemes="tcp")


@pytest.mark.parametrize("call", ["aclose", "async_with"])
def test_events_end(call: str) -> None:
    """The stream is closed, cancelled or not; the socket goes on."""

    async def scenario(trial: Trial, address: str) -> None:
        pull, push = trial.context.socket(trimq.Pull), trial.context.socket(trimq.Push)
        push.connect(pull.bind(address))
        stream = pull.events()
        entered = call == "aclose"
        with trial.cancelling():
            if call == "aclose":
                await stream.aclose()
            else:
                async with stream:
                    entered = True
                    await push.send(message(1))
                    await push.flush()
        if entered:
            with pytest.raises(trio.ClosedResourceError):
                stream.receive_nowait()
        await push.send(message(END))
        while number(await pull.receive()) != END:
            pass

    everywhere(scenario)


@pytest.mark.parametrize("bound", [False, True], ids=["connected", "bound"])
def test_ready(bound: bool) -> None:
    """Endpoint.ready leaves all as it is: the connection is made, and what is sent arrives."""

    async def scenario(trial: Trial, address: str) -> None:
        push, pull = trial.context.socket(trimq.Push), trial.context.socket(trimq.Pull)
        endpoint = pull.bind(address) if bound else push.connect(address)

        async def come() -> None:
            await later()
            if bound:
                push.connect(endpoint)
            else:
                pull.bind(address)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            with trial.cancelling():
                await endpoint.ready()
        with trio.fail_after(20):
            await endpoint.ready()
            assert endpoint.state is trimq.EndpointState.READY
            await push.send(message(END))
            assert number(await pull.receive()) == END

    everywhere(scenario)


# What is written, and what is dropped


async def queue_some(pair: Two, sent: list[int]) -> None:
    """Sends what the type can send without waiting for its peer, and notes the numbers of what is queued."""
    socket = pair.socket
    if not hasattr(socket, "send"):
        return
    in_turn = isinstance(socket, (trimq.Req, trimq.Rep))
    socket.send_hwm = 1 if in_turn else 10  # the peer's mark is 1: it takes them slowly
    if isinstance(socket, trimq.Rep):
        await pair.peer.send(message(0))
        await socket.receive()
    for n in range(1 if in_turn else 3):
        await socket.send(pair.there(n))
        sent.append(n)


async def collect(socket: Any, into: list[int]) -> None:
    """Receives slowly, in a task of its own that lives on, until nothing more comes."""
    reading = Reading(socket)
    while hasattr(socket, "receive"):
        await later()
        try:
            with trio.move_on_after(100) as scope:
                received = await socket.receive()
        except trimq.StateError:
            return  # a Req that was never made to ask
        if scope.cancelled_caught:
            return
        if not isinstance(received, list) or received[-1][:1] not in (b"\0", b"\1"):  # a subscription, or its end
            into.extend(reading.numbers(received))
        if isinstance(socket, (trimq.Req, trimq.Rep)):
            return  # it would be its turn to send


@every(*ALL)
def test_flush(kind: Any) -> None:
    """What is queued stays queued, and arrives, whatever becomes of the flush; one that returned has seen it written."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        got: list[int] = []
        sent: list[int] = []
        await queue_some(pair, sent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, pair.peer, got)
            with trial.cancelling() as scope:
                await pair.socket.flush()
            if not scope.cancelled_caught:
                pair.socket.linger = 0.0
                pair.socket.close()  # what is written needs no linger
        assert got == sent
        if scope.cancelled_caught:
            with trio.fail_after(10):
                await pair.socket.flush()

    everywhere(scenario, schemes=schemes_of(kind))


@every(trimq.Push)
def test_flush_without_a_peer(kind: Any) -> None:
    """It waits for the peer to come; cancelled, what is queued waits on."""

    async def scenario(trial: Trial, address: str) -> None:
        push, pull = make(trial.context, kind, hwm=3), make(trial.context, trimq.Pull, hwm=3)
        push.connect(address)
        await push.send_many([message(n) for n in range(3)])
        got: list[int] = []

        async def come() -> None:
            await later()
            pull.bind(address)
            await collect(pull, got)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            with trial.cancelling():
                await push.flush()
                assert pull.endpoints
        assert got == [0, 1, 2]

    everywhere(scenario)


async def is_closed(context: trimq.Context, socket: Any, address: str, *, bound: bool) -> None:
    """It is closed, nothing of it is left, and its address is free."""
    with pytest.raises(trimq.SocketClosed):
        await socket.wait_for_peers()
    await wait_all_tasks_blocked()
    assert socket not in context._sockets
    assert socket._carriers == 0
    if bound:
        make(context, type(socket), hwm=1).bind(address)


@pytest.mark.parametrize("binds", [False, True], ids=["connected", "bound"])
@every(*ALL)
def test_aclose(kind: Any, binds: bool) -> None:
    """The socket is closed in any case. What arrives is whole and in order; of the rest the log says how much it was."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, binds=binds)
        got: list[int] = []
        sent: list[int] = []
        await queue_some(pair, sent)
        with listening(kind) as told:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, pair.peer, got)
                with trial.cancelling() as scope:
                    await pair.socket.aclose()
                await is_closed(trial.context, pair.socket, address, bound=binds)
                await pair.socket.aclose()  # idempotent
        if hasattr(pair.peer, "receive"):
            assert told.explains(sent, got)
            assert scope.cancelled_caught or got == sent or not pair.socket.linger

    everywhere(scenario, schemes=schemes_of(kind))


@every(*ALL)
def test_async_with(kind: Any) -> None:
    """Leaving a socket's block by Cancelled closes it and drops at once, and says how much; nothing is torn, or left."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        got: list[int] = []
        sent: list[int] = []
        entered = False
        with listening(kind) as told:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, pair.peer, got)
                with trial.cancelling() as scope:
                    async with pair.socket:
                        entered = True
                        await queue_some(pair, sent)
                        await later()
                if entered:
                    await is_closed(trial.context, pair.socket, address, bound=False)
        if hasattr(pair.peer, "receive"):
            assert told.explains(sent, got)
            assert scope.cancelled_caught or got == sent or not pair.socket.linger

    everywhere(scenario, schemes=schemes_of(kind))


def tasks(context: trimq.Context) -> int:
    """How many there are in the run, but for this context's heart, which comes with its first connection."""
    found = 0
    left = [trio.lowlevel.current_root_task()]
    while left:
        task = left.pop()
        assert task is not None
        found += 1
        for nursery in task.child_nurseries:
            left.extend(nursery.child_tasks)
    return found - context._heart._runs


def test_open_context() -> None:
    """Entering or leaving a context, cancelled: no task and no socket of it is left; what was not written is told."""

    async def scenario(trial: Trial, address: str) -> None:
        network = trial.context._transports["tcp"]
        pull = trial.context.socket(trimq.Pull, receive_hwm=1)
        pull.bind(address)
        contexts: list[trimq.Context] = []
        sent: list[int] = []
        got: list[int] = []
        before = tasks(trial.context)
        with listening(trimq.Push) as told:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, pull, got)
                with trial.cancelling() as scope:
                    async with trimq.open_context(transports=[network], checkpoints="every") as context:
                        contexts.append(context)
                        context.socket(trimq.Rep).bind("tcp://b:1")
                        push = context.socket(trimq.Push)
                        push.connect(address)
                        for n in range(3):
                            await push.send(message(n))
                            sent.append(n)
                await wait_all_tasks_blocked()
                for context in contexts:
                    assert not context._sockets
                    with pytest.raises(trimq.ContextTerminated):
                        context.socket(trimq.Pull)
                async with trial.context.socket(trimq.Rep) as free:
                    free.bind("tcp://b:1")
        assert told.explains(sent, got)
        assert scope.cancelled_caught or got == [0, 1, 2]
        assert tasks(trial.context) == before

    everywhere(scenario, schemes="tcp")


def test_open_context_inproc() -> None:
    """The same where messages wait for an inproc name that nobody binds: they linger, and a cancellation ends that."""

    async def scenario(trial: Trial, address: str) -> None:
        sent: list[int] = []
        before = tasks(trial.context)
        with listening(trimq.Push) as told, trial.cancelling():
            async with trimq.open_context(checkpoints="every", linger=3.0) as context:
                push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
                push.connect(address.replace("a", "nobody"))
                for n in range(2):
                    await push.send(message(n))
                    sent.append(n)
                pair, other = context.socket(trimq.Pair), context.socket(trimq.Pair)
                pair.connect(other.bind(address))
                await pair.send(message(0))
                pull.bind(address.replace("a", "b"))
        await wait_all_tasks_blocked()
        assert told.explains(sent, [])
        assert not told.doubtful
        assert tasks(trial.context) == before

    everywhere(scenario, schemes="inproc")
