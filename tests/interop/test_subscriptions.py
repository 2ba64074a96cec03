"""Subscriptions between trimq and libzmq: their form on the wire, long topics, taking them back, after a restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from interop.harness import Peer, PeerSocket, Pool, running, until_left

import trimq

pytestmark = pytest.mark.pyzmq

# Topics around the lengths at which a SUBSCRIBE command, or a message of 01 and the topic, becomes a long frame.
LENGTHS = [0, 1, 244, 245, 246, 253, 254, 255, 256, 257, 1000]


def topic_of(length: int) -> bytes:
    return bytes(0x41 + n % 26 for n in range(length))


@pytest.mark.parametrize("kind", ["SUB", "XSUB"])
@pytest.mark.parametrize("length", LENGTHS)
async def test_topics_of_a_libzmq_subscriber(length: int, kind: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A trimq XPub sees 01 topic and 00 topic of a libzmq SUB or XSUB, whatever their form on the wire (ZMQ_XPUB)."""
    topic = topic_of(length)
    async with running(10) as ctx:
        xpub = ctx.socket(trimq.XPub)
        sub = await peer.socket(kind)
        await sub.connect(xpub.bind(fresh("tcp")))
        await sub.subscribe(topic)
        assert await xpub.receive() == [b"\1" + topic]
        await xpub.send([topic + b".", b"matches"])
        assert await sub.receive() == [topic + b".", b"matches"]
        await sub.unsubscribe(topic)
        assert await xpub.receive() == [b"\0" + topic]


@pytest.mark.parametrize("kind", [trimq.Sub, trimq.XSub])
@pytest.mark.parametrize("length", LENGTHS)
async def test_topics_of_a_trimq_subscriber(
    length: int, kind: type[Any], peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A libzmq XPUB sees 01 topic and 00 topic of a trimq Sub or XSub."""
    topic = topic_of(length)
    async with running(10) as ctx:
        xpub = await peer.socket("XPUB")
        sub = ctx.socket(kind)
        sub.connect(await xpub.bind(fresh("tcp")))
        sub.subscribe(topic)
        assert await xpub.receive() == [b"\1" + topic]
        await xpub.send([topic + b".", b"matches"])
        assert await sub.receive() == [topic + b".", b"matches"]
        sub.unsubscribe(topic)
        assert await xpub.receive() == [b"\0" + topic]


async def relay(listener: trio.SocketListener, address: tuple[str, int], heard: bytearray) -> None:
    """Passes one connection on to an address, and keeps what came from the side that connected."""
    near = await listener.accept()
    async with near, await trio.open_tcp_stream(*address) as far, trio.open_nursery() as nursery:

        async def back() -> None:
            async for data in far:
                await near.send_all(data)

        nursery.start_soon(back)
        async for data in near:
            heard += data
            await far.send_all(data)
        nursery.cancel_scope.cancel()


async def hear(xpub: PeerSocket, subscribe: Callable[[str], Awaitable[Callable[[bytes], Awaitable[None]]]]) -> bytes:
    """What a subscriber sends to a libzmq XPUB until it has said goodbye to each topic."""
    host, port = (await xpub.bind("tcp://127.0.0.1:*")).removeprefix("tcp://").split(":")
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    heard = bytearray()
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(relay, listener, (host, int(port)), heard)
        unsubscribe = await subscribe(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        for length in LENGTHS:
            assert await xpub.receive() == [b"\1" + topic_of(length)]
        for length in LENGTHS:
            await unsubscribe(topic_of(length))
            assert await xpub.receive() == [b"\0" + topic_of(length)]
        nursery.cancel_scope.cancel()
    return bytes(heard)


async def test_the_bytes_are_libzmqs(peer: Peer) -> None:
    """To a ZMTP 3.1 peer, a trimq Sub says byte for byte what a libzmq SUB says, from the greeting on: SUBSCRIBE and
    CANCEL commands, not messages (RFC 37; wire.md trap 8).
    """
    async with running(10) as ctx:

        async def by_libzmq(endpoint: str) -> Callable[[bytes], Awaitable[None]]:
            sub = await peer.socket("SUB")
            for length in LENGTHS:
                await sub.subscribe(topic_of(length))
            await sub.connect(endpoint)
            return sub.unsubscribe

        async def by_trimq(endpoint: str) -> Callable[[bytes], Awaitable[None]]:
            sub = ctx.socket(trimq.Sub)
            for length in LENGTHS:
                sub.subscribe(topic_of(length))
            sub.connect(endpoint)

            async def unsubscribe(topic: bytes) -> None:
                sub.unsubscribe(topic)

            return unsubscribe

        # libzmq replays in the order of its tree, shortest first: as LENGTHS are, of one stem
        theirs = await hear(await peer.socket("XPUB"), by_libzmq)
        ours = await hear(await peer.socket("XPUB"), by_trimq)
        assert b"\x09SUBSCRIBE" in theirs
        assert b"\x06CANCEL" in theirs
        assert ours == theirs


async def test_unsubscribe_takes_effect_at_a_libzmq_pub(peer: Peer, fresh: Callable[[str], str]) -> None:
    """After its cancellation has reached it, the publisher no longer sends (an XSub does not filter, so it would show)."""
    async with running(10) as ctx:
        pub = await peer.socket("PUB")
        sub = ctx.socket(trimq.XSub)
        sub.subscribe(b"a")
        sub.subscribe(b"b")
        sub.connect(await pub.bind(fresh("tcp")))
        seen: set[bytes] = set()
        while seen < {b"a", b"b"}:
            await pub.send(b"a")
            await pub.send(b"b")
            with trio.move_on_after(0.02):
                seen |= set(await sub.receive())
        sub.unsubscribe(b"a")
        for number in range(1000):
            await pub.send([b"a", b"%d" % number])
            await pub.send([b"b", b"%d" % number])
            seen = set()
            while [b"b", b"%d" % number] != (message := await sub.receive()):
                seen.add(message[0])
            if b"a" not in seen:
                return
        pytest.fail("the publisher goes on sending")


async def test_unsubscribe_takes_effect_at_a_trimq_pub(peer: Peer, fresh: Callable[[str], str]) -> None:
    """The same with a libzmq XSUB, which does not filter, and a trimq Pub."""
    async with running(10) as ctx:
        pub = ctx.socket(trimq.Pub)
        sub = await peer.socket("XSUB")
        await sub.connect(pub.bind(fresh("tcp")))
        await sub.subscribe(b"a")
        await sub.subscribe(b"b")
        await pub.wait_for_subscribers(1, b"a")
        await pub.wait_for_subscribers(1, b"b")
        await pub.send(b"a")
        assert await sub.receive() == [b"a"]
        await sub.unsubscribe(b"a")
        await sub.subscribe(b"c")  # comes after it
        await pub.wait_for_subscribers(1, b"c")
        await pub.send(b"a")
        await pub.send(b"b")
        assert await sub.receive() == [b"b"]


async def test_a_topic_subscribed_to_twice(peer: Peer, fresh: Callable[[str], str]) -> None:
    """As often as it was subscribed to, a topic must be unsubscribed from before a libzmq XPUB hears of it (RFC 29)."""
    async with running(10) as ctx:
        xpub = await peer.socket("XPUB", XPUB_VERBOSER=1)
        sub = ctx.socket(trimq.Sub)
        sub.connect(await xpub.bind(fresh("tcp")))
        sub.subscribe(b"a")
        assert await xpub.receive() == [b"\1a"]
        sub.subscribe(b"a")
        assert await xpub.receive() == [b"\1a"]
        sub.unsubscribe(b"a")
        sub.unsubscribe(b"nothing")
        sub.unsubscribe(b"a")
        sub.subscribe(b"b")
        assert [await xpub.receive(), await xpub.receive()] == [[b"\0a"], [b"\1b"]]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_sent_again_after_a_libzmq_publisher_restarted(
    transport: str, pool: Pool, fresh: Callable[[str], str]
) -> None:
    """A new publisher at the old address hears all subscriptions of a trimq Sub, and only those that hold (RFC 29)."""
    async with running() as ctx:
        sub = ctx.socket(trimq.Sub, reconnect_interval=0.01)
        for topic in (b"a", b"b", b"gone", b""):
            sub.subscribe(topic)
        async with pool.peer() as old:
            xpub = await old.socket("XPUB")
            address = await xpub.bind(fresh(transport))
            sub.connect(address)
            assert {(await xpub.receive())[0] for _ in range(4)} == {b"\1a", b"\1b", b"\1gone", b"\1"}
            await old.kill()
        await until_left(sub, 0)
        sub.unsubscribe(b"gone")
        sub.subscribe(b"new")
        async with pool.peer() as new:
            xpub = await new.socket("XPUB")
            await xpub.bind(address)
            assert {(await xpub.receive())[0] for _ in range(4)} == {b"\1a", b"\1b", b"\1new", b"\1"}
            await xpub.send([b"anything", b"from the new one"])
            assert await sub.receive() == [b"anything", b"from the new one"]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_sent_again_after_a_trimq_publisher_restarted(
    transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A libzmq SUB finds the new trimq XPub at the old address, and is heard there."""
    async with running() as ctx:
        sub = await peer.socket("SUB", RECONNECT_IVL=10)
        old = ctx.socket(trimq.XPub)
        address = str(old.bind(fresh(transport)))
        await sub.connect(address)
        for topic in (b"a", b"b"):
            await sub.subscribe(topic)
        assert {(await old.receive())[0] for _ in range(2)} == {b"\1a", b"\1b"}
        await old.aclose()
        new = ctx.socket(trimq.XPub)
        new.bind(address)
        assert {(await new.receive())[0] for _ in range(2)} == {b"\1a", b"\1b"}
        await new.send([b"b", b"from the new one"])
        assert await sub.receive() == [b"b", b"from the new one"]


async def test_a_libzmq_subscriber_that_dies(pool: Pool, fresh: Callable[[str], str]) -> None:
    """A trimq XPub tells 00 topic for each topic that lost its last subscriber, and no other (ZMQ_XPUB)."""
    async with running() as ctx:
        xpub = ctx.socket(trimq.XPub)
        address = xpub.bind(fresh("tcp"))
        async with pool.peer() as living, pool.peer() as dying:
            stays = await living.socket("SUB", SUBSCRIBE=b"both")
            await stays.connect(address)
            assert await xpub.receive() == [b"\1both"]
            goes = await dying.socket("SUB", SUBSCRIBE=b"both")
            await goes.subscribe(b"lonely")
            await goes.connect(address)
            assert await xpub.receive() == [b"\1lonely"]
            await dying.kill()
            assert await xpub.receive() == [b"\0lonely"]
            await xpub.send(b"both")
            assert await stays.receive() == [b"both"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, [b"\1t", b"\0t"]),
        ({"verbose": True}, [b"\1t", b"\1t", b"\0t"]),
        ({"verboser": True}, [b"\1t", b"\1t", b"\0t", b"\0t"]),
    ],
    ids=["default", "verbose", "verboser"],
)
@pytest.mark.parametrize("side", ["trimq", "libzmq"])
async def test_what_an_xpub_tells(
    options: dict[str, bool], told: list[bytes], side: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """Two subscribers of one topic: with these options this is told. libzmq's XPUB is held to the same, as the oracle."""
    async with running(10) as ctx:
        names = {"XPUB_" + name.upper(): 1 for name in options}
        xpub: Any = ctx.socket(trimq.XPub, **options) if side == "trimq" else await peer.socket("XPUB", **names)
        bound = xpub.bind(fresh("tcp"))
        address = str(bound if side == "trimq" else await bound)
        first, second = await peer.socket("SUB"), await peer.socket("SUB")
        for sub in (first, second):
            await sub.connect(address)
            # its own topic shows when its turn is over: connections are not in step
            await sub.subscribe(b"t")
            await sub.subscribe(b"after " + sub._call.keywords["name"].encode())
        heard = [(await xpub.receive())[0] for _ in range(told.count(b"\1t") + 2)]
        for sub in (first, second):
            await sub.unsubscribe(b"t")
            await sub.subscribe(b"end " + sub._call.keywords["name"].encode())
        heard += [(await xpub.receive())[0] for _ in range(told.count(b"\0t") + 2)]
        assert [message for message in heard if message[1:] == b"t"] == told


async def test_manual_and_welcome(peer: Peer, fresh: Callable[[str], str]) -> None:
    """A trimq XPub that subscribes for its libzmq peers, and welcomes them (ZMQ_XPUB_MANUAL, ZMQ_XPUB_WELCOME_MSG)."""
    async with running(10) as ctx:
        xpub = ctx.socket(trimq.XPub, manual=True, welcome_message=b"welcome")
        sub = await peer.socket("XSUB")
        await sub.connect(xpub.bind(fresh("tcp")))
        assert await sub.receive() == [b"welcome"]
        await sub.subscribe(b"asked")
        assert await xpub.receive() == [b"\1asked"]
        xpub.subscribe(b"given")
        await xpub.send([b"asked", b"no"])
        await xpub.send([b"given", b"yes"])
        assert await sub.receive() == [b"given", b"yes"]
        await sub.unsubscribe(b"asked")
        assert await xpub.receive() == [b"\0asked"]
        xpub.unsubscribe(b"given")
        await xpub.send([b"given", b"no"])
        xpub.subscribe(b"last")
        await xpub.send([b"last"])
        assert await sub.receive() == [b"last"]


async def test_welcome_of_libzmq(peer: Peer, fresh: Callable[[str], str]) -> None:
    """A trimq Sub gets a libzmq XPUB's welcome if it has subscribed to it."""
    async with running(10) as ctx:
        xpub = await peer.socket("XPUB", XPUB_WELCOME_MSG=b"welcome")
        sub = ctx.socket(trimq.Sub)
        sub.subscribe(b"wel")
        sub.connect(await xpub.bind(fresh("tcp")))
        assert await sub.receive() == [b"welcome"]
