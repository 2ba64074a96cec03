"""Peers that die: killed, reset or closed, at every stage of a handshake and in the middle of a frame, on real sockets.

Promise 4: a peer's fault ends that peer's connection, never the program; promise 6: what is in doubt is told.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from faults.raw import STAGES, RawPeer, Victim, address_of, eventually, hello, listen, running
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq import EndpointState

ENDS = pytest.mark.parametrize("end", ["FIN", "RST", "SIGKILL"])
AT = pytest.mark.parametrize("stage", STAGES)
HANDSHAKEN = [stage for stage in STAGES if len(STAGES[stage]) >= len(STAGES["READY"])]


class Mortal:
    """A peer that stands at a stage, and its end."""

    def __init__(self, end: str) -> None:
        self.end = end
        self.peer: RawPeer | None = None
        self.victim: Victim | None = None

    async def connect(self, endpoint: object, data: bytes) -> None:
        if self.end == "SIGKILL":
            self.victim = Victim("connect", address_of(endpoint)[1], data)
            assert await self.victim.said() == "sent"
        else:
            self.peer = await RawPeer.connect(endpoint, data)

    async def die(self) -> None:
        if self.victim is not None:
            self.victim.kill()
        elif self.peer is not None:
            if self.end == "FIN":
                await self.peer.fin()
            else:
                self.peer.rst()


@AT
@ENDS
async def test_it_had_connected(stage: str, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """A bound socket lets it go, says why, received what was complete, and serves the others as before."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with running() as context:
        pull, good = context.socket(trimq.Pull), context.socket(trimq.Push)
        good.connect(endpoint := pull.bind("tcp://127.0.0.1:*"))
        await pull.wait_for_peers(1)
        peers, carriers = pull.peers, pull._carriers
        mortal = Mortal(end)
        await mortal.connect(endpoint, STAGES[stage])
        await eventually(lambda: pull._carriers == carriers + 1)
        if stage in HANDSHAKEN:
            await pull.wait_for_peers(2)
            if stage != "READY":
                assert await pull.receive() == [b"ok"]
        else:
            await good.send(b"while it is about to")
            assert await pull.receive() == [b"while it is about to"]
            assert pull.peers == peers
        await mortal.die()
        await eventually(lambda: pull._carriers == carriers)
        assert pull.peers == peers
        assert endpoint.state is EndpointState.READY
        await good.send(b"goes on")
        assert await pull.receive() == [b"goes on"]
        with pytest.raises(trio.WouldBlock):
            pull.receive_nowait()
    [told] = [text for text in caplog.messages if "a connection ended" in text]
    assert str(endpoint) in told
    assert ("during the handshake" in told) is (stage not in HANDSHAKEN)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@AT
@ENDS
async def test_it_was_dialled(stage: str, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """A connecting socket says what became of it, dials on, and comes to the successor at that address."""
    caplog.set_level(logging.DEBUG, "trimq")
    handshaken = stage in HANDSHAKEN
    async with running() as context:
        with listen() as listener:
            port = listener.getsockname()[1]
            if end == "SIGKILL":
                listener.close()
                victim = Victim("bind", port, STAGES[stage])
                assert await victim.said() == "listens"
            pull = context.socket(trimq.Pull)
            endpoint = pull.connect(f"tcp://127.0.0.1:{port}")
            if end == "SIGKILL":
                assert await victim.said() == "sent"
            else:
                peer = await RawPeer.accept(listener, STAGES[stage])
                listener.close()  # the successor is not this one
            if handshaken:
                await endpoint.ready()
                if stage != "READY":
                    assert await pull.receive() == [b"ok"]
            else:
                await eventually(lambda: endpoint.state is EndpointState.HANDSHAKING)
            outcome: list[Exception | None] = []

            async def ready() -> None:
                try:
                    await endpoint.ready()
                except trimq.ProtocolError as error:
                    outcome.append(error)
                else:
                    outcome.append(None)

            async with trio.open_nursery() as nursery:
                if not handshaken:
                    nursery.start_soon(ready)
                    await wait_all_tasks_blocked(0.0)
                if end == "SIGKILL":
                    victim.kill()
                elif end == "FIN":
                    await peer.fin()
                else:
                    peer.rst()
                await eventually(lambda: endpoint.state is not EndpointState.READY and endpoint.cause is not None)
                assert pull.peers == ()
                if not handshaken:
                    await eventually(lambda: outcome)
                    [error] = outcome
                    assert isinstance(error, trimq.ProtocolError)
                    assert "during the handshake" in str(error)
        successor = context.socket(trimq.Push)
        successor.bind(str(endpoint))
        await pull.wait_for_peers(1)
        assert endpoint.state is EndpointState.READY
        assert endpoint.cause is None
        await successor.send(b"from the successor")
        assert await pull.receive() == [b"from the successor"]
    assert [text for text in caplog.messages if str(endpoint) in text]


MUCH = bytes(range(256)) * 32 * 1024  # 8 MiB: more than the system takes at once


async def partly(peer: RawPeer) -> None:
    """Reads the beginning of what is written to it."""
    await peer.greeted()
    header = await peer.read(9)
    assert header == b"\x02" + len(MUCH).to_bytes(8, "big")
    assert await peer.read(1000) == MUCH[:1000]


@pytest.mark.parametrize("end", ["FIN", "RST"])
async def test_while_we_write_to_it(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """What was in the write is told as in doubt and not sent twice; what waited for it is told as dropped; others go on."""
    caplog.set_level(logging.WARNING, "trimq")
    async with running() as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        endpoint = push.bind("tcp://127.0.0.1:*")
        peer = await RawPeer.connect(endpoint, hello(b"PULL"))
        await push.wait_for_peers(1)
        await push.send(MUCH)
        await partly(peer)
        await push.send(b"waits behind it")
        pull.connect(endpoint)
        await push.wait_for_peers(2)
        await (peer.fin() if end == "FIN" else trio.lowlevel.checkpoint())
        if end == "RST":
            peer.rst()
        await eventually(lambda: len(push.peers) == 1)
        for n in range(20):
            await push.send(b"%d" % n)
        assert [await pull.receive() for _ in range(20)] == [[b"%d" % n] for n in range(20)]
    doubt, dropped = caplog.messages
    assert "1 messages are in doubt" in doubt
    assert "1 unsent messages" in dropped
    assert str(endpoint) in doubt
    assert str(endpoint) in dropped


@pytest.mark.parametrize("end", ["FIN", "RST"])
async def test_while_we_write_to_whom_we_dialled(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 30: what waited behind the torn message goes to the successor, whole, in order; the torn one is told."""
    caplog.set_level(logging.WARNING, "trimq")
    async with running() as context:
        push = context.socket(trimq.Push)
        with listen() as listener:
            endpoint = push.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
            await push.send(MUCH)
            peer = await RawPeer.accept(listener, hello(b"PULL"))
            await partly(peer)
            waiting = [b"%d" % n for n in range(20)]
            await push.send_many(waiting)
            await (peer.fin() if end == "FIN" else trio.lowlevel.checkpoint())
            if end == "RST":
                peer.rst()
            successor = await RawPeer.accept(listener, hello(b"PULL"))
            await successor.greeted()
            for body in waiting:
                assert await successor.read(2 + len(body)) == bytes([0, len(body)]) + body
            assert endpoint.state is EndpointState.READY
            await successor.fin()
    [doubt] = caplog.messages
    assert "1 messages are in doubt" in doubt
    assert str(endpoint) in doubt


@pytest.mark.parametrize("cut", range(1, 24))
async def test_at_each_byte_of_a_message(cut: int) -> None:
    """wire.md 9, row 45: of a message that was cut off nothing is received, wherever it was cut; the next is whole."""
    message = b"\x01\x03one\x03" + (4).to_bytes(8, "big") + b"more\x00\x03end"
    assert len(message) == 23
    async with running() as context:
        pull = context.socket(trimq.Pull)
        endpoint = pull.bind("tcp://127.0.0.1:*")
        peer = await RawPeer.connect(endpoint, hello(b"PUSH") + message + message[:cut])
        await pull.wait_for_peers(1)
        await peer.fin()
        await eventually(lambda: pull.peers == ())
        whole: list[Any] = [b"one", b"more", b"end"]
        assert await pull.receive() == whole
        if cut == len(message):
            assert await pull.receive() == whole
        with pytest.raises(trio.WouldBlock):
            pull.receive_nowait()
        peer = await RawPeer.connect(endpoint, hello(b"PUSH") + message)
        assert await pull.receive() == whole
        await peer.fin()
