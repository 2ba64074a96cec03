"""The connector of datagrams with sessions that repair: PGM over a network in memory (tests/testing/multicast.py)."""

from __future__ import annotations

import errno
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from testing.multicast import MemoryMulticast, MulticastPort
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq import EndpointState
from trimq._wire import _pgm_packets as packets

ENDPOINT = "epgm://here"


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[MemoryMulticast, Any, Any]]:
    """A network, a Pub that waits for room, and a Sub of everything that listens already."""
    network = MemoryMulticast()
    options = {"linger": 0, "rate": 10_000, "recovery_interval": 1.0} | options
    async with trimq.open_context(transports=[network], **options) as context:
        pub, sub = context.socket(trimq.Pub, nodrop=True), context.socket(trimq.Sub)
        sub.subscribe(b"")
        sub.connect(ENDPOINT)
        pub.bind(ENDPOINT)
        with trio.fail_after(1000):
            yield network, pub, sub


def kinds(network: MemoryMulticast, *wanted: int) -> list[float]:
    """When such packets were sent."""
    return [when for when, data, _, _ in network.sent if data[4] in wanted]


def losing(network: MemoryMulticast, *numbers: int, kinds: tuple[int, ...] = (packets.ODATA,)) -> None:
    """From now on those of the packets of these kinds that are so many from now do not arrive."""
    seen = dict.fromkeys(kinds, 0)

    def loses(data: bytes, port: MulticastPort) -> bool:
        if data[4] not in kinds:
            return False
        seen[data[4]] += 1
        return seen[data[4]] - 1 in numbers

    network.loses = loses


async def receive(sub: Any, count: int) -> list[bytes]:
    """So many messages of one frame."""
    return [(await sub.receive())[0] for _ in range(count)]


async def test_all_messages_in_order(autojump_clock: MockClock) -> None:
    """A fifth of all that is sent, either way, is lost: every message comes, once and in order, to all."""
    async with opened(rate=2000, recovery_interval=10.0) as (network, pub, sub):
        other = pub._context.socket(trimq.Sub)
        other.subscribe(b"")
        other.connect(ENDPOINT)
        await pub.send(b"first")  # all know of the sender
        assert await receive(sub, 1) == await receive(other, 1) == [b"first"]
        dice = random.Random(8)
        network.loses = lambda data, port: dice.random() < 0.2
        sent = [b"%d" % n + bytes(n * 7 % 4000) for n in range(300)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pub.send_many, sent)
            for socket in (sub, other):
                assert await receive(socket, 300) == sent
                assert socket.statistics().lost == 0
        assert len(kinds(network, packets.RDATA)) > 50


async def test_at_the_rate(autojump_clock: MockClock) -> None:
    """100 kbit/s: the connector sends at the session's deadlines. What has no room waits in the queue, and then in send."""
    async with opened(rate=100, send_hwm=10) as (_, pub, sub):
        began = trio.current_time()
        await pub.send_many([bytes(1000)] * 100)
        assert trio.current_time() - began > 3
        assert await receive(sub, 100) == [bytes(1000)] * 100
        took = trio.current_time() - began
        assert 7 < took < 9  # 100 kB at 12.5 kB/s, of which a second's worth may go at once
        assert pub.statistics().written == 100


async def test_asks_at_its_time(autojump_clock: MockClock) -> None:
    """A gap is asked for within 50 ms, though nothing else happens then; the repair follows at once."""
    async with opened() as (network, pub, sub):
        losing(network, 1)
        for n in range(3):
            await pub.send(b"%d" % n)
            await wait_all_tasks_blocked()
        seen = trio.current_time()
        assert await receive(sub, 3) == [b"0", b"1", b"2"]
        assert trio.current_time() - seen <= 0.051
        assert len(kinds(network, packets.NAK)) == len(kinds(network, packets.RDATA)) == 1
        assert sub.statistics().lost == 0


async def test_a_last_packet_is_missed(autojump_clock: MockClock) -> None:
    """A heartbeat says that it was there: the connector wakes for it with nothing to send."""
    async with opened() as (network, pub, sub):
        losing(network, 1)
        await pub.send(b"0")
        await wait_all_tasks_blocked()
        await pub.send(b"1")
        began = trio.current_time()
        assert await receive(sub, 2) == [b"0", b"1"]
        assert trio.current_time() - began <= 0.2


async def test_lost_for_good(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can repair it: the event says whose and how many, the statistics count, a warning is logged; all goes on."""
    async with opened(rate=100, recovery_interval=0.25) as (network, pub, sub), sub.events() as events:
        losing(network, 1, 2)
        losses = network.loses
        network.loses = lambda data, port: data[4] == packets.RDATA or losses(data, port)
        with caplog.at_level(logging.WARNING, "trimq"):
            for n in range(8):
                await pub.send(b"%d" % n)
                await trio.sleep(1)
            assert await receive(sub, 6) == [b"%d" % n for n in (0, 3, 4, 5, 6, 7)]
        assert sub.statistics().lost == sub.statistics().peers[0].lost == 2
        assert sub.statistics().dropped == 0
        assert "packets are lost, of epgm://here" in caplog.text
        told = []
        async for event in events:
            if isinstance(event, trimq.events.Lost):
                assert (event.endpoint, event.sender) == (ENDPOINT, "10.0.0.2")
                told.append(event.count)
                if sum(told) == 2:
                    break


@pytest.mark.parametrize("verb", ["close", "disconnect"])
async def test_linger(verb: str, autojump_clock: MockClock) -> None:
    """What is queued leaves at the rate, then FIN; what is asked for still is repaired; then the socket is gone."""
    async with opened(rate=100) as (network, pub, sub):
        await pub.send(bytes(1000))
        assert await receive(sub, 1) == [bytes(1000)]
        losing(network, 4, 20)
        for n in range(30):
            await pub.send(b"%d" % n + bytes(1000))
        pub.linger = 20
        if verb == "close":
            pub.close()
        else:
            pub.unbind(ENDPOINT)
        assert pub.endpoints == ()
        assert await receive(sub, 30) == [b"%d" % n + bytes(1000) for n in range(30)]
        assert sum(port.publishes for port in network.ports) == 1  # it stays for a while
        await trio.sleep(5)
        assert sum(port.publishes for port in network.ports) == 0
        assert len(kinds(network, packets.RDATA)) >= 2
        fins = [when for when, data, *_ in network.sent if data[4] == packets.SPM and data[5]]
        assert len(fins) >= 3
        assert max(fins) > max(kinds(network, packets.ODATA))
        assert sub.statistics().lost == 0


async def test_linger_runs_out(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """What has not left by then is dropped and counted; the last words are said all the same, and the socket is gone."""
    async with opened(rate=100) as (network, pub, _):
        await pub.send_many([bytes(1000)] * 200)
        began = trio.current_time()
        pub.linger = 2
        pub.close()
        await trio.sleep(3)
        assert not any(port.publishes for port in network.ports)
        fins = [when - began for when, data, *_ in network.sent if data[4] == packets.SPM and data[5]]
        assert fins == pytest.approx([2, 2, 2], abs=0.1)
        assert max(kinds(network, packets.ODATA)) <= began + 2.1
        assert "unsent messages for epgm://here were dropped" in caplog.text


async def test_no_linger(autojump_clock: MockClock) -> None:
    """At once: the FINs, and nothing else any more; the subscriber keeps what it has."""
    async with opened(rate=100) as (network, pub, sub):
        await pub.send_many([bytes(1000)] * 100)
        await wait_all_tasks_blocked()
        pub.close()
        assert not any(port.publishes for port in network.ports)
        assert [data[4] for _, data, *_ in network.sent[-3:]] == [packets.SPM] * 3
        before = len(network.sent)
        await trio.sleep(100)
        assert len(network.sent) == before
        assert len(await receive(sub, 5)) == 5


@pytest.mark.parametrize("end", ["close", "unbind", "aclose"])
async def test_closed_before_its_service_has_run(end: str, autojump_clock: MockClock) -> None:
    """What is sent and closed in one tick, without a linger, is the FINs and one message unsent; nothing crashes."""
    async with opened() as (network, pub, _sub):
        pub.send_nowait(b"never")
        match end:
            case "close":
                pub.close()
            case "unbind":
                pub.unbind(ENDPOINT)
            case _:
                await pub.aclose()
        await wait_all_tasks_blocked()
        assert not any(port.publishes for port in network.ports)
        assert {data[4] for _, data, *_ in network.sent} <= {packets.SPM, packets.SPMR}


async def test_a_subscriber_that_does_not_receive(autojump_clock: MockClock) -> None:
    """Its queue is full: nothing more is read, nothing is dropped, nothing asked for; when it receives, all comes."""
    async with opened(rate=10_000, receive_hwm=2, recovery_interval=5.0) as (network, pub, sub):
        losing(network, 30)
        for n in range(60):
            await pub.send(b"%d" % n)
            await trio.sleep(0.01)
        await trio.sleep(2)
        (port,) = (port for port in network.ports if not port.publishes)
        assert len(port.arrived) > 40
        assert sub.statistics().dropped == 0
        assert kinds(network, packets.NAK) == []
        assert await receive(sub, 60) == [b"%d" % n for n in range(60)]
        assert (sub.statistics().dropped, sub.statistics().lost) == (0, 0)
        assert port.arrived == type(port.arrived)()


async def test_a_system_that_has_no_room_meanwhile(autojump_clock: MockClock) -> None:
    """What the system drops while nothing is read, and nobody has any more, is told as lost; what follows comes."""
    async with opened(rate=10_000, receive_hwm=2, recovery_interval=0.03) as (network, pub, sub):
        (port,) = (port for port in network.ports if not port.publishes)
        port.room = 20
        for n in range(100):
            await pub.send(b"%d" % n)
            await trio.sleep(0.01)
        port.room = 100_000
        got: list[int] = []
        with trio.move_on_after(10):
            while True:
                got += map(int, await receive(sub, 1))
        for n in range(100, 105):
            await pub.send(b"%d" % n)
            await wait_all_tasks_blocked()
            assert await receive(sub, 1) == [b"%d" % n]
        assert got == sorted(set(got))
        assert sub.statistics().lost == 100 - len(got) > 0
        assert sub.statistics().dropped == 0


async def test_rubbish(autojump_clock: MockClock) -> None:
    """What strangers send is dropped and counted, at either end, and all goes on."""
    async with opened() as (network, pub, sub):
        await pub.send(b"before")
        assert await receive(sub, 1) == [b"before"]
        for port in network.ports:
            port.arrived.extend([(b"", "10.0.0.99"), (b"rubbish" * 10, "10.0.0.99")])
        network.changed.unpark_all()
        await wait_all_tasks_blocked()
        assert sub.statistics().dropped == pub.statistics().dropped == 2
        await pub.send(b"after")
        assert await receive(sub, 1) == [b"after"]


async def test_what_the_system_does_not_send(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is lost as if on the way: repaired, and no message dropped. That is said, once for each reason."""
    async with opened() as (_, pub, sub):
        await pub.send(b"0")
        assert await receive(sub, 1) == [b"0"]
        unreachable = OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        refusals = [unreachable, OSError(errno.EPERM, "no"), OSError(errno.EPERM, "no")]
        send_now = MulticastPort.send_now

        def send(port: MulticastPort, data: bytes, to: str) -> bool:
            if refusals and data[4] == packets.ODATA:
                raise refusals.pop()
            return send_now(port, data, to)

        monkeypatch.setattr(MulticastPort, "send_now", send)
        for n in range(1, 5):
            await pub.send(b"%d" % n)
            await wait_all_tasks_blocked()
        assert await receive(sub, 4) == [b"1", b"2", b"3", b"4"]
        assert (pub.statistics().dropped, pub.statistics().written, sub.statistics().lost) == (0, 5, 0)
        said = [text for record in caplog.records if "does not send" in (text := record.getMessage())]
        assert [text.partition(": the system does not send: ")[::2] for text in said] == [
            (ENDPOINT, "[Errno 1] no"),
            (ENDPOINT, str(unreachable)),
        ]


async def test_a_publisher_that_comes_again(autojump_clock: MockClock) -> None:
    """Its session is another one; the subscriber hears it from its first message on."""
    async with opened() as (network, pub, sub):
        for n in range(3):
            await pub.send(b"%d" % n)
            assert await receive(sub, 1) == [b"%d" % n]
            pub.unbind(ENDPOINT)
            pub.bind(ENDPOINT)
        assert sub.statistics().lost == 0
        assert len(network.ports) == 2


async def test_several_endpoints_and_publishers(autojump_clock: MockClock) -> None:
    """A Sub hears all publishers of all its endpoints, each in its order; groups are apart."""
    async with opened() as (_, pub, sub):
        other, elsewhere = (pub._context.socket(trimq.Pub, nodrop=True) for _ in range(2))
        other.connect(ENDPOINT)
        elsewhere.connect("epgm://elsewhere")
        sub.bind("epgm://elsewhere")
        for n in range(10):
            for name, one in (b"a", pub), (b"b", other), (b"c", elsewhere):
                await one.send([name, b"%d" % n])
        got = [await sub.receive() for _ in range(30)]
        for name in (b"a", b"b", b"c"):
            assert [number for sender, number in got if sender == name] == [b"%d" % n for n in range(10)]
        assert sub.peers == ()
        assert [str(endpoint) for endpoint in sub.endpoints] == [ENDPOINT, "epgm://elsewhere"]
        assert all(endpoint.state is EndpointState.READY for endpoint in sub.endpoints)


async def test_subscriptions_are_the_subscribers_own(autojump_clock: MockClock) -> None:
    """Nothing goes to the publisher; a Sub takes what it wants, from when it says so; an XSub gets all, sends nowhere."""
    network = MemoryMulticast()
    async with trimq.open_context(transports=[network], linger=0) as context:
        xpub, sub, xsub = context.socket(trimq.XPub), context.socket(trimq.Sub), context.socket(trimq.XSub)
        for socket in (sub, xsub, xpub):
            socket.bind(ENDPOINT)
        sub.subscribe(b"a")
        await xsub.send(b"\1b")
        await xsub.send(b"upstream")
        for topic in (b"a1", b"b1", b"c1"):
            await xpub.send(topic)
        with trio.fail_after(100):
            assert await sub.receive() == [b"a1"]
            assert [await xsub.receive() for _ in range(3)] == [[b"a1"], [b"b1"], [b"c1"]]
        sub.unsubscribe(b"a")
        sub.subscribe(b"c")
        for topic in (b"a2", b"b2", b"c2"):
            await xpub.send(topic)
        with trio.fail_after(100):
            assert await sub.receive() == [b"c2"]
            assert await xsub.receive() == [b"a2"]
        with trio.move_on_after(100) as scope:
            await xpub.receive()
        assert scope.cancelled_caught


async def test_it_cannot_be_opened(autojump_clock: MockClock) -> None:
    """What the transport raises, bind and connect raise, and the event tells; there is no endpoint then."""
    async with opened() as (network, pub, _), pub.events() as events:
        network.refuses = PermissionError(errno.EPERM, "not you")
        for verb, event in (("bind", trimq.events.BindFailed), ("connect", trimq.events.ConnectFailed)):
            with pytest.raises(PermissionError, match="not you"):
                getattr(pub, verb)("epgm://there")
            assert [str(endpoint) for endpoint in pub.endpoints] == [ENDPOINT]
            async for told in events:
                if isinstance(told, event):
                    assert (told.endpoint, told.cause) == ("epgm://there", network.refuses)
                    break
        with pytest.raises(trimq.InvalidEndpoint):
            pub.bind("epgm://wrong")


@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer, trimq.Radio, trimq.Dish, trimq.Dgram, trimq.Pair])
async def test_other_types(kind: Any) -> None:
    """IncompatibleProtocol, whatever the transport is called."""
    network = MemoryMulticast()
    network.scheme = "pigeons"
    async with trimq.open_context(transports=[network]) as context:
        for verb in ("bind", "connect"):
            with pytest.raises(trimq.IncompatibleProtocol, match=f"a {kind.__name__} cannot {verb} over pigeons"):
                getattr(context.socket(kind), verb)("pigeons://here")
        assert context.socket(trimq.Sub).bind("pigeons://here").state is EndpointState.READY
