"""RFC 31, PAIR: each SHALL, by its own words.

Which clause a test holds is in docs/reference/rfcs.rst, clause by clause. Where libzmq does otherwise, so does trimq: such a
test holds the deviation, and says so; one difference from both is on purpose (docs/explanation/differences.rst).
"""

from __future__ import annotations

import pytest
import trio
from conformance import scenarios
from conformance.scenarios import PLACE, bound, opened, raw, say
from sockets.helpers import all_of, joins, jumping, level, settle, zmtp_message

from trimq import EndpointState, Pair
from trimq.testing import MemoryTransport


@jumping
async def test_31_shall_not_filter_or_modify() -> None:
    """General: messages come and go as they are."""
    await scenarios.sends_unchanged(Pair)
    await scenarios.receives_unchanged(Pair)


@jumping
async def test_31_shall_maintain_a_double_queue() -> None:
    """General: what goes out and what comes in wait independently."""
    await scenarios.double_queue(Pair)


@jumping
async def test_31_shall_create_a_double_queue_when_connecting() -> None:
    """General: from `connect` on."""
    await scenarios.queue_at_connect(Pair)


@jumping
async def test_31_shall_maintain_the_queue_without_a_connection() -> None:
    """General: the queue waits for the first connection, through any number of attempts.

    Different on purpose: a Pair does not connect again after a loss, as libzmq's does: its endpoint ends, and its queue.
    """
    network = MemoryTransport()
    async with opened(network) as ctx:
        pair, other = ctx.socket(Pair), ctx.socket(Pair)
        endpoint = pair.connect(PLACE)
        pair.send_nowait(b"early")
        await trio.sleep(60)
        assert endpoint.state is EndpointState.WAITING
        other.bind(PLACE)
        assert await other.receive() == [b"early"]
        network.drop_all()
        await settle()
        assert endpoint.state is EndpointState.LOST
        with pytest.raises(trio.WouldBlock):
            pair.send_nowait(b"late")


@jumping
async def test_31_shall_create_a_double_queue_for_who_connects() -> None:
    """General: none before there is a peer, one for the one that comes."""
    await scenarios.queue_of_a_guest(Pair)


@jumping
async def test_31_shall_destroy_the_queue_of_who_disconnects() -> None:
    """General: nothing can be queued for a peer that came and went."""
    await scenarios.queue_destroyed(Pair)


@jumping
async def test_31_shall_discard_what_the_queue_contains() -> None:
    """General: what was to go out is discarded; the next peer does not get it.

    The deviation (libzmq's): what had come in is not, it can still be received.
    """
    await scenarios.queued_is_discarded(Pair)
    await scenarios.unread_stays(Pair)


@jumping
async def test_31_shall_consider_its_peer_while_it_is_not_full() -> None:
    """Outgoing: full, the peer is not available; it is again when half of the queue was read."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        pair, other = ctx.socket(Pair), ctx.socket(Pair)
        pair.bind("inproc://place")
        await joins(other, "inproc://place")
        for n in range(4):
            assert await level(pair.wait_sendable)
            pair.send_nowait(b"%d" % n)
        assert not await level(pair.wait_sendable)
        other.receive_nowait()
        other.receive_nowait()
        assert await level(pair.wait_sendable)
        pair.send_nowait(b"4")
        assert await all_of(other) == [[b"2"], [b"3"], [b"4"]]


@jumping
async def test_31_shall_block_without_an_available_peer() -> None:
    """Outgoing: with nobody there a send waits, or raises WouldBlock."""
    await scenarios.blocks_without_peers(Pair)


@jumping
async def test_31_shall_not_accept_without_an_available_peer() -> None:
    """Outgoing: nothing is taken in beyond what the peer's queue holds."""
    await scenarios.nothing_beyond_the_queues(Pair)


@jumping
async def test_31_shall_not_discard() -> None:
    """Outgoing: what was accepted arrives, what could not be queued waits with its sender."""
    await scenarios.never_discards(Pair)


@jumping
async def test_31_shall_receive_from_its_single_peer() -> None:
    """Incoming: from the one it has, and from nobody else: a second one is refused and not heard.

    (libzmq keeps the second's connection open; what it sends is read by nobody.)
    """
    async with bound(Pair) as (pair, network):
        first = await raw(network, Pair)
        second = await raw(network, Pair)
        assert await second.ended()
        await say(first, b"x")
        assert await all_of(pair) == [[b"x"]]
        pair.send_nowait(b"y")
        assert await first.exactly(3) == zmtp_message(b"y")


@jumping
async def test_31_shall_deliver_what_comes() -> None:
    """Incoming: every message reaches the program, once, in order."""
    await scenarios.delivers_all(Pair)
