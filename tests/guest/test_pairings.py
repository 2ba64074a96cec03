"""Each socket type with each that RFC 37's table lets it talk to, over vmci, vsock and tipc: with trimq and with libzmq.

The conversations are those of tests/interop/test_pairings.py, which holds that they are the whole table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from interop import test_pairings as with_libzmq
from interop.harness import KINDS, Peer, running
from interop.test_pairings import NAMES, PAIRINGS, ROLES, read_all, talk

import trimq

each_transport = pytest.mark.parametrize("transport", ["vmci", "vsock", "tipc"])
Fresh = Callable[[str], str]


@each_transport
@pytest.mark.parametrize("first_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("pairing", PAIRINGS, ids="-".join)
async def test_pairing(pairing: tuple[str, str], first_binds: bool, transport: str, fresh: Fresh) -> None:
    """trimq with trimq, whoever binds."""
    conversation, *options = PAIRINGS[pairing]
    async with running(20) as ctx:
        ends: list[Any] = [ctx.socket(KINDS[kind], **own) for kind, own in zip(pairing, options, strict=True)]
        binder, connector = ends if first_binds else ends[::-1]
        await connector.connect(binder.bind(fresh(transport))).ready()
        await conversation(*ends)
        assert [[peer.socket_type for peer in end.peers] for end in ends] == [[pairing[1]], [pairing[0]]]


@each_transport
async def test_stream_with_stream(transport: str, fresh: Fresh) -> None:
    """STREAM with itself: a notice on connection, bytes both ways, and a notice of the end (ZMQ_STREAM)."""
    async with running(20) as ctx:
        one, other = ctx.socket(trimq.Stream), ctx.socket(trimq.Stream)
        one.connect(other.bind(fresh(transport)))
        ids = {}
        for end in (one, other):
            ids[end], notice = await end.receive()
            assert notice == b""
        text = b"".join(b"".join(message) for message in talk("stream")) * 100
        for end, its_peer in ((one, other), (other, one)):
            await end.send([ids[end], text])
            assert await read_all(its_peer, ids[its_peer], len(text)) == text
        await one.send([ids[one], b""])
        assert await other.receive() == [ids[other], b""]


@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize(("pairing", "trimq_first"), ROLES, ids=NAMES)
async def test_tipc_with_libzmq(
    pairing: tuple[str, str], trimq_first: bool, trimq_binds: bool, peer: Peer, fresh: Fresh
) -> None:
    """trimq with libzmq over tipc, whoever is which, whoever binds."""
    await with_libzmq.test_pairing(pairing, trimq_first, trimq_binds, "tipc", peer, fresh)


@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize(("pairing", "trimq_first"), ROLES, ids=NAMES)
async def test_vmci_with_libzmq(
    pairing: tuple[str, str], trimq_first: bool, trimq_binds: bool, relayed: Any, fresh: Fresh
) -> None:
    """trimq with libzmq over vmci, on libzmq's side behind a relay."""
    await with_libzmq.test_pairing(pairing, trimq_first, trimq_binds, "vmci", relayed, fresh)


@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
async def test_stream_with_libzmqs_stream(trimq_binds: bool, peer: Peer, fresh: Fresh) -> None:
    """STREAM and STREAM over tipc. (A relay would be one more peer, and its end not libzmq's.)"""
    await with_libzmq.test_stream_with_stream(trimq_binds, "tipc", peer, fresh)
