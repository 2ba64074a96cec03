"""Peers that send without end, or stall: our memory stays bounded, and the others are served (promise 4)."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from faults.raw import G, RawPeer, command, eventually, frame, hello, listen, prop, ready, running
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq import EndpointState
from trimq._sockets import _fan_out
from trimq._wire._frames import MAX_FRAMES

KIB, MIB = 1 << 10, 1 << 20


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Holds that no more than so many bytes are in use at any time in the block beyond what was at its beginning."""
    gc.collect()
    tracemalloc.start(1)
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / MIB:.1f} MiB at its peak"


async def pour(peer: RawPeer, unit: bytes, total: int) -> bool:
    """Sends one thing over and over; False if the other side has ended the connection meanwhile."""
    chunk = unit * max(1, 32 * KIB // len(unit))
    for _ in range(max(1, total // len(chunk))):
        if not await peer.send(chunk):
            return False
    return True


TRAFFIC: dict[str, tuple[type[trimq.Socket], bytes, bytes, int]] = {
    # What is bound, what the flooder is, what it sends over and over, and how much of it.
    "tiny commands": (trimq.Router, b"DEALER", command(b"A"), 512 * KIB),
    "unknown commands": (trimq.Router, b"DEALER", command(b"FOO", bytes(10_000)), 24 * MIB),
    "PINGs": (trimq.Router, b"DEALER", command(b"PING", b"\0\0" + b"c" * 16), 1 * MIB),
    "PONGs": (trimq.Router, b"DEALER", command(b"PONG", b"c" * 16), 1 * MIB),
    "subscriptions of no interest": (trimq.Router, b"DEALER", command(b"SUBSCRIBE", b"topic"), 512 * KIB),
    "one subscription": (trimq.Pub, b"SUB", command(b"SUBSCRIBE", b"topic"), 512 * KIB),
    "one subscription and its cancellation": (
        trimq.Pub, b"SUB", command(b"SUBSCRIBE", b"topic") + command(b"CANCEL", b"topic"), 512 * KIB
    ),
    "old subscriptions": (trimq.Pub, b"SUB", frame(b"\1topic"), 512 * KIB),
    "messages to a Pub": (trimq.Pub, b"SUB", frame(b"hello"), 512 * KIB),
    "large messages to a Push": (trimq.Push, b"PULL", frame(bytes(100_000)), 24 * MIB),
}  # fmt: skip


async def exchange(mine: Any, good: Any, number: int) -> None:
    """The good peer and the flooded socket go on, whichever way messages pass there."""
    text = b"%d" % number
    with trio.fail_after(2):
        if isinstance(mine, (trimq.Pub, trimq.Push)):
            await mine.send(text)
            if isinstance(mine, trimq.Push):
                await mine.send(text)  # one of the two is for the flooder
            assert await good.receive() == [text]
        else:
            await good.send(text)
            assert (await mine.receive())[-1] == text


GOOD: dict[type[trimq.Socket], type[Any]] = {
    trimq.Router: trimq.Dealer,
    trimq.Pub: trimq.Sub,
    trimq.Push: trimq.Pull,
}


@pytest.mark.parametrize("flood", TRAFFIC)
async def test_traffic_without_end(flood: str) -> None:
    """It may go on; it takes no memory, and the other peer's messages pass meanwhile."""
    kind, its_type, unit, total = TRAFFIC[flood]
    async with running() as context:
        mine, good = context.socket(kind), context.socket(GOOD[kind])
        good.connect(endpoint := mine.bind("tcp://127.0.0.1:*"))
        if isinstance(good, trimq.Sub) and isinstance(mine, trimq.Pub):
            good.subscribe(b"")
            await mine.wait_for_subscribers()
        await mine.wait_for_peers(1)
        peer = await RawPeer.connect(endpoint, hello(its_type))
        await mine.wait_for_peers(2)
        with bounded(6 * MIB):
            over = False

            async def flooding() -> None:
                nonlocal over
                assert await pour(peer, unit, total)
                over = True

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flooding)
                number = 0
                while not over:
                    await exchange(mine, good, number)
                    number += 1
                    await trio.lowlevel.checkpoint()
        assert len(mine.peers) == 2
        peer.rst()


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
async def test_messages_that_nobody_receives(size: int) -> None:
    """ZMQ_RCVHWM bounds what waits of the flooder, whatever the messages are; the other peer gets its turn at once."""
    async with running(receive_hwm=20, send_hwm=20) as context:
        pull, good = context.socket(trimq.Pull), context.socket(trimq.Push)
        good.connect(endpoint := pull.bind("tcp://127.0.0.1:*"))
        await pull.wait_for_peers(1)
        peer = await RawPeer.connect(endpoint, hello(b"PUSH"))
        with bounded(20 * size + 8 * MIB):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pour, peer, frame(bytes(size)), 64 * MIB)
                # Until the flood stands still: no room here, none in the system.
                await pull.wait_receivable()
                await wait_all_tasks_blocked(0.05)
                [flooded] = [remote for remote in pull._remotes if len(remote.inbox)]
                assert len(flooded.inbox) <= 20
                for number in range(50):
                    await good.send(b"good %d" % number)
                    between = 0
                    while (message := await pull.receive()) == [bytes(size)]:
                        between += 1
                        assert between < 2000
                    assert message == [b"good %d" % number]
                assert len(flooded.inbox) <= 20
                nursery.cancel_scope.cancel()
        peer.rst()


ENDLESS = {
    "0xff": (b"", b"\xff", ""),
    "ones": (b"", b"\1", "does not speak ZMTP"),
    "text": (b"", b"GET ", "does not speak ZMTP"),
    "greetings": (b"", G, "message before|reserved"),
    "commands": (G, command(b"FOO", bytes(200)), "FOO"),
    "READYs": (G, ready(prop(b"Socket-Type", b"PUSH")), "READY twice"),
    "properties": (G + b"\x06" + (1 << 40).to_bytes(8, "big") + b"\x05READY", prop(b"X-a", bytes(1000)), "bytes"),
    "ERRORs": (G, command(b"ERROR", b"\x03400"), "400"),
    "frames of one message": (hello(b"PUSH"), b"\x01\x00", f"more than {MAX_FRAMES} frames"),
    "large frames of one message": (hello(b"PUSH"), frame(bytes(60_000), 1), "bytes|frames"),
}


@pytest.mark.parametrize("flood", [name for name in ENDLESS if name != "large frames of one message"])
@pytest.mark.parametrize("bound", [True, False], ids=["bound", "connecting"])
async def test_what_has_no_end_is_ended(flood: str, bound: bool, caplog: pytest.LogCaptureFixture) -> None:
    """wire.md 9, rows 35 and 44, and a handshake without end: closed early, said why, little kept; others are served."""
    caplog.set_level(logging.DEBUG, "trimq")
    start, unit, says = ENDLESS[flood]
    async with running() as context:
        pull, good = context.socket(trimq.Pull), context.socket(trimq.Push)
        good.connect(endpoint := pull.bind("tcp://127.0.0.1:*"))
        await pull.wait_for_peers(1)
        with listen() as listener, bounded(6 * MIB):
            if bound:
                peer = await RawPeer.connect(endpoint, start)
            else:
                endpoint = pull.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
                peer = await RawPeer.accept(listener, start)
            assert not await pour(peer, unit, 64 * MIB), "it was not ended"
            await good.send(b"goes on")
            assert await pull.receive() == [b"goes on"]
            await eventually(lambda: len(pull.peers) == 1)
            peer.rst()
    assert any(any(word in text for word in says.split("|")) for text in caplog.messages if str(endpoint) in text), (
        caplog.messages
    )


async def test_distinct_subscriptions_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """wire.md 9, row 54: a cap for each peer, then closed, and all of its topics are gone; other subscribers stay."""
    caplog.set_level(logging.DEBUG, "trimq")
    monkeypatch.setattr(_fan_out, "MAX_TOPICS", 5000)
    async with running() as context:
        pub, sub = context.socket(trimq.Pub), context.socket(trimq.Sub)
        sub.connect(endpoint := pub.bind("tcp://127.0.0.1:*"))
        sub.subscribe(b"mine")
        await pub.wait_for_subscribers(1)
        peer = await RawPeer.connect(endpoint, hello(b"SUB"))
        for number in range(5):
            many = b"".join(command(b"SUBSCRIBE", b"%d.%d" % (number, n)) for n in range(2000))
            await peer.send(many)
        await peer.ended()
        await eventually(lambda: len(pub.peers) == 1)
        assert len(pub._topics._by_topic) == 1
        await pub.send(b"mine and yours")
        assert await sub.receive() == [b"mine and yours"]
        peer.rst()
    assert [text for text in caplog.messages if "more than 5000 subscriptions" in text]


@pytest.mark.parametrize(
    "unit",
    [
        command(b"CANCEL", b"never"),
        command(b"SUBSCRIBE", b"a") + command(b"CANCEL", b"a"),
        frame(b"to the user"),
    ],
    ids=["cancellations", "subscriptions and cancellations", "messages"],
)
async def test_an_xpub_whose_user_does_not_receive(unit: bytes) -> None:
    """ZMQ_RCVHWM bounds what waits of a subscriber for the XPub's user, too."""
    async with running(receive_hwm=20) as context:
        xpub = context.socket(trimq.XPub)
        peer = await RawPeer.connect(xpub.bind("tcp://127.0.0.1:*"), hello(b"SUB"))
        await xpub.wait_for_peers()
        with trio.move_on_after(0.5):
            await pour(peer, unit, 64 * KIB)
            await wait_all_tasks_blocked(0.05)
        peer.rst()
        assert len(xpub._news) <= 50


# Stalls


@pytest.mark.parametrize("stage", ["nothing", "mid-greeting", "greeting", "mid-READY"])
@pytest.mark.parametrize("bound", [True, False], ids=["bound", "connecting"])
async def test_a_handshake_that_stalls(stage: str, bound: bool, caplog: pytest.LogCaptureFixture) -> None:
    """wire.md 9, rows 1, 2: the connection ends at handshake_timeout, with a word; the good peer waits for nothing."""
    caplog.set_level(logging.DEBUG, "trimq")
    data = {"nothing": b"", "mid-greeting": G[:40], "greeting": G, "mid-READY": hello(b"PUSH")[:80]}[stage]
    async with running(handshake_timeout=0.1) as context:
        pull, good = context.socket(trimq.Pull), context.socket(trimq.Push)
        good.connect(endpoint := pull.bind("tcp://127.0.0.1:*"))
        await pull.wait_for_peers(1)
        with listen() as listener:
            start = trio.current_time()
            if bound:
                peer = await RawPeer.connect(endpoint, data)
            else:
                endpoint = pull.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
                peer = await RawPeer.accept(listener, data)
            await good.send(b"goes on")
            assert await pull.receive() == [b"goes on"]
            await peer.ended()
            assert trio.current_time() - start >= 0.09
            if not bound:
                await eventually(lambda: isinstance(endpoint.cause, TimeoutError))
                assert endpoint.state is not EndpointState.READY
            else:
                await eventually(lambda: pull._carriers == 2)
            assert len(pull.peers) == 1
            await peer.fin()
    assert [text for text in caplog.messages if "longer than 0.1 s" in text and str(endpoint) in text]


async def test_a_handshake_that_drips() -> None:
    """wire.md 9, row 17: the time is for the whole handshake, not for a read."""
    async with running(handshake_timeout=0.2) as context:
        peer = await RawPeer.connect(context.socket(trimq.Pull).bind("tcp://127.0.0.1:*"))
        start = trio.current_time()
        for byte in hello(b"PUSH"):
            await trio.sleep(0.02)
            if not await peer.send(bytes([byte])):
                break
        else:
            raise AssertionError("it was not ended")
        assert trio.current_time() - start < 1
        await peer.fin()


@pytest.mark.parametrize("data", [b"\x00", b"\x02\x00\x00", b"\x00\x05ab", b"\x01\x02ab", b"\x02" + bytes(4) + b"\1"])
async def test_a_frame_that_stalls(data: bytes) -> None:
    """In the middle of a frame or a message it may take its time; the other peer is served; then it is whole."""
    async with running(handshake_timeout=0.1) as context:
        pull, good = context.socket(trimq.Pull), context.socket(trimq.Push)
        good.connect(endpoint := pull.bind("tcp://127.0.0.1:*"))
        await pull.wait_for_peers(1)
        stalled = await RawPeer.connect(endpoint, hello(b"PUSH") + data)
        await pull.wait_for_peers(2)
        for number in range(20):
            await good.send(b"%d" % number)
            assert await pull.receive() == [b"%d" % number]
        await trio.sleep(0.15)  # no handshake is under way any more
        assert len(pull.peers) == 2
        await stalled.fin()


async def test_a_reader_that_stalls() -> None:
    """ZMQ_SNDHWM bounds what waits for a Pull that does not read; all else goes to the one that does (RFC 30)."""
    async with running(send_hwm=5) as context:
        push, good = context.socket(trimq.Push), context.socket(trimq.Pull)
        endpoint = push.bind("tcp://127.0.0.1:*")
        stalled = await RawPeer.connect(endpoint, hello(b"PULL"))
        await push.wait_for_peers(1)
        big = bytes(200_000)
        with bounded(12 * MIB):
            sent = 0
            while True:
                with trio.move_on_after(0.2) as waited:
                    await push.send(big)
                    sent += 1
                if waited.cancelled_caught:
                    break
            assert sent > 5
            [remote] = push._remotes
            assert len(remote.outbox) <= 5
            good.connect(endpoint)
            await push.wait_for_peers(2)
            for _ in range(200):  # 40 MB
                await push.send(big)
                assert await good.receive() == [big]
            assert len(remote.outbox) <= 5
        stalled.rst()


async def test_a_subscriber_that_stalls() -> None:
    """A Pub drops for it at its high-water mark, and counts (promise 6); the other subscriber gets everything."""
    async with running(send_hwm=5) as context:
        pub, good = context.socket(trimq.Pub), context.socket(trimq.Sub)
        endpoint = pub.bind("tcp://127.0.0.1:*")
        stalled = await RawPeer.connect(endpoint, hello(b"SUB") + command(b"SUBSCRIBE", b""))
        good.connect(endpoint)
        good.subscribe(b"")
        await pub.wait_for_subscribers(2)
        with bounded(12 * MIB):
            for number in range(200):
                await pub.send([b"%d" % number, bytes(200_000)])
                assert (await good.receive())[0] == b"%d" % number
            dropped = sorted(remote.dropped for remote in pub._remotes)
            assert dropped[0] == 0
            assert 0 < dropped[1] < 200
        stalled.rst()
