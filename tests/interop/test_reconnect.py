"""Peers that die and come back at the same address, libzmq's and trimq's (RFC 28, 30; promise 4)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from interop.harness import Peer, Pool, running, until_left

import trimq

pytestmark = pytest.mark.pyzmq

TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "ipc"])
SOON: dict[str, Any] = {"reconnect_interval": 0.01, "reconnect_interval_max": 0.05}


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


async def numbered(receiver: Any, word: bytes, count: int, start: int = 0) -> None:
    """Receives numbered messages, in order."""
    for number in range(start, count):
        assert await receiver.receive() == [word, b"%d" % number]


async def send_numbered(sender: Any, word: bytes, count: int) -> None:
    for number in range(count):
        await sender.send([word, b"%d" % number])


@TRANSPORTS
@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer])
async def test_queued_for_a_libzmq_peer_that_was_killed(
    kind: type[Any], transport: str, pool: Pool, fresh: Callable[[str], str]
) -> None:
    """What is sent while the peer is away is queued for its endpoint, and arrives at its successor, in order (RFC 30)."""
    its_kind = "PULL" if kind is trimq.Push else "DEALER"
    async with running() as ctx:
        mine = ctx.socket(kind, **SOON)
        async with pool.peer() as old:
            theirs = await old.socket(its_kind)
            address = await theirs.bind(fresh(transport))
            endpoint = mine.connect(address)
            await send_numbered(mine, b"before", 100)
            await numbered(theirs, b"before", 100)
            await old.kill()
        await until_left(mine, 0)
        assert endpoint.state is not trimq.EndpointState.READY
        await send_numbered(mine, b"meanwhile", 500)
        async with pool.peer() as new:
            theirs = await new.socket(its_kind)
            await theirs.bind(address)
            await numbered(theirs, b"meanwhile", 500)
            await endpoint.ready()
            await send_numbered(mine, b"after", 100)
            await numbered(theirs, b"after", 100)


@TRANSPORTS
async def test_connect_before_libzmq_binds(transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """The order of bind and connect does not matter (zmq_connect(3))."""
    async with running() as ctx:
        # Not one that libzmq had a moment ago: its listener goes on accepting for a while, and takes messages with it.
        address = fresh(transport).replace("*", str(free_port()))
        push = ctx.socket(trimq.Push, **SOON)
        endpoint = push.connect(address)
        await send_numbered(push, b"early", 200)
        pull = await peer.socket("PULL")
        await pull.bind(address)
        await numbered(pull, b"early", 200)
        await endpoint.ready()


@TRANSPORTS
async def test_trimq_binder_restarted(transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """The address is free at once; a libzmq PUSH connects again, and what it queued meanwhile arrives in order."""
    async with running() as ctx:
        push = await peer.socket("PUSH", RECONNECT_IVL=10)
        await push.monitor()
        pull = ctx.socket(trimq.Pull)
        address = str(pull.bind(fresh(transport)))
        await push.connect(address)
        await send_numbered(push, b"before", 100)
        await numbered(pull, b"before", 100)
        await pull.aclose()
        assert await push.wait_event("DISCONNECTED")
        await send_numbered(push, b"meanwhile", 100)
        pull = ctx.socket(trimq.Pull)
        assert str(pull.bind(address)) == address
        await numbered(pull, b"meanwhile", 100)
        await send_numbered(push, b"after", 100)
        await numbered(pull, b"after", 100)


@TRANSPORTS
async def test_what_arrived_from_a_peer_that_left_can_be_received(
    transport: str, pool: Pool, fresh: Callable[[str], str]
) -> None:
    """What a libzmq PUSH had sent before it went away is not lost with it (RFC 30), and the next one is served."""
    async with running() as ctx:
        pull = ctx.socket(trimq.Pull)
        address = pull.bind(fresh(transport))
        async with pool.peer() as old:
            push = await old.socket("PUSH")
            await push.connect(address)
            await send_numbered(push, b"from the first", 100)
            assert await pull.receive() == [b"from the first", b"0"]
            await push.close(linger=-1)  # all that was sent is written
            await until_left(pull, 0)
            await numbered(pull, b"from the first", 100, start=1)
        async with pool.peer() as new:
            push = await new.socket("PUSH")
            await push.connect(address)
            await send_numbered(push, b"from the second", 100)
            await numbered(pull, b"from the second", 100)


async def test_request_after_a_rep_restarted(pool: Pool, fresh: Callable[[str], str]) -> None:
    """A relaxed Req whose libzmq REP died with the request asks its successor, and takes that answer."""
    async with running() as ctx:
        req = ctx.socket(trimq.Req, relaxed=True, correlate=True, **SOON)
        async with pool.peer() as old:
            rep = await old.socket("REP")
            address = await rep.bind(fresh("tcp"))
            req.connect(address)
            await req.send(b"lost")
            assert await rep.receive() == [b"lost"]
            await old.kill()
        await until_left(req, 0)
        await req.send(b"again")
        async with pool.peer() as new:
            rep = await new.socket("REP")
            await rep.bind(address)
            assert await rep.receive() == [b"again"]
            await rep.send(b"answer")
            assert await req.receive() == [b"answer"]


async def test_a_pair_is_lost_with_its_peer(pool: Pool, fresh: Callable[[str], str]) -> None:
    """A connected Pair does not come back by itself: its endpoint says lost, and a new connect dials afresh (RFC 31)."""
    async with running() as ctx:
        pair = ctx.socket(trimq.Pair)
        async with pool.peer() as old:
            theirs = await old.socket("PAIR")
            address = await theirs.bind(fresh("tcp"))
            endpoint = pair.connect(address)
            await pair.send(b"hello")
            assert await theirs.receive() == [b"hello"]
            await old.kill()
        await until_left(pair, 0)
        with pytest.raises(OSError):
            await endpoint.ready()
        async with pool.peer() as new:
            theirs = await new.socket("PAIR")
            await theirs.bind(address)
            pair.connect(address)
            await pair.send(b"hello again")
            assert await theirs.receive() == [b"hello again"]


async def test_round_robin_without_the_dead(pool: Pool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A bound Push goes on with the peers that are left, whole and in order; nobody waits for the dead one (RFC 30)."""
    async with running() as ctx:
        push = ctx.socket(trimq.Push)
        address = push.bind(fresh("tcp"))
        living = await peer.socket("PULL")
        await living.connect(address)
        async with pool.peer() as mortal:
            dying = await mortal.socket("PULL")
            await dying.connect(address)
            await push.wait_for_peers(2)
            await send_numbered(push, b"shared", 10)
            shared = [int((await end.receive())[1]) for end in (living, dying) for _ in range(5)]
            assert sorted(shared) == list(range(10))
            assert shared[0] % 2 == shared[4] % 2 != shared[5] % 2  # in turn
            await mortal.kill()
        await until_left(push, 1)
        await send_numbered(push, b"alone", 100)
        await numbered(living, b"alone", 100)
