"""libzmq's own tests of queues (libzmq.md 7): their marks, what waits for whom, and what a conflating socket keeps.

Each test bears the name of libzmq's program, and is asked of trimq and of libzmq by the same lines (see sides.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
from conformance.sides import Either, Library, Mine, Theirs, drain, fill, trimqs

import trimq

Fresh = Callable[[str], str]


# test_hwm


async def both(
    library: Library, place: str, sender: dict[str, float], receiver: dict[str, float], bind_first: bool
) -> tuple:
    """A PUSH that has connected, and a PULL that is bound."""
    push, pull = await library.socket("PUSH", **sender), await library.socket("PULL", **receiver)
    if bind_first:
        await pull.bind(place)
        await push.connect(place)
    else:
        await push.connect(place)
        await pull.bind(place)
    return push, pull


async def test_hwm_defaults(either: Either, fresh: Fresh) -> None:
    """Over inproc there is room for both marks together: 2,000, if nobody says otherwise."""
    async with either() as library:
        push, pull = await both(library, fresh("inproc"), {}, {}, True)
        assert await fill(push) == 2000
        assert len(await drain(pull)) == 2000
        assert await push.offer(b"")
        assert len(await drain(pull)) == 1


@pytest.mark.parametrize("bind_first", [True, False], ids=["bind first", "connect first"])
@pytest.mark.parametrize(("sends", "receives"), [(math.inf, math.inf), (1, math.inf), (math.inf, 1)])
async def test_hwm_unlimited(sends: float, receives: float, bind_first: bool, either: Either, fresh: Fresh) -> None:
    """Without a mark on either side there is none."""
    async with either() as library:
        push, pull = await both(library, fresh("inproc"), {"send_hwm": sends}, {"receive_hwm": receives}, bind_first)
        assert await fill(push, cap=3000) == 3000
        for _ in range(10):
            assert await pull.waiting() is not None
        assert await push.offer(b"")


@pytest.mark.parametrize("bind_first", [True, False], ids=["bind first", "connect first"])
async def test_hwm_of_one(bind_first: bool, either: Either, fresh: Fresh) -> None:
    """1 and 1 are 2; when they are read there is room again."""
    async with either() as library:
        push, pull = await both(library, fresh("inproc"), {"send_hwm": 1}, {"receive_hwm": 1}, bind_first)
        assert await fill(push) == 2
        assert len(await drain(pull)) == 2
        assert await push.offer(b"")
        assert len(await drain(pull)) == 1


async def test_hwm_of_who_has_left(either: Either, fresh: Fresh) -> None:
    """Over inproc what was sent outlives its sender, even if the other side binds only then."""
    async with either() as library:
        place = fresh("inproc")
        push = await library.socket("PUSH", send_hwm=1)
        await push.connect(place)
        assert await push.offer(b"left")
        await push.close(linger=math.inf if library.is_trimq else 20)
        pull = await library.socket("PULL", receive_hwm=1)
        await pull.bind(place)
        assert await pull.receive() == [b"left"]
        assert await drain(pull) == []


async def test_hwm_without_a_peer(either: Either, fresh: Fresh) -> None:
    """Who is bound and alone has no room, and nothing keeps it from closing."""
    async with either() as library:
        push = await library.socket("PUSH", send_hwm=1)
        await push.bind(fresh("inproc"))
        assert await fill(push) == 0
        await push.close(linger=20)


# test_hwm_pubsub

everywhere = pytest.mark.parametrize("transport", ["tcp", "inproc", "ipc"])


async def publishing(
    library: Library, place: str, publisher: dict[str, float], subscriber: dict[str, float], kind: str = "XPUB"
) -> tuple:
    """A bound publisher, and a SUB that it knows."""
    pub, sub = await library.socket(kind, **publisher), await library.socket("SUB", **subscriber)
    await sub.connect(await pub.bind(place))
    await sub.subscribe(b"")
    if kind == "XPUB":
        assert await pub.receive() == [b"\1"]
    return pub, sub


@everywhere
@pytest.mark.parametrize("hwm", [1000, 100])
async def test_hwm_pubsub_set_late(hwm: int, transport: str, either: Either, fresh: Fresh) -> None:
    """A mark that is set when both are connected holds: so many messages all arrive."""
    async with either() as library:
        pub, sub = await library.socket("XPUB"), await library.socket("SUB")
        await sub.connect(await pub.bind(fresh(transport)))
        await pub.set("send_hwm", hwm)
        await sub.subscribe(b"")
        assert await pub.receive() == [b"\1"]
        assert await fill(pub, cap=hwm) == hwm
        for _ in range(hwm):
            await sub.receive()
        assert await sub.waiting() is None


@everywhere
async def test_hwm_pubsub_nodrop(transport: str, either: Either, fresh: Fresh) -> None:
    """With ``nodrop`` a full subscriber is waited for, and none of 6,000 messages is lost."""
    async with either() as library:
        pub, sub = await publishing(library, fresh(transport), {"send_hwm": 20, "nodrop": True}, {"receive_hwm": 20})
        body = bytes(20_000)  # the system's buffers must not hold them all
        sent = received = turned_away = 0
        while sent < 600:
            if await pub.offer([b"%d" % sent, body]):
                sent += 1
            else:
                turned_away += 1
                assert await sub.receive() == [b"%d" % received, body]
                received += 1
        while received < sent:
            assert (await sub.receive())[0] == b"%d" % received
            received += 1
        assert turned_away


async def test_hwm_pubsub_credit(either: Either, fresh: Fresh) -> None:
    """What was received gives room again: after nearly as much as the mark, half as much comes through once more.

    (Not all: libzmq tells the sender only of each half of a mark that was received.)
    """
    async with either() as library:
        marks = {"send_hwm": 1500}, {"receive_hwm": 1500}
        pub, sub = await publishing(library, fresh("tcp"), *marks)
        for count in (1400, 800):
            assert await fill(pub, cap=count) == count
            for _ in range(count):
                await sub.receive()
        assert await sub.waiting() is None


# test_conflate


async def test_conflate(either: Either, fresh: Fresh) -> None:
    """A PULL that conflates has the newest, and nothing that is older than what it gave before."""
    async with either() as library:
        pull, push = await library.socket("PULL", conflate=True), await library.socket("PUSH")
        await push.connect(await pull.bind(fresh("tcp")))
        for number in range(20):
            await push.send(b"%02d" % number)
        received = [await pull.receive()]
        while received[-1] != [b"19"]:
            received.append(await pull.receive())
        assert received == sorted(received)
        assert await pull.waiting() is None


async def test_conflate_keeps_one(fresh: Fresh) -> None:
    """Once all have come, the last of them is all there is. (libzmq gives no sign of what has come and was not received.)"""
    async with trimqs() as library:
        pull = await library.socket("PULL", conflate=True)
        push = await library.socket("PUSH")
        await push.connect(await pull.bind(fresh("tcp")))
        for number in range(20):
            await push.send(b"%d" % number)
        assert isinstance(pull, Mine)
        while (now := pull.socket.statistics()).received + now.dropped < 20:
            await trio.lowlevel.checkpoint()
        assert await drain(pull) == [[b"19"]]


# test_immediate


async def test_immediate_off(either: Either, fresh: Fresh) -> None:
    """Of two endpoints one is dead: it gets its share all the same, 5 of 10."""
    async with either() as library:
        push, pull = await library.socket("PUSH"), await library.socket("PULL")
        await push.connect(fresh("ipc"))
        await push.connect(await pull.bind(fresh("tcp")))
        await pull.peers(1)
        for number in range(10):
            await push.send(b"%d" % number)
        assert [await pull.receive() for _ in range(5)] == [[b"%d" % number] for number in range(1, 10, 2)]
        assert await pull.waiting() is None


async def test_immediate_on(either: Either, fresh: Fresh) -> None:
    """With ``immediate`` only who is there has a queue: all 10 come."""
    async with either() as library:
        push, pull = await library.socket("PUSH", immediate=True), await library.socket("PULL")
        await push.connect(fresh("ipc"))
        await push.connect(await pull.bind(fresh("tcp")))
        await push.peers(1)
        for number in range(10):
            await push.send(b"%d" % number)
        assert [await pull.receive() for _ in range(10)] == [[b"%d" % number] for number in range(10)]


async def test_immediate_after_a_loss(either: Either, fresh: Fresh) -> None:
    """With ``immediate`` the queue is gone when its peer is; when somebody binds there again, there is one again."""
    async with either() as library:
        back = await library.socket("DEALER")
        front = await library.socket("DEALER", immediate=True, reconnect_interval=0.01)
        address = await back.bind(fresh("tcp"))
        await front.connect(address)
        await front.peers(1)
        await front.send(b"one")
        assert await back.receive() == [b"one"]
        await back.close()
        await front.left(0)
        while await front.offer(b"nobody"):
            assert isinstance(front, Theirs)  # libzmq tells of the loss before its socket has heard of it
        back = await library.socket("DEALER")
        await back.bind(address)
        await front.peers(1)
        assert await front.offer(b"two")
        assert await back.receive() == [b"two"]


# test_inproc_connect


@pytest.mark.parametrize("bind_first", [True, False], ids=["bind first", "connect first"])
async def test_inproc_connect(bind_first: bool, either: Either, fresh: Fresh) -> None:
    """The order of bind and connect does not matter; what was sent before the bind arrives."""
    async with either() as library:
        push, pull = await library.socket("PUSH"), await library.socket("PULL")
        place = fresh("inproc")
        if bind_first:
            await pull.bind(place)
        await push.connect(place)
        assert await push.offer(b"foobar")
        if not bind_first:
            await pull.bind(place)
        assert await pull.receive() == [b"foobar"]


async def test_inproc_connect_of_a_pub(either: Either, fresh: Fresh) -> None:
    """What a PUB sends before the SUB binds is for nobody; what it sends then arrives."""
    async with either() as library:
        pub, sub = await library.socket("PUB"), await library.socket("SUB")
        place = fresh("inproc")
        await pub.connect(place)
        await pub.send(b"before")
        await sub.subscribe(b"")
        await sub.bind(place)
        await pub.settle()
        await sub.settle()
        await pub.send(b"after")
        assert await sub.receive() == [b"after"]


async def test_inproc_connect_to_nobody(either: Either, fresh: Fresh) -> None:
    """20 that connect and leave before anybody binds: nothing keeps the context from ending."""
    async with either() as library:
        place = fresh("inproc")
        for _ in range(20):
            router = await library.socket("ROUTER")
            await router.connect(place)
            await router.close()


async def test_inproc_connect_many(either: Either, fresh: Fresh) -> None:
    """10 that wait for the same name are all joined when it is bound."""
    async with either() as library:
        place = fresh("inproc")
        for number in range(10):
            push = await library.socket("PUSH")
            await push.connect(place)
            await push.send(b"%d" % number)
        pull = await library.socket("PULL")
        await pull.bind(place)
        assert sorted([await pull.receive() for _ in range(10)]) == [[b"%d" % number] for number in range(10)]


async def test_inproc_connect_router(either: Either, fresh: Fresh) -> None:
    """A DEALER that waits for its ROUTER: the message has its id in front, and both its frames."""
    async with either() as library:
        place = fresh("inproc")
        dealer, router = await library.socket("DEALER"), await library.socket("ROUTER")
        await dealer.connect(place)
        await dealer.send([b"A", b"B"])
        await router.bind(place)
        received = await router.receive()
        assert received[1:] == [b"A", b"B"]
        assert received[0][0] == 0


async def test_inproc_connect_after_an_unbind(either: Either, fresh: Fresh) -> None:
    """A name that is unbound can be bound by another, and who connects meets that one."""
    async with either() as library:
        place = fresh("inproc")
        first, second, client = [await library.socket("PAIR") for _ in range(3)]
        await first.bind(place)
        assert await second.refuses("bind", place) == "EADDRINUSE"
        await first.unbind(place)
        await second.bind(place)
        await client.connect(place)
        await client.send(b"foobar")
        assert await second.receive() == [b"foobar"]


async def test_inproc_connect_and_shutdown(fresh: Fresh) -> None:
    """A connect that still waits for its other side is no obstacle to the end of the context."""
    async with trimqs() as library:
        pair = await library.socket("PAIR")
        await pair.connect(fresh("inproc"))
        library.source.shutdown()
        await pair.close()


async def test_inproc_connect_checks_types(either: Either, fresh: Fresh) -> None:
    """trimq joins no types that do not match, nor two peers to a Pair. libzmq joins any: 30 PAIRs to one PULL."""
    async with either() as library:
        place = fresh("inproc")
        pull, pair = await library.socket("PULL"), await library.socket("PAIR")
        await pull.bind(place)
        await pair.connect(place)
        await pair.offer(b"from a PAIR")
        if isinstance(pull, Mine):
            assert await pull.waiting() is None
            assert isinstance(pair, Mine)
            assert isinstance(pair.endpoint.cause, trimq.ProtocolError)
        else:
            assert isinstance(pull, Theirs)
            assert await pull.receive() == [b"from a PAIR"]
