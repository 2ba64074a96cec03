"""Who is there: receive_from, PeerInfo, disconnect_peer, subscriptions that are confirmed (demands 4, 5, 29, 30)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio
from sockets.helpers import both, joined, joins, jumping, opened, settle

import trimq
from trimq.testing import MemoryTransport


@jumping
@both
async def test_receive_from(place: str) -> None:
    """The very peer, whether the message waited or was waited for, and though its connection is gone."""
    async with opened(linger=1) as ctx:
        pull, pushes = ctx.socket(trimq.Pull), [ctx.socket(trimq.Push, metadata={"X-n": b"%d" % n}) for n in range(2)]
        await joined(ctx, pull, *pushes, place=place)
        peers = pull.peers
        for number in (1, 0):
            await pushes[number].send(b"%d" % number)
            message, peer = await pull.receive_from()
            assert message == [b"%d" % number]
            assert peer is peers[number]
            if place.startswith("tcp"):
                assert peer.metadata["x-N"] == b"%d" % number
        got: list[Any] = []

        async def take() -> None:
            got.append(await pull.receive_from())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await settle()
            await pushes[1].send([b"a", b"b"])
        assert got == [([b"a", b"b"], peers[1])]
        await pushes[0].send(b"last")
        await pushes[0].aclose()
        await settle()
        assert pull.peers == (peers[1],)
        assert (await pull.receive_from())[1] is peers[0]


@jumping
@both
async def test_receive_from_of_every_type(place: str) -> None:
    """Each type that receives says from whom."""
    pairs = [
        (trimq.Dealer, trimq.Router, [b"m"]),
        (trimq.Req, trimq.Rep, [b"m"]),
        (trimq.Pair, trimq.Pair, [b"m"]),
        (trimq.Pub, trimq.Sub, [b"m"]),
        (trimq.XPub, trimq.XSub, [b"m"]),
        (trimq.XSub, trimq.XPub, [b"m"]),
    ]
    for number, (sending, receiving, message) in enumerate(pairs):
        async with opened() as ctx:
            sender, receiver = ctx.socket(sending), ctx.socket(receiving)
            if hasattr(receiver, "subscribe") and receiving is not trimq.XPub:
                receiver.subscribe(b"")
            where = f"{place}{number}"
            await joined(ctx, receiver, sender, place=where)
            if hasattr(sender, "wait_for_subscribers"):
                await sender.wait_for_subscribers()
            await sender.send(message)
            received, peer = await receiver.receive_from()
            assert received[-1] == b"m"
            assert peer is receiver.peers[0]
            assert peer.socket_type == sending.socket_type
            if receiving is trimq.Rep:
                await receiver.send(b"r")
                received, peer = await sender.receive_from()
                assert peer is sender.peers[0]


@jumping
async def test_a_cancelled_receive_from_took_nothing() -> None:
    """As every receive (promise 1)."""
    async with opened() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        await joined(ctx, pull, push, place="inproc://place")
        with trio.move_on_after(1) as scope:
            await pull.receive_from()
        assert scope.cancelled_caught
        await push.send(b"1")
        with trio.CancelScope() as scope:
            scope.cancel()
            await pull.receive_from()
        assert (await pull.receive_from())[0] == [b"1"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="platform: needs Linux")
async def test_credentials_over_ipc(tmp_path: Path) -> None:
    """Process, user and group, as the system says them (Peer-Address, libzmq.md 2.4)."""
    with trio.fail_after(20):
        async with trimq.open_context(linger=0) as ctx:
            pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
            push.connect(pull.bind(f"ipc://{tmp_path}/here"))
            await pull.wait_for_peers()
            [peer] = pull.peers
            assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())
            push.connect(pull.bind("tcp://127.0.0.1:*"))
            await pull.wait_for_peers(2)
            assert (pull.peers[1].pid, pull.peers[1].uid, pull.peers[1].gid) == (None, None, None)


@jumping
@both
async def test_disconnect_peer(place: str) -> None:
    """That one and no other; who came may come again; an endpoint that was connected is closed."""
    async with opened() as ctx:
        pull, pushes = ctx.socket(trimq.Pull), [ctx.socket(trimq.Push) for _ in range(2)]
        await joined(ctx, pull, *pushes, place=place)
        first, second = pull.peers
        pull.disconnect_peer(first)
        await settle()
        assert second in pull.peers
        assert first not in pull.peers
        with pytest.raises(trimq.HostUnreachable):
            pull.disconnect_peer(first)
        push = ctx.socket(trimq.Push)
        endpoint = await joins(push, place)
        push.disconnect_peer(push.peers[0])
        assert endpoint.state is trimq.EndpointState.CLOSED
        assert push.endpoints == ()


@jumping
@both
@pytest.mark.parametrize("publisher", [trimq.Pub, trimq.XPub])
async def test_subscriptions_are_confirmed(publisher: Any, place: str) -> None:
    """At return each publisher has applied them: what is published now arrives (demand 4)."""
    async with opened(MemoryTransport(latency=0.5)) as ctx:
        sub, pubs = ctx.socket(trimq.Sub), [ctx.socket(publisher) for _ in range(3)]
        for number, pub in enumerate(pubs):
            pub.bind(f"{place}{number}")
            await joins(sub, f"{place}{number}")
        for topic in (b"a", b"b"):
            sub.subscribe(topic)
            assert await sub.wait_subscribed()
            assert all(topic in pub._topics for pub in pubs)


@jumping
async def test_a_confirmation_that_is_cancelled_or_cut() -> None:
    """No trace; a peer that went away has not confirmed; the end of the socket is told as such."""
    network = MemoryTransport()
    async with opened(network, reconnect_interval=1000.0) as ctx:
        sub, pub = ctx.socket(trimq.Sub), ctx.socket(trimq.Pub)
        pub.bind("tcp://place:1")
        await joins(sub, "tcp://place:1")
        network.partition()
        sub.subscribe(b"a")
        with trio.move_on_after(1) as scope:
            await sub.wait_subscribed()
        assert scope.cancelled_caught
        answers: list[bool] = []

        async def wait() -> None:
            answers.append(await sub.wait_subscribed())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            network.drop_all()
        assert answers == [False]
        assert await sub.wait_subscribed()  # there is no peer that has not
        network.heal()
        async with trio.open_nursery() as nursery:
            await sub.endpoints[0].ready()
            network.partition()
            with pytest.raises(trimq.SocketClosed):
                nursery.start_soon(close_soon, sub)
                await sub.wait_subscribed()


async def close_soon(socket: trimq.Socket) -> None:
    await trio.sleep(1)
    socket.close()


@jumping
async def test_flush_after_subscriptions_that_a_loss_took() -> None:
    """What was cleared at the loss counts as dealt with: each new link gets all subscriptions anyway."""
    network = MemoryTransport(latency=1.0)
    async with opened(network, reconnect_interval=0.1) as ctx:
        sub, pub = ctx.socket(trimq.Sub), ctx.socket(trimq.Pub)
        pub.bind("tcp://place:1")
        await joins(sub, "tcp://place:1")
        network.partition()
        for number in range(100):
            sub.subscribe(b"%d" % number + bytes(10_000))
            sub.unsubscribe(b"%d" % number + bytes(10_000))
        await settle()
        network.drop_all()
        network.heal()
        await sub.endpoints[0].ready()
        with trio.fail_after(100):
            await sub.flush()
        statistics = sub.statistics()
        assert statistics.sent == statistics.written + statistics.in_doubt
        assert statistics.queued == 0
