"""The verbs: how a call commits, waits its turn, and is handed what it waited for.

A type gives `Sending` its `_offer` (queue this message, or say that there is no room) and `Receiving` its
`_take` (the next message, or None). The commit is that one synchronous call: every checkpoint comes before it,
nothing awaits after (promise 1). Lines are first come, first served: whoever brings room or messages serves
the line at once, so that a call finds room or a message only if nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, Generic, NoReturn, Self, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from .._abc import PeerInfo
from .._message import Body, pack, unpack
from .._options import count
from .._remote import Remote
from .._util import Waiter, new_line, park, until
from ._socket import Socket

__all__ = ["Receiving", "Sending", "SendingMany", "wait_any"]

_LEAST, _MOST = 16, 512  # messages that send_many queues between two looks at the clock; see also `_MOST` in `_pace`
_QUICK = 250e-6  # seconds: a run that took less may be longer, one that took more is to be shorter


Sent_contra = TypeVar("Sent_contra", contravariant=True)
Received_co = TypeVar("Received_co", covariant=True)

_ONE, _WITH_PEER = 0, -1  # what a receive waits for, if it is not a number of messages


class _Turn:
    """What a send_many waits for: not that a message is queued, but that it is its turn to queue some."""

    __slots__ = ("called",)

    def __init__(self) -> None:
        self.called = False


def _no_room(item: Body) -> bool:
    """The `_offer` of a socket that has ended."""
    return False


class Sending(Socket, Generic[Sent_contra]):
    """What sockets have that can send: messages of this form."""

    # Set by the type's `_prepare`, replaced at the socket's end. It queues the message, or returns False if there is no
    # room for it now; it raises HostUnreachable or StateError if the message cannot be sent whatever the room.
    _offer: Callable[[Any], bool]

    def _sendable(self) -> bool:
        """Whether a message would find room (some message, where that depends on the message)."""
        raise NotImplementedError

    def _pack(self, value: Any) -> Any:
        return pack(value)

    def _behind(self, item: Any) -> bool:
        """Whether this message must wait for those that wait already."""
        return True

    def _prepare(self) -> None:
        """Sets up what the verbs need; before anything else of the class."""
        super()._prepare()
        self._senders: dict[Waiter, None] = new_line()

    def _in_line(self) -> bool:
        """Whether any message must wait for those that wait already."""
        return True

    def _proxy_room(self) -> int:
        """How many messages find room now, whatever is in them, and after those who wait."""
        return 0 if self._senders and self._in_line() else int(self._sendable())

    def _put_all(self, bodies: list[Body]) -> None:
        """Queues messages, no more than `_proxy_room`."""
        for body in bodies:
            if not self._offer(body):
                raise AssertionError("there was room")

    def _option_set(self, name: str) -> None:
        super()._option_set(name)
        self._serve_senders()  # nodrop, mandatory, relaxed: what waits may go on
        self._write_bell.ring()

    def _lines(self) -> Iterable[dict[Waiter, None]]:
        yield from super()._lines()
        yield self._senders

    def _stop(self) -> None:
        super()._stop()
        self._offer = _no_room
        self._credit.revoke()

    def _roomy(self, remote: Remote) -> None:
        self._serve_senders()

    def _serve_senders(self) -> None:
        """Queues for those who wait, in order, as long as there is room."""
        senders = self._senders
        while senders:
            waiter = next(iter(senders))
            if isinstance(waiter.want, _Turn):
                if not waiter.want.called and self._sendable():
                    waiter.want.called = True
                    waiter.serve()  # it stays at the head of the line until it has run
                return
            if not self._serve_sender(waiter):
                return
        self._write_bell.ring()

    def _serve_sender(self, waiter: Waiter) -> bool:
        """Queues the message of one who waits, who then goes on, also where it cannot be sent; False if there is no room."""
        try:
            if not self._offer(waiter.want):
                return False
        except OSError as error:
            del self._senders[waiter]
            waiter.fail(error)
        else:
            del self._senders[waiter]
            waiter.serve()
        return True

    @enable_ki_protection
    async def send(self, value: Sent_contra) -> None:
        """Queues a message; waits while there is no room for it (or drops, as the type says).

        Args:
          value: one frame (``bytes``, ``bytearray``, ``memoryview``), or a sequence of frames. What is mutable
            is copied now.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
          TypeError, ValueError: it is no message.

        A cancelled send has queued nothing. Returning means queued, not written: see `flush`.
        """
        item = value if type(value) is bytes else self._pack(value)
        puts = self._credit.puts or self._pace.refuse()
        await checkpoint_if_cancelled()
        put = next(puts, None)
        if put is not None:  # the short way: it is known that a message finds room, and that it is not time to yield
            put(item)
            return
        if perf_counter() >= self._slice.due:
            await self._pace.pause()
        if (self._senders and self._behind(item)) or not self._offer(item):
            self._check_open()
            await park(Waiter(item, self._pace), self._senders, self._serve_senders)

    @enable_ki_protection
    def send_nowait(self, value: Sent_contra) -> None:
        """Queues a message if there is room now.

        Raises:
          trio.WouldBlock: there is none, or others wait for it; nothing was queued.
          ContextTerminated, SocketClosed: the socket has ended.
          TypeError, ValueError: it is no message.
        """
        puts = self._credit.puts or self._pace.refuse()
        item = value if type(value) is bytes else self._pack(value)
        put = next(puts, None)
        if put is not None:
            put(item)
        elif (self._senders and self._behind(item)) or not self._offer(item):
            self._check_open()
            raise trio.WouldBlock

    async def wait_sendable(self) -> None:
        """Waits until there is room for a message, and takes none of it. A cancellation leaves no trace.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """

        def test() -> bool:
            self._check_open()
            return not (self._senders and self._in_line()) and self._sendable()

        await until(test, self._write_bell, pace=self._pace)


class SendingMany(Sending[Sent_contra]):
    """What sockets have where room does not depend on the message."""

    # How many messages may be offered now without being refused; set and replaced as `_offer` is.
    _room: Callable[[], int]

    def _sendable(self) -> bool:
        return self._room() > 0

    def _stop(self) -> None:
        super()._stop()
        self._room = lambda: 0

    def _proxy_room(self) -> int:
        return 0 if self._senders else self._room()

    def _offer_many(self, values: Iterator[Sent_contra], limit: int) -> int:
        """Queues up to ``limit`` messages, no more than there is room for; returns how many it took."""
        taken = 0
        for value in islice(values, limit):
            taken += 1
            if not self._offer(value if type(value) is bytes else self._pack(value)):
                self._refuse_many()
        return taken

    def _refuse_many(self) -> NoReturn:
        """A message was refused where there was room."""
        self._check_open()
        raise RuntimeError("the iterator given to send_many must not itself send on the socket")

    def _offer_listed(self, values: Sequence[Sent_contra]) -> int:
        """Queues messages, no more than there is room for, that nobody's code brings up one by one."""
        return self._offer_many(iter(values), len(values))

    @enable_ki_protection
    async def send_many(self, values: Iterable[Sent_contra]) -> None:
        """Queues messages, as many as the iterable gives; waits whenever there is no room.

        Room first, then ``next()``: a cancelled send_many has taken from the iterator exactly what it queued.
        Other senders may come between its messages.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
          TypeError, ValueError: the iterator gave what is no message; what came before it is queued.
        """
        iterator = iter(values)
        listed = values if type(values) in (list, tuple) else None
        sent, run = 0, _LEAST
        while True:
            await self._pace.checkpoint()
            limit = 0 if self._senders else self._room()
            if not limit:
                self._check_open()
                waiter = Waiter(_Turn(), self._pace)
                await park(waiter, self._senders, self._serve_senders)
                self._senders.pop(waiter, None)
                limit = self._room()
                if not limit:
                    continue
            limit = min(limit, run)
            start = perf_counter()
            try:
                if listed is None:
                    taken = self._offer_many(iterator, limit)
                else:
                    taken = self._offer_listed(listed[sent : sent + limit])  # type: ignore[index]
            finally:
                self._serve_senders()
            sent += taken
            # What a message costs is known only to the iterator and the fan-out.
            run = min(2 * run, _MOST) if perf_counter() - start < _QUICK else max(run // 2, _LEAST)
            if taken < limit or (listed is not None and sent >= len(listed)):  # type: ignore[arg-type]
                return  # of a list it is known that nothing follows, without room for it


class Receiving(Socket, Generic[Received_co]):
    """What sockets have that can receive: messages of this form."""

    # Set by the type's `_prepare`, replaced at the socket's end: the next message, or None if there is none; up to so
    # many messages; whether there is one. They raise StateError where it is not the socket's turn to receive.
    _take: Callable[[], Any]
    _take_many: Callable[[int], list[Any]]
    _receivable: Callable[[], bool]

    def _prepare(self) -> None:
        super()._prepare()
        self._receivers: dict[Waiter, None] = new_line()
        self._take_many = self._take_one_by_one

    def _lines(self) -> Iterable[dict[Waiter, None]]:
        yield from super()._lines()
        yield self._receivers

    def _stop(self) -> None:
        super()._stop()
        self._take = lambda: None
        self._take_many = lambda limit: []
        self._credit.revoke()

    def _take_one_by_one(self, limit: int) -> list[Any]:
        batch: list[Any] = []
        while len(batch) < limit and (body := self._take()) is not None:
            batch.append(body)
        return batch

    def _serve_receivers(self) -> None:
        """Hands messages to those who wait, in order, as long as there are any."""
        receivers = self._receivers
        while receivers:
            waiter = next(iter(receivers))
            if waiter.want > 0:
                result: Any = self._take_many(waiter.want)
            else:
                result = self._take()
                if waiter.want == _WITH_PEER and result is not None:
                    result = (result, self._peer_of_last())
            if result is None or result == []:
                return
            del receivers[waiter]
            waiter.serve(result)
        self._read_bell.ring()

    @enable_ki_protection
    async def receive(self) -> Received_co:
        """Takes the next message; waits for one if there is none.

        Returns:
          its frames, a list of its own.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.

        A cancelled receive has taken nothing.
        """
        takes = self._credit.takes or self._pace.refuse()
        await checkpoint_if_cancelled()
        take = next(takes, None)
        if take is not None:  # the short way: it is known that there is a message, and that it is not time to yield
            body = take()
        else:
            if perf_counter() >= self._slice.due:
                await self._pace.pause()
            body = self._take()
            if body is None:
                body = await self._wait_to_receive(_ONE)
        return [body] if type(body) is bytes else body  # type: ignore[return-value]

    async def _wait_to_receive(self, want: int) -> Any:
        self._check_open()
        return await park(Waiter(want, self._pace), self._receivers)

    @enable_ki_protection
    async def receive_from(self) -> tuple[Received_co, PeerInfo]:
        """Takes the next message, and says whom it came from; otherwise as `receive`.

        Returns:
          its frames and the peer, also if the connection is gone by now.
        """
        await self._pace.checkpoint()
        body = self._take()
        if body is None:
            body, peer = await self._wait_to_receive(_WITH_PEER)
        else:
            peer = self._peer_of_last()
        return [body] if isinstance(body, bytes) else body, peer  # type: ignore[return-value]

    def _source(self) -> Remote | None:
        """Whom the message taken last came from."""
        raise NotImplementedError

    def _peer_of_last(self) -> PeerInfo:
        source = self._source()
        assert source is not None
        peer = source.info or source.last_info
        assert peer is not None
        return peer

    @enable_ki_protection
    def receive_nowait(self) -> Received_co:
        """Takes the next message if there is one.

        Raises:
          trio.WouldBlock: there is none; nothing was taken.
          ContextTerminated, SocketClosed: the socket has ended.
        """
        takes = self._credit.takes or self._pace.refuse()
        take = next(takes, None)
        body = self._take() if take is None else take()
        if body is None:
            self._check_open()
            raise trio.WouldBlock
        return [body] if type(body) is bytes else body  # type: ignore[return-value]

    @enable_ki_protection
    async def receive_many(self, max: int = 1000) -> list[Received_co]:
        """Waits for a message, then takes what is there.

        Args:
          max: how many messages to take at most. Beside many other busy tasks it takes no more than its share of
            time allows.

        Returns:
          one message or more, in order.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.

        A cancelled receive_many has taken nothing.
        """
        if type(max) is not int or max < 1:
            count("max", max)
        await self._pace.checkpoint()
        most = min(max, self._pace.most)
        return unpack(self._take_many(most) or await self._wait_to_receive(most))  # type: ignore[return-value]

    async def wait_receivable(self) -> None:
        """Waits until there is a message, and takes nothing. A cancellation leaves no trace.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """

        def test() -> bool:
            self._check_open()
            return self._receivable()

        await until(test, self._read_bell, pace=self._pace)

    def __aiter__(self) -> Self:
        """Messages as they come; ends by ContextTerminated, SocketClosed or Cancelled, never by itself."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, Received_co]:
        return self.receive()


async def wait_any(*sockets: Receiving[Any]) -> list[Receiving[Any]]:
    """Waits until at least one of these sockets has a message, and takes nothing.

    Returns:
      those that have one, in the order given.

    Raises:
      ContextTerminated, SocketClosed: one of the sockets has ended.

    A cancellation leaves no trace.
    """
    if not sockets:
        raise ValueError("wait_any waits for at least one socket")

    def test() -> list[Receiving[Any]]:
        for socket in sockets:
            socket._check_open()
        return [socket for socket in sockets if socket._receivable()]

    return await until(test, *(socket._read_bell for socket in sockets), pace=sockets[0]._pace)
