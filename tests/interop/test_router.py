"""ROUTER with libzmq peers: how they are named, unknown and full ones, names that are taken, probes (ZMQ_ROUTER)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from interop.harness import Peer, running, until_left

import trimq

pytestmark = pytest.mark.pyzmq


@pytest.mark.parametrize("kind", ["REQ", "DEALER", "ROUTER"])
@pytest.mark.parametrize("routing_id", [b"n", b"name", bytes(range(1, 256))], ids=["1", "4", "255"])
async def test_announced_ids(routing_id: bytes, kind: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A libzmq peer goes by the routing id that it announces, of 1 to 255 bytes."""
    async with running(10) as ctx:
        router = ctx.socket(trimq.Router, routing_id=b"router")
        theirs = await peer.socket(kind, ROUTING_ID=routing_id)
        await theirs.connect(router.bind(fresh("tcp")))
        await router.wait_for_peers()
        [info] = router.peers
        assert (info.socket_type, info.identity) == (kind, routing_id)
        if kind == "ROUTER":
            await router.send([routing_id, b"hello"])
            assert await theirs.receive() == [b"router", b"hello"]
        else:
            await theirs.send(b"hello")
            assert (await router.receive())[::2] == ([routing_id, b"hello"] if kind == "REQ" else [routing_id])


async def test_ids_made_up_for_libzmq_dealers(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Who announces none gets five bytes, of which the first is zero, each its own; replies find their way by it."""
    async with running(10) as ctx:
        router = ctx.socket(trimq.Router)
        address = router.bind(fresh("tcp"))
        dealers = {b"dealer %d" % number: await peer.socket("DEALER") for number in range(5)}
        for name, dealer in dealers.items():
            await dealer.connect(address)
            await dealer.send(name)
        ids = {}
        for _ in dealers:
            routing_id, name = await router.receive()
            assert len(routing_id) == 5
            assert routing_id[0] == 0
            ids[name] = routing_id
        assert len(set(ids.values())) == 5
        for name, routing_id in ids.items():
            await router.send([routing_id, b"you are " + name])
        for name, dealer in dealers.items():
            assert await dealer.receive() == [b"you are " + name]


async def test_ids_made_up_by_libzmq(peer: Peer, fresh: Callable[[str], str]) -> None:
    """A trimq Dealer without a routing id is named by a libzmq ROUTER, and one with an id goes by it."""
    async with running(10) as ctx:
        router = await peer.socket("ROUTER")
        address = await router.bind(fresh("tcp"))
        for announced in (b"", b"me"):
            dealer = ctx.socket(trimq.Dealer, routing_id=announced)
            dealer.connect(address)
            await dealer.send(b"hello")
            routing_id, hello = await router.receive()
            assert hello == b"hello"
            assert (routing_id == b"me") if announced else (len(routing_id) == 5 and routing_id[0] == 0)
            await router.send([routing_id, b"welcome"])
            assert await dealer.receive() == [b"welcome"]


async def test_unknown_peers(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Without ``mandatory`` what is for nobody is dropped; with it HostUnreachable is raised, also once a peer has left."""
    async with running(10) as ctx:
        router = ctx.socket(trimq.Router)
        dealer = await peer.socket("DEALER", ROUTING_ID=b"dealer")
        await dealer.connect(router.bind(fresh("tcp")))
        await router.wait_for_peers()
        await router.send([b"nobody", b"dropped"])
        await router.send([b"dealer", b"one"])
        router.mandatory = True
        with pytest.raises(trimq.HostUnreachable):
            await router.send([b"nobody", b"refused"])
        await router.send([b"dealer", b"two"])
        assert [await dealer.receive(), await dealer.receive()] == [[b"one"], [b"two"]]
        await dealer.close()
        await until_left(router, 0)
        with pytest.raises(trimq.HostUnreachable):
            await router.send([b"dealer", b"gone"])


async def test_a_full_peer(peer: Peer, fresh: Callable[[str], str]) -> None:
    """With ``mandatory`` a send waits for a libzmq DEALER that does not read; without it what has no room is dropped."""
    async with running() as ctx:
        router = ctx.socket(trimq.Router, mandatory=True, send_hwm=5)
        dealer = await peer.socket("DEALER", ROUTING_ID=b"slow", RCVHWM=1)
        other = await peer.socket("DEALER", ROUTING_ID=b"quick")
        address = router.bind(fresh("tcp"))
        await dealer.connect(address)
        await other.connect(address)
        await router.wait_for_peers(2)
        sent = 0
        filler = bytes(1_000_000)
        stuck = 0
        while stuck < 3:  # until libzmq, the kernel and our queue are full, which shows in that time brings no room
            try:
                router.send_nowait([b"slow", b"%d" % sent, filler])
                sent += 1
                stuck = 0
            except trio.WouldBlock:
                with trio.move_on_after(0.1):
                    await router.send([b"slow", b"%d" % sent, filler])
                    sent += 1
                    stuck = -1
                stuck += 1
        await router.send([b"quick", b"is not held up"])
        assert await other.receive() == [b"is not held up"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.send, [b"slow", b"the one that waited"])
            for number in range(sent):
                assert (await dealer.receive())[0] == b"%d" % number
            assert await dealer.receive() == [b"the one that waited"]


@pytest.mark.parametrize("handover", [False, True])
async def test_an_id_that_is_taken(handover: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A second libzmq DEALER of one id is refused, or takes over from the first, which is closed (ZMQ_ROUTER_HANDOVER)."""
    async with running() as ctx:
        router = ctx.socket(trimq.Router, handover=handover)
        address = router.bind(fresh("tcp"))
        dealers = []
        for number in range(2):
            dealer = await peer.socket("DEALER", ROUTING_ID=b"twin", RECONNECT_IVL=-1)
            await dealer.monitor()
            await dealer.connect(address)
            dealers.append(dealer)
            if number == 0:
                await dealer.send(b"the first")
                assert await router.receive() == [b"twin", b"the first"]
        loser, winner = dealers if handover else dealers[::-1]
        assert await loser.wait_event("DISCONNECTED")
        await router.send([b"twin", b"to the one that is left"])
        assert await winner.receive() == [b"to the one that is left"]
        await winner.send(b"and back")
        assert await router.receive() == [b"twin", b"and back"]
        assert len(router.peers) == 1


@pytest.mark.parametrize("handover", [False, True])
async def test_an_id_that_is_taken_at_libzmq(handover: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Two trimq Dealers of one id at a libzmq ROUTER: the second takes over, or finds no hearing; the first is well."""
    async with running() as ctx:
        router = await peer.socket("ROUTER", ROUTER_HANDOVER=int(handover))
        address = await router.bind(fresh("tcp"))
        first = ctx.socket(trimq.Dealer, routing_id=b"twin", reconnect_interval=float("inf"))
        first.connect(address)
        await first.send(b"the first")
        assert await router.receive() == [b"twin", b"the first"]
        second = ctx.socket(trimq.Dealer, routing_id=b"twin", linger=0)
        await second.connect(address).ready()
        await second.send(b"the second")
        if handover:
            # libzmq leaves the first one's connection open, and hears it no more
            assert await router.receive() == [b"twin", b"the second"]
            await first.send(b"unheard")
            await router.send([b"twin", b"hello"])
            assert await second.receive() == [b"hello"]
        else:
            await first.send(b"the first again")
            assert await router.receive() == [b"twin", b"the first again"]
            await router.send([b"twin", b"hello"])
            assert await first.receive() == [b"hello"]


@pytest.mark.parametrize("kind", [trimq.Req, trimq.Dealer, trimq.Router])
async def test_trimq_probes(kind: Any, peer: Peer, fresh: Callable[[str], str]) -> None:
    """With ``probe_router`` a libzmq ROUTER sees an empty message, and may speak first (ZMQ_PROBE_ROUTER)."""
    async with running(10) as ctx:
        router = await peer.socket("ROUTER", ROUTING_ID=b"router")
        prober = ctx.socket(kind, probe_router=True, routing_id=b"prober")
        prober.connect(await router.bind(fresh("tcp")))
        assert await router.receive() == [b"prober", b""]
        if kind is trimq.Req:
            await prober.send(b"question")
            assert await router.receive() == [b"prober", b"", b"question"]
        else:
            await router.send([b"prober", b"hello"])
            assert (await prober.receive())[-1] == b"hello"


@pytest.mark.parametrize("kind", ["REQ", "DEALER", "ROUTER"])
async def test_libzmq_probes(kind: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """The same from libzmq: a trimq Router sees an empty message of the peer's id."""
    async with running(10) as ctx:
        router = ctx.socket(trimq.Router)
        prober = await peer.socket(kind, PROBE_ROUTER=1, ROUTING_ID=b"prober")
        await prober.connect(router.bind(fresh("tcp")))
        assert await router.receive() == [b"prober", b""]


@pytest.mark.parametrize("kind", ["DEALER", "ROUTER"])
async def test_named_by_connect(kind: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """``connect(routing_id=)`` names the peer, whatever it announces; messages queue at once (ZMQ_CONNECT_ROUTING_ID)."""
    async with running(10) as ctx:
        theirs = await peer.socket(kind, ROUTING_ID=b"its own name")
        router = ctx.socket(trimq.Router, routing_id=b"router", mandatory=True)
        endpoint = router.connect(await theirs.bind(fresh("tcp")), routing_id=b"our name for it")
        await router.send([b"our name for it", b"hello"])  # before anybody is there
        assert endpoint.routing_id == b"our name for it"
        assert (await theirs.receive())[-1] == b"hello"
        await theirs.send(b"back" if kind == "DEALER" else [b"router", b"back"])
        assert await router.receive() == [b"our name for it", b"back"]
        with pytest.raises(trimq.HostUnreachable):
            await router.send([b"its own name", b"nobody"])


async def test_a_broker_between_libzmq_peers(peer: Peer, fresh: Callable[[str], str]) -> None:
    """trimq in the middle: libzmq REQ -> Router, Dealer -> libzmq REP, envelopes untouched (RFC 28)."""
    async with running(10) as ctx:
        front, back = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer)
        askers = [await peer.socket("REQ") for _ in range(3)]
        address = front.bind(fresh("tcp"))
        for asker in askers:
            await asker.connect(address)
        rep = await peer.socket("REP")
        await rep.connect(back.bind(fresh("ipc")))
        for number, asker in enumerate(askers):
            await asker.send([b"question", b"%d" % number])
        for _ in askers:
            await back.send(await front.receive())
            question, number_ = await rep.receive()
            assert question == b"question"
            await rep.send([b"answer", number_])
            await front.send(await back.receive())
        for number, asker in enumerate(askers):
            assert await asker.receive() == [b"answer", b"%d" % number]
