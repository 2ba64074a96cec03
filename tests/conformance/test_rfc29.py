"""RFC 29, PUB, XPUB, SUB and XSUB: each SHALL, by its section's name and its own words.

Which clause a test holds is in docs/reference/rfcs.rst, clause by clause. Where libzmq does otherwise, so does trimq: such a
test holds the deviation, and says so; one difference from both is on purpose (docs/explanation/differences.rst).
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from conformance import scenarios
from conformance.scenarios import BODIES, PLACE, bound, opened, raw, say
from sockets.helpers import (
    all_of,
    drain,
    dropped,
    joins,
    jumping,
    level,
    nothing,
    remote,
    settle,
    zmtp_command,
    zmtp_message,
)

from trimq import Pub, Sub, XPub, XSub
from trimq.testing import MemoryTransport

publishers = pytest.mark.parametrize("kind", [Pub, XPub])
subscribers = pytest.mark.parametrize("kind", [Sub, XSub])

# What is no subscription: no frame of it begins with 00 or 01.
UPSTREAM = [[b""], [b"x"], [b"\xff" * 300, b"", b"\2\1\0"]]


# PUB and XPUB


@jumping
async def test_29_pub_shall_only_send() -> None:
    """PUB, general: it cannot receive."""
    await scenarios.only_sends(Pub)


@jumping
async def test_29_pub_shall_maintain_a_queue_for_each_subscriber() -> None:
    """PUB, general: one that does not read misses messages, and no other does."""
    async with bound(Pub, send_hwm=2) as (pub, network):
        deaf, quick = await raw(network, Pub), await raw(network, Pub)
        for peer in (deaf, quick):
            await say(peer, b"\1")
        for n in range(20):
            pub.send_nowait(b"%02d" % n + bytes(50))
            assert await quick.exactly(54) == zmtp_message(b"%02d" % n + bytes(50))
        missed = dropped(pub)
        assert missed[0] > 0
        assert missed[1] == 0
        assert len(await deaf.rest()) == (20 - missed[0]) * 54


@jumping
async def test_29_xpub_shall_maintain_a_double_queue() -> None:
    """XPUB, general: what goes out and what comes in wait independently, per peer."""
    async with bound(XPub, send_hwm=2, receive_hwm=2) as (xpub, network):
        peer = await raw(network, XPub)
        await say(peer, b"\1")
        assert await xpub.receive() == [b"\1"]
        for _ in range(20):  # it does not read
            xpub.send_nowait(bytes(50))
            await settle()
        assert dropped(xpub)[0] > 0
        await say(peer, b"in")
        assert await xpub.receive() == [b"in"]
        await peer.rest()
        async with trio.open_nursery() as nursery:  # we do not receive
            nursery.start_soon(peer.stream.send_all, zmtp_message(b"flood" * 10) * 50)
            await settle()
            assert 2 <= len(remote(xpub).inbox) < 20
            xpub.send_nowait(b"out")
            assert await peer.exactly(5) == zmtp_message(b"out")
            nursery.cancel_scope.cancel()


@jumping
@publishers
async def test_29_publisher_shall_create_a_queue_when_connecting(kind: Any) -> None:
    """PUB and XPUB, general: from `connect` on; but before anybody has subscribed there is nothing to go into it."""
    async with opened(send_hwm=7) as ctx:
        pub, sub = ctx.socket(kind), ctx.socket(Sub)
        pub.connect(PLACE)
        [queue] = pub._remotes
        pub.send_nowait(b"for nobody yet")
        await settle()
        assert (len(queue.outbox), queue.outbox.hwm, queue.dropped) == (0, 7, 0)
        sub.subscribe(b"")
        sub.bind(PLACE)
        await pub.wait_for_subscribers()
        pub.send_nowait(b"x")
        assert await all_of(sub) == [[b"x"]]
        assert list(pub._remotes) == [queue]


@jumping
@publishers
async def test_29_publisher_shall_maintain_the_queue_without_a_connection(kind: Any) -> None:
    """PUB and XPUB, general: what waits in it when the connection is lost goes out with the next one, and what is published
    meanwhile as well, as far as it was subscribed to.
    """
    network = MemoryTransport(buffer=200)
    async with opened(network) as ctx:
        pub, sub = ctx.socket(kind), ctx.socket(Sub, receive_hwm=1)
        sub.subscribe(b"")
        endpoint = sub.bind(PLACE)
        pub.connect(PLACE)
        await pub.wait_for_subscribers()
        while len(remote(pub).outbox) < 10:
            pub.send_nowait(b"before" * 20)
            await settle()
        pub.send_nowait(b"last before")
        sub.unbind(endpoint)
        await settle()
        drain(sub)
        pub.send_nowait(b"meanwhile")
        sub.bind(PLACE)
        await pub.wait_for_subscribers()
        pub.send_nowait(b"after")
        assert (await all_of(sub))[-3:] == [[b"last before"], [b"meanwhile"], [b"after"]]


@jumping
@publishers
async def test_29_publisher_shall_create_a_queue_for_who_connects(kind: Any) -> None:
    """PUB and XPUB, general: one for each subscriber that comes, with the mark of its own."""
    async with bound(kind, send_hwm=3) as (pub, network):
        assert list(pub._remotes) == []
        for n in (1, 2):
            peer = await raw(network, kind)
            await say(peer, b"\1")
            assert len({id(queue.outbox) for queue in pub._remotes}) == n
            pub.send_nowait(b"x")
            assert await peer.exactly(3) == zmtp_message(b"x")
        assert [queue.outbox.hwm for queue in pub._remotes] == [3, 3]


@jumping
@publishers
async def test_29_publisher_shall_destroy_the_queue_of_who_disconnects(kind: Any) -> None:
    """PUB and XPUB, general: nothing is queued for a subscriber that came and went, and so nothing is missed."""
    async with bound(kind, send_hwm=1) as (pub, network):
        peer = await raw(network, kind)
        await say(peer, b"\1")
        [queue] = pub._remotes
        peer.stream.cut()
        await settle()
        assert list(pub._remotes) == []
        for _ in range(5):
            pub.send_nowait(b"x")
        await settle()
        assert (len(queue.outbox), queue.dropped) == (0, 0)


@jumping
@publishers
async def test_29_publisher_shall_discard_what_the_queue_contains(kind: Any) -> None:
    """PUB and XPUB, general: what was to go to it goes to nobody, however soon it comes again.

    The deviation (libzmq's): what an XPub's peer had said can still be received.
    """
    async with bound(kind) as (pub, network):
        peer = await raw(network, kind)
        await say(peer, b"\1")
        if kind is XPub:
            await say(peer, b"last words")
        for _ in range(10):
            pub.send_nowait(b"old" * 30)
        await settle()
        assert len(remote(pub).outbox) > 2
        peer.stream.cut()
        await settle()
        peer = await raw(network, kind)
        await say(peer, b"\1")
        pub.send_nowait(b"new")
        await settle()
        assert await peer.rest() == zmtp_message(b"new")
        if kind is XPub:
            assert (await all_of(pub))[:3] == [[b"\1"], [b"last words"], [b"\0"]]


@jumping
async def test_29_pub_shall_discard_what_subscribers_send() -> None:
    """PUB, general: messages from subscribers are read and forgotten, and are no subscriptions."""
    async with bound(Pub) as (pub, network):
        peer = await raw(network, Pub)
        for body in UPSTREAM:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.stream.send_all, zmtp_message(*body) * 3)
                await settle()
        for body in UPSTREAM:
            pub.send_nowait(body)
        assert await peer.rest() == b""
        assert (len(pub.peers), dropped(pub)) == (1, [0])


@jumping
@publishers
async def test_29_publisher_shall_not_modify(kind: Any) -> None:
    """PUB and XPUB, outgoing: messages go as they are."""
    await scenarios.sends_unchanged(kind)


@jumping
@publishers
@pytest.mark.parametrize(
    ("topic", "matching", "others"),
    [
        (b"", [[b""], [b"\0"], [b"anything"], [b"", b"x"]], []),
        (b"A", [[b"A"], [b"AB"], [b"A", b""]], [[b""], [b"a"], [b"BA"], [b"", b"A"], [b"B", b"A"]]),
        (b"\0\xff", [[b"\0\xff"], [b"\0\xff\0", b"x"]], [[b"\0"], [b"\0\xfe"], [b"\xff\0"], [b"\0", b"\xff"]]),
        (bytes(300), [[bytes(300)], [bytes(301)]], [[bytes(299)], [bytes(299) + b"\1"]]),
    ],
    ids=["all", "letter", "binary", "long"],
)
async def test_29_publisher_shall_compare_with_the_first_frame(
    kind: Any, topic: bytes, matching: list[list[bytes]], others: list[list[bytes]]
) -> None:
    """PUB and XPUB, outgoing: who gets it is who subscribed to what its first frame begins with, byte for byte."""
    async with bound(kind) as (pub, network):
        peer = await raw(network, kind)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, zmtp_message(b"\1" + topic))
            await settle()
        for n in range(max(len(matching), len(others))):
            for message in (*others[n : n + 1], *matching[n : n + 1]):
                await pub.send(message)
        expected = b"".join(zmtp_message(*message) for message in matching)
        assert await peer.exactly(len(expected)) == expected
        assert await peer.rest() == b""


@jumping
@publishers
async def test_29_publisher_shall_drop_for_who_is_full(kind: Any) -> None:
    """PUB and XPUB, outgoing: the message, for that subscriber, whole, counted."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        pub, sub = ctx.socket(kind), ctx.socket(Sub)
        sub.subscribe(b"")
        pub.bind("inproc://place")
        await joins(sub, "inproc://place")
        for n in range(5):
            pub.send_nowait([b"%d" % n, b"x"])
        assert dropped(pub) == [3]
        assert await all_of(sub) == [[b"0", b"x"], [b"1", b"x"]]
        pub.send_nowait(b"5")
        assert await all_of(sub) == [[b"5"]]


@jumping
@publishers
async def test_29_publisher_shall_not_block(kind: Any) -> None:
    """PUB and XPUB, outgoing: a send returns at once, with no subscriber, and with one that does not read."""
    async with bound(kind, send_hwm=1) as (pub, network):
        assert await level(lambda: pub.send(b"x"), 1)
        await say(await raw(network, kind), b"\1")
        for _ in range(20):
            assert await level(lambda: pub.send(bytes(100)), 1)
        assert await level(pub.wait_sendable, 1)


@jumping
@publishers
async def test_29_publisher_shall_receive_subscriptions(kind: Any) -> None:
    """PUB and XPUB, subscriptions: in the form of ZMTP 3.0 and in that of 3.1, and so with cancellations."""
    async with bound(kind) as (pub, network):
        old, new = await raw(network, kind, minor=0), await raw(network, kind, minor=1)
        await say(old, b"\1A")
        await new.stream.send_all(zmtp_command(b"SUBSCRIBE", b"A"))
        await settle()
        pub.send_nowait(b"A1")
        assert [await old.rest(), await new.rest()] == [zmtp_message(b"A1")] * 2
        await say(old, b"\0A")
        await new.stream.send_all(zmtp_command(b"CANCEL", b"A"))
        await settle()
        pub.send_nowait(b"A2")
        assert [await old.rest(), await new.rest()] == [b""] * 2


@jumping
async def test_29_pub_shall_not_deliver_subscriptions() -> None:
    """PUB, subscriptions: its program has no way to see them, and nothing of them is kept for it."""
    assert not hasattr(Pub, "receive")
    async with bound(Pub, receive_hwm=1) as (pub, network):
        peer = await raw(network, Pub)
        for n in range(50):
            await say(peer, b"\1%d" % n)
        assert len(remote(pub).inbox) == 0


# XPUB


@jumping
async def test_29_xpub_shall_fair_queue() -> None:
    """XPUB, incoming: the deviation (libzmq's): peers are heard in the order in which their messages came, not in turn.

    None is cut off by another's flood, though: the flood stops at its own mark.
    """
    async with bound(XPub, receive_hwm=2) as (xpub, network):
        loud, quiet = await raw(network, XPub), await raw(network, XPub)
        for name, peer in ((b"a", loud), (b"b", quiet), (b"c", loud)):
            await say(peer, name)
        assert await all_of(xpub) == [[b"a"], [b"b"], [b"c"]]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loud.stream.send_all, zmtp_message(b"loud" * 20) * 50)
            await settle()
            await say(quiet, b"quiet")
            assert [b"quiet"] in drain(xpub)
            nursery.cancel_scope.cancel()


@jumping
async def test_29_xpub_shall_deliver_messages() -> None:
    """XPUB, incoming: what subscribers send reaches the program as it was sent.

    The deviation (libzmq's): a frame that begins with 00 or 01 is taken for a subscription, in the form of ZMTP 3.0.
    """
    async with bound(XPub) as (xpub, network):
        peer = await raw(network, XPub)
        for body in UPSTREAM:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.stream.send_all, zmtp_message(*body))
                assert await xpub.receive() == body
        await say(peer, b"x", b"\1A")
        assert await all_of(xpub) == [[b"\1A"], [b"x"]]


@jumping
async def test_29_xpub_shall_deliver_subscriptions() -> None:
    """XPUB, subscriptions: as messages, 01 or 00 and the topic; of what is known already only with ``verbose``."""
    async with bound(XPub) as (xpub, network):
        peer, other = await raw(network, XPub), await raw(network, XPub)
        for who, message in ((peer, b"\1A"), (other, b"\1A"), (peer, b"\1"), (peer, b"\0A"), (other, b"\0A")):
            await say(who, message)
        assert await all_of(xpub) == [[b"\1A"], [b"\1"], [b"\0A"]]
        xpub.verboser = True
        for who, message in ((peer, b"\1A"), (other, b"\1A"), (peer, b"\0A"), (other, b"\0A")):
            await say(who, message)
        assert await all_of(xpub) == [[b"\1A"], [b"\1A"], [b"\0A"], [b"\0A"]]


@jumping
async def test_29_xpub_shall_make_up_unsubscriptions() -> None:
    """XPUB, subscriptions: for what a subscriber that is gone had subscribed to, if nobody else has."""
    async with bound(XPub) as (xpub, network):
        peer, other = await raw(network, XPub), await raw(network, XPub)
        for who, message in ((peer, b"\1A"), (peer, b"\1B"), (other, b"\1B")):
            await say(who, message)
        await all_of(xpub)
        peer.stream.cut()
        assert await all_of(xpub) == [[b"\0A"]]
        other.stream.cut()
        assert await all_of(xpub) == [[b"\0B"]]


# SUB and XSUB


@jumping
async def test_29_sub_shall_only_receive() -> None:
    """SUB, general: it cannot send; what its publishers hear are subscriptions."""
    await scenarios.only_receives(Sub)


@jumping
async def test_29_sub_shall_maintain_a_queue_for_each_publisher() -> None:
    """SUB, general: whoever floods fills only its own."""
    await scenarios.inbox_of_a_guest(Sub)


@jumping
async def test_29_xsub_shall_maintain_a_double_queue() -> None:
    """XSUB, general: what goes out and what comes in wait independently."""
    async with bound(XSub, send_hwm=2, receive_hwm=2) as (xsub, network):
        peer = await raw(network, XSub)
        for _ in range(20):  # it does not read
            xsub.send_nowait(b"out" * 20)
            await settle()
        assert dropped(xsub)[0] > 0
        await say(peer, b"in")
        assert await xsub.receive() == [b"in"]
        await peer.rest()
        async with trio.open_nursery() as nursery:  # we do not receive
            nursery.start_soon(peer.stream.send_all, zmtp_message(b"flood" * 10) * 50)
            await settle()
            assert 2 <= len(remote(xsub).inbox) < 20
            xsub.send_nowait(b"out")
            assert await peer.exactly(5) == zmtp_message(b"out")
            nursery.cancel_scope.cancel()


@jumping
@subscribers
async def test_29_subscriber_shall_create_a_queue_when_connecting(kind: Any) -> None:
    """SUB and XSUB, general: from `connect` on; an XSub's messages wait in it."""
    await scenarios.inbox_at_connect(kind)
    if kind is XSub:
        async with opened() as ctx:
            xsub, xpub = ctx.socket(XSub), ctx.socket(XPub)
            xsub.connect(PLACE)
            xsub.send_nowait(b"early")
            xpub.bind(PLACE)
            assert await xpub.receive() == [b"early"]


@jumping
@subscribers
async def test_29_subscriber_shall_maintain_the_queue_without_a_connection(kind: Any) -> None:
    """SUB and XSUB, general: what had come stays; what an XSub sends meanwhile goes out with the next connection."""
    await scenarios.inbox_through_a_loss(kind)
    if kind is XSub:
        await scenarios.queue_through_a_loss_upstream()


@jumping
@subscribers
async def test_29_subscriber_shall_create_a_queue_for_who_connects(kind: Any) -> None:
    """SUB and XSUB, general: one for each publisher that comes."""
    await scenarios.inbox_of_a_guest(kind)


@jumping
@subscribers
async def test_29_subscriber_shall_destroy_the_queue_of_who_disconnects(kind: Any) -> None:
    """SUB and XSUB, general: the deviation (libzmq's): it goes only once it has been read to its end."""
    await scenarios.unread_stays(kind)


@jumping
@subscribers
async def test_29_subscriber_shall_discard_what_the_queue_contains(kind: Any) -> None:
    """SUB and XSUB, general: what an XSub had queued for a publisher that came and went goes to nobody.

    The deviation (libzmq's): what had come from it can still be received.
    """
    await scenarios.unread_stays(kind)
    if kind is XSub:
        async with bound(XSub) as (xsub, network):
            peer = await raw(network, XSub)
            for _ in range(20):
                xsub.send_nowait(b"old" * 30)
            await settle()
            assert len(remote(xsub).outbox) > 5
            peer.stream.cut()
            await settle()
            peer = await raw(network, XSub)
            xsub.send_nowait(b"new")
            await settle()
            assert await peer.rest() == zmtp_message(b"new")


@jumping
@subscribers
async def test_29_subscriber_shall_discard_where_its_queue_is_full(kind: Any) -> None:
    """SUB and XSUB, incoming: the deviation (libzmq's): it stops reading, and the publisher's queue fills, which drops."""
    async with bound(kind, receive_hwm=2) as (sub, network):
        peer = await raw(network, kind)
        if kind is XSub:
            sub.subscribe(b"")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, b"".join(zmtp_message(b"%02d" % n + bytes(50)) for n in range(50)))
            await settle()
            assert 2 <= len(remote(sub).inbox) < 20
            assert [message[0][:2] for message in await all_of(sub)] == [b"%02d" % n for n in range(50)]
        assert dropped(sub) == [0]
    async with opened(MemoryTransport(buffer=200), send_hwm=2, receive_hwm=2) as ctx:
        pub, sub = ctx.socket(Pub), ctx.socket(kind)
        sub.subscribe(b"")
        pub.bind(PLACE)
        await joins(sub, PLACE)
        await pub.wait_for_subscribers()
        for _ in range(50):
            pub.send_nowait(bytes(50))
            await settle()
        assert dropped(pub)[0] + len(await all_of(sub)) == 50
        assert dropped(pub)[0] > 0


@jumping
@subscribers
async def test_29_subscriber_shall_fair_queue(kind: Any) -> None:
    """SUB and XSUB, incoming: publishers are heard in turn."""
    await scenarios.fair_queueing(kind)


@jumping
@subscribers
async def test_29_subscriber_shall_not_modify(kind: Any) -> None:
    """SUB and XSUB, incoming: messages come as they are."""
    await scenarios.receives_unchanged(kind)


@jumping
@subscribers
async def test_29_subscriber_shall_deliver_what_comes(kind: Any) -> None:
    """SUB and XSUB, incoming: every message reaches the program, once, in order."""
    await scenarios.delivers_all(kind)


# XSUB


@jumping
async def test_29_xsub_shall_not_modify_what_it_sends() -> None:
    """XSUB, outgoing: messages go as they are.

    The deviation (libzmq's): a frame that begins with 00 or 01 is a subscription, and no part of the message; with
    ``only_first_subscribe`` only a message's first frame can be one.
    """
    async with bound(XSub) as (xsub, network):
        peer = await raw(network, XSub)
        for body in UPSTREAM:
            xsub.send_nowait(body)
            assert await peer.exactly(len(zmtp_message(*body))) == zmtp_message(*body)
        xsub.send_nowait([b"x", b"\1A"])
        await settle()
        assert await peer.rest() == zmtp_command(b"SUBSCRIBE", b"A") + zmtp_message(b"x")
        xsub.only_first_subscribe = True
        for body in BODIES[1:2] + BODIES[3:4]:
            xsub.send_nowait([*body, b"\1B"])
            await settle()
            assert await peer.rest() == zmtp_message(*body, b"\1B")


@jumping
async def test_29_xsub_shall_send_to_all_publishers() -> None:
    """XSUB, outgoing: each message goes to every publisher."""
    async with bound(XSub) as (xsub, network):
        peers = [await raw(network, XSub) for _ in range(3)]
        for n in range(5):
            await xsub.send(b"%d" % n)
        await settle()
        assert [await peer.rest() for peer in peers] == [b"".join(zmtp_message(b"%d" % n) for n in range(5))] * 3


@jumping
async def test_29_xsub_shall_drop_for_who_is_full() -> None:
    """XSUB, outgoing: for that publisher, counted; the others get it. Subscriptions are never dropped (libzmq's are)."""
    async with bound(XSub, send_hwm=2) as (xsub, network):
        deaf, quick = await raw(network, XSub), await raw(network, XSub)
        for _ in range(20):
            xsub.send_nowait(b"x" * 50)
            assert await quick.exactly(52) == zmtp_message(b"x" * 50)
        missed = dropped(xsub)
        assert missed[0] > 0
        assert missed[1] == 0
        xsub.subscribe(b"A")
        rest = await deaf.rest()
        assert rest == zmtp_message(b"x" * 50) * (20 - missed[0]) + zmtp_command(b"SUBSCRIBE", b"A")


@jumping
async def test_29_xsub_shall_not_block() -> None:
    """XSUB, outgoing: a send returns at once, with no publisher, and with one that does not read."""
    async with bound(XSub, send_hwm=1) as (xsub, network):
        assert await level(lambda: xsub.send(b"x"), 1)
        await raw(network, XSub)
        for _ in range(20):
            assert await level(lambda: xsub.send(b"x" * 100), 1)
        assert await level(xsub.wait_sendable, 1)


@jumping
async def test_29_xsub_shall_accept_subscriptions() -> None:
    """XSUB, subscriptions: from its program, by `subscribe` and `unsubscribe`, or as messages."""
    async with opened() as ctx:
        pub, xsub = ctx.socket(Pub), ctx.socket(XSub)
        pub.bind(PLACE)
        await joins(xsub, PLACE)
        xsub.subscribe(b"A")
        await xsub.send(b"\1B")
        await pub.wait_for_subscribers(1, b"A")
        await pub.wait_for_subscribers(1, b"B")
        for topic in (b"A", b"B", b"C"):
            pub.send_nowait(topic)
        assert await all_of(xsub) == [[b"A"], [b"B"]]
        await xsub.send(b"\0A")
        xsub.unsubscribe(b"B")
        await settle()
        for topic in (b"A", b"B"):
            pub.send_nowait(topic)
        await nothing(xsub)


@jumping
async def test_29_xsub_shall_send_subscriptions() -> None:
    """XSUB, subscriptions: to its publishers, in the form that each one's version of ZMTP has; a topic's last counts."""
    async with bound(XSub) as (xsub, network):
        old, new = await raw(network, XSub, minor=0), await raw(network, XSub, minor=1)
        xsub.subscribe(b"A")
        await settle()
        assert [await old.rest(), await new.rest()] == [zmtp_message(b"\1A"), zmtp_command(b"SUBSCRIBE", b"A")]
        xsub.subscribe(b"A")
        xsub.unsubscribe(b"A")
        await settle()
        assert zmtp_message(b"\0A") not in await old.rest()
        assert zmtp_command(b"CANCEL", b"A") not in await new.rest()
        xsub.unsubscribe(b"A")
        await settle()
        assert [await old.rest(), await new.rest()] == [zmtp_message(b"\0A"), zmtp_command(b"CANCEL", b"A")]
