"""What old and other peers put on the wire, and what of it is special: sizes, topics, refusals, restarts."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import pytest
import trio
from interop.harness import Peer, join, running, until_left, until_quiet
from interop.old.peers import LIMITS, NAMES, Found, Limit

import trimq
from trimq._mechanisms._null import Null
from trimq._sockets import _peering

pytestmark = pytest.mark.old_peers

BOTH_WAYS = pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
ALL = pytest.mark.parametrize("name", NAMES)
TYPED = pytest.mark.parametrize("name", ["libzmq-3.2", "jeromq", "libzmq-4.1", "azmq", "pyomq"])
WITHOUT_SECURITY = pytest.mark.parametrize("name", ["libzmq-2.2", "libzmq-3.2", "jeromq"])

SPEAKS = {
    "libzmq-2.2": "1.0",
    "libzmq-3.2": "2.0",
    "jeromq": "2.0",
    "libzmq-4.1": "3.0",
    "azmq": "3.1",  # but it subscribes by messages, as 3.0 does
    "pyomq": "3.1",
}

LIBZMQS = {"libzmq-2.2": "2.2.0", "libzmq-3.2": "3.2.2", "libzmq-4.1": "4.1.6"}


@ALL
async def test_what_they_speak(name: str, old: Peer) -> None:
    """Each is of the version that it is here for, by its greeting, and so is each libzmq, by its own word."""
    if name in LIBZMQS:
        assert (await old.call("version"))[1] == LIBZMQS[name]
    theirs = await old.socket("REP")
    host, port = (await theirs.bind("tcp://127.0.0.1:*")).removeprefix("tcp://").split(":")
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(host, int(port)) as raw:
            await raw.send_all(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03")
            heard = b""
            while len(heard) < 12 and heard != b"\x01\x00":  # an anonymous identity, and nothing before a message
                heard += await raw.receive_some()
    spoken = "1.0" if heard[0] != 0xFF else {1: "2.0", 3: f"3.{heard[11]}"}[heard[10]]
    assert spoken == SPEAKS[name]


# A length of ZMTP 1.0 counts the flags and fits a byte up to 254; later ones do up to 255.
SIZES = [0, 1, 252, 253, 254, 255, 256, 257, 65_535, 65_536, 2_000_000]


@BOTH_WAYS
@ALL
async def test_sizes(name: str, trimq_binds: bool, old: Peer, fresh: Callable[[str], str]) -> None:
    """Frames of any size, and messages of many frames, there and back (RFC 13, 15, 23)."""
    source = random.Random(name)
    messages = [[source.randbytes(size)] for size in SIZES]
    messages += [[source.randbytes(size) for size in SIZES], [b""] * 100, [source.randbytes(254)] * 3]
    async with running() as ctx:
        mine = ctx.socket(trimq.Pair)
        theirs = await old.socket("PAIR")
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: theirs._call("echo", count=len(messages)))
            for message in messages:
                await mine.send(message)
            for message in messages:
                assert await mine.receive() == message


async def until_logged(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """Waits until the log has one of these."""
    while not any(word in record.getMessage() for record in caplog.records for word in words):
        await trio.sleep(0.005)


def topic_of(length: int) -> bytes:
    return bytes(0x41 + n % 26 for n in range(length))


# A subscription is a message of the topic and a byte: in ZMTP 1.0 253 bytes are the first that need the long form.
LENGTHS = [0, 1, 252, 253, 254, 255, 256, 1000]


@pytest.mark.parametrize("length", LENGTHS)
@ALL
async def test_topics_of_a_trimq_subscriber(name: str, length: int, old: Peer, fresh: Callable[[str], str]) -> None:
    """An XPUB sees 01 topic and 00 topic, where it can, and its messages come; in ZMTP 1.0 they come unasked."""
    topic = topic_of(length)
    async with running(10) as ctx:
        xpub = await old.socket("XPUB")
        sub = ctx.socket(trimq.Sub)
        sub.connect(await xpub.bind(fresh("tcp")))
        sub.subscribe(topic)
        await sub.wait_for_peers()
        deaf = Limit.XPUB_IS_DEAF in LIMITS[name]
        if deaf:
            await until_quiet(sub, lambda rest: xpub.send([topic + b".", *rest]))
        else:
            assert await xpub.receive() == [b"\1" + topic]
        assert await sub.wait_subscribed() is (SPEAKS[name] == "3.1")  # it takes a PING to ask
        await xpub.send([topic + b".", b"matches"])
        assert await sub.receive() == [topic + b".", b"matches"]
        sub.unsubscribe(topic)
        if not deaf:
            assert await xpub.receive() == [b"\0" + topic]


@pytest.mark.parametrize("length", LENGTHS)
@ALL
async def test_topics_of_their_subscriber(name: str, length: int, old: Peer, fresh: Callable[[str], str]) -> None:
    """An XPub sees 01 topic and 00 topic, as messages on the wire or as commands; one of ZMTP 1.0 wants everything."""
    topic = topic_of(length)
    told = Limit.NO_SUBSCRIPTIONS not in LIMITS[name]
    async with running(10) as ctx:
        xpub = ctx.socket(trimq.XPub)
        sub = await old.socket("SUB")
        await sub.connect(xpub.bind(fresh("tcp")))
        await sub.subscribe(topic)
        assert await xpub.receive() == [b"\1" + (topic if told else b"")]
        await xpub.send([topic + b".", b"matches"])
        assert await sub.receive() == [topic + b".", b"matches"]
        await sub.unsubscribe(topic)
        if told:
            assert await xpub.receive() == [b"\0" + topic]


@TYPED
async def test_connecting_to_the_wrong_type(name: str, old: Peer, fresh: Callable[[str], str]) -> None:
    """`Endpoint.ready` says which types do not match, if the peer did not close before; RFC 15, 37."""
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, linger=0)
        theirs = await old.socket("DEALER")
        endpoint = push.connect(await theirs.bind(fresh("tcp")))
        with pytest.raises(trimq.ProtocolError) as caught:
            await endpoint.ready()
        text = str(caught.value)
        assert ("DEALER" in text and "PULL" in text) or "no use for this socket type" in text
        assert push.peers == ()


@TYPED
async def test_the_wrong_type_connects(
    name: str, old: Peer, fresh: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is turned away, and the next one is served."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with running(10) as ctx:
        pull = ctx.socket(trimq.Pull)
        address = pull.bind(fresh("tcp"))
        stranger = await old.socket("DEALER")
        await stranger.connect(address)
        await until_logged(caplog, "is a DEALER", "during the handshake")
        assert pull.peers == ()
        push = await old.socket("PUSH")
        await push.connect(address)
        await push.send([b"welcome"])
        assert await pull.receive() == [b"welcome"]


@ALL
async def test_too_large_a_frame(name: str, old: Peer, fresh: Callable[[str], str]) -> None:
    """It ends that peer's connection; what came before it is received, and the next peer is served (promise 4)."""
    async with running(10) as ctx:
        pull = ctx.socket(trimq.Pull, max_message_size=300)
        address = pull.bind(fresh("tcp"))
        for size, come in ((300, [[b"first"], [bytes(300)]]), (301, [[b"first"]])):
            push = await old.socket("PUSH")
            await push.connect(address)
            await push.send([b"first"])
            await push.send([bytes(size)])
            for message in come:
                assert await pull.receive() == message
        while pull.statistics().losses == 0:
            await trio.sleep(0.005)
        push = await old.socket("PUSH")
        await push.connect(address)
        await push.send([b"next"])
        assert await pull.receive() == [b"next"]


class Secured(Null):
    """As NULL, by another name."""

    @property
    def name(self) -> str:
        return "PLAIN"


@BOTH_WAYS
@WITHOUT_SECURITY
async def test_no_downgrade_where_there_is_security(
    name: str,
    trimq_binds: bool,
    old: Peer,
    fresh: Callable[[str], str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mechanism other than NULL refuses versions that know none (RFC 23 and 37, 'downgrade'), and says so."""
    caplog.set_level(logging.DEBUG, "trimq")
    monkeypatch.setattr(_peering, "Null", Secured)
    words = f"speaks ZMTP {SPEAKS[name]}, which has no security: PLAIN was expected"
    async with running(10) as ctx:
        pull = ctx.socket(trimq.Pull)
        theirs = await old.socket("PUSH")
        if trimq_binds:
            await theirs.connect(pull.bind(fresh("tcp")))
            await until_logged(caplog, words)
        else:
            endpoint = pull.connect(await theirs.bind(fresh("tcp")))
            with pytest.raises(trimq.ProtocolError, match=words):
                await endpoint.ready()
        assert pull.peers == ()


@ALL
async def test_a_peer_that_was_killed(name: str, found: Found, here: None, fresh: Callable[[str], str]) -> None:
    """What is sent while it is away is queued, and arrives at its successor, in order (RFC 30)."""
    async with running() as ctx:
        push = ctx.socket(trimq.Push, reconnect_interval=0.01, reconnect_interval_max=0.05)
        async with found.enter(name) as first:
            theirs = await first.socket("PULL")
            address = await theirs.bind(fresh("tcp"))
            endpoint = push.connect(address)
            await push.send(b"before")
            assert await theirs.receive() == [b"before"]
            await first.kill()
        await until_left(push, 0)
        assert endpoint.state is not trimq.EndpointState.READY
        for number in range(300):
            await push.send(b"%d" % number)
        async with found.enter(name) as second:
            theirs = await second.socket("PULL")
            await theirs.bind(address)
            for number in range(300):
                assert await theirs.receive() == [b"%d" % number]
            await endpoint.ready()


@ALL
async def test_trimq_binder_restarted(name: str, old: Peer, fresh: Callable[[str], str]) -> None:
    """The peer connects again, a subscriber subscribes again, and is served as before (RFC 29)."""
    async with running() as ctx:
        sub = await old.socket("SUB")
        await sub.subscribe(b"a")
        address = fresh("tcp")
        for life in (b"first", b"second"):
            pub = ctx.socket(trimq.Pub)
            address = str(pub.bind(address))
            if life == b"first":
                await sub.connect(address)
            await pub.wait_for_subscribers(1, b"a")
            await pub.send([b"a", life])
            assert await sub.receive() == [b"a", life]
            await pub.aclose()
