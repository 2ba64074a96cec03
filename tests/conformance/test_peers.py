"""libzmq's own tests of peers (libzmq.md 7): how they are named, what is known of them, what they are allowed and told.

Each test bears the name of libzmq's program, and is asked of trimq and of libzmq by the same lines (see sides.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from conformance.sides import Either, Mine, bounce, drain, trimqs

Fresh = Callable[[str], str]


# test_connect_rid


async def test_connect_rid_of_a_stream(either: Either, fresh: Fresh) -> None:
    """A STREAM names who it connects to; the other STREAM names its guest by an id whose first byte is zero."""
    async with either() as library:
        server, client = await library.socket("STREAM", notify=False), await library.socket("STREAM")
        await client.connect(await server.bind(fresh("tcp")), routing_id=b"conn1")
        await client.send([b"conn1", b"hi 1"])
        [name, data] = await server.receive()
        assert (name[:1], data) == (b"\0", b"hi 1")


@pytest.mark.parametrize("named", [False, True], ids=["nameless", "named"])
async def test_connect_rid_of_a_router(named: bool, either: Either, fresh: Fresh) -> None:
    """A ROUTER names who it connects to, whatever that one calls itself; the other side goes by what is announced."""
    async with either() as library:
        bound = await library.socket("ROUTER", **({"routing_id": b"X"} if named else {}))
        dialling = await library.socket("ROUTER", **({"routing_id": b"Y"} if named else {}))
        await dialling.connect(await bound.bind(fresh("tcp")), routing_id=b"conn1")
        await dialling.send([b"conn1", b"hi 1"])
        [name, data] = await bound.receive()
        assert data == b"hi 1"
        assert name == b"Y" if named else name[:1] == b"\0"
        await bound.send([name, b"ok"])
        assert await dialling.receive() == [b"conn1", b"ok"]


async def test_connect_rid_among_three(either: Either, fresh: Fresh) -> None:
    """A name that is given to a new peer is that peer's, also while something from another waits to be received."""
    async with either() as library:
        x, y, z = [await library.socket("ROUTER", routing_id=name) for name in (b"X", b"Y", b"Z")]
        await y.connect(await x.bind(fresh("tcp")), routing_id=b"X")
        await y.send([b"X", b"nobody reads this"])
        await x.peers(1)
        await x.connect(await z.bind(fresh("tcp")), routing_id=b"Z")
        await x.send([b"Z", b"hi 1"])
        assert await z.receive() == [b"X", b"hi 1"]
        assert await x.receive() == [b"Y", b"nobody reads this"]
        await x.send([b"Y", b"hi 2"])
        assert await y.receive() == [b"X", b"hi 2"]  # and nothing before it


@pytest.mark.parametrize("kind", ["ROUTER", "DEALER"])
async def test_probe_router(kind: str, either: Either, fresh: Fresh) -> None:
    """Who probes sends an empty message first, by which a ROUTER learns its name and can be the first to speak."""
    async with either() as library:
        server, client = await library.socket("ROUTER"), await library.socket(kind, routing_id=b"X", probe_router=True)
        await client.connect(await server.bind(fresh("tcp")))
        assert await server.receive() == [b"X", b""]
        await server.send([b"X", b"Hello"])
        *name, data = await client.receive()
        assert data == b"Hello"
        assert [len(id_) for id_ in name] == ([5] if kind == "ROUTER" else [])


async def test_invalid_rep(either: Either, fresh: Fresh) -> None:
    """An id and nothing more is no message: the REQ sees the reply that follows. trimq says so to the ROUTER, too."""
    async with either() as library:
        router, req = await library.pair("ROUTER REQ", fresh("inproc"))
        await req.send(b"r")
        [name, empty, body] = await router.receive()
        assert (empty, body) == (b"", b"r")
        assert await router.refuses("send", [name]) == ("EINVAL" if library.is_trimq else "")
        await router.send([name, b"", b"b"])
        assert await req.receive() == [b"b"]


async def test_issue_566(either: Either, fresh: Fresh) -> None:
    """One DEALER after the other, each in another context: a ROUTER that is told who is not there yet reaches each."""
    async with either() as library, either() as other:
        router = await library.socket("ROUTER", mandatory=True)
        address = await router.bind(fresh("tcp"))
        for number in range(30):
            dealer = await other.socket("DEALER", routing_id=b"%010d" % number)
            await dealer.connect(address)
            while problem := await router.refuses("send", [b"%010d" % number, b"HELLO"]):
                assert problem == "EHOSTUNREACH"
                await router.peers(1)
            assert await dealer.receive() == [b"HELLO"]
            await dealer.close()


async def test_msg_flags(either: Either, fresh: Fresh) -> None:
    """A message comes with all its frames, the id in front: what the MORE flag says is the length of a list here."""
    async with either() as library:
        router, dealer = await library.pair("ROUTER DEALER", fresh("inproc"), routing_id=b"d")
        await dealer.send([b"A", b"B"])
        assert await router.receive() == [b"d", b"A", b"B"]


# test_app_meta, test_metadata


async def test_app_meta(either: Either, fresh: Fresh) -> None:
    """Each side has what the other announced, by the names it was given, and nothing else; not its own."""
    async with either() as library:
        rep = await library.socket("REP", metadata={"X-hello": b"hello", "X-connection": b"primary", "X-bin": b"009c6"})
        req = await library.socket("REQ", metadata={"X-hello": b"world", "X-connection": b"backup", "X-bin": b"009c6"})
        await req.connect(await rep.bind(fresh("tcp")))
        names = "X-hello", "X-connection", "X-bin", "X-foobar", "foobar"
        await req.send(b"bonjour")
        assert await rep.receive_with(*names) == ([b"bonjour"], ["world", "backup", "009c6", None, None])
        await rep.send(b"bonsoir")
        assert await req.receive_with(*names) == ([b"bonsoir"], ["hello", "primary", "009c6", None, None])


@pytest.mark.parametrize(
    "refused", [b":", b"key:", b":value", b"keyvalue", b"", b"X-" + b"k" * 300 + b":value"], ids=lambda text: text[:9]
)
async def test_app_meta_refuses(refused: bytes, either: Either) -> None:
    """What has no name, no value, or too long a name. trimq takes an empty value, which is a value, if its name is X-."""
    async with either() as library:
        rep = await library.socket("REP")
        if library.is_trimq:
            name, _, value = refused.partition(b":")
            assert await rep.refuses("set", "metadata", {name.decode(): value}) == "EINVAL"
        else:
            assert await rep.refuses("set", "metadata", refused) == "EINVAL"


async def test_metadata(either: Either, fresh: Fresh) -> None:
    """What is known of whom a message came from: its type and its address; what nobody said is not known."""
    async with either() as library:
        server, client = await library.pair("ROUTER DEALER", fresh("tcp"), routing_id=b"c")
        await client.send(b"hello")
        frames, known = await server.receive_with("Socket-Type", "Peer-Address", "No Such")
        assert frames == [b"c", b"hello"]
        assert known == ["DEALER", "127.0.0.1", None]


# What the system is told, and whom it lets in


async def test_diffserv(either: Either, fresh: Fresh) -> None:
    """A type of service of each side's own; it can be read again, and messages pass."""
    async with either() as library:
        server, client = await library.socket("PAIR", tos=0x28), await library.socket("PAIR", tos=0x58)
        await client.connect(await server.bind(fresh("tcp")))
        assert [await end.get("tos") for end in (server, client)] == [0x28, 0x58]
        await bounce(server, client)


@pytest.mark.parametrize("own", [True, False], ids=["one's own", "another's"])
@pytest.mark.parametrize("what", ["uid", "gid", "pid"])
async def test_filter_ipc(what: str, own: bool, either: Either, fresh: Fresh) -> None:
    """Only processes that are named, by their number, their user or their group, are let in."""
    async with either() as library:
        pid = os.getpid() if library.is_trimq else library.source.process.pid  # of whom is asked
        number = {"uid": os.getuid(), "gid": os.getgid(), "pid": pid}[what]
        server = await library.socket("PAIR", **{f"ipc_filter_{what}": [number if own else number + 1]})
        client = await library.socket("PAIR", reconnect_interval=float("inf"))
        await client.connect(await server.bind(fresh("ipc")))
        if own:
            await bounce(server, client)
        else:
            await client.cut()
            assert not await server.offer(b"nobody")
            assert await client.waiting() is None


# Matching


async def test_pub_invert_matching(either: Either, fresh: Fresh) -> None:
    """With the option on all three, each has what the other asked for."""
    async with either() as library:
        pub, one, two = await library.socket("PUB"), await library.socket("SUB"), await library.socket("SUB")
        place = await pub.bind(fresh("inproc"))
        for sub, topic in ((one, b"prefix1"), (two, b"p2")):
            await sub.connect(place)
            await sub.subscribe(topic)
        await pub.settle()
        for inverted in (False, True):
            for socket in (pub, one, two):
                await socket.set("invert_matching", inverted)
            await pub.settle()
            for topic in (b"prefix1", b"p2"):
                await pub.send(topic)
            found = [await drain(sub) for sub in (one, two)]
            assert found == ([[[b"p2"]], [[b"prefix1"]]] if inverted else [[[b"prefix1"]], [[b"p2"]]])


async def test_pubsub_topics_count(fresh: Fresh) -> None:
    """How many topics there are, at the SUB and at the PUB. (It is a draft in libzmq, which pyzmq's has not.)"""
    async with trimqs() as library:
        pub, sub = await library.pair("PUB SUB", fresh("inproc"))
        assert isinstance(pub, Mine)
        assert isinstance(sub, Mine)

        async def count() -> list[int]:
            await pub.settle()
            return [end.socket.statistics().topics for end in (pub, sub)]

        topics = [b"topic1", b"topic2", b"topic3"]
        for topic in topics:
            await sub.subscribe(topic)
        assert await count() == [3, 3]
        await sub.unsubscribe(topics.pop())
        assert await count() == [2, 2]
        for topic in topics:
            await sub.unsubscribe(topic)
        assert await count() == [0, 0]
        for number, topic in enumerate((b"a", b"ab", b"abc", b"xyz", b"xy", b"x"), 1):
            await sub.subscribe(topic)
            assert await count() == [number, number]
