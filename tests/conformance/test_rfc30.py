"""RFC 30, PUSH and PULL: each SHALL, by its section's name and its own words.

Which clause a test holds is in docs/reference/rfcs.rst, clause by clause. Where libzmq does otherwise, so does trimq: such a
test holds the deviation, and says so.
"""

from __future__ import annotations

from conformance import scenarios
from sockets.helpers import jumping

from trimq import Pull, Push

# PUSH


@jumping
async def test_30_push_shall_only_send() -> None:
    """PUSH, general: it cannot receive; what peers send is forgotten."""
    await scenarios.only_sends(Push)


@jumping
async def test_30_push_shall_not_filter_or_modify() -> None:
    """PUSH, general: messages go as they are."""
    await scenarios.sends_unchanged(Push)


@jumping
async def test_30_push_shall_maintain_a_queue_for_each_peer() -> None:
    """PUSH, general: each has its own mark, so that three take three times as much as one."""
    await scenarios.nothing_beyond_the_queues(Push)


@jumping
async def test_30_push_shall_create_the_queue_when_connecting() -> None:
    """PUSH, general: from `connect` on."""
    await scenarios.queue_at_connect(Push)


@jumping
async def test_30_push_shall_maintain_the_queue_without_a_connection() -> None:
    """PUSH, general: what is sent while the connection is down goes out with the next one."""
    await scenarios.queue_through_a_loss(Push)


@jumping
async def test_30_push_shall_create_the_queue_for_who_connects() -> None:
    """PUSH, general: one for each peer that comes, none before."""
    await scenarios.queue_of_a_guest(Push)


@jumping
async def test_30_push_shall_destroy_the_queue_of_who_disconnects() -> None:
    """PUSH, general: nothing can be queued for a peer that came and went."""
    await scenarios.queue_destroyed(Push)


@jumping
async def test_30_push_shall_discard_what_the_queue_contains() -> None:
    """PUSH, general: what was queued for a peer that came and went goes to nobody."""
    await scenarios.queued_is_discarded(Push)


@jumping
async def test_30_push_shall_consider_who_is_not_full() -> None:
    """PUSH, outgoing: whoever is full is passed over."""
    await scenarios.available_while_not_full(Push)


@jumping
async def test_30_push_shall_route_round_robin() -> None:
    """PUSH, outgoing: one message to each in turn, whole."""
    await scenarios.round_robin(Push)


@jumping
async def test_30_push_shall_block_without_available_peers() -> None:
    """PUSH, outgoing: with nobody there a send waits, or raises WouldBlock."""
    await scenarios.blocks_without_peers(Push)


@jumping
async def test_30_push_shall_not_accept_without_available_peers() -> None:
    """PUSH, outgoing: nothing is taken in beyond what the queues of those who are there hold."""
    await scenarios.nothing_beyond_the_queues(Push)


@jumping
async def test_30_push_shall_not_discard() -> None:
    """PUSH, outgoing: what was accepted arrives, what could not be queued waits with its sender."""
    await scenarios.never_discards(Push)


# PULL


@jumping
async def test_30_pull_shall_only_receive() -> None:
    """PULL, general: it cannot send."""
    await scenarios.only_receives(Pull)


@jumping
async def test_30_pull_shall_not_filter_or_modify() -> None:
    """PULL, general: messages come as they are."""
    await scenarios.receives_unchanged(Pull)


@jumping
async def test_30_pull_shall_maintain_a_queue_for_each_peer() -> None:
    """PULL, general: whoever floods fills only its own."""
    await scenarios.inbox_of_a_guest(Pull)


@jumping
async def test_30_pull_shall_create_the_queue_when_connecting() -> None:
    """PULL, general: from `connect` on."""
    await scenarios.inbox_at_connect(Pull)


@jumping
async def test_30_pull_shall_maintain_the_queue_without_a_connection() -> None:
    """PULL, general: what had come stays, what comes with the next connection comes after it."""
    await scenarios.inbox_through_a_loss(Pull)


@jumping
async def test_30_pull_shall_create_the_queue_for_who_connects() -> None:
    """PULL, general: one for each peer that comes."""
    await scenarios.inbox_of_a_guest(Pull)


@jumping
async def test_30_pull_shall_destroy_the_queue_of_who_disconnects() -> None:
    """PULL, general: the deviation (libzmq's): it goes only once it has been read to its end."""
    await scenarios.unread_stays(Pull)


@jumping
async def test_30_pull_shall_discard_what_the_queue_contains() -> None:
    """PULL, general: the deviation (libzmq's): what had come can still be received."""
    await scenarios.unread_stays(Pull)


@jumping
async def test_30_pull_shall_fair_queue() -> None:
    """PULL, incoming: peers are heard in turn."""
    await scenarios.fair_queueing(Pull)


@jumping
async def test_30_pull_shall_deliver_what_comes() -> None:
    """PULL, incoming: every message reaches the program, once, in order."""
    await scenarios.delivers_all(Pull)
