"""Cancelled means nothing happened (promise 1), with a libzmq peer that notices: nothing lost, nothing twice, all in order.

Deadlines are random, from a seed that pytest shows when a test fails, and so short that some calls are cancelled before
they begin, some while they wait, and some just as they are served (see `Haste`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import Literal

import attrs
import pytest
import trio
from cancellation.sampled import (
    LARGE,
    LIMIT,
    SEED,
    SIZES,
    Haste,
    Source,
    no_task_left,
    put_away,
    receive_some,
    send_some,
)
from interop.harness import KINDS, Peer, PeerSocket, join, running, together, until_quiet
from interop.zmq_peer import fingerprint, payload

import trimq

pytestmark = pytest.mark.pyzmq

COUNT = 3000
STRESS = 20_000
SEEDS = [SEED, f"{SEED}'s other"]
Checkpoints = Literal["amortised", "every"]

CHECKPOINTS = pytest.mark.parametrize("checkpoints", ["amortised", "every"])


def numbered(count: int) -> list[list[bytes]]:
    return [[b"%d" % number] for number in range(count)]


@attrs.frozen
class Payload:
    """What `Source` asks of a flow: messages of these shapes, the same here and there."""

    messages: list[list[bytes]]

    def message(self, number: int) -> list[bytes]:
        return self.messages[number]


@CHECKPOINTS
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("verb", ["receive", "receive_many"])
@pytest.mark.parametrize("seed", SEEDS, ids=["one", "two"])
async def test_cancelled_receives(
    seed: str, verb: str, trimq_binds: bool, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """3,000 numbered messages of a libzmq PUSH, every receive under a tiny deadline: each arrives once, in order."""
    haste = Haste(f"{seed} {verb} {trimq_binds} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints, receive_hwm=50) as ctx:
        pull = ctx.socket(trimq.Pull)
        push = await peer.socket("PUSH")
        await join(pull, push, fresh("tcp"), trimq_binds=trimq_binds)
        received: list[list[bytes]] = []

        async def receive() -> None:
            while len(received) < COUNT:
                with haste.scope():
                    if verb == "receive":
                        received.append(await pull.receive())
                    else:
                        received.extend(await pull.receive_many(20))

        await together(receive, partial(push.send_numbered, COUNT, burst=100))
        assert received == numbered(COUNT)
        assert haste.cancelled > 50  # else it proves nothing


@CHECKPOINTS
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("seed", SEEDS, ids=["one", "two"])
async def test_cancelled_sends(
    seed: str, trimq_binds: bool, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """3,000 sends to a libzmq PULL, each under a tiny deadline: exactly those that returned arrive, in order."""
    haste = Haste(f"{seed} {trimq_binds} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints, send_hwm=2) as ctx:
        push = ctx.socket(trimq.Push)
        pull = await peer.socket("PULL", RCVHWM=10)
        await join(push, pull, fresh("tcp"), trimq_binds=trimq_binds)
        returned: list[bytes] = []
        waited = 0

        async def send() -> None:
            nonlocal waited
            for [number] in numbered(COUNT):
                full = not push._sendable()
                with haste.scope() as scope:
                    await push.send([number, bytes(10_000)])
                    returned.append(number)
                waited += full and scope.cancelled_caught
            await push.send(b"end")

        _, arrived = await together(send, partial(pull.collect, b"end"))
        assert arrived == returned
        assert 100 < len(returned) < COUNT
        assert waited > 100  # cancelled where there was no room, else it proves nothing


@CHECKPOINTS
@pytest.mark.parametrize("seed", SEEDS, ids=["one", "two"])
async def test_cancelled_send_many(
    seed: str, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A cancelled `send_many` has taken from its iterator exactly what it queued: one iterator, many calls, all arrives."""
    haste = Haste(f"{seed} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints, send_hwm=20) as ctx:
        push = ctx.socket(trimq.Push)
        pull = await peer.socket("PULL", RCVHWM=10)
        push.connect(await pull.bind(fresh("tcp")))
        source = Source(Payload([[number, bytes(10_000)] for [number] in numbered(COUNT)]), range(COUNT), [])

        async def send() -> None:
            while not source.over:
                with haste.scope():
                    await push.send_many(itertools.islice(source, 100))
            await push.send(b"end")

        _, arrived = await together(send, partial(pull.collect, b"end"))
        assert arrived == [number for [number] in numbered(COUNT)]
        assert haste.cancelled > 10


@CHECKPOINTS
@pytest.mark.parametrize("seed", SEEDS, ids=["one", "two"])
async def test_cancelled_receivers_in_competition(
    seed: str, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """Five tasks receive from one socket, each under tiny deadlines: together they get each message once, in order."""
    haste = Haste(f"{seed} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints) as ctx:
        pull = ctx.socket(trimq.Pull)
        push = await peer.socket("PUSH")
        await push.connect(pull.bind(fresh("tcp")))
        received: list[list[list[bytes]]] = [[] for _ in range(5)]

        async def receive(mine: list[list[bytes]]) -> None:
            while sum(map(len, received)) < COUNT:
                with haste.scope():
                    mine.append(await pull.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(haste.hurry)  # also who waits with all the time there is, when the others have got all
            await together(
                *(partial(receive, mine) for mine in received),
                partial(push.send_numbered, COUNT, burst=100),
            )
            nursery.cancel_scope.cancel()
        for mine in received:
            assert mine == sorted(mine, key=lambda message: int(message[0]))
        assert sorted((message for mine in received for message in mine), key=lambda m: int(m[0])) == numbered(COUNT)


@pytest.mark.slow
@CHECKPOINTS
async def test_stress_from_libzmq(checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]) -> None:
    """demand.md 0.1: 20,000 numbered messages of a libzmq PUSH, every receive of any verb under a tiny deadline."""
    haste = Haste(f"{SEEDS[0]} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints) as ctx:
        pull = ctx.socket(trimq.Pull)
        push = await peer.socket("PUSH")
        await push.connect(pull.bind(fresh("tcp")))
        received: list[list[bytes]] = []

        async def receive() -> None:
            await receive_some(pull, received.append, lambda: len(received) >= STRESS, haste)

        await together(receive, partial(push.send_numbered, STRESS, burst=200))
        await put_away(ctx, pull)
        await no_task_left(ctx)
    assert received == numbered(STRESS)
    assert haste.cancelled > 200


@pytest.mark.slow
@CHECKPOINTS
async def test_stress_to_libzmq(checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]) -> None:
    """The other way: 20,000 messages, each sent until its call returned, by any verb under a tiny deadline."""
    haste = Haste(f"{SEEDS[1]} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints, send_hwm=50) as ctx:
        push = ctx.socket(trimq.Push)
        pull = await peer.socket("PULL", RCVHWM=50)
        push.connect(await pull.bind(fresh("tcp")))

        async def send() -> None:
            await send_some(push, Source(Payload(numbered(STRESS)), range(STRESS), []), haste)
            await push.send(b"end")

        _, arrived = await together(send, partial(pull.collect, b"end"))
        await put_away(ctx, push)
        await no_task_left(ctx)
    assert arrived == [number for [number] in numbered(STRESS)]
    assert haste.cancelled > 200


# (ours, libzmq's): which ways messages go
TALKS = {
    ("PUSH", "PULL"): "out",
    ("PULL", "PUSH"): "in",
    ("PAIR", "PAIR"): "both",
    ("DEALER", "DEALER"): "both",
    ("DEALER", "ROUTER"): "both",
    ("ROUTER", "DEALER"): "both",
    ("PUB", "SUB"): "out",
    ("PUB", "XSUB"): "out",
    ("XPUB", "SUB"): "out",
    ("SUB", "PUB"): "in",
    ("SUB", "XPUB"): "in",
    ("XSUB", "PUB"): "in",
}
OURS = {
    "ROUTER": {"mandatory": True},
    "DEALER": {"routing_id": b"us"},
    "PUB": {"nodrop": True},
    "XPUB": {"nodrop": True},
}
THEIRS = {"DEALER": {"ROUTING_ID": b"them"}}


def shapes(seed: str) -> list[list[int]]:
    """Sizes of frames: many small ones, some at the borders of the wire's length field, a few large."""
    source = random.Random(seed)
    made = [[5, *source.choices(SIZES, k=source.randint(0, 4))] for _ in range(150)]
    for index in source.sample(range(150), 3):
        made[index].append(source.choice(LARGE))
    return made


async def ready(mine: trimq.Socket, theirs: PeerSocket) -> None:
    """Waits until what is sent arrives."""
    if isinstance(mine, (trimq.Pub, trimq.XPub)):
        await theirs.subscribe(b"")
        await mine.wait_for_subscribers(1, b"")
    elif isinstance(mine, (trimq.Sub, trimq.XSub)):
        mine.subscribe(b"")
        await until_quiet(mine, theirs.send)
    elif isinstance(mine, trimq.Router):
        await mine.wait_for_peers()


@pytest.mark.parametrize("hwm", [2, 1000])
@CHECKPOINTS
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize(("kinds", "ways"), TALKS.items(), ids=["-".join(kinds) for kinds in TALKS])
async def test_every_pattern(
    kinds: tuple[str, str],
    ways: str,
    transport: str,
    checkpoints: Checkpoints,
    hwm: int,
    peer: Peer,
    fresh: Callable[[str], str],
) -> None:
    """Both ways at once, with all our calls in a hurry: whole, once, in order, whatever the sizes."""
    kind, its_kind = kinds
    seed = f"{SEEDS[0]} {kinds} {transport} {checkpoints} {hwm}"
    haste = Haste(seed)
    outgoing, incoming = shapes(seed + "out"), shapes(seed + "in")
    async with running(LIMIT, checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as ctx:
        mine = ctx.socket(KINDS[kind], **OURS.get(kind, {}))
        # a libzmq publisher, or router, drops what is beyond its mark
        its_options = {
            "RCVHWM": hwm,
            "SNDHWM": 0 if its_kind in ("PUB", "XPUB", "ROUTER") else hwm,
            **THEIRS.get(its_kind, {}),
        }
        theirs = await peer.socket(its_kind, **its_options)
        await join(mine, theirs, fresh(transport), trimq_binds=haste.random.random() < 0.5)
        await ready(mine, theirs)
        routes, it_routes = kind == "ROUTER", its_kind == "ROUTER"
        got: list[str] = []

        async def send() -> None:
            source = Source(Payload(list(payload(seed, outgoing))), range(len(outgoing)), [b"them"] * routes)
            if it_routes:
                await mine.send(b"hello")  # type: ignore[attr-defined]
            await send_some(mine, source, haste)

        async def receive() -> None:
            def take(message: list[bytes]) -> None:
                got.append(fingerprint(message[routes:]))

            await receive_some(mine, take, lambda: len(got) >= len(incoming), haste)

        async def talk() -> list[str]:
            if it_routes:
                assert await theirs.receive() == [b"us", b"hello"]  # now it can route to us
            return await theirs.exchange(
                send=incoming if ways != "out" else [],
                seed=seed,
                receive=len(outgoing) if ways != "in" else 0,
                prefix=[b"us"] * it_routes,
                strip=it_routes,
            )

        calls: list[Callable[[], object]] = [talk]
        if ways != "in":
            calls.append(send)
        if ways != "out":
            calls.append(receive)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(haste.hurry)
            arrived, *_ = await together(*calls)  # type: ignore[arg-type]
            nursery.cancel_scope.cancel()
        await put_away(ctx, mine, flushes=ways != "in")
        await no_task_left(ctx)
    assert arrived == ([fingerprint(message) for message in payload(seed, outgoing)] if ways != "in" else [])
    assert got == ([fingerprint(message) for message in payload(seed, incoming)] if ways != "out" else [])
    assert haste.cancelled > 2


@CHECKPOINTS
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_req_to_libzmq(transport: str, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A Req that is cancelled before, in and between send and receive: a libzmq REP sees each request once, in order."""
    haste = Haste(f"{SEEDS[0]} {transport} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints) as ctx:
        req = ctx.socket(trimq.Req)
        rep = await peer.socket("REP")
        req.connect(await rep.bind(fresh(transport)))

        async def ask() -> None:
            for number in range(100):
                sent = done = False
                while not done:
                    with haste.scope():
                        if not sent:
                            await req.send(b"%d" % number)
                            sent = True
                        reply = await req.receive()
                        done = True
                        assert reply == [b"re", b"%d" % number]

        async def answer() -> None:
            for number in range(100):
                assert await rep.receive() == [b"%d" % number]
                await rep.send([b"re", b"%d" % number])

        await together(ask, answer)
        await put_away(ctx, req)
        await no_task_left(ctx)
    assert haste.cancelled > 20


@CHECKPOINTS
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_rep_to_libzmq(transport: str, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A Rep in a hurry answers each request of a libzmq REQ once."""
    haste = Haste(f"{SEEDS[1]} {transport} {checkpoints}")
    async with running(LIMIT, checkpoints=checkpoints) as ctx:
        rep = ctx.socket(trimq.Rep)
        req = await peer.socket("REQ")
        await req.connect(rep.bind(fresh(transport)))

        async def answer() -> None:
            request: list[bytes] | None = None
            answered = 0
            while answered < 100:
                with haste.scope():
                    if request is None:
                        request = await rep.receive()
                    await rep.send([b"re", *request])
                    request = None
                    answered += 1

        async def ask() -> None:
            for number in range(100):
                await req.send(b"%d" % number)
                assert await req.receive() == [b"re", b"%d" % number]

        await together(ask, answer)
        await put_away(ctx, rep)
        await no_task_left(ctx)
    assert haste.cancelled > 20


@pytest.mark.parametrize("hwm", [2, 1000])
@CHECKPOINTS
async def test_stream_to_libzmq(hwm: int, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Bytes both ways between Streams: all of them, once, in order."""
    seed = f"{SEEDS[0]} {checkpoints} {hwm}"
    haste = Haste(seed)
    sizes = [[max(1, sum(shape))] for shape in shapes(seed)]
    async with running(LIMIT, checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as ctx:
        mine = ctx.socket(trimq.Stream)
        theirs = await peer.socket("STREAM")
        await theirs.connect(mine.bind(fresh("tcp")))
        [my_id, told] = await mine.receive()
        [their_id, told_them] = await theirs.receive()
        assert told == told_them == b""
        outgoing = list(payload(seed + "out", sizes))
        expected = [b"".join(frames[0] for frames in payload(seed + way, sizes)) for way in ("out", "in")]
        got = [bytearray(), bytearray()]

        async def receive() -> None:
            await receive_some(mine, lambda m: got[1].extend(m[1]), lambda: len(got[1]) >= len(expected[1]), haste)

        async def talk() -> None:
            for [piece] in payload(seed + "in", sizes):
                await theirs.send([their_id, piece])
            while len(got[0]) < len(expected[0]):
                got[0].extend((await theirs.receive())[1])

        source = Source(Payload(outgoing), range(len(outgoing)), [my_id])
        await together(partial(send_some, mine, source, haste), receive, talk)
        await put_away(ctx, mine)
        await no_task_left(ctx)
    assert [bytes(part) for part in got] == expected
    assert haste.cancelled > 20
