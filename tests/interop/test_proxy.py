"""``trimq.proxy`` between libzmq peers, and steered by one: issue 5, "Proxy" (libzmq.md 4.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
import trio
from interop.harness import Peer, PeerSocket, running, until_quiet

import trimq

pytestmark = pytest.mark.pyzmq


def steered(control: str) -> tuple[Any, str]:
    """trimq's and libzmq's types of a control socket."""
    return {"REP": (trimq.Rep, "REQ"), "PAIR": (trimq.Pair, "PAIR"), "SUB": (trimq.Sub, "PUB")}[control]


async def ask(req: PeerSocket, rep: PeerSocket, word: bytes) -> None:
    """A question goes all the way, and so does its answer."""
    await req.send([word, b"", b"x" * 100])
    assert await rep.receive() == [word, b"", b"x" * 100]
    await rep.send([b"to", word])
    assert await req.receive() == [b"to", word]


@pytest.mark.parametrize("control", ["REP", "PAIR", "SUB"])
async def test_steered_by_a_libzmq_program(control: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """PAUSE, RESUME, STATISTICS and TERMINATE as programs for zmq_proxy_steerable send them; all traffic is libzmq's."""
    async with running(10) as ctx:
        frontend, backend = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer)
        mine, theirs = steered(control)
        controlled = ctx.socket(mine)
        req, rep, steering = [await peer.socket(kind) for kind in ("REQ", "REP", theirs)]
        await req.connect(frontend.bind(fresh("tcp")))
        await rep.connect(backend.bind(fresh("tcp")))
        if control == "SUB":
            controlled.subscribe(b"")
        controlled.connect(await steering.bind(fresh("tcp")))
        if control == "SUB":
            await until_quiet(controlled, steering.send)

        async def command(word: bytes) -> None:
            await steering.send(word)
            if control == "REP":
                assert await steering.receive() == [b""]

        async with trio.open_nursery() as nursery:
            handle = await nursery.start(lambda task_status: trimq.proxy(
                frontend, backend, control=controlled, task_status=task_status
            ))  # fmt: skip
            await ask(req, rep, b"first")
            await command(b"PAUSE")
            while not handle.paused:
                await trio.sleep(0.001)
            await req.send(b"waits")
            assert await rep.receive_within(0.05) is None
            await command(b"RESUME")
            assert await rep.receive() == [b"waits"]
            await rep.send(b"at last")
            assert await req.receive() == [b"at last"]
            if control != "SUB":
                await steering.send(b"STATISTICS")
                frames = [struct.unpack("=Q", frame)[0] for frame in await steering.receive()]
                assert len(frames) == 8
                assert (frames[0], frames[2], frames[4], frames[6]) == (2, 2, 2, 2)
                # with the envelopes, which are 5 bytes where they are made up here
                assert frames[1] == frames[7] > 105
                assert frames[5] == frames[3] > 0
            await command(b"TERMINATE")
        # it has returned; what comes now waits
        await req.send(b"to nobody")
        assert await rep.receive_within(0.05) is None
        await frontend.wait_receivable()


async def test_publishers_and_subscribers(peer: Peer, fresh: Callable[[str], str]) -> None:
    """libzmq PUB and SUB with an XSub and an XPub between: subscriptions go up, messages come down, and are captured."""
    async with running(10) as ctx:
        xsub, xpub, capture = ctx.socket(trimq.XSub), ctx.socket(trimq.XPub), ctx.socket(trimq.Push)
        pub, sub, pull = [await peer.socket(kind) for kind in ("XPUB", "SUB", "PULL")]
        await pub.connect(xsub.bind(fresh("tcp")))
        await sub.connect(xpub.bind(fresh("tcp")))
        await pull.connect(capture.bind(fresh("tcp")))
        await xsub.wait_for_peers()
        await capture.wait_for_peers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: trimq.proxy(xsub, xpub, capture=capture))
            await sub.subscribe(b"t")
            assert await pub.receive() == [b"\1t"]
            assert await pull.receive() == [b"\1t"]
            await pub.send([b"no"])
            await pub.send([b"t", b"", b"news"])
            assert await sub.receive() == await pull.receive() == [b"t", b"", b"news"]
            await sub.unsubscribe(b"t")
            assert await pub.receive() == [b"\0t"]
            nursery.cancel_scope.cancel()
