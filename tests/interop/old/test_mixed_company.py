"""One socket with peers of every kind at once: trimq, libzmq 4.3, 4.1, 3.2 and 2.2; JeroMQ, azmq, pyomq; if here.

Every message is accounted for: what each peer sent and got, in which order, and what the socket's own statistics say.
"""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from interop.harness import Peer, PeerSocket, running, together, until_quiet
from interop.old.peers import LIMITS, NAMES, NEWEST, Found, Limit

import trimq

pytestmark = pytest.mark.old_peers

MESSAGES = 100_000
PATIENCE = 60.0  # seconds; on a busy machine


@pytest.fixture
def company_here(found: Found) -> list[str]:
    """The names of those that can be had."""
    names = [name for name in (NEWEST, *NAMES) if found.why_not(name) is None]
    if not set(names) & set(NAMES):
        pytest.skip(found.why_not(NAMES[0]))
    return names


async def enter_all(found: Found, company_here: list[str]) -> AsyncIterator[dict[str, Peer]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(found.enter(name)) for name in company_here}


company = pytest.fixture(enter_all, name="company")  # a process of each
others = pytest.fixture(enter_all, name="others")  # and another


async def sockets(company: Mapping[str, Peer], kind: str) -> dict[str, PeerSocket]:
    """A socket of this type in each process."""
    return {name: await peer.socket(kind) for name, peer in company.items()}


async def converse(dealer: trimq.Dealer, who: bytes, count: int) -> int:
    """What the other peers do in their processes: says [who, number] so many times, and hears the answers."""

    async def say() -> None:
        for number in range(count):
            await dealer.send([who, b"%d" % number])

    async def hear() -> None:
        for number in range(count):
            assert await dealer.receive() == [who, b"%d" % number, b"heard"]

    await together(say, hear)
    return count


async def test_a_router_with_dealers_of_every_kind(company: dict[str, Peer]) -> None:
    """100,000 messages, half of them there and half back; each DEALER gets the answers to its own, in order (RFC 28)."""
    count = MESSAGES // 2 // (len(company) + 1)
    rest = MESSAGES // 2 - count * len(company)  # for trimq's own
    async with running(PATIENCE) as ctx:
        # who is slow at reading is no reason to lose an answer: a ROUTER drops at its high-water mark
        router = ctx.socket(trimq.Router, send_hwm=math.inf)
        address = router.bind("tcp://127.0.0.1:*")
        dealers = await sockets(company, "DEALER")
        for dealer in dealers.values():
            await dealer.connect(address)
        mine = ctx.socket(trimq.Dealer)
        mine.connect(address)
        await router.wait_for_peers(len(company) + 1)
        heard = dict.fromkeys([b"trimq", *(name.encode() for name in company)], 0)

        async def answer() -> None:
            ids: dict[bytes, bytes] = {}
            for _ in range(MESSAGES // 2):
                routing_id, who, number = await router.receive()
                assert ids.setdefault(who, routing_id) == routing_id
                assert number == b"%d" % heard[who]
                heard[who] += 1
                await router.send([routing_id, who, number, b"heard"])

        talks = [functools.partial(dealer._call, "converse", who=name, count=count) for name, dealer in dealers.items()]
        counts = await together(answer, functools.partial(converse, mine, b"trimq", rest), *talks)
        assert counts[1:] == [rest, *[count] * len(company)]
        assert heard == {b"trimq": rest} | {name.encode(): count for name in company}
        statistics = router.statistics()
        assert statistics.received == statistics.sent == MESSAGES // 2
        assert (statistics.dropped, statistics.unroutable, statistics.in_doubt) == (0, 0, 0)
        assert (statistics.losses, statistics.handshake_failures, statistics.refused) == (0, 0, 0)


async def gather(sub: trimq.Sub, topics: list[str]) -> dict[str, int]:
    """What the other peers do in their processes: receives [topic, number] until the end, and counts."""
    seen = dict.fromkeys(topics, 0)
    while True:
        topic, number = (frame.decode() for frame in await sub.receive())
        if number == "end":
            return seen
        assert int(number) == seen[topic]
        seen[topic] += 1


async def test_a_pub_with_subs_of_every_kind(company: dict[str, Peer]) -> None:
    """100,000 messages to subscribers that ask by commands (ZMTP 3.1), by messages (3.0, 2.0) or not at all (1.0): each
    gets what it wants, all of it, and in order (RFC 29).
    """
    names = ["trimq", *company]
    own = 500  # for one subscriber each
    common = -(-(MESSAGES - own * len(names)) // len(names))
    async with running(PATIENCE) as ctx:
        pub = ctx.socket(trimq.Pub, send_hwm=math.inf)
        address = pub.bind("tcp://127.0.0.1:*")
        subs = await sockets(company, "SUB")
        mine = ctx.socket(trimq.Sub)
        for name, sub in subs.items():
            await sub.subscribe(b"all")
            await sub.connect(address)
            await sub.subscribe(name.encode())  # before and after
        mine.subscribe(b"all")
        mine.connect(address)
        mine.subscribe(b"trimq")
        await pub.wait_for_subscribers(len(names), b"all")
        unasked = {name for name in company if Limit.NO_SUBSCRIPTIONS in LIMITS.get(name, ())}
        for name in names:
            await pub.wait_for_subscribers(len(unasked | {name}), name.encode())

        async def publish() -> None:
            for number in range(max(common, own)):
                if number < own:
                    for name in names:
                        await pub.send([name.encode(), b"%d" % number])
                if number < common:
                    await pub.send([b"all", b"%d" % number])
            await pub.send([b"all", b"end"])

        listen = [functools.partial(sub._call, "gather", topics=["all", name]) for name, sub in subs.items()]
        results = await together(publish, functools.partial(gather, mine, ["all", "trimq"]), *listen)
        assert results[1:] == [{"all": common, name: own} for name in names]
        assert sum(sum(seen.values()) for seen in results[1:]) >= MESSAGES
        statistics = pub.statistics()
        assert (statistics.dropped, statistics.losses, statistics.handshake_failures) == (0, 0, 0)
        # those to whom messages come unasked got the others', too, and chose
        assert statistics.written == len(names) * (common + own + 1) + len(unasked) * own * (len(names) - 1)


async def test_a_sub_with_publishers_of_every_kind(company: dict[str, Peer]) -> None:
    """One Sub tells each in the form that it understands what it wants, and chooses where it is sent more (RFC 29)."""
    async with running(PATIENCE) as ctx:
        sub = ctx.socket(trimq.Sub)
        address = sub.bind("tcp://127.0.0.1:*")
        pubs = await sockets(company, "XPUB")
        for pub in pubs.values():
            await pub.connect(address)
        await sub.wait_for_peers(len(pubs))
        for name, pub in pubs.items():
            topic = name.encode()
            sub.subscribe(topic)
            for other, limited in LIMITS.items():  # each hears of each
                if other in pubs and Limit.XPUB_IS_DEAF not in limited:
                    assert await pubs[other].receive() == [b"\1" + topic]
            if Limit.XPUB_IS_DEAF in LIMITS.get(name, ()):
                await until_quiet(sub, lambda rest, pub=pub, topic=topic: pub.send([topic, *rest]))
            for number in range(20):
                await pub.send([b"not " + topic, b"%d" % number])
                await pub.send([topic, b"%d" % number])
            for number in range(20):
                assert await sub.receive() == [topic, b"%d" % number]
            sub.unsubscribe(topic)
            for other, limited in LIMITS.items():
                if other in pubs and Limit.XPUB_IS_DEAF not in limited:
                    assert await pubs[other].receive() == [b"\0" + topic]


async def test_a_broker_between_reqs_and_reps_of_every_kind(company: dict[str, Peer], others: dict[str, Peer]) -> None:
    """A REQ of each kind is answered by a REP of each kind: envelopes pass from any version of ZMTP to any (RFC 28)."""
    names = ["trimq", *company]
    async with running(PATIENCE) as ctx, trio.open_nursery() as nursery:
        front, back = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer)
        in_front, behind = front.bind("tcp://127.0.0.1:*"), back.bind("tcp://127.0.0.1:*")
        reps = await sockets(others, "REP")
        for one in reps.values():
            await one.connect(behind)
        rep = ctx.socket(trimq.Rep)
        rep.connect(behind)
        await back.wait_for_peers(len(names))
        nursery.start_soon(trimq.proxy, front, back)
        req = ctx.socket(trimq.Req)
        reqs: dict[str, Any] = {"trimq": req, **await sockets(company, "REQ")}
        for name in company:
            await reqs[name].connect(in_front)
        req.connect(in_front)

        async def ask() -> None:
            for name in names:
                for number in range(len(names)):
                    request = [name.encode(), b"%d" % number]
                    await reqs[name].send(request)
                    assert await reqs[name].receive() == request

        async def reply() -> None:
            for _ in names:
                await rep.send(await rep.receive())

        # a DEALER's turns go round: who makes as many requests as there are REPs has met each of them
        echoes = [functools.partial(one._call, "echo", count=len(names)) for one in reps.values()]
        await together(ask, reply, *echoes)
        nursery.cancel_scope.cancel()
