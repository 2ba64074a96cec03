"""Frames of each size class of the wire, messages of few and many frames, and many messages, both ways, with libzmq.

Payloads come from a seed on each side, and are compared message by message by their fingerprints: content, order and
where frames end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from interop.harness import Peer, join, prints, running, together
from interop.zmq_peer import fingerprint, payload

import trimq

pytestmark = pytest.mark.pyzmq

MB = 1_000_000


async def send_all(socket: Any, seed: str, shapes: Sequence[Sequence[int]], prefix: Sequence[bytes] = ()) -> None:
    for message in payload(seed, shapes):
        await socket.send([*prefix, *message])


async def receive_all(socket: Any, count: int, strip: int = 0) -> list[str]:
    return [fingerprint((await socket.receive())[strip:]) for _ in range(count)]


def mixed(seed: int, count: int) -> list[list[int]]:
    """Shapes that follow no order: small and large, few and many frames."""
    source = random.Random(seed)
    sizes = [0, 1, 2, 33, 34, 254, 255, 256, 257, 8191, 8192, 8193, 65_535, 65_536, 65_537, 300_000]
    weights = [9] * (len(sizes) - 1) + [1]
    return [source.choices(sizes, weights, k=source.choice([1, 1, 1, 2, 3, 20])) for _ in range(count)]


# Sizes around each boundary of the wire: short and long frames (255, 256), two and more bytes of length (65,537), and
# more than any buffer holds.
SHAPES: dict[str, list[list[int]]] = {
    **{f"{size}-bytes": [[size]] * 3 for size in (0, 1, 255, 256, 65_537)},
    "10-MB": [[10 * MB], [1], [10 * MB]],
    **{f"{count}-frames": [[size % 300 for size in range(count)]] * 3 for count in (1, 2, 3, 10, 100, 1000)},
    "1000-empty-frames": [[0] * 1000, [1]],
    "10-MB-among-small": [[0, 10 * MB, 1, 0], [5]],
    "mixed": mixed(20, 200),
}


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
async def test_shapes_both_ways(
    shapes: list[list[int]], trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """Every byte of every frame arrives, and frames end where they did (RFC 37, framing), both ways at once."""
    async with running() as ctx:
        mine = ctx.socket(trimq.Dealer)
        theirs = await peer.socket("DEALER")
        await join(mine, theirs, fresh(transport), trimq_binds=trimq_binds)
        _, at_trimq, at_libzmq = await together(
            partial(send_all, mine, "from trimq", shapes),
            partial(receive_all, mine, len(shapes)),
            partial(theirs.exchange, seed="from libzmq", send=shapes, receive=len(shapes)),
        )
        assert at_trimq == prints("from libzmq", shapes)
        assert at_libzmq == prints("from trimq", shapes)


MANY = [[8 + number % 120] for number in range(10_000)]  # 8 bytes of noise or more: no two are alike


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("kind", ["DEALER", "PAIR"])
async def test_ten_thousand_both_ways(
    kind: str, trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """10,000 messages each way at once, ten times what a queue holds: none is lost, all in order."""
    async with running() as ctx:
        mine = ctx.socket(trimq.Dealer if kind == "DEALER" else trimq.Pair)
        theirs = await peer.socket(kind)
        await join(mine, theirs, fresh(transport), trimq_binds=trimq_binds)
        _, at_trimq, at_libzmq = await together(
            partial(send_all, mine, "from trimq", MANY),
            partial(receive_all, mine, len(MANY)),
            partial(theirs.exchange, seed="from libzmq", send=MANY, receive=len(MANY)),
        )
        assert at_trimq == prints("from libzmq", MANY)
        assert at_libzmq == prints("from trimq", MANY)


async def test_ten_thousand_pushed(peer: Peer, fresh: Callable[[str], str]) -> None:
    """The same in a pipeline, trimq in the middle as a worker: by `send_many` and `receive_many`, too (RFC 30)."""
    async with running() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        source, sink = await peer.socket("PUSH"), None
        await source.connect(pull.bind(fresh("tcp")))

        async def work() -> None:
            done = 0
            while done < len(MANY):
                batch = await pull.receive_many()
                await push.send_many(batch)
                done += len(batch)

        async def source_and_sink() -> list[str]:
            # one process, one thread: first into trimq's queues, as far as they go, and then out of them
            sent: list[str] = []
            for start in range(0, len(MANY), 500):
                part = MANY[start : start + 500]
                await source.exchange(seed=start, send=part)
                sent += await sink.exchange(receive=len(part))
            return sent

        sink = await peer.socket("PULL")
        push.connect(await sink.bind(fresh("tcp")))
        _, received = await together(work, source_and_sink)
        assert received == [
            one for start in range(0, len(MANY), 500) for one in prints(start, MANY[start : start + 500])
        ]


@pytest.mark.parametrize("trimq_publishes", [True, False], ids=["publishes", "subscribes"])
async def test_ten_thousand_published(trimq_publishes: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A publisher whose queue is long enough drops nothing (RFC 29)."""
    async with running() as ctx:
        if trimq_publishes:
            pub = ctx.socket(trimq.Pub, send_hwm=len(MANY))
            theirs = await peer.socket("SUB", RCVHWM=0, SUBSCRIBE=b"")
            await theirs.connect(pub.bind(fresh("tcp")))
            await pub.wait_for_subscribers()
            _, received = await together(
                partial(send_all, pub, "news", MANY), partial(theirs.exchange, receive=len(MANY))
            )
        else:
            sub = ctx.socket(trimq.Sub)
            sub.subscribe(b"")
            theirs = await peer.socket("XPUB", SNDHWM=0)
            sub.connect(await theirs.bind(fresh("tcp")))
            assert await theirs.receive() == [b"\1"]
            received, _ = await together(
                partial(receive_all, sub, len(MANY)), partial(theirs.exchange, seed="news", send=MANY)
            )
        assert received == prints("news", MANY)


@pytest.mark.parametrize("trimq_routes", [True, False], ids=["routes", "deals"])
async def test_ten_thousand_routed(trimq_routes: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """10,000 messages each way at once through a ROUTER that waits rather than drops (ZMQ_ROUTER_MANDATORY)."""
    async with running() as ctx:
        mine: trimq.Router | trimq.Dealer
        if trimq_routes:
            mine = ctx.socket(trimq.Router, mandatory=True)
            theirs = await peer.socket("DEALER", ROUTING_ID=b"the dealer")
            await theirs.connect(mine.bind(fresh("tcp")))
            await mine.wait_for_peers()
            prefix: list[bytes] = [b"the dealer"]
            its_prefix: list[bytes] = []
        else:
            mine = ctx.socket(trimq.Dealer, routing_id=b"the dealer")
            theirs = await peer.socket("ROUTER", ROUTER_MANDATORY=1)
            mine.connect(await theirs.bind(fresh("tcp")))
            await mine.send(b"here I am")
            assert await theirs.receive() == [b"the dealer", b"here I am"]
            prefix, its_prefix = [], [b"the dealer"]
        _, at_trimq, at_libzmq = await together(
            partial(send_all, mine, "from trimq", MANY, prefix),
            partial(receive_all, mine, len(MANY), len(prefix)),
            partial(
                theirs.exchange,
                seed="from libzmq",
                send=MANY,
                receive=len(MANY),
                prefix=its_prefix,
                strip=len(its_prefix),
            ),
        )
        assert at_trimq == prints("from libzmq", MANY)
        assert at_libzmq == prints("from trimq", MANY)


@pytest.mark.parametrize("trimq_asks", [True, False], ids=["asks", "answers"])
async def test_many_round_trips(trimq_asks: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Requests of mixed shapes, each answered before the next (RFC 28)."""
    shapes = mixed(7, 100)
    async with running() as ctx:
        if trimq_asks:
            req: Any = ctx.socket(trimq.Req)
            rep: Any = await peer.socket("REP")
            req.connect(await rep.bind(fresh("tcp")))
        else:
            req = await peer.socket("REQ")
            rep = ctx.socket(trimq.Rep)
            await req.connect(rep.bind(fresh("tcp")))
        for request, reply in zip(payload("asked", shapes), payload("answered", shapes), strict=True):
            await req.send(request)
            assert await rep.receive() == request
            await rep.send(reply)
            assert await req.receive() == reply
