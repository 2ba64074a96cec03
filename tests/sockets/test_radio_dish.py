"""Radio and Dish: libzmq's test_radio_dish, libzmq.md 1.4, wire.md 5."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from sockets.helpers import (
    RawPeer,
    all_of,
    both,
    dropped,
    fill,
    joined,
    jumping,
    nothing,
    opened,
    raw_connect,
    remote,
    settle,
    zmtp_command,
    zmtp_message,
)

import trimq
import trimq.events
from trimq import Dish, GroupMessage, MessageTooLarge, Pull, Push, Radio, proxy
from trimq.testing import MemoryTransport


def of(group: bytes, *bodies: bytes) -> list[Any]:
    return [GroupMessage(group, body) for body in bodies]


async def tuned(ctx: trimq.Context, place: str, *groups: bytes, **options: Any) -> tuple[Radio, Dish]:
    """A Radio, and a Dish that has joined these groups, and is heard."""
    radio, dish = ctx.socket(Radio, **options), ctx.socket(Dish, **options)
    for group in groups:
        dish.join(group)
    await joined(ctx, radio, dish, place=place)
    for group in groups:
        await radio.wait_for_members(1, group)
    return radio, dish


# What a message is


def test_a_group_message_is_frozen_and_takes_str() -> None:
    """Design 1: both frozen; a group is bytes, and a str goes in as UTF-8."""
    message = GroupMessage("größe", bytearray(b"x"))
    assert message == GroupMessage("größe".encode(), b"x")
    assert (type(message.group), type(message.body)) == (bytes, bytes)
    with pytest.raises(AttributeError):
        message.body = b"y"  # type: ignore[misc]
    with pytest.raises(TypeError):
        GroupMessage(b"g", [b"a", b"b"])  # type: ignore[arg-type]


@jumping
@pytest.mark.parametrize("mute", ["drop_new", "block"])
@pytest.mark.parametrize("value", [b"bare", [b"g", b"body"], (b"g", b"body"), "text", None])
async def test_only_group_messages_are_sent(value: Any, mute: str) -> None:
    """Issue 7: single-part by type; a sequence of frames is refused with a clear error. Also by a call that would wait."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, "inproc://place", b"g", send_hwm=1, receive_hwm=1)
        radio.mute = mute
        fill(radio, GroupMessage(b"g", b""), 10)
        async with trio.open_nursery() as nursery:
            if mute == "block":
                nursery.start_soon(radio.send, GroupMessage(b"g", b"waits"))
                await settle()
            for call in (radio.send, radio.send_nowait):
                with pytest.raises(TypeError, match="a Radio sends GroupMessage"):
                    if (result := call(value)) is not None:
                        await result
            with pytest.raises(TypeError, match="a Radio sends GroupMessage"):
                radio.mute = "drop_new"
                await radio.send_many([value])
        assert GroupMessage(b"g", b"") in await all_of(dish)


@jumping
async def test_what_is_no_group_message() -> None:
    """Each says what it was that is wrong: the name, or the body, which is one frame."""
    assert GroupMessage("grüße", bytearray(b"x")) == GroupMessage("grüße".encode(), b"x")
    async with opened() as ctx:
        dish = ctx.socket(Dish)
        for group in (5, None, [b"g"]):
            fault = f"a group's name is text or bytes, not {type(group).__name__}"
            with pytest.raises(TypeError, match=fault):
                GroupMessage(group, b"")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=fault):
                dish.join(group)  # type: ignore[arg-type]
    for body in ([b"a", b"b"], [b"a"], (b"a",)):
        with pytest.raises(TypeError, match="one frame, not a sequence of them"):
            GroupMessage("g", body)  # type: ignore[arg-type]
    for body in ("text", None, 5):
        with pytest.raises(TypeError, match="a frame is bytes"):
            GroupMessage("g", body)  # type: ignore[arg-type]


@jumping
async def test_what_is_no_group_name() -> None:
    """Issue 7: what does not fit a group name is MessageTooLarge at send, and nothing is cut; wire.md 5.1: a zero byte."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, "inproc://place", b"g" * 255)
        with pytest.raises(MessageTooLarge, match="255 bytes, not 256"):
            await radio.send(GroupMessage(b"g" * 256, b""))
        with pytest.raises(ValueError, match="zero byte"):
            await radio.send(GroupMessage(b"g\0", b""))
        await radio.send(GroupMessage(b"g" * 255, b""))
        assert await all_of(dish) == of(b"g" * 255, b"")


# Who gets what


@jumping
@both
async def test_groups_match_exactly(place: str) -> None:
    """Test_radio_dish: only the joined group's messages; joining and leaving at run time; the empty group is a group."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, place, b"Movies")

        async def sends() -> list[Any]:
            for group in (b"TV", b"Movies", b"Mov", b"Movies!", b""):
                await radio.send(GroupMessage(group, b"hello"))
            return await all_of(dish)

        assert await sends() == of(b"Movies", b"hello")
        dish.join("TV")
        await radio.wait_for_members(1, "TV")
        assert await sends() == of(b"TV", b"hello") + of(b"Movies", b"hello")
        dish.leave(b"TV")
        await settle()
        assert await sends() == of(b"Movies", b"hello")
        dish.join(b"")
        await radio.wait_for_members(1, b"")
        assert await sends() == of(b"Movies", b"hello") + of(b"", b"hello")
        assert dish.groups == (b"Movies", b"")
        assert radio.statistics().topics == dish.statistics().topics == 2


@jumping
async def test_join_and_leave_refuse() -> None:
    """Libzmq.md 1.4: a second join, leaving what was not joined, more than 255 bytes: EINVAL, here ValueError."""
    async with opened() as ctx:
        dish = ctx.socket(Dish)
        with pytest.raises(ValueError, match="has not joined b'Movies'; its groups are none"):
            dish.leave("Movies")
        dish.join("Movies")
        with pytest.raises(ValueError, match="joined b'Movies' already"):
            dish.join(b"Movies")
        for call in (dish.join, dish.leave):
            with pytest.raises(ValueError, match="255 bytes, not 256"):
                call(b"x" * 256)
            with pytest.raises(ValueError, match="zero byte"):
                call(b"x\0")
            with pytest.raises(TypeError):
                call(7)  # type: ignore[arg-type]
        dish.join(b"x" * 255)
        dish.close()
        with pytest.raises(trimq.SocketClosed):
            dish.join(b"y")


@jumping
@both
async def test_what_waits_of_a_group_that_is_left_is_dropped(place: str) -> None:
    """Libzmq's DISH filters at receive; so do all ways to receive here, whichever comes first."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, place, b"a", b"b")
        for body in (b"1", b"2"):
            await radio.send(GroupMessage(b"a", body))
            await radio.send(GroupMessage(b"b", body))
        await settle()
        dish.leave(b"a")
        assert dish.receive_nowait() == GroupMessage(b"b", b"1")
        dish.leave(b"b")
        with trio.move_on_after(10) as scope:
            await dish.wait_receivable()
        assert scope.cancelled_caught


@jumping
@both
async def test_all_ways_to_receive_give_group_messages(place: str) -> None:
    """Receive, receive_nowait, receive_many, receive_from and async for, and send_many at the other end."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, place, b"g")
        await radio.send_many(of(b"g", *(b"%d" % n for n in range(7))))
        await settle()
        assert await dish.receive() == GroupMessage(b"g", b"0")
        assert dish.receive_nowait() == GroupMessage(b"g", b"1")
        assert await dish.receive_many(2) == of(b"g", b"2", b"3")
        message, peer = await dish.receive_from()
        assert (message, peer.socket_type) == (GroupMessage(b"g", b"4"), "RADIO")
        async for message in dish:
            assert message.body == b"5"
            break
        async with trio.open_nursery() as nursery:  # one that waits is handed the same
            assert await dish.receive() == GroupMessage(b"g", b"6")
            nursery.start_soon(radio.send, GroupMessage(b"g", b"7"))
            assert await dish.receive() == GroupMessage(b"g", b"7")


@jumping
@both
async def test_one_message_reaches_all_members_once(place: str) -> None:
    """Distribution: shared copies to all members; peers are heard in turn."""
    async with opened() as ctx:
        radio = ctx.socket(Radio)
        dishes = [ctx.socket(Dish) for _ in range(3)]
        await joined(ctx, radio, *dishes, place=place)
        for dish in dishes[:2]:
            dish.join(b"g")
        await radio.wait_for_members(2, b"g")
        await radio.send(GroupMessage(b"g", b"1"))
        assert [await all_of(dish) for dish in dishes] == [of(b"g", b"1"), of(b"g", b"1"), []]
        dishes[0].close()
        await settle()
        assert len(radio._topics.match(b"g")) == 1


@jumping
@both
async def test_a_full_peer_misses_messages(place: str) -> None:
    """Libzmq.md 1.2: drop per peer, counted and told; with mute="block" (nodrop) send waits instead."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, place, b"g", send_hwm=2, receive_hwm=2)
        async with radio.events() as events:
            for n in range(2000):
                radio.send_nowait(GroupMessage(b"g", b"%d" % n + bytes(1000)))
            assert dropped(radio)[0] > 0
            assert radio.statistics().dropped == dropped(radio)[0]
            assert isinstance(events.receive_nowait(), trimq.events.Dropped)
        await all_of(dish)
        radio.nodrop = True
        while fill(radio, GroupMessage(b"g", bytes(1000)), 3000):  # until nothing more is on its way
            await settle()
        with trio.move_on_after(10) as scope:
            await radio.send(GroupMessage(b"g", b""))
        assert scope.cancelled_caught
        radio.send_nowait(GroupMessage(b"elsewhere", b""))  # nobody's room is needed


@jumping
async def test_joins_are_replayed_on_each_connection() -> None:
    """Wire.md 5.3: on (re)connect DISH sends JOIN for every joined group; what was left in between is not told."""
    network = MemoryTransport()
    async with opened(network, reconnect_interval=0.1) as ctx:
        radio, dish = await tuned(ctx, "tcp://place:1", b"a", b"b")
        radio.close()
        dish.leave(b"a")
        dish.join(b"c")
        again = ctx.socket(Radio)
        again.bind("tcp://place:1")
        await again.wait_for_members(1, b"c")
        assert sorted(remote(again).topics) == [b"b", b"c"]


@jumping
async def test_wait_joined() -> None:
    """At return the peers that are there have read all joins: what they send now arrives."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, "tcp://place:1")
        dish.join(b"g")
        assert await dish.wait_joined()
        assert remote(radio).topics == {b"g"}


@jumping
async def test_wait_for_members_needs_as_many() -> None:
    """Levels: true at return; of any group, or of one; a cancellation leaves no trace."""
    async with opened() as ctx:
        radio, dish = await tuned(ctx, "inproc://place", b"g")
        await radio.wait_for_members()
        await radio.wait_for_members(1, "g")
        for n, group in ((2, "g"), (1, "h"), (2, None)):
            with trio.move_on_after(10) as scope:
                await radio.wait_for_members(n, group)
            assert scope.cancelled_caught
        dish.join("h")
        await radio.wait_for_members(1, b"h")


@jumping
async def test_what_lingers() -> None:
    """Libzmq.md 2.2, LINGER: 0 for DISH; a Radio's messages do linger."""
    async with trimq.open_context(transports=[MemoryTransport()]) as ctx:
        assert ctx.socket(Dish).linger == 0
        assert ctx.socket(Radio).linger == math.inf
        radio, dish = await tuned(ctx, "tcp://place:1", b"g")
        radio.send_nowait(GroupMessage(b"g", b"last"))
        radio.close()
        assert await dish.receive() == GroupMessage(b"g", b"last")


@jumping
async def test_a_proxy_between_them() -> None:
    """A Dish's messages can be handed on to a Radio: what they are inside and outside does not get mixed up."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        source, front = await tuned(ctx, "inproc://front", b"g")
        back, dish = await tuned(ctx, "inproc://back", b"g")
        handle = await nursery.start(proxy, front, back)
        await source.send(GroupMessage(b"g", b"hello"))
        assert await dish.receive() == GroupMessage(b"g", b"hello")
        assert handle.statistics().frontend.received_bytes == 6
        nursery.cancel_scope.cancel()


# On the wire (wire.md 5.3)


@jumping
async def test_what_a_dish_says() -> None:
    """JOIN and LEAVE as commands, long ones in long frames, to a 3.0 peer in the same form."""
    network = MemoryTransport()
    for minor in (0, 1):
        async with opened(network) as ctx:
            dish = ctx.socket(Dish)
            dish.join("grp")
            dish.bind("tcp://place:1")
            peer = RawPeer(await raw_connect(network))
            await peer.handshake(b"RADIO", minor=minor)
            assert await peer.exactly(10) == bytes.fromhex("04 08 04 4A 4F 49 4E 67 72 70")
            dish.leave("grp")
            assert await peer.exactly(11) == bytes.fromhex("04 09 05 4C 45 41 56 45 67 72 70")
            dish.join(b"x" * 251)
            assert await peer.exactly(9) == b"\x06" + (256).to_bytes(8, "big")
            await peer.exactly(256)
            await peer.stream.send_all(zmtp_message(b"other", b"1") + zmtp_message(b"x" * 251, b"2"))
            assert await all_of(dish) == of(b"x" * 251, b"2")  # it filters again


@jumping
async def test_what_a_radio_says() -> None:
    """Two frames, the group with MORE; joins count, so that two JOINs need two LEAVEs; the empty group is ``01 00``."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        radio = ctx.socket(Radio)
        radio.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"DISH")
        join, leave = zmtp_command(b"JOIN", b"grp"), zmtp_command(b"LEAVE", b"grp")
        await peer.stream.send_all(join + join + leave + zmtp_command(b"JOIN"))
        await radio.wait_for_members(1, b"")
        await radio.send(GroupMessage("grp", b"body"))
        assert await peer.exactly(11) == bytes.fromhex("01 03 67 72 70 00 04 62 6F 64 79")
        await radio.send(GroupMessage("", b"b"))
        assert await peer.exactly(5) == bytes.fromhex("01 00 00 01 62")
        await peer.stream.send_all(leave)
        await settle()
        await radio.send(GroupMessage("grp", b"body"))
        assert await peer.rest() == b""
        # A JOIN that is no command, messages, subscriptions and unknown commands mean nothing to a Radio.
        await peer.stream.send_all(
            zmtp_message(b"\x04JOINgrp")
            + zmtp_message(b"\x01grp")
            + zmtp_message(b"a", b"b", b"c")
            + zmtp_command(b"SUBSCRIBE", b"grp")
            + zmtp_command(b"LEAVE", b"never joined")
            + zmtp_command(b"ELSE", b"grp")
        )
        await settle()
        assert len(radio.peers) == 1
        assert remote(radio).topics == {b""}


@jumping
@pytest.mark.parametrize(
    "sent",
    [
        zmtp_message(b"single"),
        zmtp_message(b"g", b"2", b"3"),
        zmtp_message(b"x" * 256, b"body"),
    ],
    ids=["one-frame", "three-frames", "long-group"],
)
async def test_what_a_dish_refuses_closes_the_connection(sent: bytes) -> None:
    """Wire.md 5.3 and 9, 59: first frame without MORE, group > 255, body with MORE; what came before is received."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        dish = ctx.socket(Dish)
        dish.join(b"g")
        dish.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"RADIO")
        await peer.stream.send_all(zmtp_message(b"g", b"good") + sent + zmtp_message(b"g", b"late"))
        assert await peer.ended()
        assert await all_of(dish) == of(b"g", b"good")
        assert dish.statistics().losses == 1


@jumping
@pytest.mark.parametrize("group", [b"x" * 256, b"a\0b"], ids=["long", "zero"])
async def test_what_a_radio_refuses_closes_the_connection(group: bytes) -> None:
    """Wire.md 9, 60, and trap 13: libzmq's RADIO aborts on the one; the connection ends, the others go on."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        radio, dish = await tuned(ctx, "tcp://place:1", b"g")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"DISH")
        await peer.stream.send_all(zmtp_command(b"JOIN", group))
        assert await peer.ended()
        await radio.send(GroupMessage(b"g", b"1"))
        assert await all_of(dish) == of(b"g", b"1")


@jumping
async def test_a_flood_of_groups_ends_its_connection() -> None:
    """Wire.md 9, 54: bounded by a cap. Joining one group again and again is a number."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        radio = ctx.socket(Radio)
        radio.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"DISH")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trimq._sockets._fan_out.MAX_TOPICS", 10)
            await peer.stream.send_all(zmtp_command(b"JOIN", b"0") * 100)
            await settle()
            assert len(radio.peers) == 1
            await peer.stream.send_all(b"".join(zmtp_command(b"JOIN", b"%d" % n) for n in range(11)))
            assert await peer.ended()
        await settle()
        assert len(radio._topics) == 0  # all is forgotten, however often it was joined


@jumping
async def test_other_types_are_no_peers() -> None:
    """Libzmq.md 1.1: RADIO talks to DISH alone."""
    async with opened() as ctx:
        radio, pull = ctx.socket(Radio), ctx.socket(Pull)
        endpoint = pull.connect(radio.bind("tcp://place:1"))
        with pytest.raises(trimq.ProtocolError, match="socket types do not match"):
            await endpoint.ready()
        await nothing(pull)


# Which transports


@pytest.mark.parametrize("kind", [Push, trimq.Req, trimq.Pub])
async def test_udp_is_for_radio_dish_and_dgram(kind: Any) -> None:
    """Issue 7: udp with any other type is IncompatibleProtocol; so are RADIO.bind and DISH.connect on it."""
    async with trimq.open_context() as ctx:
        for verb in ("bind", "connect"):
            with pytest.raises(trimq.IncompatibleProtocol):
                getattr(ctx.socket(kind), verb)("udp://127.0.0.1:5555")
        with pytest.raises(trimq.IncompatibleProtocol, match="a Radio cannot bind over udp; it can connect there"):
            ctx.socket(Radio).bind("udp://127.0.0.1:5555")
        with pytest.raises(trimq.IncompatibleProtocol, match="a Dish cannot connect over udp; it can bind there"):
            ctx.socket(Dish).connect("udp://127.0.0.1:5555")


# Over udp


async def aired(ctx: trimq.Context, **options: Any) -> tuple[Radio, Dish]:
    radio, dish = ctx.socket(Radio), ctx.socket(Dish, **options)
    dish.join("g")
    await radio.connect(dish.bind("udp://127.0.0.1:*")).ready()
    return radio, dish


async def test_udp_carries_groups_one_way() -> None:
    """Test_radio_dish over udp: the Dish filters, joining may come after bind; endpoints are ready when open."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            radio, dish = await aired(ctx)
            assert [str(endpoint.state) for endpoint in (*radio.endpoints, *dish.endpoints)] == [
                "EndpointState.READY"
            ] * 2
            await radio.send(GroupMessage("nobody's", b"1"))
            await radio.send(GroupMessage("g", b"2"))
            assert await dish.receive() == GroupMessage(b"g", b"2")
            dish.join("")
            await radio.send(GroupMessage("", b""))
            message, peer = await dish.receive_from()
            assert message == GroupMessage(b"", b"")
            assert peer.socket_type == ""  # a datagram does not say
            assert (radio.peers, dish.peers) == ((), ())  # who is there is not known
            await radio.flush()
            assert radio.statistics().written == 3
            assert radio.statistics().bytes_written == 1 + 8 + 1 + 1 + 1 + 1 + 1


async def test_udp_beside_tcp() -> None:
    """A Radio may have both: each message goes out to the group's members, and by every endpoint of udp."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            radio, dish = await aired(ctx)
            other = ctx.socket(Dish)
            other.join("g")
            other.connect(radio.bind("tcp://127.0.0.1:*"))
            await radio.wait_for_members(1, "g")
            await radio.send(GroupMessage("g", b"both"))
            assert await dish.receive() == await other.receive() == GroupMessage(b"g", b"both")
            # What does not fit into a datagram goes to nobody; once the endpoint is closed, it goes.
            large = GroupMessage("g", bytes(8191))
            with pytest.raises(MessageTooLarge, match="8192 bytes"):
                await radio.send(large)
            radio.endpoints[0].close()
            await radio.send(large)
            assert await other.receive() == large


async def test_udp_takes_what_fits() -> None:
    """Wire.md 5.1: at most 8192 bytes all in all, refused at send, never cut."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            radio, dish = await aired(ctx)
            for call in (radio.send, radio.send_nowait):
                with pytest.raises(MessageTooLarge):
                    if (result := call(GroupMessage("g", bytes(8191)))) is not None:
                        await result
            await radio.send(GroupMessage("g", bytes(8190)))
            assert await dish.receive() == GroupMessage("g", bytes(8190))
            assert radio.statistics().sent == 1


async def test_a_malformed_datagram_is_counted_and_dropped() -> None:
    """Issue 7, and wire.md 9, 84 and 85: empty, group beyond the end, more than 8192 bytes."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            _, dish = await aired(ctx)
            to = str(dish.endpoints[0]).removeprefix("udp://").split(":")
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as raw:
                async with dish.events() as events:
                    for data in (b"", b"\x09grp", b"\x01g" + bytes(8191), b"\x01ggood"):
                        await raw.sendto(data, (to[0], int(to[1])))
                    assert await dish.receive() == GroupMessage(b"g", b"good")
                    event = await events.receive()
                    assert isinstance(event, trimq.events.Dropped)
                    assert (event.endpoint, event.count) == (str(dish.endpoints[0]), 3)
            assert dish.statistics().dropped == 3


async def test_a_dish_that_falls_behind_drops_and_counts() -> None:
    """Issue 7: its queue is full, what is not for it does not count; what waits stays whole and in order."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            radio, dish = await aired(ctx, receive_hwm=3)
            for n in range(6):
                await radio.send(GroupMessage("g", b"%d" % n))
                await radio.send(GroupMessage("other", b""))
            while dish.statistics().dropped < 3:
                await trio.sleep(0.01)
            assert await dish.receive_many() == of(b"g", b"0", b"1", b"2")
            await radio.send(GroupMessage("g", b"last"))
            assert await dish.receive() == GroupMessage(b"g", b"last")
            assert dish.statistics().dropped == 3


async def test_nobody_there_is_no_failure() -> None:
    """Wire.md 9, 86: an ICMP error is no reason to stop; whoever binds later hears what comes later."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            radio, dish = await aired(ctx)
            bound = str(dish.endpoints[0])
            dish.close()
            for n in range(3):
                await radio.send(GroupMessage("g", b"%d" % n))
                await radio.flush()
            again = ctx.socket(Dish)
            again.join("g")
            again.bind(bound)  # free at once
            await radio.send(GroupMessage("g", b"heard"))
            assert await again.receive() == GroupMessage(b"g", b"heard")
            assert radio.statistics().dropped == 0
