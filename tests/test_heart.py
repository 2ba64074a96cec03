"""Heart: when peers are pinged, and which silence ends a connection (design.md 2; RFC 37; libzmq.md 5.7).

First the rule alone, with a link that only takes notes; then links and sockets over a network in memory. The clock is
trio's autojump clock: intervals take no time.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from sockets.helpers import jumping
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from wire.helpers import command, frame, greeting, prop, ready

import trimq
from trimq import EndpointState
from trimq._heart import Echoes, Heart, Pulse
from trimq._options import Settings
from trimq._pace import Pace
from trimq._pipe import Pipe
from trimq.testing import MemoryStream, MemoryTransport

LONG = 7200.0  # seconds
PING = command(b"PING", b"\0\0")
PONG = command(b"PONG")


def nobody_spawns(service: Callable[[], Awaitable[None]]) -> None:
    raise AssertionError("a task was started, though there is nothing to watch")


class Notes:
    """A link that notes what it is told, with seconds since its beginning."""

    def __init__(self, heart: Heart, *, pings: bool = True, **settings: Any) -> None:
        self.start = trio.current_time()
        self.peer_pings = False
        self.pings: list[float] = []
        self.ended: tuple[float, str] | None = None
        self.pulse = Pulse(heart, self, Settings(**settings), self.start, pings=pings)

    @property
    def now(self) -> float:
        return round(trio.current_time() - self.start, 6)

    def ping(self) -> None:
        self.pings.append(self.now)

    def expire(self, error: TimeoutError) -> None:
        assert self.ended is None
        self.ended = (self.now, str(error))
        self.pulse.stop()

    def hear(self) -> None:
        """The reader has read something."""
        self.pulse.heard = trio.current_time()

    def hear_ping(self, ttl: float = 0.0) -> None:
        """The reader has read a PING."""
        self.hear()
        self.peer_pings = True
        self.pulse.announced(ttl)

    def hold(self) -> None:
        self.pulse.hold(trio.current_time())

    def resume(self) -> None:
        self.pulse.resume(trio.current_time())

    async def at(self, moment: float) -> None:
        """Sleeps until so many seconds since the beginning."""
        await trio.sleep_until(self.start + moment)


@asynccontextmanager
async def beating() -> AsyncIterator[Heart]:
    """A heart that runs as soon as it has something to do."""
    async with trio.open_nursery() as nursery:
        yield Heart(nursery.start_soon)
        nursery.cancel_scope.cancel()


# when PINGs go out


@jumping
async def test_after_silence() -> None:
    """15 s after the last that came, and again while nothing comes. A peer that never pings is never ended."""
    async with beating() as heart:
        link = Notes(heart)
        await link.at(10)
        link.hear()
        await link.at(24)
        link.hear()
        await link.at(LONG)
        assert link.pings[:3] == [39, 54, 69]
        assert len(link.pings) == (LONG - 24) // 15
        assert link.ended is None


@jumping
async def test_not_while_something_comes() -> None:
    """Traffic from the peer says as much as an answer to a PING."""
    async with beating() as heart:
        link = Notes(heart)
        for _ in range(1000):
            await trio.sleep(14)
            link.hear()
        assert link.pings == []


@jumping
@pytest.mark.parametrize("interval", [0.05, 1.0, 3600.0])
async def test_the_interval(interval: float) -> None:
    """As set; within a hundredth of a second."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=interval)
        await link.at(10.5 * interval)
        assert link.pings == pytest.approx([(n + 1) * interval for n in range(10)], abs=0.011)


@jumping
@pytest.mark.parametrize(("pings", "interval"), [(True, math.inf), (False, 15.0)], ids=["inf", "no such peer"])
async def test_none(pings: bool, interval: float) -> None:
    """heartbeat_interval=inf, and peers that cannot be asked: no PING, not even a task. A TTL announces nothing there."""
    link = Notes(Heart(nobody_spawns), pings=pings, heartbeat_interval=interval, heartbeat_ttl=1.0)
    link.hold()
    link.resume()
    await link.at(LONG)
    assert link.pings == []


@jumping
async def test_as_libzmq() -> None:
    """profile="libzmq": every interval, whatever comes (libzmq.md 5.7)."""
    async with beating() as heart:
        link = Notes(heart, libzmq=True, heartbeat_interval=2.0, heartbeat_ttl=1.0)
        for _ in range(10):
            await trio.sleep(1.5)
            link.hear()
        assert link.pings == [2, 4, 6, 8, 10, 12, 14]


@jumping
@pytest.mark.parametrize(("interval", "ttl", "every"), [(15.0, 4.0, 2.0), (1.0, 30.0, 1.0)])
async def test_a_ttl_is_kept(interval: float, ttl: float, every: float) -> None:
    """The TTL trap: a peer that talks all the time is not to end us for the silence that it has been told not to expect."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=interval, heartbeat_ttl=ttl)
        for _ in range(105):
            await trio.sleep(0.1)
            link.hear()
        assert link.pings == pytest.approx([n * every for n in range(1, int(10 / every) + 1)])


# what ends a connection


@jumping
async def test_a_peer_that_pings_has_to_answer() -> None:
    """heartbeat_timeout=None: within one interval from the PING, if the peer has sent PINGs itself."""
    async with beating() as heart:
        link = Notes(heart)
        await link.at(5)
        link.hear_ping()
        await link.at(100)
        assert link.pings == [20]
        assert link.ended == (35, "no answer to a PING within 15 s")


@jumping
async def test_any_sign_of_life_is_an_answer() -> None:
    """Not only a PONG; also in the very moment of the PING, and up to the last."""
    async with beating() as heart:
        link = Notes(heart)
        link.hear_ping()
        await link.at(15)
        await wait_all_tasks_blocked()
        link.hear()
        await link.at(30)
        await wait_all_tasks_blocked()
        assert link.pings == [15, 30]
        await link.at(44.9)
        link.hear()
        await link.at(59)
        assert link.ended is None
        await link.at(100)
        assert link.pings == [15, 30, 59.9]
        assert link.ended == (74.9, "no answer to a PING within 15 s")


@jumping
@pytest.mark.parametrize("peer_pings", [False, True])
async def test_a_timeout_holds_for_every_peer(peer_pings: bool) -> None:
    """heartbeat_timeout=4: whatever the peer did; counted from the first PING that nothing came after."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=3.0, heartbeat_timeout=4.0)
        link.peer_pings = peer_pings
        await link.at(5)
        link.hear()
        await link.at(100)
        assert link.pings == [3, 8, 11]
        assert link.ended == (12, "no answer to a PING within 4 s")


@jumping
async def test_no_timeout_at_all() -> None:
    """heartbeat_timeout=inf: PINGs, and no more than that."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_timeout=math.inf)
        link.hear_ping()
        await link.at(LONG + 1)
        assert link.ended is None
        assert len(link.pings) == LONG // 15


@jumping
async def test_libzmqs_timeout() -> None:
    """profile="libzmq": None is the interval, whatever the peer did; any traffic takes it back."""
    async with beating() as heart:
        link = Notes(heart, libzmq=True, heartbeat_interval=2.0)
        for _ in range(9):
            await trio.sleep(1)
            link.hear()
        await link.at(100)
        assert link.ended == (12, "no answer to a PING within 2 s")


@jumping
@pytest.mark.parametrize("pings", [False, True])
@pytest.mark.parametrize("interval", [15.0, math.inf])
async def test_what_the_peer_announced(pings: bool, interval: float) -> None:
    """RFC 37: a PING with a TTL, and nothing for so long after it. Also for those who never ping."""
    async with beating() as heart:
        link = Notes(heart, pings=pings, heartbeat_interval=interval, heartbeat_timeout=math.inf)
        await link.at(7)
        link.hear_ping(ttl=3.0)
        await link.at(9.9)
        link.hear_ping(ttl=3.0)
        await link.at(100)
        assert link.ended == (12.9, "nothing came for the 3.0 s that the peer announced")


@jumping
@pytest.mark.parametrize("what", ["a message", "a PING without a TTL"])
async def test_what_follows_takes_the_announcement_back(what: str) -> None:
    """As in libzmq: a TTL is for the silence right after its PING; who goes on has to announce it again."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=math.inf)
        link.hear_ping(ttl=3.0)
        await link.at(2)
        link.hear() if what == "a message" else link.hear_ping()
        await link.at(LONG)
        assert link.ended is None


@jumping
async def test_the_longest_ttl() -> None:
    """65,535 tenths are 6,553.5 s, and not libzmq's 65,535 * 100 modulo 65,536 milliseconds (wire.md 1.7)."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=math.inf)
        link.hear_ping(ttl=6553.5)
        await link.at(LONG)
        assert link.ended == (6553.5, "nothing came for the 6553.5 s that the peer announced")


# our own reader


@jumping
@pytest.mark.parametrize("libzmq", [False, True])
async def test_nobody_is_ended_while_our_reader_is_held_back(libzmq: bool) -> None:
    """What waits unread may be the sign of life: neither a time-out nor a TTL counts; after it, from the start."""
    async with beating() as heart:
        link = Notes(heart, libzmq=libzmq, heartbeat_interval=10.0, heartbeat_timeout=2.0)
        link.hear_ping(ttl=5.0)
        await link.at(4)
        link.hold()
        await link.at(LONG)
        assert link.ended is None
        link.resume()
        await link.at(LONG + 10)
        assert link.ended == (LONG + 2, "no answer to a PING within 2 s")


@jumping
async def test_the_announcement_counts_from_when_reading_goes_on() -> None:
    """If nothing was there to be read."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=math.inf)
        link.hear_ping(ttl=5.0)
        await link.at(4)
        link.hold()
        await link.at(1000)
        link.resume()
        await link.at(2000)
        assert link.ended == (1005, "nothing came for the 5.0 s that the peer announced")


@jumping
async def test_what_was_there_to_be_read_counts() -> None:
    """A peer that was held up by us, and has gone on, is alive."""
    async with beating() as heart:
        link = Notes(heart, heartbeat_interval=10.0, heartbeat_timeout=2.0)
        await link.at(5)
        link.hold()
        await link.at(1000)
        link.resume()
        link.hear()
        await link.at(1009)
        assert link.ended is None


@jumping
async def test_silence_counts_from_when_reading_goes_on() -> None:
    """There is nothing to ask before."""
    async with beating() as heart:
        link = Notes(heart)
        await link.at(8)
        link.hold()
        await link.at(14)
        link.resume()
        await link.at(40)
        assert link.pings == [29]


@jumping
async def test_signs_of_life_while_our_reader_is_held_back() -> None:
    """We see no PING then, and answer none: a peer that counts on us hears from us all the same, often enough for one
    that does as we do: it waits for two intervals.
    """
    async with beating() as heart:
        link = Notes(heart)
        await link.at(14.9)
        link.hear()
        link.hold()
        await link.at(50)
        assert link.pings == [15, 22.5, 30, 37.5, 45]
        link.resume()
        link.hear()
        await link.at(70)
        assert link.pings[5:] == [65]
        link.hear()
        link.hold()
        await link.at(80)
        assert link.pings[6:] == [77.5]


@jumping
async def test_at_the_pace_of_a_peer_that_pings_more_often() -> None:
    """libzmq waits for as long as from PING to PING."""
    async with beating() as heart:
        link = Notes(heart)
        for _ in range(5):
            await trio.sleep(1)
            link.hear_ping()
        link.hear_ping()  # read together with the one before: no measure of its pace
        link.hold()
        await link.at(7.1)
        assert link.pings == pytest.approx([5.5, 6, 6.5, 7])


@jumping
async def test_many_short_stops() -> None:
    """A consumer that is slower than its peer stops the reader a thousand times a second: that costs no entry each."""
    async with beating() as heart:
        link = Notes(heart)
        for _ in range(5000):
            link.hear()
            link.hold()
            await trio.sleep(0.001)
            link.resume()
        assert len(heart._heap) <= 2
        assert len(link.pings) <= 2


# a program that stands still


async def test_what_came_while_the_program_stood_still(autojump_clock: MockClock) -> None:
    """The peer has answered in time; that nobody has read it yet is our fault, not the peer's."""
    ours, theirs = memory_stream_pair()
    async with beating() as heart, trio.open_nursery() as nursery:
        link = Notes(heart)
        link.hear_ping()

        @nursery.start_soon
        async def read() -> None:
            while True:
                await ours.receive_some(10)
                link.hear()

        await link.at(15)
        await wait_all_tasks_blocked()
        assert link.pings == [15]
        await theirs.send_all(b"PONG")
        autojump_clock.jump(50)
        await link.at(66)
        assert link.ended is None
        nursery.cancel_scope.cancel()


async def test_what_can_be_read_comes_first(autojump_clock: MockClock) -> None:
    """Also where it stood still for so short a time that the silence would count."""
    pairs = [socket.socketpair() for _ in range(20)]
    async with beating() as heart, trio.open_nursery() as nursery:
        links = [Notes(heart) for _ in pairs]

        async def read(link: Notes, sock: trio.socket.SocketType) -> None:
            while True:
                await sock.recv(10)
                link.hear()

        for link, (ours, _) in zip(links, pairs, strict=True):
            link.hear_ping()
            nursery.start_soon(read, link, trio.socket.from_stdlib_socket(ours))
        await links[0].at(29.5)
        for _, theirs in pairs:
            theirs.send(b"PONG")
        autojump_clock.jump(1)
        await links[0].at(31)
        assert [link.ended for link in links] == [None] * len(links)
        nursery.cancel_scope.cancel()
    for pair in pairs:
        for sock in pair:
            sock.close()


async def test_standing_still_is_no_silence_of_the_peers(autojump_clock: MockClock) -> None:
    """Our PING may not have been written before it; so the peer gets its time once more, and then it is over."""
    async with beating() as heart:
        timed, told = Notes(heart), Notes(heart)
        timed.hear_ping()
        await timed.at(15)
        told.hear_ping(ttl=5.0)
        await wait_all_tasks_blocked()
        assert timed.pings == [15]
        autojump_clock.jump(100)
        await timed.at(119)
        assert timed.ended is told.ended is None
        await timed.at(200)
        assert timed.ended == (130, "no answer to a PING within 15 s")
        assert told.ended == (120, "nothing came for the 5.0 s that the peer announced")


# many


@jumping
async def test_each_in_its_time() -> None:
    """One task for all: the next to be looked at may be earlier than the one that is waited for."""
    async with beating() as heart:
        links = [Notes(heart, heartbeat_interval=interval) for interval in (50.0, 20.0, 3.0, 35.0)]
        await trio.sleep(10)
        links.append(Notes(heart, heartbeat_interval=1.0))
        await trio.sleep(0.5)
        links[0].hear_ping(ttl=2.0)
        await trio.sleep(89)
        assert [link.pings[0] for link in links[1:]] == [20, 3, 35, 1]
        assert [len(link.pings) for link in links] == [0, 4, 33, 2, 89]
        assert links[0].ended == (12.5, "nothing came for the 2.0 s that the peer announced")


@jumping
async def test_links_that_end_leave_nothing() -> None:
    """However many come and go: no entry for each until its time, no look at it."""
    async with beating() as heart:
        stays = Notes(heart)
        for _ in range(10_000):
            link = Notes(heart)
            link.pulse.stop()
        assert len(heart._heap) < 200
        await trio.sleep(16)
        assert stays.pings == [15]
        assert link.pings == []
        assert len(heart._heap) == 1


@jumping
async def test_announcements_leave_nothing() -> None:
    """A peer that announces ever shorter TTLs moves its one entry."""
    async with beating() as heart:
        link = Notes(heart)
        for ttl in range(14_000, 0, -1):
            link.hear_ping(ttl=ttl / 1000)
        assert len(heart._heap) < 200


@jumping
async def test_others_run() -> None:
    """Promise 5: ten thousand peers that are to be pinged at once are no reason to keep everybody else waiting."""
    looks = 0
    async with beating() as heart:
        links = [Notes(heart) for _ in range(10_000)]
        await trio.sleep(15)
        while not all(link.pings for link in links[::500]):
            looks += 1
            await trio.lowlevel.checkpoint()
    assert looks > 10


# calls that wait for an answer: the rest is in tests/test_link.py


@jumping
async def test_a_link_that_ends_as_soon_as_all_is_written() -> None:
    """In that very tick: nobody is left to be asked."""
    outbox = Pipe(10)
    echoes = Echoes(outbox, Pace())
    outbox.put(b"a")
    outcome: list[bool] = []

    async def wait() -> None:
        outcome.append(await echoes.written())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        outbox.hold(1)
        outbox.taken()
        echoes.end()
    assert outcome == [False]


# links and sockets, over a network in memory


@asynccontextmanager
async def pair(
    kinds: tuple[type[Any], type[Any]] = (trimq.Dealer, trimq.Dealer),
    *,
    theirs: dict[str, Any] | None = None,
    buffer: int = 65536,
    **options: Any,
) -> AsyncIterator[tuple[Any, Any, trimq.Endpoint, MemoryTransport]]:
    """A socket that has bound, one that has connected, and how they are connected."""
    network = MemoryTransport(buffer=buffer)
    async with (
        trimq.open_context(transports=[network], linger=0.0) as one,
        trimq.open_context(transports=[network], linger=0.0) as other,
    ):
        binder, connector = one.socket(kinds[0], **(theirs or {})), other.socket(kinds[1], **options)
        endpoint = connector.connect(binder.bind("tcp://there:5555"))
        await endpoint.ready()
        await binder.wait_for_peers()
        yield binder, connector, endpoint, network


@jumping
async def test_idle_peers_stay() -> None:
    """Both ping, both answer; for hours, on one connection. And messages pass as before."""
    async with pair() as (one, other, _, network):
        [stream] = network.connections
        await trio.sleep(LONG)
        assert network.connections == (stream,)
        await one.send(b"good morning")
        assert await other.receive() == [b"good morning"]


@jumping
async def test_a_peer_that_vanishes() -> None:
    """A half-open connection between two trimq sockets: noticed within three intervals; then the dialer connects anew."""
    async with pair() as (one, other, endpoint, network):
        await trio.sleep(100)
        start = trio.current_time()
        [stream] = network.connections
        stream.other.vanish()
        while endpoint.state is EndpointState.READY:
            await trio.sleep(0.01)
        assert trio.current_time() - start < 45.2
        assert isinstance(endpoint.cause, TimeoutError)
        assert str(endpoint.cause) == "no answer to a PING within 15 s"
        await endpoint.ready()
        await other.send(b"back")
        assert await one.receive() == [b"back"]


@jumping
async def test_who_dialled_vanishes() -> None:
    """The bound side notices as well, and the peer that is gone is no peer any more."""
    async with pair() as (one, _, _, network):
        await trio.sleep(100)
        [stream] = network.connections
        stream.vanish()
        await trio.sleep(1)
        assert len(one.peers) == 2
        await trio.sleep(45)
        assert len(one.peers) == 1


@jumping
async def test_what_is_being_written_is_in_doubt(caplog: pytest.LogCaptureFixture) -> None:
    """Promise 1: as with every lost connection; what waits behind it goes over the next."""
    async with pair(buffer=1000, heartbeat_timeout=5.0) as (one, other, endpoint, network):
        [stream] = network.connections
        stream.other.vanish()
        for number in range(3):
            await other.send(b"%d" % number * 2000)
        await wait_all_tasks_blocked()
        await other.send(b"later")
        caplog.set_level(logging.WARNING, "trimq")
        while endpoint.state is EndpointState.READY:
            await trio.sleep(0.01)
        assert str(endpoint.cause) == "no answer to a PING within 5 s"
        [record] = [record for record in caplog.records if "in doubt" in record.getMessage()]
        await endpoint.ready()
        got = [(await one.receive())[0] for _ in range(1 if "3 messages" in record.getMessage() else 3)]
        assert got[-1] == b"later"


@jumping
@pytest.mark.parametrize("ttl", [0.0, 2.0])
async def test_a_reader_at_its_high_water_mark(ttl: float) -> None:
    """A Pull that is not asked for messages for ten minutes, with a peer that watches it: nobody ends anything, and all that
    was sent arrives, in order. (libzmq: 14 of 20.) Each side has sent PINGs before, so that each has to answer.
    """
    options: dict[str, Any] = {"heartbeat_interval": 1.0, "heartbeat_ttl": ttl}
    kinds = (trimq.Pull, trimq.Push)
    async with pair(kinds, theirs={"receive_hwm": 2, **options}, buffer=500, send_hwm=5, **options) as ends:
        pull, push, _, network = ends
        await trio.sleep(10)
        [stream] = network.connections
        sent: list[bytes] = []
        with trio.move_on_after(600):
            while True:
                await push.send(b"%d" % len(sent) * 40)
                sent.append(b"%d" % len(sent) * 40)
        assert 5 < len(sent) < 100
        for message in sent:
            assert await pull.receive() == [message]
            await trio.sleep(7)
        assert network.connections == (stream,)


# links, with a peer of the test's own


class Peer:
    """The other end of a connection, played by the test: it has said who it is, and then says what it is told to."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.received = bytearray()

    async def read(self) -> None:
        while data := await self.stream.receive_some(65536):
            self.received += data


@asynccontextmanager
async def watched(
    kind: type[Any] = trimq.Pull, *, minor: int = 1, profile: Any = "trimq", **options: Any
) -> AsyncIterator[tuple[Any, Peer]]:
    """A socket that is bound, and a peer that has shaken hands with it."""
    network = MemoryTransport()
    async with (
        trimq.open_context(transports=[network], profile=profile, linger=0.0) as context,
        trio.open_nursery() as nursery,
    ):
        made = context.socket(kind, **options)
        made.bind("tcp://there:5555")
        stream = await network.connect("there:5555", Settings())
        assert isinstance(stream, MemoryStream)
        peer = Peer(stream)
        nursery.start_soon(peer.read)
        if kind is not trimq.Stream:
            its_kind = {trimq.Pull: b"PUSH", trimq.Dealer: b"DEALER"}[kind]
            await stream.send_all(greeting(minor=minor) + ready(prop(b"Socket-Type", its_kind)))
        await made.wait_for_peers()
        await wait_all_tasks_blocked()
        peer.received.clear()
        yield made, peer
        nursery.cancel_scope.cancel()


@jumping
async def test_the_bytes_of_a_ping() -> None:
    """wire.md 1.7: TTL 0 and no context, unless asked for; a PING of the peer's is answered in between."""
    async with watched() as (_, peer):
        await trio.sleep(14)
        assert peer.received == b""
        await trio.sleep(1.5)
        assert peer.received == bytes.fromhex("04 07 04 50494E47 0000")
        await peer.stream.send_all(command(b"PING", b"\0\0hi"))
        await wait_all_tasks_blocked()
        assert peer.received == PING + command(b"PONG", b"hi")


@jumping
@pytest.mark.parametrize(("ttl", "tenths"), [(0.0, 0), (0.04, 1), (3.0, 30), (65.5, 655)])
async def test_the_ttl_that_is_announced(ttl: float, tenths: int) -> None:
    """heartbeat_ttl, in tenths of a second; never so small that it would be none, never what libzmq takes for less."""
    async with watched(heartbeat_ttl=ttl) as (_, peer):
        await trio.sleep(33)
        assert peer.received.startswith(command(b"PING", tenths.to_bytes(2, "big")))


@jumping
async def test_a_silent_peer_stays_by_default() -> None:
    """It has never sent a PING: it may be a libzmq peer that has no room (measured)."""
    async with watched() as (pull, peer):
        await trio.sleep(3601)
        assert peer.received == PING * 240
        assert len(pull.peers) == 1
        await peer.stream.send_all(frame(b"still here"))
        assert await pull.receive() == [b"still here"]


@jumping
async def test_a_silent_peer_that_has_pinged_goes() -> None:
    """It cannot have lost its voice but by dying, or by a network that fails."""
    async with watched() as (pull, peer):
        await peer.stream.send_all(PING)
        await trio.sleep(31)
        assert pull.peers == ()
        assert not peer.stream.connected


@jumping
async def test_a_peer_that_announced_a_ttl_goes() -> None:
    """Also where nobody here sends PINGs."""
    async with watched(heartbeat_interval=math.inf) as (pull, peer):
        await peer.stream.send_all(command(b"PING", b"\0\x1e"))
        await trio.sleep(2.9)
        assert len(pull.peers) == 1
        await trio.sleep(0.2)
        assert pull.peers == ()


@jumping
async def test_messages_are_signs_of_life() -> None:
    """Pieces of one, too: a large frame may take longer than any interval."""
    async with watched(heartbeat_interval=2.0, heartbeat_timeout=1.0) as (pull, peer):
        data = frame(b"l" * 100_000)
        for start in range(0, len(data), 1000):
            await peer.stream.send_all(data[start : start + 1000])
            await trio.sleep(1.9)
        assert peer.received == b""
        assert await pull.receive() == [b"l" * 100_000]


@jumping
@pytest.mark.parametrize(
    ("profile", "options", "expected"),
    [
        ("trimq", {}, b""),
        ("trimq", {"heartbeat_interval": 1.0}, b""),
        ("libzmq", {}, b""),
        ("libzmq", {"heartbeat_interval": 1.0, "heartbeat_timeout": math.inf}, PING),
    ],
)
async def test_peers_of_zmtp_3_0(profile: str, options: dict[str, Any], expected: bytes) -> None:
    """They have no PING; libzmq sends it to them all the same (libzmq.md 5.7)."""
    async with watched(minor=0, profile=profile, **options) as (pull, peer):
        await trio.sleep(1.5)
        assert peer.received == expected
        await trio.sleep(100)
        assert len(pull.peers) == 1


@jumping
async def test_raw_streams_have_none() -> None:
    """A Stream's bytes are its user's alone."""
    async with watched(trimq.Stream, heartbeat_interval=0.1, heartbeat_timeout=0.1, notify=False) as (stream, peer):
        await trio.sleep(LONG)
        assert peer.received == b""
        assert len(stream.peers) == 1


@jumping
async def test_the_libzmq_profile_sends_none_by_default() -> None:
    """ZMQ_HEARTBEAT_IVL is 0 there."""
    async with watched(profile="libzmq") as (_, peer):
        await trio.sleep(LONG)
        assert peer.received == b""


@jumping
async def test_a_full_socket_ends_nobody() -> None:
    """The peer's signs of life wait behind its messages, in the system; once there is room, they are seen."""
    async with watched(receive_hwm=1, heartbeat_interval=1.0, heartbeat_timeout=1.0) as (pull, peer):
        for number in range(5):
            await peer.stream.send_all(frame(b"%d" % number))
            await wait_all_tasks_blocked()
        await peer.stream.send_all(command(b"PING", b"\0\x05"))
        await trio.sleep(600)
        assert len(pull.peers) == 1
        for number in range(5):
            assert await pull.receive() == [b"%d" % number]
        await trio.sleep(0.4)
        assert len(pull.peers) == 1
        assert peer.received.endswith(PONG)
        await trio.sleep(0.2)
        assert pull.peers == ()
