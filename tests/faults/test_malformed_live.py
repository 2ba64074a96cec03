"""wire.md 9 over real tcp, as far as it is ZMTP: what a peer gets wrong ends its connection and nothing else.

The bytes of most rows are those of tests/wire/test_malformed.py, which holds what the wire says of them; here a live socket
meets them, bound or connecting, with a good peer beside (promise 4).
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from faults.raw import RawPeer, command, eventually, frame, greeting, hello, listen, prop, ready, running
from wire.test_malformed import REFUSED_GREETINGS, REFUSED_HANDSHAKES, TRAFFIC_CLOSES, TRAFFIC_GOES_ON

import trimq
from trimq import EndpointState
from trimq._wire._frames import MAX_FRAMES

G = greeting()
HELLO = hello(b"DEALER")
F = frame(b"ok")

ROWS: dict[str, tuple[bytes, str]] = {}
"""By name: all that the peer sends, and what is said of it."""
for number, (row, data, says, _) in enumerate(REFUSED_GREETINGS):
    ROWS[f"row {row}, greeting {number}"] = data, says
for number, (row_, data, says) in enumerate(REFUSED_HANDSHAKES):
    ROWS[f"row {row_}, handshake {number}"] = G + data, says
for number, (row_, data, says) in enumerate(TRAFFIC_CLOSES):
    ROWS[f"row {row_}, traffic {number}"] = HELLO + F + F + data, says
ROWS |= {
    "row 21": (HELLO + ready(prop(b"Socket-Type", b"DEALER")), "READY twice"),
    "row 25": (G + ready(), "did not say its socket type"),
    "row 26": (G + ready(prop(b"Socket-Type", b"FOO")), "the peer is a FOO"),
    "row 26, a real type": (hello(b"PUB"), "the peer is a PUB"),
    "row 43": (HELLO + F + F + frame(bytes(100_001)), "100001 bytes"),
    "row 44": (HELLO + F + F + b"\x01\x00" * (MAX_FRAMES + 1), f"more than {MAX_FRAMES} frames"),
    "row 55": (HELLO + F + F + b"\x61" * 255, "reserved flags: 0x61"),  # what an old libzmq's long topic looks like
}

ROW = pytest.mark.parametrize("name", ROWS)


def delivered(name: str) -> int:
    """How many messages were complete before."""
    return 2 if ROWS[name][0].startswith(HELLO + F + F) else 0


@ROW
async def test_to_a_bound_socket(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection ends, the log says why in words that may be printed; what was complete is there; the rest goes on."""
    caplog.set_level(logging.DEBUG, "trimq")
    data, says = ROWS[name]
    async with running(max_message_size=100_000) as context:
        router, good = context.socket(trimq.Router), context.socket(trimq.Dealer, routing_id=b"good")
        good.connect(endpoint := router.bind("tcp://127.0.0.1:*"))
        await router.wait_for_peers(1)
        peers, carriers = router.peers, router._carriers
        bad = await RawPeer.connect(endpoint, data)
        await bad.ended()
        await eventually(lambda: router._carriers == carriers)
        assert router.peers == peers
        for _ in range(delivered(name)):
            _, body = await router.receive()
            assert body == b"ok"
        await good.send(b"goes on")
        assert await router.receive() == [b"good", b"goes on"]
        await router.send([b"good", b"so it does"])
        assert await good.receive() == [b"so it does"]
        assert endpoint.state is EndpointState.READY
        await bad.fin()
    [told] = [text for text in caplog.messages if "a connection ended" in text]
    assert says in told
    assert told.isprintable()
    assert str(endpoint) in told
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@ROW
async def test_to_a_connecting_socket(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The endpoint tells why, ready() raises it, the socket's other endpoint goes on, and it dials again."""
    caplog.set_level(logging.DEBUG, "trimq")
    data, says = ROWS[name]
    async with running(max_message_size=100_000, reconnect_interval=0.02, reconnect_interval_max=0.02) as context:
        router, good = context.socket(trimq.Router), context.socket(trimq.Dealer, routing_id=b"good")
        router.connect(good.bind("tcp://127.0.0.1:*"))
        await router.wait_for_peers(1)
        peers = router.peers
        with listen() as listener:
            endpoint = router.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
            bad = await RawPeer.accept(listener, data)
            if not data.startswith(HELLO):  # else it may have been ready for a moment
                with pytest.raises(trimq.ProtocolError) as caught:
                    await endpoint.ready()
                assert says in str(caught.value)
            await bad.ended()
            await eventually(lambda: endpoint.cause is not None)
            assert isinstance(endpoint.cause, trimq.ProtocolError)
            assert says in str(endpoint.cause)
            with pytest.raises(trimq.ProtocolError):
                await endpoint.ready()
            assert router.peers == peers
            for _ in range(delivered(name)):
                _, body = await router.receive()
                assert body == b"ok"
            await good.send(b"goes on")
            assert await router.receive() == [b"good", b"goes on"]
            reformed = await RawPeer.accept(listener, HELLO + F)
            await router.wait_for_peers(2)
            assert (await router.receive())[1] == b"ok"
            assert endpoint.cause is None
            await reformed.fin()
            await bad.fin()
    assert [text for text in caplog.messages if says in text and str(endpoint) in text]


@pytest.mark.parametrize("case", TRAFFIC_GOES_ON, ids=lambda case: f"row {case[0]}")
async def test_what_is_odd_and_allowed(case: Any) -> None:
    """Rows 47, 51, 52 and wire.md 1.3: it is passed over, and the connection goes on; so does row 53 at a publisher."""
    _, data, items = case
    async with running() as context:
        router = context.socket(trimq.Router)
        peer = await RawPeer.connect(router.bind("tcp://127.0.0.1:*"), HELLO + F + data + F)
        for body in (b"ok", *items, b"ok"):
            assert (await router.receive())[1:] == (body if isinstance(body, list) else [body])
        assert len(router.peers) == 1
        await peer.fin()


async def test_row_53_cancel_never_subscribed() -> None:
    """Row 53: no harm is done; what was subscribed is still. The XPub's user is told, as libzmq tells (promise 7)."""
    async with running() as context:
        xpub = context.socket(trimq.XPub)
        peer = await RawPeer.connect(
            xpub.bind("tcp://127.0.0.1:*"),
            hello(b"SUB") + command(b"CANCEL", b"b") + command(b"SUBSCRIBE", b"a") + command(b"CANCEL", b"never"),
        )
        assert [await xpub.receive() for _ in range(3)] == [[b"\x00b"], [b"\x01a"], [b"\x00never"]]
        await xpub.send(b"abc")
        await peer.greeted()
        assert await peer.read(5) == frame(b"abc")
        with pytest.raises(trio.WouldBlock):
            xpub.receive_nowait()
        await peer.fin()


async def test_row_34_an_identity_in_use(caplog: pytest.LogCaptureFixture) -> None:
    """Row 34: the first stays and is answered; the second is refused with ERROR, closed, and told in the log."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with running() as context:
        router = context.socket(trimq.Router)
        endpoint = router.bind("tcp://127.0.0.1:*")
        me = hello(b"DEALER", prop(b"Identity", b"me"))
        first = await RawPeer.connect(endpoint, me)
        await router.wait_for_peers(1)
        second = await RawPeer.connect(endpoint, me + frame(b"from the second"))
        await second.ended()
        assert b"\x05ERROR" in second.received
        await first.send(frame(b"from the first"))
        assert await router.receive() == [b"me", b"from the first"]
        await router.send([b"me", b"answer"])
        await first.greeted()
        assert await first.read(8) == frame(b"answer")
        with pytest.raises(trio.WouldBlock):
            router.receive_nowait()
        await first.fin()
        await second.fin()
    assert [text for text in caplog.messages if "a connection ended" in text and str(endpoint) in text]


async def test_row_56_a_reply_without_delimiter() -> None:
    """Row 56: such a reply is not the Req's; the next, which is as it should be, arrives (from whichever connection)."""
    async with running() as context:
        req = context.socket(trimq.Req, relaxed=True)
        with listen() as listener:
            req.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
            peer = await RawPeer.accept(listener, hello(b"REP"))
            await req.send(b"question")
            await peer.greeted()
            assert await peer.read(12) == b"\x01\x00\x00\x08question"[:12]
            await peer.send(frame(b"no delimiter"))
            with trio.move_on_after(0.2) as waited:
                await peer.ended()
            if not waited.cancelled_caught:  # closed: libzmq does that, too
                await req.send(b"question")
                peer = await RawPeer.accept(listener, hello(b"REP"))
            await peer.send(b"\x01\x00" + frame(b"answer"))
            assert await req.receive() == [b"answer"]
            await peer.fin()


async def test_row_57_a_request_without_delimiter() -> None:
    """Row 57: it is discarded; the next request on the same connection is served."""
    async with running() as context:
        rep = context.socket(trimq.Rep)
        peer = await RawPeer.connect(
            rep.bind("tcp://127.0.0.1:*"), hello(b"DEALER") + frame(b"no delimiter") + b"\x01\x00" + frame(b"question")
        )
        assert await rep.receive() == [b"question"]
        await rep.send(b"answer")
        await peer.greeted()
        assert await peer.read(10) == b"\x01\x00" + frame(b"answer")
        await peer.fin()
