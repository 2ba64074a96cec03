"""The check of socket types: trimq's own pass it, and each clause is broken by a type that is wrong in just that.

The broken types are trimq's own with one thing changed. They are let into a context by hand while it knows only its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import pytest
import trio
from testing.clauses import clauses_of, told, unbroken
from trio.lowlevel import checkpoint, checkpoint_if_cancelled
from trio.testing import MockClock

import trimq
from trimq._message import Body, pack
from trimq._options import Option, boolean
from trimq._remote import Remote
from trimq._sockets import ALL_TYPES
from trimq._sockets._flow import Receiving
from trimq.testing import Conversation, check_socket_type


class Asking(Conversation):
    """Req: it asks before it receives."""

    in_turn = True

    async def before_receive(self) -> None:
        await self.socket.send(b"question")
        await self.peer.receive()


class Answering(Conversation):
    """Rep: it is asked before it sends, and never waits."""

    in_turn = True
    waits_with = None

    async def before_send(self) -> None:
        await self.peer.send(b"question")
        await self.socket.receive()


class Routing(Conversation):
    """Router: the peer's id comes first; it waits if mandatory."""

    waits_with: ClassVar[Mapping[str, Any]] = {"mandatory": True}
    peer_options: ClassVar[Mapping[str, Any]] = {"routing_id": b"peer"}

    def message(self, text: bytes) -> list[bytes]:
        return [b"peer", text]


class Publishing(Conversation):
    """Pub: the peer subscribes; it waits if it may not drop."""

    waits_with: ClassVar[Mapping[str, Any]] = {"nodrop": True}
    to_all = True

    async def start(self) -> None:
        await super().start()
        self.peer.subscribe(b"")
        await self.socket.wait_for_subscribers(1, b"")


class PublishingAndHearing(Publishing):
    """XPub: it hears of the subscription."""

    options: ClassVar[Mapping[str, Any]] = {"verbose": True}

    async def start(self) -> None:
        await super().start()
        assert await self.socket.receive() == [b"\1"]


class Subscribed(Conversation):
    """Sub: it subscribes."""

    async def start(self) -> None:
        await super().start()
        self.socket.subscribe(b"")
        await self.peer.wait_for_subscribers(1, b"")


class SubscribedAndSaying(Subscribed):
    """XSub: it also sends, to all, and never waits; its peer hears of the subscription."""

    waits_with = None
    to_all = True

    async def start(self) -> None:
        await super().start()
        assert await self.peer.receive() == [b"\1"]

    async def peer_receives(self) -> list[bytes]:
        message: list[bytes] = await self.peer.receive()
        return await self.peer_receives() if message == [b"\0"] else message  # at its end, all is unsubscribed


class Streaming(Conversation):
    """Stream: ids that are made up come first, what they send has no borders, and each peer has room of its own."""

    pieces = True
    always_sendable = True
    peer_options: ClassVar[Mapping[str, Any]] = {"notify": False}

    async def start(self) -> None:
        await super().start()
        [self.to_peer, empty] = await self.socket.receive()
        assert empty == b""
        [endpoint] = self.peer.endpoints
        self.to_socket = endpoint.routing_id

    def message(self, text: bytes) -> list[bytes]:
        return [self.to_peer, text]

    async def peer_sends(self, text: bytes) -> None:
        await self.peer.send([self.to_socket, text])


class Single(Conversation):
    """Client, Scatter, Channel: a message is one frame."""

    def message(self, text: Any) -> Any:
        return text


class ToServer(Single):
    """Client: its peer answers by number."""

    async def peer_sends(self, text: bytes) -> None:
        [to] = self.peer._by_id.remotes
        await self.peer.send(trimq.RoutedMessage(to, text))


class ByNumber(Conversation):
    """Server: a message says by number whose it is."""

    async def start(self) -> None:
        await super().start()
        [self.to] = self.socket._by_id.remotes

    def message(self, text: Any) -> Any:
        return trimq.RoutedMessage(self.to, text)


class BothByNumber(ByNumber, ToServer):
    """Peer: on both sides."""


class ToAGroup(Conversation):
    """Radio: the peer joins; it waits if it may not drop."""

    waits_with: ClassVar[Mapping[str, Any]] = {"nodrop": True}
    to_all = True

    async def start(self) -> None:
        await super().start()
        self.peer.join(b"group")
        await self.socket.wait_for_members(1, b"group")

    def message(self, text: Any) -> Any:
        return trimq.GroupMessage(b"group", text)


class InAGroup(Conversation):
    """Dish: it joins."""

    async def start(self) -> None:
        await super().start()
        self.socket.join(b"group")
        await self.peer.wait_for_members(1, b"group")

    async def peer_sends(self, text: bytes) -> None:
        await self.peer.send(trimq.GroupMessage(b"group", text))


OWN: dict[Any, tuple[Any, type[Conversation]]] = {
    trimq.Req: (trimq.Rep, Asking),
    trimq.Rep: (trimq.Req, Answering),
    trimq.Dealer: (trimq.Dealer, Conversation),
    trimq.Router: (trimq.Dealer, Routing),
    trimq.Pub: (trimq.Sub, Publishing),
    trimq.Sub: (trimq.Pub, Subscribed),
    trimq.XPub: (trimq.XSub, PublishingAndHearing),
    trimq.XSub: (trimq.XPub, SubscribedAndSaying),
    trimq.Push: (trimq.Pull, Conversation),
    trimq.Pull: (trimq.Push, Conversation),
    trimq.Pair: (trimq.Pair, Conversation),
    trimq.Stream: (trimq.Stream, Streaming),
    trimq.Client: (trimq.Server, ToServer),
    trimq.Server: (trimq.Client, ByNumber),
    trimq.Scatter: (trimq.Gather, Single),
    trimq.Gather: (trimq.Scatter, Conversation),
    trimq.Channel: (trimq.Channel, Single),
    trimq.Peer: (trimq.Peer, BothByNumber),
    trimq.Radio: (trimq.Dish, ToAGroup),
    trimq.Dish: (trimq.Radio, InAGroup),
}


def test_all_types_are_here() -> None:
    assert set(OWN) == {*ALL_TYPES} - {trimq.Dgram}  # which talks over udp only


@pytest.mark.parametrize("kind", OWN)
async def test_own(kind: Any, autojump_clock: MockClock) -> None:
    """Each type keeps the promises that hold for all types."""
    await check_socket_type(kind, *OWN[kind])


async def test_on_the_real_clock() -> None:
    """It needs no clock of its own."""
    await check_socket_type(trimq.Req, *OWN[trimq.Req])


class Lossy(trimq.Push):
    """A Push that drops what finds no room."""

    def _prepare(self) -> None:
        super()._prepare()
        offer = self._offer
        self._offer = lambda item: offer(item) or not self._closed

    def _sendable(self) -> bool:
        return True

    def _room(self) -> int:
        return 1


class LossyTalk(Conversation):
    waits_with = None


# Broken in receiving


class YieldsAfterTaking(trimq.Pull):
    async def receive(self) -> list[bytes]:
        message = await super().receive()
        await checkpoint()
        return message


class LooksAfterTaking(trimq.Pull):
    async def receive(self) -> list[bytes]:
        try:
            message = self.receive_nowait()
        except trio.WouldBlock:
            return await super().receive()
        await checkpoint_if_cancelled()
        return message


class TakesLater(trimq.Pull):
    """Cancelled while it waits, it still takes the next message."""

    async def receive(self) -> list[bytes]:
        await checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            message = await super().receive()
        await checkpoint_if_cancelled()
        return message


class NeverCancelled(trimq.Pull):
    async def receive_many(self, max: int = 1000) -> Any:
        with trio.CancelScope(shield=True):
            return await super().receive_many(max)


class GivesFrames(trimq.Pull):
    async def receive(self) -> Any:
        return (await super().receive())[0]


class GivesTuples(trimq.Pull):
    def receive_nowait(self) -> Any:
        return tuple(super().receive_nowait())


class GivesTwice(trimq.Pull):
    last: tuple[list[bytes], ...] = ()

    def receive_nowait(self) -> list[bytes]:
        for message in self.last:
            self.last = ()
            return message
        self.last = (super().receive_nowait(),)
        return self.last[0]


class GivesNone(trimq.Pull):
    def receive_nowait(self) -> Any:
        try:
            return super().receive_nowait()
        except trio.WouldBlock:
            return None


class NoMax(trimq.Pull):
    async def receive_many(self, max: int = 1000) -> list[list[bytes]]:
        if max < 1:
            raise ValueError(max)
        return await super().receive_many(1000 if max > 1 else 1)


class MaxOfNothing(trimq.Pull):
    async def receive_many(self, max: int = 1000) -> list[list[bytes]]:
        return await super().receive_many(max) if max > 0 else []


class EndsByItself(trimq.Pull):
    async def _next(self) -> list[bytes]:
        await checkpoint()
        try:
            return self.receive_nowait()
        except trio.WouldBlock:
            raise StopAsyncIteration from None

    def __anext__(self) -> Any:
        return self._next()


class LastFirst(trimq.Pull):
    def _serve_receivers(self) -> None:
        self._receivers = dict(reversed(self._receivers.items()))
        super()._serve_receivers()


class FirstWho(trimq.Pull):
    """Woken calls look again: whoever looks first has the message. Who that is chance would decide; here, who came last."""

    async def receive(self) -> list[bytes]:
        this = object()
        self.looking = [*getattr(self, "looking", []), this]
        try:
            while True:
                await self.wait_receivable()
                try:
                    if self.looking[-1] is this:
                        return self.receive_nowait()
                    await checkpoint()
                except trio.WouldBlock:
                    pass
        finally:
            self.looking.remove(this)


class Strands(trimq.Pull):
    """After a call was cancelled, those that wait with it are forgotten."""

    most = 0

    def _serve_receivers(self) -> None:
        if len(self._receivers) >= self.most:
            super()._serve_receivers()

    async def _wait_to_receive(self, want: int) -> Any:
        self.most = max(self.most, len(self._receivers) + 1)
        result = await super()._wait_to_receive(want)
        self.most -= 1
        return result


class Overtakes(trimq.Pull):
    """Those who wait take turns, but whoever comes by may take what is there."""

    def _prepare(self) -> None:
        super()._prepare()
        self.turn = trio.Lock()

    async def receive(self) -> list[bytes]:
        async with self.turn:
            while True:
                await self.wait_receivable()
                try:
                    return self.receive_nowait()
                except trio.WouldBlock:
                    pass


class EmptyIsTheEnd(trimq.Pull):
    """As long as nothing has come."""

    came = False

    def _arrived(self, remote: Remote) -> None:
        self.came = True
        super()._arrived(remote)

    def receive_nowait(self) -> list[bytes]:
        try:
            return super().receive_nowait()
        except trio.WouldBlock:
            raise trio.WouldBlock if self.came else trio.EndOfChannel from None


class LevelTakes(trimq.Pull):
    async def wait_receivable(self) -> None:
        await super().wait_receivable()
        self.receive_nowait()


class LevelForOne(trimq.Pull):
    waits = False

    async def wait_receivable(self) -> None:
        if self.waits:
            await trio.sleep_forever()
        self.waits = True
        await super().wait_receivable()
        self.waits = False


class NoLevel(trimq.Pull):
    async def wait_receivable(self) -> None:
        await checkpoint()


class SeldomYields(trimq.Pull):
    async def receive(self) -> list[bytes]:
        await checkpoint_if_cancelled()
        try:
            return self.receive_nowait()
        except trio.WouldBlock:
            return await super().receive()


class TwoReceive(trimq.Req):
    async def _wait_to_receive(self, want: int) -> Any:
        return await Receiving._wait_to_receive(self, want)


# Broken in sending


class YieldsAfterSending(trimq.Push):
    async def send(self, value: Any) -> None:
        await super().send(value)
        await checkpoint()


class LooksAfterSending(trimq.Push):
    async def send(self, value: Any) -> None:
        try:
            self.send_nowait(value)
        except trio.WouldBlock:
            await super().send(value)
        await checkpoint_if_cancelled()


class SendsLater(trimq.Push):
    """Cancelled while it waits, it still sends."""

    async def send(self, value: Any) -> None:
        await checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await super().send(value)
        await checkpoint_if_cancelled()


class SendsTwice(trimq.Push):
    async def send(self, value: Any) -> None:
        await super().send(value)
        await super().send(value)


class Encodes(trimq.Push):
    def _pack(self, value: Any) -> Body:
        return super()._pack(value.encode() if isinstance(value, str) else value)


class TakesIterators(trimq.Push):
    def _pack(self, value: Any) -> Body:
        return super()._pack(list(value) if isinstance(value, Iterator) else value)


class SendsNothing(trimq.Push):
    def _pack(self, value: Any) -> Body:
        return b"" if value in ([], ()) else super()._pack(value)


class SharesBuffers(trimq.Push):
    def _pack(self, value: Any) -> Any:
        pack(value)
        return value[0] if isinstance(value, list) and len(value) == 1 else value


class KeepsList(trimq.Push):
    def _pack(self, value: Any) -> Any:
        packed = pack(value)
        return value if isinstance(value, list) and all(type(frame) is bytes for frame in value) else packed


class SharesLists(trimq.Pub):
    """One list for all subscribers in the process."""

    def _publish(self, item: Body) -> bool:
        remotes = self._topics.match(item if isinstance(item, bytes) else item[0])
        if any(remote.outbox.room < 1 or remote.partner is None for remote in remotes):
            return super()._publish(item)
        for remote in remotes:
            remote.outbox.put(item)
        return True


class DropsQuietly(trimq.Push):
    def send_nowait(self, value: Any) -> None:
        try:
            super().send_nowait(value)
        except trio.WouldBlock:
            pass


class QueuesAndRefuses(trimq.Push):
    """What was refused goes all the same, later."""

    def send_nowait(self, value: Any) -> None:
        try:
            super().send_nowait(value)
        except trio.WouldBlock:
            if value == [b"<refused>"]:
                trio.lowlevel.spawn_system_task(self._later, value)
            raise

    async def _later(self, value: Any) -> None:
        with trio.CancelScope(shield=True):
            try:
                await super().send(value)
            except trimq.ZMQError:
                pass


class TakesFirst(trimq.Push):
    async def send_many(self, values: Iterable[Any]) -> None:
        await checkpoint_if_cancelled()
        await super().send_many(list(values))


class NeverGoesOn(trimq.Push):
    def _serve_senders(self) -> None:
        pass


class SendsLastFirst(trimq.Push):
    def _serve_senders(self) -> None:
        self._senders = dict(reversed(self._senders.items()))
        super()._serve_senders()


class NoRoomLevel(trimq.Push):
    async def wait_sendable(self) -> None:
        await checkpoint()


class RoomLevelSends(trimq.Push):
    async def wait_sendable(self) -> None:
        await super().wait_sendable()
        await self.send(b"<probe>")


class RoomForOne(trimq.Push):
    waits = False

    async def wait_sendable(self) -> None:
        if self.waits:
            await trio.sleep_forever()
        self.waits = True
        await super().wait_sendable()
        self.waits = False


class SeldomYieldsSending(trimq.Push):
    async def send(self, value: Any) -> None:
        await checkpoint_if_cancelled()
        try:
            self.send_nowait(value)
        except trio.WouldBlock:
            await super().send(value)


class Waits(trimq.Push):
    """As its conversation says it does not."""


class FlushesAtOnce(trimq.Push):
    async def flush(self) -> None:
        await checkpoint()


# Broken in its life


class NoName(trimq.Socket):
    pass


class ReceivesOnly(trimq.Socket):
    socket_type = "PULL"

    async def receive(self) -> list[bytes]:
        raise NotImplementedError


class DoesNothing(trimq.Socket):
    socket_type = "PULL"


class WithoutContext(trimq.Pull):
    def __init__(self, **options: Any) -> None:
        if hasattr(self, "_context"):
            super().__init__(**options)


class AnyValue(trimq.Pull):
    extra: Option[Any] = Option(1, lambda name, value: value, "Anything at all.")


class Careless(Option[Any]):
    """It sets first, and looks then."""

    def __set__(self, socket: Any, value: Any) -> None:
        socket._options[self.name] = value
        super().__set__(socket, value)


class SetsFirst(trimq.Pull):
    extra = Careless(False, boolean, "It changes though it is refused.")


class AnySign(trimq.Pull):
    extra: Option[Any] = Option(1, lambda name, value: int(value), "A number, minus one included.")  # type: ignore[call-overload]


class AnyOption(trimq.Pull):
    def _set_option(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            super()._set_option(name, value)


class ForgetsOption(trimq.Pull):
    extra: Option[bool] = Option(False, boolean, "Nobody knows.")

    def _set_option(self, name: str, value: Any) -> None:
        super()._set_option(name, value)
        self._options.pop("extra", None)


class NoDefaults(trimq.Pull):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "linger": 5.0})


class AnyEndpoint(trimq.Pull):
    def bind(self, endpoint: str, **options: Any) -> Any:
        try:
            return super().bind(endpoint, **options)
        except trimq.InvalidEndpoint:
            return None


class AnyUnbind(trimq.Pull):
    def unbind(self, endpoint: Any) -> None:
        try:
            super().unbind(endpoint)
        except trimq.InvalidEndpoint:
            pass


class PeersAtOnce(trimq.Pull):
    async def wait_for_peers(self, n: int = 1) -> None:
        await checkpoint()


class OddEndpoints(trimq.Pull):
    @property
    def endpoints(self) -> Any:
        return tuple(f"<{endpoint}>" for endpoint in self._endpoints)


class AcloseOnlyCloses(trimq.Pull):
    async def aclose(self) -> None:
        self.close()


class AcloseGivesUp(trimq.Pull):
    async def aclose(self) -> None:
        await checkpoint()
        await super().aclose()


class EndsNoCalls(trimq.Pull):
    def _end_calls(self) -> None:
        self._stop()


class EndsByEndOfChannel(trimq.Pull):
    async def receive(self) -> list[bytes]:
        try:
            return await super().receive()
        except trimq.SocketClosed:
            raise trio.EndOfChannel from None


class AlwaysClosed(trimq.Pull):
    def _end_error(self) -> Any:
        error = super()._end_error()
        return error and trimq.SocketClosed("closed")


class EndWins(trimq.Pull):
    async def receive(self) -> list[bytes]:
        try:
            return await super().receive()
        except trio.Cancelled:
            self._check_open()
            raise


class WouldBlockForEver(trimq.Pull):
    def receive_nowait(self) -> list[bytes]:
        try:
            return super().receive_nowait()
        except trimq.SocketClosed:
            raise trio.WouldBlock from None


class SendsIntoTheVoid(trimq.Push):
    def send_nowait(self, value: Any) -> None:
        if not self._closed:
            super().send_nowait(value)


class ContextEndsLast(trimq.Pull):
    def _end_error(self) -> Any:
        return trimq.ContextTerminated() if self._terminated else super()._end_error()


class ClosesOnce(trimq.Pull):
    def close(self) -> None:
        if self._closed:
            raise trimq.SocketClosed("closed already")
        super().close()


class CloseAfterTheEnd(trimq.Pull):
    def close(self) -> None:
        if self._terminated:
            self._check_open()
        super().close()


class LeavesOpen(trimq.Pull):
    async def __aexit__(self, *args: object) -> None:
        await checkpoint()


class Swallows(trimq.Pull):
    async def __aexit__(self, *args: object) -> Any:
        await super().__aexit__(*args)  # type: ignore[arg-type]
        return True


class KeepsAddress(trimq.Pull):
    """Another one takes over."""

    def close(self) -> None:
        bound = [str(endpoint) for endpoint in self._endpoints]
        super().close()
        if not self._terminated:
            for endpoint in bound:
                self._context.socket(trimq.Pull).bind(endpoint)  # type: ignore[attr-defined]


class KeepsUnbound(trimq.Pull):
    def unbind(self, endpoint: Any) -> None:
        if endpoint not in map(str, self.endpoints):
            super().unbind(endpoint)


class DropsAtClose(trimq.Push):
    def _close(self, linger: float) -> None:
        super()._close(0)


# Which clause each breaks, and what is told of it

BROKEN: list[tuple[Any, str, str]] = [
    (NoName, "it is a subclass of trimq.Socket, and its socket_type is", ": its socket_type is None"),
    (
        ReceivesOnly,
        "who has one way to receive, or to send, has its kin",
        ": it lacks __aiter__, __anext__, receive_many",
    ),
    (DoesNothing, "who has one way to receive, or to send, has its kin", ": it can do neither"),
    # receiving
    (GivesFrames, "what a peer sends is received once", "receive: a message is a list of bytes, not b'<0>'"),
    (GivesTuples, "what a peer sends is received once", "receive_nowait: a message is a list of bytes, not"),
    (GivesTwice, "what a peer sends is received once", "receive_nowait: b'<0>', not b'<1>'"),
    (GivesNone, "what a peer sends is received once", "WouldBlock or StateError was expected, not .*not None"),
    (NoMax, "receive_many takes what is there, max at most", r"receive_many\(3\) took 5"),
    (MaxOfNothing, "a max of less than 1 is a ValueError", "nothing was raised"),
    (EmptyIsTheEnd, "where nothing is there, receive_nowait raises WouldBlock", "not EndOfChannel"),
    (LooksAfterTaking, "raises Cancelled and takes nothing", "receive: received afterwards: .b'<1>'"),
    (NeverCancelled, "raises Cancelled and takes nothing", "receive_many: it returned: it is no cancel point"),
    (EndsByItself, "a call that is cancelled while it waits takes nothing", "async for: it was to wait, but it raised"),
    (NoLevel, "a call that is cancelled while it waits takes nothing", "wait_receivable: it was to wait, but it retu"),
    (TakesLater, "a call that is cancelled while it waits takes nothing", "receive: cancelled, it still waits"),
    (
        YieldsAfterTaking,
        "cancelled about when its message arrives",
        "receive, cancelled 0 ticks .*: received afterwards",
    ),
    (LastFirst, "tasks that wait are served first come", "receive: the first calls of the line: .'it still waits'"),
    (FirstWho, "tasks that wait are served first come", "receive: the first calls of the line"),
    (Strands, "none is stranded when another is cancelled (over", "the first calls of the line: .'it still waits'"),
    (Overtakes, "a later receive_nowait does not overtake them", "nothing was raised"),
    (TwoReceive, "a second concurrent receive raises BusyResourceError", "still waits after 10 s"),
    (LevelTakes, "wait_receivable waits until there is a message", ""),
    (LevelForOne, "for all who wait, and takes nothing", ": it still waits"),
    (SeldomYields, "a call that need not wait to receive is a full checkpoint", "receive: .*did not yield"),
    # sending
    (SendsTwice, "what is sent arrives once and in order", "send: the peer got <0> <0>"),
    (Encodes, "str and iterators are no messages", "send of a str: TypeError was expected"),
    (TakesIterators, "str and iterators are no messages", "send of an iterator: TypeError was expected"),
    (SendsNothing, "nor is an empty sequence (ValueError)", "send of an empty list: ValueError was expected"),
    (SharesBuffers, "what is mutable is copied", "send of a bytearray .*: a message is a list of bytes, not bytea"),
    (KeepsList, "what is mutable is copied", "send of a list that is changed afterwards: the peer got <more>"),
    (SharesLists, "each receiver's list is its own", ": two peers got one list"),
    (LooksAfterSending, "raises Cancelled, and sends nothing", "send: the peer got <cancelled> <after>"),
    (SeldomYieldsSending, "a call that need not wait to send is a full checkpoint", "send: .*did not yield"),
    (DropsQuietly, "send_nowait raises WouldBlock and sends nothing", "2000 messages found room though nobody reads"),
    (QueuesAndRefuses, "send_nowait raises WouldBlock and sends nothing", "the peer got .*<refused>"),
    (NeverGoesOn, "a call waits, and goes on when there is some", "send: the peer got"),
    (
        NoRoomLevel,
        "a call waits, and goes on when there is some",
        "wait_sendable: it was to wait, but it returned None",
    ),
    (RoomLevelSends, "a call waits, and goes on when there is some", "wait_sendable: the peer got .*<probe>"),
    (SendsLater, "a call that is cancelled while it waits for room sends nothing", "send: cancelled, it still waits"),
    (TakesFirst, "a call that is cancelled while it waits for room sends nothing", "it took from the iterator before"),
    (YieldsAfterSending, "cancelled about when there is room", r"send, cancelled \d+ ticks .*: the peer got .*<mine>"),
    (SendsLastFirst, "calls that wait for room are served first come", "<line 0> <line 3> <line 2>"),
    (RoomForOne, "wait_sendable takes no room: all who wait for it return", ": it still waits"),
    (FlushesAtOnce, "flush waits until what was sent is written", ": it was to wait, but it returned None"),
    (Waits, "where send never waits, it does not", "it still waits after 10 s"),
    # its life
    (WithoutContext, "a socket belongs to a context", "TypeError was expected, and nothing was raised"),
    (AnyValue, "a wrong one is refused and changes nothing", "extra: TypeError or ValueError was expected"),
    (AnySign, "a wrong one is refused and changes nothing", "extra: TypeError or ValueError was expected"),
    (SetsFirst, "a wrong one is refused and changes nothing", "extra: refused, it is <object"),
    (AnyOption, "an unknown one is a TypeError", r"\): TypeError was expected, and nothing was raised"),
    (ForgetsOption, "an option is what it was set to", "extra: made with True, it is False"),
    (NoDefaults, "an option is what it was set to", "the context's default of linger is not taken"),
    (AnyEndpoint, "an endpoint that is none is refused", "nothing was raised"),
    (AnyUnbind, "an endpoint that is none is refused", "nothing was raised"),
    (PeersAtOnce, "wait_for_peers waits for them", "it was to wait, but it returned None"),
    (OddEndpoints, "endpoints and peers are what is bound and connected", ""),
    (AcloseOnlyCloses, "flush, wait_for_peers and aclose are cancel points", "aclose: it returned"),
    (AcloseGivesUp, "a cancelled aclose closes all the same", "SocketClosed was expected, and nothing was raised"),
    (EndsNoCalls, "the end of a socket reaches every call that waits", "was expected, but it still waits"),
    (EndsByEndOfChannel, "the end of a socket reaches every call that waits", "but it raised EndOfChannel"),
    (
        AlwaysClosed,
        "the end of a socket reaches every call that waits",
        "ContextTerminated was expected, but it raised",
    ),
    (
        EndWins,
        "cancelled in the tick of its socket's end raises Cancelled",
        "receive, at close: .* it raised SocketClosed",
    ),
    (ClosesOnce, "close and aclose are idempotent", "SocketClosed: closed already"),
    (CloseAfterTheEnd, "raise nothing, also after the context's end", "ContextTerminated that was not expected"),
    (WouldBlockForEver, "after a socket's end every call raises", "receive_nowait, after close: .* not WouldBlock"),
    (SendsIntoTheVoid, "after a socket's end every call raises", "send_nowait, after close: .*nothing was raised"),
    (ContextEndsLast, "after a socket's end every call raises", "and then close, .*, not ContextTerminated"),
    (LeavesOpen, "leaving a socket's block closes it", "SocketClosed was expected, and nothing was raised"),
    (Swallows, "and passes on what was raised", "what was raised in the block is lost"),
    (KeepsAddress, "close and unbind free the address at once", "close: AddressInUse"),
    (KeepsUnbound, "close and unbind free the address at once", "unbind: AddressInUse"),
    (DropsAtClose, "what was sent before close arrives, while linger lasts", "close: the peer got"),
]


@pytest.mark.parametrize(("kind", "clause", "detail"), BROKEN, ids=[kind.__name__ for kind, _, _ in BROKEN])
async def test_a_broken_type(kind: Any, clause: str, detail: str, autojump_clock: MockClock) -> None:
    """What is wrong is found, and told by the clause that it breaks."""
    peer, conversation = next((OWN[own] for own in OWN if issubclass(kind, own)), (trimq.Push, Conversation))
    with pytest.raises(AssertionError, match=told(clause, detail)):
        await check_socket_type(kind, peer, LossyTalk if kind is Waits else conversation)


def test_each_clause_was_broken() -> None:
    """There is no clause that cannot fail."""
    clauses = clauses_of(["receiving"], "_check_receiving") + clauses_of(["sending", "_waiting"], "_check_sending")
    clauses += clauses_of(["_life"], "_check_socket_type")
    assert len(clauses) > 30
    assert unbroken(clauses, [clause.removesuffix(" (over") for _, clause, _ in BROKEN[3:]]) == []


async def test_a_type_of_ones_own(autojump_clock: MockClock) -> None:
    """A class that is none of trimq's passes, if its conversation says how it differs."""
    await check_socket_type(Lossy, trimq.Pull, LossyTalk)
    with pytest.raises(AssertionError, match="`waits_with` of the Conversation is wrong"):
        await check_socket_type(Lossy, trimq.Pull)


async def test_a_wrong_conversation(autojump_clock: MockClock) -> None:
    """What is claimed of a type is checked, too."""
    with pytest.raises(AssertionError, match="StateError"):
        await check_socket_type(trimq.Req, trimq.Rep)
