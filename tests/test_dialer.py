"""Dialers: connect, hold, connect again; what their endpoints tell meanwhile (design 1 and 2, zmq_connect(3))."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq import EndpointState
from trimq._options import Settings
from trimq.abc import Listener
from trimq.events import ConnectFailed, EventStream
from trimq.testing import MemoryTransport

NOBODY = "tcp://nobody:1"
GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


class Network(MemoryTransport):
    """Notes when it was dialled, and can stop on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[float] = []
        self.resolved: list[str] = []
        self.resolving: trio.Event | None = None
        self.connecting: trio.Event | None = None

    async def resolve(self, address: str, settings: Settings) -> Any:
        self.resolved.append(address)
        if self.resolving is not None:
            await self.resolving.wait()
        return await super().resolve(address, settings)

    async def connect(self, *args: Any, **options: Any) -> Any:
        self.attempts.append(trio.current_time())
        if self.connecting is not None:
            await self.connecting.wait()
        return await super().connect(*args, **options)

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.attempts, self.attempts[1:], strict=False)]

    def listen(self, address: str) -> Listener:
        """A listener without a socket behind it."""
        return self.bind(address.removeprefix("tcp://"), Settings())


@pytest.fixture
def network() -> Network:
    return Network()


@asynccontextmanager
async def opened(network: Network, **options: Any) -> AsyncIterator[trimq.Context]:
    with trio.fail_after(100_000):
        async with trimq.open_context(transports=[network], **{"linger": 0.0, **options}) as context:
            yield context


async def say(listener: Listener, data: bytes) -> None:
    """A peer that says this to whoever comes, and then nothing."""
    with suppress(trio.ClosedResourceError):  # of the listener
        while True:
            stream = await listener.accept()
            await stream.send_all(data)


async def failure(events: EventStream) -> OSError:
    """Why the next attempt failed."""
    async for event in events:
        if isinstance(event, ConnectFailed):
            assert isinstance(event.cause, OSError)
            return event.cause
    raise AssertionError("the events ended")


# Back-off


async def test_backs_off_with_jitter(network: Network, autojump_clock: MockClock) -> None:
    """Design 2: pauses between attempts double from reconnect_interval to reconnect_interval_max, with jitter."""
    async with opened(network) as context:
        endpoint = context.socket(trimq.Push).connect(NOBODY)
        await trio.sleep(60)
        assert endpoint.state is EndpointState.WAITING
        assert isinstance(endpoint.cause, ConnectionRefusedError)
        pauses = network.pauses()
        for n, pause in enumerate(pauses):
            longest = min(0.1 * 2**n, 5.0)
            assert longest / 2 - 1e-9 <= pause <= longest + 1e-9
        assert len(pauses) >= 15
        assert len({round(pause, 6) for pause in pauses[6:]}) > 1  # no two are alike
        assert network.resolved == ["nobody:1"] * len(network.attempts)  # resolved afresh each time


async def test_the_options_are_obeyed(network: Network, autojump_clock: MockClock) -> None:
    """ZMQ_RECONNECT_IVL and ZMQ_RECONNECT_IVL_MAX; a maximum below the first pause changes nothing about it."""
    async with opened(network) as context:
        context.socket(trimq.Push, reconnect_interval=2.0, reconnect_interval_max=1.0).connect(NOBODY)
        await trio.sleep(60)
        assert all(1 <= pause <= 2 for pause in network.pauses())
        assert len(network.attempts) > 25


async def test_starts_anew_after_a_connection(network: Network, autojump_clock: MockClock) -> None:
    """A loss after a connection that worked is answered at once, however long the pauses were before."""
    async with opened(network) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        endpoint = push.connect("tcp://late:1")
        await trio.sleep(60)
        pull.bind("tcp://late:1")
        await endpoint.ready()
        assert endpoint.cause is None
        for _ in range(3):
            before = trio.current_time()
            assert network.drop_all() == 1
            await wait_all_tasks_blocked()
            assert endpoint.state is EndpointState.WAITING
            assert endpoint.cause is not None
            await endpoint.ready()
            assert trio.current_time() - before <= 0.1


async def test_grows_after_handshake_failures(network: Network, autojump_clock: MockClock) -> None:
    """Design 2: after a handshake failure it goes on with back-off (libzmq gives up without a word)."""
    async with opened(network) as context, trio.open_nursery() as nursery:
        nursery.start_soon(say, network.listen("tcp://web:80"), GARBAGE)
        endpoint = context.socket(trimq.Push).connect("tcp://web:80")
        await trio.sleep(60)
        assert isinstance(endpoint.cause, trimq.ProtocolError)
        assert all(pause >= 2.5 for pause in network.pauses()[-5:])
        nursery.cancel_scope.cancel()


async def test_no_reconnects_wanted(network: Network, autojump_clock: MockClock) -> None:
    """reconnect_interval=math.inf: one attempt, then the endpoint is lost, with its cause; ready raises that."""
    async with opened(network) as context:
        push = context.socket(trimq.Push, reconnect_interval=math.inf)
        endpoint = push.connect(NOBODY)
        with pytest.raises(ConnectionRefusedError) as caught:
            await endpoint.ready()
        assert (endpoint.state, endpoint.cause) == (EndpointState.LOST, caught.value)
        with pytest.raises(ConnectionRefusedError):
            await endpoint.ready()
        assert push.endpoints == ()
        assert len(network.attempts) == 1
        pull = context.socket(trimq.Pull)
        pull.bind(NOBODY)
        again = push.connect(NOBODY)
        assert again is not endpoint
        await again.ready()


# What waits, and what does not


async def test_what_is_queued_outlives_losses(network: Network, autojump_clock: MockClock) -> None:
    """Design 3: a dialled peer's queue exists from connect on and survives reconnects; order is kept."""
    async with opened(network) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect("tcp://there:1")
        await push.send(b"0")
        await trio.sleep(10)
        pull.bind("tcp://there:1")
        for n in range(1, 5):
            await push.flush()
            assert await pull.receive() == [b"%d" % (n - 1)]
            network.drop_all()
            await wait_all_tasks_blocked()
            assert push.peers == ()
            await push.send(b"%d" % n)  # nobody is there
        assert await pull.receive() == [b"4"]


async def test_immediate_queues_for_nobody(network: Network, autojump_clock: MockClock) -> None:
    """ZMQ_IMMEDIATE: with it, messages queue only for peers that are there."""
    async with opened(network) as context:
        push, pull = context.socket(trimq.Push, immediate=True), context.socket(trimq.Pull)
        push.connect("tcp://there:1")
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"")
        pull.bind("tcp://there:1")
        await push.send(b"0")
        assert await pull.receive() == [b"0"]
        network.drop_all()
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"")
        await push.send(b"1")
        assert await pull.receive() == [b"1"]


@pytest.mark.parametrize("at", ["resolving", "connecting", "handshaking", "ready", "waiting"])
@pytest.mark.parametrize("how", ["endpoint", "disconnect", "socket"])
async def test_closed_on_the_way(at: str, how: str, network: Network, autojump_clock: MockClock) -> None:
    """Design 1: an endpoint tells how far it is, and can be closed anywhere: nothing stays, nobody dials again."""
    address = "tcp://there:1"
    network.resolving = trio.Event() if at == "resolving" else None
    network.connecting = trio.Event() if at == "connecting" else None
    async with opened(network, linger=math.inf) as context:
        push = context.socket(trimq.Push)
        if at == "ready":
            context.socket(trimq.Pull).bind(address)
        if at == "handshaking":
            network.listen(address)
        endpoint = push.connect(address)
        assert endpoint.state.value in ("resolving", "connecting")
        await wait_all_tasks_blocked()
        assert endpoint.state is EndpointState(at)
        assert push.endpoints == (endpoint,)
        if how == "endpoint":
            endpoint.close()
            endpoint.close()
        elif how == "disconnect":
            push.disconnect(address)
            with pytest.raises(trimq.InvalidEndpoint, match="not connected"):
                push.disconnect(address)
        else:
            push.close()
        assert endpoint.state is EndpointState.CLOSED
        assert push.endpoints == ()
        attempts = len(network.attempts)
        await trio.sleep(60)
        assert len(network.attempts) == attempts
        assert network.connections == ()
        assert endpoint.state is EndpointState.CLOSED
    assert trio.current_time() == 60


async def test_after_disconnect_nothing_goes_there(network: Network, autojump_clock: MockClock) -> None:
    """zmq_disconnect: what was queued lingers for the peer; what is sent later goes to the others."""
    async with opened(network, linger=math.inf) as context:
        push, one, other = context.socket(trimq.Push), context.socket(trimq.Pull), context.socket(trimq.Pull)
        endpoint = push.connect("tcp://one:1")
        await push.send(b"for one")
        push.disconnect(endpoint)
        push.connect(other.bind("tcp://other:1"))
        for n in range(10):
            await push.send(b"%d" % n)
        one.bind("tcp://one:1")
        assert await one.receive() == [b"for one"]
        assert [await other.receive() for _ in range(10)] == [[b"%d" % n] for n in range(10)]
        with trio.move_on_after(60) as scope:
            await one.receive()
        assert scope.cancelled_caught
        assert len(push.peers) == 1


async def test_after_disconnect_nothing_comes_from_there(autojump_clock: MockClock) -> None:
    """zmq_disconnect: what was received already can still be received; what comes while the rest lingers is discarded."""
    network = Network()
    network._buffer = 64
    async with opened(network, linger=math.inf) as context:
        near, far = context.socket(trimq.Dealer, linger=50.0), context.socket(trimq.Dealer, receive_hwm=1)
        endpoint = near.connect(far.bind("tcp://far:1"))
        await near.send_many([b"-" * 100] * 50)
        await far.send(b"before")
        await near.wait_receivable()
        endpoint.close()
        await far.send(b"after")
        await trio.sleep(10)
        assert near.receive_nowait() == [b"before"]
        with pytest.raises(trio.WouldBlock):
            near.receive_nowait()
        assert [await far.receive() for _ in range(50)] == [[b"-" * 100]] * 50
        far.linger = 0.0


# ready


async def test_ready_waits_through_refusals(network: Network, autojump_clock: MockClock) -> None:
    """Design 1: ready() waits through what may pass, and returns once there is a peer; in any number of tasks."""
    async with opened(network) as context, trio.open_nursery() as nursery:
        endpoint = context.socket(trimq.Push).connect("tcp://late:1")
        nursery.start_soon(endpoint.ready)
        nursery.start_soon(endpoint.ready)
        await trio.sleep(60)
        assert len(nursery.child_tasks) == 2
        assert endpoint.state is EndpointState.WAITING
        context.socket(trimq.Pull).bind("tcp://late:1")
        await endpoint.ready()
        assert endpoint.state is EndpointState.READY


@pytest.mark.parametrize("called", ["before", "after"])
async def test_ready_raises_a_handshake_failure(called: str, network: Network, autojump_clock: MockClock) -> None:
    """Design 1: ready() raises the cause of a handshake failure that is current at the call or comes since; it may pass."""
    async with opened(network) as context, trio.open_nursery() as nursery:
        nursery.start_soon(say, listener := network.listen("tcp://web:80"), GARBAGE)
        endpoint = context.socket(trimq.Push).connect("tcp://web:80")
        if called == "after":
            await trio.sleep(1)
        with pytest.raises(trimq.ProtocolError) as caught:
            await endpoint.ready()
        assert caught.value is endpoint.cause
        with pytest.raises(trimq.ProtocolError):
            await endpoint.ready()
        listener.close()
        context.socket(trimq.Pull).bind("tcp://web:80")
        with trio.fail_after(60):
            while endpoint.cause is not None:
                try:
                    await endpoint.ready()
                except trimq.ProtocolError:
                    await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def test_ready_over_tcp_with_a_stranger() -> None:
    """The same over real sockets: a web server says so at once, instead of a silence."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def greet(stream: trio.SocketStream) -> None:
            await stream.send_all(GARBAGE)
            async for _ in stream:
                pass

        nursery.start_soon(trio.serve_listeners, greet, [listener])
        port = listener.socket.getsockname()[1]
        endpoint = context.socket(trimq.Req).connect(f"tcp://127.0.0.1:{port}")
        with trio.fail_after(10), pytest.raises(trimq.ProtocolError):
            await endpoint.ready()
        nursery.cancel_scope.cancel()


async def test_ready_tells_of_the_wrong_type(network: Network, autojump_clock: MockClock) -> None:
    """A peer of a type that ours does not talk to is a handshake failure, told on both transports."""
    async with opened(network) as context:
        for address in ("tcp://there:1", "inproc://there"):
            context.socket(trimq.Sub).bind(address)
            endpoint = context.socket(trimq.Push).connect(address)
            with pytest.raises(trimq.ProtocolError, match=r"PUSH.*SUB|SUB.*PUSH"):
                await endpoint.ready()


async def test_ready_of_bound_endpoints() -> None:
    """Design 1: bound endpoints are ready when open, and raise SocketClosed when they are not any more."""
    async with trimq.open_context() as context:
        pull = context.socket(trimq.Pull)
        for address in ("tcp://127.0.0.1:*", "ipc://*", "inproc://a"):
            endpoint = pull.bind(address)
            assert endpoint.bound
            assert endpoint.state is EndpointState.READY
            await endpoint.ready()
            pull.unbind(endpoint)
            with pytest.raises(trimq.SocketClosed):
                await endpoint.ready()


# Time-outs


async def test_connect_timeout(network: Network, autojump_clock: MockClock) -> None:
    """ZMQ_CONNECT_TIMEOUT: bounds one attempt; the next one follows; ready() waits through it."""
    network.connecting = trio.Event()
    async with opened(network) as context, trio.open_nursery() as nursery:
        endpoint = context.socket(trimq.Push, connect_timeout=2.0).connect(NOBODY)
        nursery.start_soon(endpoint.ready)
        await trio.sleep(60)
        assert isinstance(endpoint.cause, TimeoutError)
        assert all(2.05 <= pause <= 7 for pause in network.pauses())
        assert len(network.attempts) > 8
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("connect_timeout", "had"), [(2.5, "2.5"), (3600.0, "3600"), (math.inf, "5000")])
async def test_a_late_attempt_says_how_long_it_had(
    connect_timeout: float, had: str, network: Network, autojump_clock: MockClock
) -> None:
    """An attempt is over after connect_timeout, or when the endpoint gives up."""
    network.connecting = trio.Event()
    async with opened(network, connect_timeout=connect_timeout, give_up_after=5000.0) as context:
        push = context.socket(trimq.Push)
        async with push.events() as events:
            push.connect(NOBODY)
            late = await failure(events)
        assert str(late) == f"no connection to {NOBODY} within {had} s"


async def test_a_late_attempt_had_what_was_left(network: Network, autojump_clock: MockClock) -> None:
    """Of the time until the endpoint gives up, the attempts before and the pauses have taken a part."""
    async with opened(network, give_up_after=10.0, reconnect_interval=8.0) as context:
        push = context.socket(trimq.Push)
        async with push.events() as events:
            endpoint = push.connect(NOBODY)
            assert isinstance(await failure(events), ConnectionRefusedError)
            network.connecting = trio.Event()
            late = await failure(events)
        [pause] = network.pauses()
        assert 4 <= pause <= 8
        assert float(str(late).split()[-2]) == pytest.approx(10 - pause, abs=1e-3)
        assert endpoint.cause is late


async def test_handshake_timeout_is_total(network: Network, autojump_clock: MockClock) -> None:
    """ZMQ_HANDSHAKE_IVL: bounds the whole handshake, however busily the peer drips."""
    async with opened(network) as context, trio.open_nursery() as nursery:
        listener = network.listen("tcp://slow:1")
        ended: list[float] = []

        async def drip() -> None:
            stream = await listener.accept()
            start = trio.current_time()
            try:
                for byte in b"\xff" + b"\0" * 8 + b"\x7f\3":
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(1)
            except trio.BrokenResourceError:
                ended.append(trio.current_time() - start)

        nursery.start_soon(drip)
        endpoint = context.socket(trimq.Push, handshake_timeout=5.0).connect("tcp://slow:1")
        nursery.start_soon(endpoint.ready)
        await trio.sleep(5.02)
        assert endpoint.state is EndpointState.WAITING
        assert isinstance(endpoint.cause, TimeoutError)
        await trio.sleep(1.5)
        assert ended == [pytest.approx(6)] or ended == [pytest.approx(5, abs=0.1)]
        assert len(nursery.child_tasks) == 1  # ready() waits on
        nursery.cancel_scope.cancel()


# Pair


async def test_pair_tries_until_its_first_handshake(network: Network, autojump_clock: MockClock) -> None:
    """Design 2: PAIR keeps trying until its first handshake, also after failed ones."""
    async with opened(network) as context, trio.open_nursery() as nursery:
        pair = context.socket(trimq.Pair)
        endpoint = pair.connect("tcp://there:1")
        await trio.sleep(20)
        nursery.start_soon(say, listener := network.listen("tcp://there:1"), GARBAGE)
        await trio.sleep(20)
        assert endpoint.state is EndpointState.WAITING
        listener.close()
        peer = context.socket(trimq.Pair)
        peer.bind("tcp://there:1")
        await pair.wait_for_peers(1)
        assert endpoint.state is EndpointState.READY
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["tcp://there:1", "inproc://there"])
async def test_pair_ends_with_its_peer(address: str, network: Network, autojump_clock: MockClock) -> None:
    """Design 2: after a loss PAIR's endpoint ends (lost, with its cause); receive waits on; a new connect dials afresh."""
    async with opened(network) as context, trio.open_nursery() as nursery:
        pair, peer = context.socket(trimq.Pair), context.socket(trimq.Pair)
        peer.bind(address)
        endpoint = pair.connect(address)
        await endpoint.ready()
        with pytest.raises(trimq.StateError, match="one peer"):
            pair.connect(address)
        got: list[list[bytes]] = []

        async def receive() -> None:
            got.append(await pair.receive())

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        peer.close()
        await trio.sleep(60)
        assert endpoint.state is EndpointState.LOST
        assert isinstance(endpoint.cause, (OSError, trio.BrokenResourceError))
        with pytest.raises(type(endpoint.cause)):
            await endpoint.ready()
        assert pair.endpoints == ()
        assert len(network.attempts) <= 1
        assert not got
        with pytest.raises(trio.WouldBlock):
            pair.send_nowait(b"to nobody")
        again = pair.connect(address)
        assert again is not endpoint
        peer = context.socket(trimq.Pair)
        peer.bind(address)
        await again.ready()
        await peer.send(b"new")
        await wait_all_tasks_blocked()
        assert got == [[b"new"]]


# Endpoints across contexts


async def test_an_endpoint_of_another_context(network: Network, autojump_clock: MockClock) -> None:
    """Design 1: str(endpoint) is the resolved address, and connecting to a bound wildcard Endpoint means loopback."""
    async with trimq.open_context() as one, trimq.open_context() as other:
        pull = one.socket(trimq.Pull)
        endpoint = pull.bind("tcp://*:*")
        assert str(endpoint).startswith("tcp://0.0.0.0:")
        push = other.socket(trimq.Push)
        with trio.fail_after(1000):
            for target in (endpoint, str(endpoint)):
                push.connect(target)
                await push.send(b"hi")
            assert [await pull.receive() for _ in range(2)] == [[b"hi"], [b"hi"]]


async def test_each_attempt_is_logged(
    network: Network, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures that may pass are no warnings: they are told by the endpoint, and logged for who debugs."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with opened(network) as context:
        context.socket(trimq.Push).connect(NOBODY)
        await trio.sleep(1)
    records = [record for record in caplog.records if record.name.startswith("trimq")]
    assert len(records) >= 3
    assert {record.levelname for record in records} == {"DEBUG"}
    assert all(NOBODY in record.getMessage() for record in records)
