"""Acceptors: what listens, what comes in, and what unbinding ends (design 1 and 2, zmq_bind(3), zmq_unbind(3))."""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import trimq
from trimq import EndpointState, _acceptor
from trimq._options import Settings
from trimq.abc import AcceptRefused, Listener
from trimq.events import AcceptFailed
from trimq.testing import MemoryStream, MemoryTransport


@asynccontextmanager
async def opened(network: MemoryTransport, **options: Any) -> AsyncIterator[trimq.Context]:
    with trio.fail_after(100_000):
        async with trimq.open_context(transports=[network], **{"linger": 0.0, **options}) as context:
            yield context


class Starving(MemoryTransport):
    """Its listeners run out of descriptors now and then."""

    def __init__(self, failures: list[int]) -> None:
        super().__init__()
        self.failures = failures  # error numbers of the next accepts
        self.accepts: list[float] = []

    def bind(self, address: str, settings: Settings) -> Listener:
        network, inner = self, super().bind(address, settings)

        class Wrapped(Listener):
            @property
            def address(self) -> str:
                return inner.address

            async def accept(self) -> trio.abc.Stream:
                network.accepts.append(trio.current_time())
                if network.failures:
                    await trio.lowlevel.checkpoint()
                    number = network.failures.pop(0)
                    raise OSError(number, errno.errorcode[number])
                return await inner.accept()

            def close(self) -> None:
                inner.close()

        return Wrapped()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED])
async def test_accepting_survives(number: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Design 2, promise 4: out of descriptors, the accept loop breathes, says so, and goes on; it never spins."""
    caplog.set_level(logging.WARNING, "trimq")
    network = Starving([number] * 5)
    async with opened(network) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        push.connect(pull.bind("tcp://there:1"))
        await push.send(b"at last")
        assert await pull.receive() == [b"at last"]
        assert 0.2 <= trio.current_time() <= 2
        assert [text for text in caplog.messages if errno.errorcode[number] in text and "tcp://there:1" in text]
        network.failures = [number]
        other = context.socket(trimq.Push)
        other.connect("tcp://there:1")
        await other.send(b"once more")
        assert await pull.receive() == [b"once more"]
        pull.close()
        await trio.sleep(10)
        assert len(network.accepts) <= 10


async def test_a_bug_in_a_listener_surfaces(autojump_clock: MockClock) -> None:
    """Promise 4: OSError is caught, nothing else."""
    network = Starving([])

    class Bug(Exception):
        pass

    async def accept() -> trio.abc.Stream:
        raise Bug

    bind = network.bind

    def buggy(address: str, settings: Settings) -> Listener:
        listener = bind(address, settings)
        listener.accept = accept  # type: ignore[method-assign]
        return listener

    network.bind = buggy  # type: ignore[method-assign]
    with pytest.raises(Bug):
        async with opened(network) as context:
            context.socket(trimq.Pull).bind("tcp://there:1")
            await trio.sleep_forever()


@pytest.mark.parametrize(("step", "most"), [(0, 64), (100e-6, 6)])
async def test_a_crowd_does_not_take_the_run(step: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: others wait for 64 accepts, or for half a millisecond of them, and no longer."""
    ticks = [0]  # accepts in each

    class Ticks(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            ticks.append(0)

    clock = count()
    monkeypatch.setattr(_acceptor, "perf_counter", lambda: next(clock) * step)

    async def accept() -> trio.abc.Stream:
        await checkpoint_if_cancelled()
        if sum(ticks) == 300:
            await trio.sleep_forever()
        ticks[-1] += 1
        stream, _ = memory_stream_pair()
        return stream

    network = MemoryTransport()
    async with opened(network) as context:
        bind = network.bind

        def crowded(address: str, settings: Settings) -> Listener:
            listener = bind(address, settings)
            listener.accept = accept  # type: ignore[method-assign]
            return listener

        network.bind = crowded  # type: ignore[method-assign]
        pull = context.socket(trimq.Pull)
        pull.bind("tcp://there:1")
        trio.lowlevel.add_instrument(instrument := Ticks())
        while sum(ticks) < 300:
            await checkpoint()
        trio.lowlevel.remove_instrument(instrument)
        assert most - 1 <= max(ticks) <= most
        assert pull._carriers == 301


@pytest.mark.skipif(sys.platform != "linux", reason="platform: Linux only")
async def test_a_storm_does_not_overflow_the_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as fewer come in a tick than the backlog holds, nobody is turned away, to try again after a second."""
    monkeypatch.setattr(_acceptor, "perf_counter", lambda: 0.0)  # on a slow machine too, 64 in a tick
    crowd: list[socket.socket] = []
    with ExitStack() as stack:
        async with trimq.open_context(linger=0.0) as context:
            pull = context.socket(trimq.Pull, backlog=100)
            _, _, port = str(pull.bind("tcp://127.0.0.1:*")).rpartition(":")
            await wait_all_tasks_blocked()
            with trio.fail_after(60):
                for _ in range(8):
                    for _ in range(50):
                        crowd.append(stack.enter_context(socket.socket()))
                        crowd[-1].setblocking(False)
                        crowd[-1].connect_ex(("127.0.0.1", int(port)))
                    while len(select.select([], crowd[-50:], [])[1]) < 50:
                        await checkpoint()
                    for _ in range(2):
                        await checkpoint()
                while pull._carriers < 401:
                    await checkpoint()
            # tcp_info.tcpi_total_retrans: SYNs count
            again = [
                struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)
                for sock in crowd
            ]
            assert again == [(0,)] * 400


class Refusing(MemoryTransport):
    """Its listeners refuse so many connections first, without a yield."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number
        self.refused = 0

    def bind(self, address: str, settings: Settings) -> Listener:
        listener = super().bind(address, settings)
        accept = listener.accept

        async def refuse() -> trio.abc.Stream:
            await checkpoint_if_cancelled()
            if self.refused < self.number:
                self.refused += 1
                raise AcceptRefused(errno.EACCES, "you are not wanted")
            return await accept()

        listener.accept = refuse  # type: ignore[method-assign]
        return listener


async def test_the_refused_hold_up_nobody(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that a filter refuses is told (ACCEPT_FAILED), and the next is accepted at once."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with opened(Refusing(3)) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        async with pull.events() as events:
            push.connect(pull.bind("tcp://there:1"))
            await push.send(b"hi")
            assert await pull.receive() == [b"hi"]
            assert trio.current_time() == 0
            told = []
            with pytest.raises(trio.WouldBlock):
                while True:
                    told.append(events.receive_nowait())
        causes = [str(event.cause) for event in told if isinstance(event, AcceptFailed)]
        assert causes == ["[Errno 13] you are not wanted"] * 3
        records = [record for record in caplog.records if "you are not wanted" in record.getMessage()]
        assert [record.levelno for record in records] == [logging.DEBUG] * 3


async def test_a_crowd_of_refused_does_not_take_the_run() -> None:
    """Promise 5, also where a listener that need not wait refuses all."""
    network = Refusing(math.inf)
    async with opened(network) as context:
        endpoint = context.socket(trimq.Pull).bind("tcp://there:1")
        for _ in range(10):
            await checkpoint()
        endpoint.close()
        assert 0 < network.refused <= 11 * 64


async def test_filters_of_tcp() -> None:
    """ZMQ_TCP_ACCEPT_FILTER from the user's side: who is refused is no peer, and tries again; the others are there."""
    async with trimq.open_context(linger=0.0) as context:
        pull = context.socket(trimq.Pull, tcp_accept_filter=["127.0.0.7"])
        stranger, friend = context.socket(trimq.Push), context.socket(trimq.Push)
        with trio.fail_after(30):
            async with pull.events() as events:
                endpoint = pull.bind("tcp://127.0.0.1:*")
                refused = stranger.connect(endpoint)
                while not isinstance(event := await events.receive(), AcceptFailed):
                    pass
                assert event.endpoint == str(endpoint)
                assert "127.0.0.1 is not in the tcp_accept_filter" in str(event.cause)
            while refused.cause is None:
                await checkpoint()
            friend.connect(str(endpoint).replace("tcp://", "tcp://127.0.0.7:*;"))
            await friend.send(b"hi")
            assert await pull.receive() == [b"hi"]
        assert [peer.address for peer in pull.peers] == ["127.0.0.7"]


async def test_max_connections(autojump_clock: MockClock) -> None:
    """Beyond them, a connection is closed at once; when one has ended, the next to come has its place."""
    network = MemoryTransport()
    async with opened(network) as context:
        pull = context.socket(trimq.Pull, max_connections=2)
        pull.bind("tcp://there:1")
        pull.bind("tcp://other:1")
        pushes = [context.socket(trimq.Push) for _ in range(4)]
        for push in pushes[:2]:
            push.connect("tcp://there:1")
        await pull.wait_for_peers(2)
        third = pushes[2].connect("tcp://there:1")
        await trio.sleep(60)
        assert (len(pull.peers), len(network.connections)) == (2, 2)
        assert third.state is not EndpointState.READY
        assert isinstance(third.cause, (trio.BrokenResourceError, OSError))
        pushes[3].connect("tcp://other:1")  # each endpoint counts its own
        await pull.wait_for_peers(3)
        pushes[0].close()
        await third.ready()
        await pushes[2].send(b"at last")
        assert await pull.receive() == [b"at last"]


async def test_max_connections_counts_strangers(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever holds a connection counts; the log is told at most once a second, and how many they were."""
    caplog.set_level(logging.WARNING, "trimq")
    network = MemoryTransport()
    async with opened(network, handshake_timeout=5.0) as context:
        pull = context.socket(trimq.Pull, max_connections=1)
        async with pull.events() as events:
            pull.bind("tcp://there:1")
            first = await stranger(network, b"")
            await wait_all_tasks_blocked()
            beyond = []
            for pause in (0, 0, 0, 0.5, 0.5, 0):
                await trio.sleep(pause)
                beyond.append(await stranger(network, b""))
            await trio.sleep(0.1)
            assert first.connected
            assert not any(stream.connected for stream in beyond)
            assert caplog.messages == [f"tcp://there:1: {n} connections refused: max_connections=1" for n in (1, 4)]
            await trio.sleep(4)  # the first has taken too long
            last = await stranger(network, b"")
            await wait_all_tasks_blocked()
            assert last.connected
            told = []
            with pytest.raises(trio.WouldBlock):
                while True:
                    told.append(events.receive_nowait())
        assert sum(isinstance(event, AcceptFailed) for event in told) == 6


async def test_max_handshakes(autojump_clock: MockClock) -> None:
    """While so many are unfinished, others wait in the backlog; one that is complete, or gone, makes room."""
    network = MemoryTransport()
    async with opened(network, handshake_timeout=30.0) as context:
        pull = context.socket(trimq.Pull, max_handshakes=2)
        pull.bind("tcp://there:1")
        strangers = [await stranger(network, b"\xff") for _ in range(2)]
        pushes = [context.socket(trimq.Push) for _ in range(3)]
        endpoints = [push.connect("tcp://there:1") for push in pushes]
        await trio.sleep(10)
        assert pull._carriers == 1 + 2
        assert pull.peers == ()
        assert [endpoint.state for endpoint in endpoints] == [EndpointState.HANDSHAKING] * 3
        await strangers[0].aclose()
        await pull.wait_for_peers(3)  # one after the other: each that is complete lets in the next
        assert trio.current_time() == 10
        strangers += [await stranger(network, b"") for _ in range(5)]
        await trio.sleep(1)
        assert pull._carriers == 1 + 3 + 2
        late = context.socket(trimq.Push).connect("tcp://there:1")
        with trio.fail_after(95):
            await late.ready()  # five strangers take 30 seconds each, two at a time


@pytest.mark.parametrize("how", ["endpoint", "socket"])
async def test_closing_while_handshakes_are_too_many(how: str, autojump_clock: MockClock) -> None:
    """The acceptor that waits for room ends, and with it those who shake hands or wait in the backlog."""
    network = MemoryTransport()
    async with opened(network) as context:
        pull = context.socket(trimq.Pull, max_handshakes=1)
        endpoint = pull.bind("tcp://there:1")
        strangers = [await stranger(network, b"") for _ in range(3)]
        await wait_all_tasks_blocked()
        (endpoint if how == "endpoint" else pull).close()
        await wait_all_tasks_blocked()
        assert pull._carriers == 0
        assert not any(stream.connected for stream in strangers)


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_bound_again_at_once(scheme: str, tmp_path: Path) -> None:
    """Design 1: the address is free at once, though a connection of before is alive, and has much to do still."""
    async with trimq.open_context() as context:
        push, other = context.socket(trimq.Push), context.socket(trimq.Push)
        pull = context.socket(trimq.Pull, receive_hwm=1)
        bound = str(push.bind("tcp://127.0.0.1:*" if scheme == "tcp" else f"ipc://{tmp_path}/s"))
        pull.connect(bound)
        with trio.fail_after(30):
            await push.wait_for_peers()
            data = [b"%03d" % n + bytes(100_000) for n in range(100)]
            await push.send_many(data)
            push.close()
            assert str(other.bind(bound)) == bound
            assert push._carriers > 0
            newcomer = context.socket(trimq.Pull)
            newcomer.connect(bound)
            await other.send(b"from the next")
            assert await newcomer.receive() == [b"from the next"]
            assert push._carriers > 0
            assert [await pull.receive() for _ in data] == [[frame] for frame in data]
            await other.wait_for_peers(2)  # it has come back


async def stranger(network: MemoryTransport, data: bytes) -> MemoryStream:
    stream = await network.connect("there:1", Settings())
    if data:
        await stream.send_all(data)
    return stream


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f\3\0NULL"])
@pytest.mark.parametrize("gone", [False, True])
async def test_strangers_disturb_nobody(data: bytes, gone: bool, autojump_clock: MockClock) -> None:
    """Promise 4: a stranger's fault, or silence, ends the stranger's connection; the socket's peers know nothing of it."""
    network = MemoryTransport()
    async with opened(network, handshake_timeout=3.0) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        endpoint = pull.bind("tcp://there:1")
        push.connect(endpoint)
        await push.wait_for_peers(1)
        stream = await stranger(network, data)
        if gone:
            await stream.aclose()
        await wait_all_tasks_blocked()
        await push.send(b"hi")
        assert await pull.receive() == [b"hi"]
        assert len(pull.peers) == 1
        assert endpoint.state is EndpointState.READY
        if not gone:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(3.5):
                while True:  # its handshake takes too long, whatever it does
                    await trio.sleep(0.5)
                    await stream.send_all(b"")
                    stream._check_send()
        assert len(network.connections) == 1
        assert endpoint.cause is None


async def test_a_stranger_that_drips(autojump_clock: MockClock) -> None:
    """ZMQ_HANDSHAKE_IVL bounds the whole handshake of who comes in, too."""
    network = MemoryTransport()
    async with opened(network, handshake_timeout=5.0) as context:
        context.socket(trimq.Pull).bind("tcp://there:1")
        stream = await stranger(network, b"\xff")
        with pytest.raises(trio.BrokenResourceError):
            for byte in b"\0" * 8 + b"\x7f\3":
                await trio.sleep(1)
                await stream.send_all(bytes([byte]))
        assert 5 <= trio.current_time() <= 6


async def test_unbind(autojump_clock: MockClock) -> None:
    """zmq_unbind: the address is free at once, the connections that came in there end; the other endpoints go on."""
    network = MemoryTransport()
    async with opened(network) as context:
        pull = context.socket(trimq.Pull)
        a, b = pull.bind("tcp://a:1"), pull.bind("tcp://b:1")
        to_a, to_b = context.socket(trimq.Push, reconnect_interval=math.inf), context.socket(trimq.Push)
        lost = to_a.connect(a)
        to_b.connect(b)
        await pull.wait_for_peers(2)
        await to_a.send(b"received before")
        await pull.wait_receivable()
        assert pull.endpoints == (a, b)
        pull.unbind(a)
        assert (a.state, pull.endpoints) == (EndpointState.CLOSED, (b,))
        other = context.socket(trimq.Pull)
        other.bind("tcp://a:1")
        await trio.sleep(1)
        assert lost.state is EndpointState.LOST
        await to_b.send(b"after")
        assert [await pull.receive() for _ in range(2)] == [[b"received before"], [b"after"]]
        assert len(pull.peers) == 1
        a.close()  # idempotent, and no danger for who is bound there now
        assert other.endpoints[0].state is EndpointState.READY
        for wrong in (a, "tcp://a:1", "tcp://nowhere:1"):
            with pytest.raises(trimq.InvalidEndpoint, match="tcp://b:1"):
                pull.unbind(wrong)
        with pytest.raises(trimq.InvalidEndpoint):
            pull.disconnect(b)


async def test_unbind_ends_handshakes(autojump_clock: MockClock) -> None:
    """Who is still shaking hands, or waits in the backlog, is let go at once."""
    network = MemoryTransport()
    async with opened(network) as context:
        pull = context.socket(trimq.Pull)
        endpoint = pull.bind("tcp://there:1")
        shaking = await stranger(network, b"\xff")
        await wait_all_tasks_blocked()
        waiting = await stranger(network, b"")
        endpoint.close()
        await wait_all_tasks_blocked()
        assert not shaking.connected
        assert not waiting.connected
        assert pull._carriers == 0


async def test_what_is_queued_lingers_after_unbind(autojump_clock: MockClock) -> None:
    """Design 1: what is queued for an endpoint's peers lingers as the socket's linger says; nothing new goes there."""
    network = MemoryTransport(buffer=64)
    async with opened(network, linger=math.inf) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull, receive_hwm=1)
        pull.connect(push.bind("tcp://there:1"))
        await push.wait_for_peers(1)
        await push.send_many([b"%d" % n for n in range(100)])
        push.unbind("tcp://there:1")
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"after")
        assert [await pull.receive() for _ in range(100)] == [[b"%d" % n] for n in range(100)]
        await trio.sleep(1)
        assert push._carriers == 0


async def test_inproc_unbind_keeps_the_joined() -> None:
    """libzmq.md 3.3: unbinding an inproc name frees it; who is joined stays joined."""
    async with trimq.open_context() as context:
        pull, push, other = context.socket(trimq.Pull), context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(pull.bind("inproc://a"))
        pull.unbind("inproc://a")
        other.bind("inproc://a")
        await push.send(b"still")
        assert await pull.receive() == [b"still"]


async def test_a_bound_pair_takes_the_next_peer(autojump_clock: MockClock) -> None:
    """RFC 31: a second peer is refused while there is one; when that is gone, the next may come."""
    network = MemoryTransport()
    async with opened(network) as context:
        pair = context.socket(trimq.Pair)
        pair.bind("tcp://there:1")
        first, second = context.socket(trimq.Pair), context.socket(trimq.Pair)
        first.connect("tcp://there:1")
        await pair.wait_for_peers(1)
        second.connect("tcp://there:1")
        await trio.sleep(10)
        assert len(pair.peers) == 1
        await first.send(b"first")
        assert await pair.receive() == [b"first"]
        first.close()
        await trio.sleep(1)
        third = context.socket(trimq.Pair)
        third.connect("tcp://there:1")
        await third.send(b"third")
        assert await pair.receive() == [b"third"]


async def test_closing_while_a_connection_comes_in(autojump_clock: MockClock) -> None:
    """A connection accepted in the very tick of the close is let go."""
    network = MemoryTransport()
    async with opened(network) as context:
        for _ in range(10):
            pull = context.socket(trimq.Pull)
            pull.bind("tcp://there:1")
            await wait_all_tasks_blocked()
            stream = await network.connect("there:1", Settings())
            pull.close()
            await wait_all_tasks_blocked()
            assert not stream.connected
            assert pull._carriers == 0


async def test_leaving_while_a_connection_comes_in(autojump_clock: MockClock) -> None:
    """Promise 3: nor does the block's exit wait for such a one, whose peer would stay for ever."""

    class Closing(MemoryTransport):
        async def connect(self, *args: Any, **options: Any) -> MemoryStream:
            stream = await super().connect(*args, **options)
            pull.close()
            return stream

    network = Closing()
    async with opened(network) as far:
        for _ in range(10):  # who runs first in a tick is up to trio
            push = far.socket(trimq.Push, reconnect_interval=math.inf)
            async with trimq.open_context(transports=[network]) as context:
                pull = context.socket(trimq.Pull)
                pull.bind("tcp://there:1")
                await wait_all_tasks_blocked()
                push.connect("tcp://there:1")
                await wait_all_tasks_blocked()
            assert push.peers == ()
