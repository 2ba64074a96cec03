"""Events: typed, in libzmq's order and with its numbers, for any number of listeners, none of which stalls a socket
(design 1, levels before events; promise 6; libzmq.md 6).
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from sockets.helpers import both, drain, fill, joined, joins, jumping, opened, reaches, settle

import trimq
from trimq import events
from trimq.testing import MemoryTransport


def taken(stream: events.EventStream) -> list[events.Event]:
    """All that waits for this listener."""
    found: list[events.Event] = []
    while True:
        try:
            found.append(stream.receive_nowait())
        except trio.WouldBlock:
            return found


def names(stream: events.EventStream) -> list[str]:
    return [type(event).__name__ for event in taken(stream)]


# What is told, in which order (libzmq.md 6.3)


@jumping
async def test_a_connection_and_its_loss() -> None:
    """Both ends: as libzmq tells it over tcp, and again after the loss."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        ours, theirs = push.events(), pull.events()
        pull.bind("tcp://place:1")
        await joins(push, "tcp://place:1")
        await settle()
        assert names(theirs) == ["Listening", "Accepted", "HandshakeSucceeded"]
        assert names(ours) == ["ConnectDelayed", "Connected", "HandshakeSucceeded"]
        network.drop_all()
        await reaches(push.endpoints[0], trimq.EndpointState.WAITING)
        await push.endpoints[0].ready()
        await settle()
        assert names(theirs) == ["Disconnected", "Accepted", "HandshakeSucceeded"]
        again = ["Disconnected", "ConnectRetried", "ConnectDelayed", "Connected", "HandshakeSucceeded"]
        assert names(ours) == again
        pull.unbind("tcp://place:1")
        await reaches(push.endpoints[0], trimq.EndpointState.WAITING)
        await settle()
        assert names(theirs) == ["Closed"]  # what is ended from here is no loss
        assert names(ours)[:2] == ["Disconnected", "ConnectRetried"]


@jumping
async def test_nobody_listens() -> None:
    """Refused, with the cause and the delay to the next attempt; levels say the same."""
    async with opened(reconnect_interval=1.0) as ctx:
        push = ctx.socket(trimq.Push)
        async with push.events() as stream:
            endpoint = push.connect("tcp://nobody:1")
            assert isinstance(await stream.receive(), events.ConnectDelayed)
            failed, retried = await stream.receive(), await stream.receive()
            assert isinstance(failed, events.ConnectFailed)
            assert isinstance(retried, events.ConnectRetried)
            assert isinstance(failed.cause, ConnectionRefusedError)
            assert retried.cause is failed.cause is endpoint.cause
            assert 0.5 <= retried.delay <= 1.0
            assert endpoint.state is trimq.EndpointState.WAITING
            assert endpoint.next_attempt == pytest.approx(trio.current_time() + retried.delay)
            assert (retried.code, retried.value) == (0x4, round(1000 * retried.delay))
            assert failed.code == 0x80
            assert {event.endpoint for event in (failed, retried)} == {"tcp://nobody:1"}


@jumping
async def test_a_handshake_that_fails() -> None:
    """Types that do not match: HandshakeFailed as a breach of the protocol, then Disconnected, on both ends."""
    async with opened() as ctx:
        push, rep = ctx.socket(trimq.Push), ctx.socket(trimq.Rep)
        ours, theirs = push.events(), rep.events()
        rep.bind("tcp://place:1")
        endpoint = push.connect("tcp://place:1")
        with pytest.raises(trimq.ProtocolError):
            await endpoint.ready()
        await settle()
        assert names(theirs)[:4] == ["Listening", "Accepted", "HandshakeFailed", "Disconnected"]
        told = taken(ours)
        # Both see it at once, and one may find the connection closed: that attempt is then followed by another.
        place = next(
            n for n, event in enumerate(told) if isinstance(getattr(event, "cause", None), trimq.ProtocolError)
        )
        failed, lost, retried = told[place : place + 3]
        assert isinstance(failed, events.HandshakeFailed)
        assert isinstance(lost, events.Disconnected)
        assert (failed.code, lost.peer) == (0x2000, None)
        assert "socket types do not match" in str(failed.cause)
        assert isinstance(retried, events.ConnectRetried)  # unlike libzmq, trimq goes on (design 2)
        assert rep.statistics().handshake_failures >= 1


@jumping
async def test_a_handshake_that_is_too_slow() -> None:
    """No detail, as in libzmq, where time ran out or the peer hung up."""
    network = MemoryTransport()
    async with opened(network, handshake_timeout=1.0) as ctx:
        pull = ctx.socket(trimq.Pull)
        async with pull.events() as stream:
            endpoint = pull.bind("tcp://place:1")
            silent = await network.connect("place:1", pull._settings())
            kinds = [await stream.receive() for _ in range(4)]
            assert [type(event).__name__ for event in kinds[1:]] == ["Accepted", "HandshakeFailed", "Disconnected"]
            assert kinds[2].code == 0x0800
            assert kinds[2].endpoint == str(endpoint)
            await silent.aclose()


@jumping
async def test_bind_failed() -> None:
    """Told as well as raised."""
    async with opened() as ctx:
        one, other = ctx.socket(trimq.Pull), ctx.socket(trimq.Pull)
        one.bind("tcp://place:1")
        stream = other.events()
        with pytest.raises(trimq.AddressInUse):
            other.bind("tcp://place:1")
        [failed] = taken(stream)
        assert isinstance(failed, events.BindFailed)
        assert (failed.code, failed.endpoint) == (0x10, "tcp://place:1")
        assert failed.value == failed.cause.errno  # type: ignore[attr-defined]


@jumping
@pytest.mark.parametrize("stop", ["give_up_after", "refused", "interval", "pair"])
async def test_giving_up(stop: str) -> None:
    """The endpoint is lost, its cause is told and raised; nothing is tried again (ZMQ_RECONNECT_STOP, RFC 31)."""
    options: dict[str, Any] = {
        "give_up_after": {"give_up_after": 5.0},
        "refused": {"reconnect_stop": {"refused"}},
        "interval": {"reconnect_interval": math.inf},
        "pair": {},
    }[stop]
    network = MemoryTransport()
    async with opened(network, **options) as ctx:
        socket = ctx.socket(trimq.Pair if stop == "pair" else trimq.Push)
        async with socket.events() as stream:
            endpoint = socket.connect("tcp://place:1")
            if stop == "pair":
                other = ctx.socket(trimq.Pair)
                other.bind("tcp://place:1")
                await endpoint.ready()
                network.drop_all()
            await reaches(endpoint, trimq.EndpointState.LOST)
            with pytest.raises((OSError, trio.BrokenResourceError)) as caught:
                await endpoint.ready()
            last = taken(stream)[-1]
            assert isinstance(last, events.GaveUp)
            assert last.cause is caught.value is endpoint.cause
            assert endpoint not in socket.endpoints
            assert endpoint.next_attempt is None
            if stop == "give_up_after":
                assert trio.current_time() == pytest.approx(5.0)
            await trio.sleep(100)
            assert taken(stream) == []


@jumping
async def test_give_up_counts_from_the_loss() -> None:
    """A connection that was there for long does not use up the time."""
    network = MemoryTransport()
    async with opened(network, give_up_after=5.0) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        bound = pull.bind("tcp://place:1")
        endpoint = await joins(push, "tcp://place:1")
        await trio.sleep(100)
        bound.close()
        start = trio.current_time()
        await reaches(endpoint, trimq.EndpointState.LOST)
        assert trio.current_time() - start == pytest.approx(5.0)


@jumping
async def test_stop_after_a_failed_handshake() -> None:
    """reconnect_stop={"handshake"}: whatever went wrong in it (libzmq.md 5.6)."""
    network = MemoryTransport()
    async with opened(network, reconnect_stop={"handshake"}, handshake_timeout=1.0) as ctx:
        push = ctx.socket(trimq.Push)
        listener = network.bind("place:1", push._settings())
        endpoint = push.connect("tcp://place:1")
        silent = await listener.accept()
        await reaches(endpoint, trimq.EndpointState.LOST)
        assert isinstance(endpoint.cause, TimeoutError)
        await silent.aclose()
        listener.close()


@jumping
async def test_a_name_that_nobody_knows() -> None:
    """There was nothing to connect to: only the retry is told, as in libzmq."""

    class Unknown(MemoryTransport):
        async def resolve(self, address: str, settings: Any) -> None:
            raise OSError("nobody knows")

    async with opened(Unknown()) as ctx:
        push = ctx.socket(trimq.Push)
        async with push.events() as stream:
            push.connect("tcp://place:1")
            assert isinstance(await stream.receive(), events.ConnectRetried)


@jumping
@both
async def test_subscriptions_are_told(place: str) -> None:
    """Who, and what; the end of a subscription as well, and a peer that leaves with one."""
    async with opened() as ctx:
        pub, sub = ctx.socket(trimq.Pub), ctx.socket(trimq.Sub)
        await joined(ctx, pub, sub, place=place)
        stream = pub.events()
        sub.subscribe(b"a")
        sub.subscribe(b"b")
        sub.unsubscribe(b"a")
        await settle()
        [peer] = pub.peers
        sub.close()
        await settle()
        told = [event for event in taken(stream) if isinstance(event, (events.Subscribed, events.Unsubscribed))]
        assert [(type(event).__name__, event.topic) for event in told] == [
            ("Subscribed", b"a"),
            ("Subscribed", b"b"),
            ("Unsubscribed", b"a"),
            ("Unsubscribed", b"b"),
        ]
        assert {id(event.peer) for event in told} == {id(peer)}


@jumping
async def test_an_id_that_is_handed_over() -> None:
    """handover: told, before the old peer goes."""
    async with opened() as ctx:
        router = ctx.socket(trimq.Router, handover=True)
        one, other = (ctx.socket(trimq.Dealer, routing_id=b"x") for _ in range(2))
        await joined(ctx, router, one, place="tcp://place:1")
        stream = router.events()
        await joins(other, "tcp://place:1")
        await settle()
        [handed] = [event for event in taken(stream) if isinstance(event, events.HandedOver)]
        assert handed.peer.identity == b"x"


# Drops (promise 6)


@jumping
@both
async def test_drops_are_told_together(place: str) -> None:
    """However many: one event for each peer until it is taken, and none is lost."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        pub, subs = ctx.socket(trimq.Pub), [ctx.socket(trimq.Sub) for _ in range(2)]
        for sub in subs:
            sub.subscribe(b"")
        await joined(ctx, pub, *subs, place=place)
        await pub.wait_for_subscribers(2)
        stream = pub.events(limit=2)
        await pub.send_many([bytes(1_000_000)] * 20)
        told = taken(stream)
        assert all(isinstance(event, events.Dropped) for event in told)
        assert len(told) == 2
        assert sum(event.count for event in told) == pub.statistics().dropped > 20  # type: ignore[attr-defined]
        await pub.send(b"")
        assert len(taken(stream)) == 2


@jumping
async def test_what_nobody_could_have() -> None:
    """A Router's message for an unknown peer: counted and told, with nobody's name."""
    async with opened() as ctx:
        router = ctx.socket(trimq.Router)
        stream = router.events()
        await router.send([b"unknown", b""])
        await router.send([b"unknown", b""])
        assert taken(stream) == [events.Dropped("", None, 2)]
        assert router.statistics().unroutable == 2


@jumping
async def test_what_is_in_doubt_is_told() -> None:
    """The one write that failed."""
    network = MemoryTransport(buffer=1000)
    async with opened(network) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull, receive_hwm=1)
        await joined(ctx, pull, push, place="tcp://place:1")
        stream = push.events()
        fill(push, bytes(10_000), 20)
        await settle()
        network.drop_all()
        await settle()
        [doubt] = [event for event in taken(stream) if isinstance(event, events.InDoubt)]
        assert doubt.count == push.statistics().in_doubt > 0
        assert doubt.peer is not None


# Listeners


@jumping
async def test_a_listener_that_does_not_take() -> None:
    """It misses what does not fit and is told how much, at the place where it is missing; others miss nothing."""
    async with opened() as ctx:
        router = ctx.socket(trimq.Router)
        slow, quick = router.events(limit=2), router.events()
        for number in range(5):
            router.bind(f"tcp://place:{number + 1}")
        assert [event.endpoint for event in taken(quick)] == [f"tcp://place:{number + 1}" for number in range(5)]
        assert slow.missed == 3
        assert [event.endpoint for event in taken(slow)] == ["tcp://place:1", "tcp://place:2", ""]
        router.bind("tcp://place:9")
        assert names(slow) == ["Listening"]
        for number in range(20, 24):
            router.bind(f"tcp://place:{number}")
        slow.receive_nowait()
        router.bind("tcp://place:30")  # now there is room: for what was missed first
        assert taken(slow)[1:] == [events.Missed("", 2), events.Listening("tcp://place:30")]
        assert (slow.missed, quick.missed) == (5, 0)


@jumping
async def test_waiting_for_an_event() -> None:
    """Cancelled, it has taken none; several may wait; async for goes on."""
    async with opened() as ctx:
        pull = ctx.socket(trimq.Pull)
        async with pull.events() as stream:
            with trio.move_on_after(1) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            found: list[events.Event] = []

            async def take() -> None:
                found.append(await stream.receive())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                nursery.start_soon(take)
                await settle()
                pull.bind("tcp://place:1")
                pull.bind("tcp://place:2")
            assert sorted(event.endpoint for event in found) == ["tcp://place:1", "tcp://place:2"]
            pull.bind("tcp://place:3")
            async for event in stream:
                assert event == events.Listening("tcp://place:3")
                break


@jumping
@pytest.mark.parametrize("end", ["socket", "context", "stream"])
async def test_the_end(end: str) -> None:
    """A closed socket: all that was told, MonitorStopped last, then SocketClosed. The context's end: ETERM at once."""
    async with opened() as ctx:
        pull = ctx.socket(trimq.Pull)
        stream, waiting = pull.events(), pull.events()
        outcome: list[type[BaseException]] = []

        async def wait() -> None:
            try:
                async for _ in waiting:
                    pass
            except (trimq.ZMQError, trio.ClosedResourceError) as error:
                outcome.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            pull.bind("tcp://place:1")
            await settle()
            actions: dict[str, Callable[[], object]] = {
                "socket": pull.close,
                "context": ctx.shutdown,
                "stream": waiting.close,
            }
            actions[end]()
        expected = {
            "socket": trimq.SocketClosed,
            "context": trimq.ContextTerminated,
            "stream": trio.ClosedResourceError,
        }
        assert outcome == [expected[end]]
        if end == "socket":
            assert [type(stream.receive_nowait()).__name__ for _ in range(3)] == [
                "Listening",
                "Closed",
                "MonitorStopped",
            ]
        if end != "stream":
            with pytest.raises(expected[end]):
                stream.receive_nowait()
            with pytest.raises(expected[end]):
                pull.events()
        else:
            waiting.close()
            assert names(stream) == ["Listening"]


@jumping
async def test_bad_limits() -> None:
    """A limit is a whole number, 1 or more."""
    async with opened() as ctx:
        pull = ctx.socket(trimq.Pull)
        with pytest.raises(ValueError, match="limit"):
            pull.events(limit=0)
        with pytest.raises(TypeError, match="limit"):
            pull.events(limit=math.inf)  # type: ignore[arg-type]


@jumping
async def test_inproc_tells_nothing_of_connections() -> None:
    """As in libzmq (libzmq.md 6.1)."""
    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        streams = push.events(), pull.events()
        await joined(ctx, pull, push, place="inproc://place")
        await push.send(b"")
        assert drain(pull) == [[b""]]
        assert [taken(stream) for stream in streams] == [[], []]


async def test_a_file_that_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """ZMQ_EVENT_CLOSE_FAILED: the address is free, the socket is closed, and what is left is told, and in the log."""

    def fail(path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with TemporaryDirectory(dir="/tmp") as folder:
        async with trimq.open_context(linger=0) as ctx:
            pull = ctx.socket(trimq.Pull)
            stream = pull.events()
            endpoint = pull.bind(f"ipc://{folder}/file")
            with monkeypatch.context() as patch:
                patch.setattr(os, "unlink", fail)
                endpoint.close()
            _, failed = taken(stream)
            assert isinstance(failed, events.CloseFailed)
            assert (failed.code, failed.value) == (0x100, errno.EACCES)
            assert f"ipc://{folder}/file was not removed" in str(failed.cause)
            assert caplog.messages == [str(failed.cause)]
            pull.bind(f"ipc://{folder}/file")  # what was left behind is replaced
