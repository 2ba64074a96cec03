"""Messages: what may be sent, the snapshot that is taken of it, and what a receiver gets (design 1, Messages)."""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from sockets.helpers import both, joined, jumping, opened

import trimq
from trimq._errors import MessageTooLarge
from trimq._message import MAX_FRAMES, MAX_SENT, Shared, Subscription, pack, unpack


class Sub(bytes):
    """A subclass of bytes is not bytes itself: it may say other things when asked."""


# What may be sent


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (b"", b""),
        (b"one", b"one"),
        (bytearray(b"one"), b"one"),
        (memoryview(b"one"), b"one"),
        (memoryview(b"o.n.e")[::2], b"one"),
        (memoryview(array.array("H", [1])), array.array("H", [1]).tobytes()),
        (Sub(b"one"), b"one"),
        ([b"one"], b"one"),
        ((b"one",), b"one"),
        ([b""], b""),
        ([b"a", bytearray(b"b"), memoryview(b"c")], [b"a", b"b", b"c"]),
        ((b"a", b""), [b"a", b""]),
        (deque([b"a", b"b"]), [b"a", b"b"]),
    ],
    ids=repr,
)
def test_pack(value: Any, body: Any) -> None:
    """Frames, or a sequence of frames, go in; inside, one frame is bare and several are a list, all of them true bytes."""
    packed = pack(value)
    assert packed == body
    frames = packed if isinstance(packed, list) else [packed]
    assert {type(frame) for frame in frames} == {bytes}
    assert type(packed) in (bytes, list)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("text", "'text'.encode"),
        (["a", b"b"], "'a'.encode"),
        ([b"a", "b"], "'b'.encode"),
        (iter([b"a"]), "not list_iterator"),
        ((frame for frame in [b"a"]), "not generator"),
        ({b"a": b"b"}, "not dict"),
        ({b"a"}, "not set"),
        (None, "not NoneType"),
        (1, "not int"),
        ([1], "not int"),
        ([None, b""], "not NoneType"),
        ([[b"a"]], "not list"),
        (range(3), "not int"),
    ],
    ids=repr,
)
def test_what_is_no_message(value: Any, says: str) -> None:
    """str, iterators and all else are a TypeError that says what to do."""
    with pytest.raises(TypeError, match=says):
        pack(value)


@pytest.mark.parametrize("value", [[], (), deque(), range(0)], ids=repr)
def test_an_empty_sequence_is_a_valueerror(value: Any) -> None:
    """A message has a frame at least; the error says how an empty one is sent."""
    with pytest.raises(ValueError, match=r"\[b''\]"):
        pack(value)


def test_the_most_frames() -> None:
    """Fewer than a receiver takes, so that envelopes and routing ids may come to them on their way."""
    assert MAX_SENT < MAX_FRAMES
    assert len(pack([b""] * MAX_SENT)) == MAX_SENT
    with pytest.raises(MessageTooLarge, match=f"at most {MAX_SENT} frames"):
        pack([b""] * (MAX_SENT + 1))


# The snapshot


def test_bytes_are_shared() -> None:
    """No copy of what cannot change."""
    big = b"x" * 100
    assert pack(big) is big
    assert pack([big]) is big
    packed = pack([big, b"y"])
    assert isinstance(packed, list)
    assert packed[0] is big


def test_mutable_frames_are_copied() -> None:
    """What the caller does with its buffers and its list after the send is its own business."""
    frame, frames = bytearray(b"before"), [b"a", b"b"]
    one, several, view = pack(frame), pack(frames), pack([memoryview(frame), b""])
    frame[:] = b"after!"
    frames.append(b"c")
    assert (one, several, view) == (b"before", [b"a", b"b"], [b"before", b""])


def test_unpack() -> None:
    """Outside it is always a list of frames."""
    frames = [b"a", b"b"]
    assert unpack([b"one", frames, b""]) == [[b"one"], [b"a", b"b"], [b""]]
    assert unpack([frames])[0] is frames  # nothing is copied twice
    assert unpack([]) == []


# What travels beside


def test_subscription_is_a_value() -> None:
    """Equal by what they say; never equal to a message."""
    assert Subscription(b"a", True) == Subscription(b"a", True)
    assert len({Subscription(b"a", True), Subscription(b"a", True), Subscription(b"a", False)}) == 2
    assert Subscription(b"a", True) != Subscription(b"b", True)
    assert Subscription(b"a", True) != b"\x01a"
    assert repr(Subscription(b"a", False)) == "Subscription(b'a', False)"


def test_shared_begins_unencoded() -> None:
    """Whoever encodes first keeps the bytes for the rest."""
    shared = Shared([b"a", b"b"])
    assert (shared.item, shared.encoded) == ([b"a", b"b"], None)


# The same at the sockets


@jumping
@both
@pytest.mark.parametrize("checkpoints", ["amortised", "every"])
async def test_a_send_takes_its_snapshot_when_called(place: str, checkpoints: Any) -> None:
    """Whatever is changed after send returned, or was called as send_nowait, has no effect."""
    async with opened(checkpoints=checkpoints) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        await joined(ctx, pull, push, place=place)
        frame, frames = bytearray(b"1"), [bytearray(b"2"), b"3"]
        await push.send(frame)
        push.send_nowait(frames)
        frame[:] = frames[0][:] = b"changed"  # type: ignore[index]
        frames.clear()
        assert [await pull.receive(), await pull.receive()] == [[b"1"], [b"2", b"3"]]


@jumping
@both
@pytest.mark.parametrize("message", [b"one", [b"one", b"two"]], ids=["one", "two"])
async def test_each_receiver_has_a_list_of_its_own(place: str, message: Any) -> None:
    """Fan-out shares bytes, never lists: a receiver may change what it got (design 1)."""
    async with opened() as ctx:
        pub = ctx.socket(trimq.XPub)
        subs = [ctx.socket(trimq.Sub) for _ in range(3)]
        for sub in subs:
            sub.subscribe(b"")
        await joined(ctx, pub, *subs, place=place)
        await pub.wait_for_subscribers(3)
        await pub.send(message)
        for sub in subs:
            received = await sub.receive()
            assert received == ([message] if isinstance(message, bytes) else message)
            received[0] = b"mine"
            received.append(b"more")
        assert message in (b"one", [b"one", b"two"])


@jumping
@both
async def test_what_was_sent_is_not_what_is_received(place: str) -> None:
    """A list that was sent stays the sender's."""
    async with opened() as ctx:
        one, other = ctx.socket(trimq.Pair), ctx.socket(trimq.Pair)
        await joined(ctx, one, other, place=place)
        sent = [b"a", b"b"]
        await other.send(sent)
        received = await one.receive()
        received.append(b"c")
        assert sent == [b"a", b"b"]
        await one.send(received)
        received.clear()
        assert await other.receive() == [b"a", b"b", b"c"]


@jumping
@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer, trimq.Pair, trimq.Pub, trimq.XPub])
async def test_no_message_no_effect(kind: type[trimq.Push]) -> None:
    """What is no message raises whether or not there is room, and send_many keeps what came before it."""
    async with opened() as ctx:
        socket = ctx.socket(kind)
        for verb in (socket.send_nowait, socket.send):
            for value, error in (("text", TypeError), (iter([b""]), TypeError), ([], ValueError), (None, TypeError)):
                with pytest.raises(error):
                    result = verb(value)  # type: ignore[arg-type]
                    if result is not None:
                        await result


@jumping
@both
async def test_send_many_of_what_is_no_message(place: str) -> None:
    """send_many: what came before is queued; what is no message is an error of the caller's."""

    def messages() -> Iterator[Any]:
        yield b"1"
        yield [b"2", bytearray(b"3")]
        yield "text"
        yield b"never"

    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        await joined(ctx, pull, push, place=place)
        given = messages()
        with pytest.raises(TypeError):
            await push.send_many(given)
        await push.send(b"4")
        assert [await pull.receive() for _ in range(3)] == [[b"1"], [b"2", b"3"], [b"4"]]


@jumping
async def test_the_most_frames_arrive_with_their_envelope() -> None:
    """A message that may be sent is one that may be received, whatever Req puts before it (promise 4)."""
    async with opened() as ctx:
        rep, req = ctx.socket(trimq.Rep), ctx.socket(trimq.Req, correlate=True)
        await joined(ctx, rep, req, place="tcp://place:1")
        await req.send([b""] * MAX_SENT)
        assert len(await rep.receive()) == MAX_SENT


@jumping
async def test_a_router_can_send_back_what_it_received() -> None:
    """The routing id is not part of the message on the wire."""
    async with opened() as ctx:
        router, dealer = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer)
        await joined(ctx, router, dealer, place="tcp://place:1")
        await dealer.send([b""] * MAX_SENT)
        await router.send(await router.receive())
        assert len(await dealer.receive()) == MAX_SENT
