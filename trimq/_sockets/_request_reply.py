"""Req and Rep: the strict halves of request-reply (RFC 28)."""

from __future__ import annotations

import math
import random
import sys
from functools import partial
from typing import Any, Unpack

import trio
from trio.lowlevel import enable_ki_protection

from .._errors import StateError
from .._message import Body, Message, MessageLike
from .._options import Option, SocketOptions, boolean, interval, whole
from .._remote import Intake, Remote
from ._flow import Receiving, Sending
from ._notices import Greeting
from ._patterns import Balancing, FairQueued, Identified

__all__ = ["Rep", "RepOptions", "Req", "ReqOptions"]


class ReqOptions(SocketOptions, total=False):
    """The options of a Req."""

    routing_id: bytes
    probe_router: bool
    correlate: bool
    relaxed: bool
    hello_message: bytes


class RepOptions(SocketOptions, total=False):
    """The options of a Rep."""

    hello_message: bytes


def _join(envelope: list[bytes], body: Body) -> list[bytes]:
    return [*envelope, body] if isinstance(body, bytes) else [*envelope, *body]


def _body(frames: list[bytes]) -> Body:
    return frames[0] if len(frames) == 1 else frames


class Req(Greeting, Identified, Balancing[MessageLike], Receiving[Message]):
    """Sends a request, then receives its reply, in turn; peers are Rep and Router (RFC 28, ZMQ_REQ).

    Requests go round-robin; the reply is taken from the peer that was asked, anything else is dropped. ``send`` waits
    while no peer has room. Sending twice or receiving twice in a row raises StateError, a second concurrent ``receive``
    trio.BusyResourceError. With ``relaxed`` a request may be sent while a reply is awaited, which gives up the old one; use
    ``correlate`` with it. If the peer that was asked goes away, nobody asks again for you.
    """

    socket_type = "REQ"
    _accepts = frozenset({"REP", "ROUTER"})
    _connects_once = True

    correlate: Option[bool] = Option(
        False, boolean, "Whether requests carry a number that their replies must have (ZMQ_REQ_CORRELATE)."
    )
    relaxed: Option[bool] = Option(
        False, boolean, "Whether a new request may be sent before the reply (ZMQ_REQ_RELAXED)."
    )

    def __init__(self, **options: Unpack[ReqOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._awaiting = False
        self._asked: Remote | None = None  # None: whoever answers, the peer asked is gone
        self._envelope = [b""]  # what the reply must begin with
        self._reply: Body | None = None
        self._replier: Remote | None = None  # whom the last reply came from
        self._requesting = False
        self._request: Body | None = None  # as it was queued, envelope and all
        self._retry: trio.CancelScope | None = None
        self._number = random.getrandbits(32)
        self._offer = self._ask
        self._take = self._take_reply
        self._take_many = self._take_first
        self._receivable = lambda: self._reply is not None

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        remote.inbox = Intake(partial(self._answered, remote))

    def _answered(self, remote: Remote, item: Any) -> None:
        expected = self._envelope
        if not self._awaiting or self._reply is not None or (self._asked or remote) is not remote:
            return
        if isinstance(item, bytes) or len(item) <= len(expected) or item[: len(expected)] != expected:
            return
        self._reply = _body(item[len(expected) :])
        self._replier = remote
        self._serve_receivers()

    def _source(self) -> Remote | None:
        return self._replier

    def _ask(self, item: Body) -> bool:
        if self._awaiting and not self.relaxed:
            raise StateError("this Req awaits a reply: receive it before the next request, or set relaxed=True")
        envelope = [b""]
        if self.correlate or self._requesting:
            envelope.insert(0, self._number.to_bytes(4, sys.byteorder))
        request = _join(envelope, item)
        asked = self._balancer.send(request)
        if asked is None:
            return False
        self._request = request
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._awaiting, self._asked, self._envelope, self._reply = True, asked, envelope, None
        return True

    def _sendable(self) -> bool:
        return (self.relaxed or not self._awaiting) and self._balancer.room() > 0

    def _take_reply(self) -> Body | None:
        if not self._awaiting:
            raise StateError("this Req has asked nothing: send a request before receiving a reply")
        reply = self._reply
        if reply is not None:
            self._awaiting, self._asked, self._reply = False, None, None
            self._write_bell.ring()
        return reply

    def _take_first(self, limit: int) -> list[Body]:
        reply = self._take_reply()
        return [] if reply is None else [reply]

    async def _wait_to_receive(self, want: int) -> Any:
        if self._receivers:
            raise trio.BusyResourceError("another task is receiving this reply already")
        return await super()._wait_to_receive(want)

    @enable_ki_protection
    async def request(self, message: MessageLike, *, retries: int = 0, retry_after: float = math.inf) -> Message:
        """Sends a request and waits for its reply: `send` and `receive` in one that cannot lock up.

        The request carries a number, as with ``correlate``, so that no reply to an earlier one is taken for its own.
        How long to wait is the caller's to say, with a cancel scope.

        Args:
          message: the request.
          retries: how often it is sent again, to the next peer, if there is no reply. A server may then get it twice.
          retry_after: seconds without a reply after which it is sent again; at once if the peer that was asked is lost.

        Returns:
          the reply's frames.

        Raises:
          StateError: a request of `send` awaits its reply, and ``relaxed`` is off.
          trio.BusyResourceError: another task is requesting, or receiving, with this socket.
          ContextTerminated, SocketClosed: the socket has ended.
          TypeError, ValueError: it is no message; ``retry_after`` is not given with retries, or is no time.

        A cancelled request leaves a socket that can send the next one at once. The request may have reached a peer;
        if it was not written yet, it is taken back. Its reply is dropped when it comes.
        """
        count = whole("retries", retries)
        patience = interval("retry_after", retry_after)
        if count and patience == math.inf:
            raise ValueError("retries need retry_after: after how many seconds without a reply to ask again")
        item = self._pack(message)
        await self._pace.checkpoint()
        if self._requesting or self._receivers:
            raise trio.BusyResourceError("another task awaits a reply on this socket already")
        self._check_open()
        if self._awaiting and not self.relaxed:
            raise StateError("this Req awaits a reply: receive it before the next request, or set relaxed=True")
        self._requesting = True
        asked: Body | None = None
        try:
            for attempt in range(count + 1):
                self._give_up()
                await self.send(item)
                asked = self._request
                with trio.CancelScope() as scope:
                    if attempt < count:
                        scope.deadline = trio.current_time() + patience
                        self._retry = scope
                    return await self.receive()
                self._retry = None
            raise AssertionError("the last attempt has no deadline")
        finally:
            self._retry = None
            self._requesting = False
            if self._request is asked:  # else it is another task's
                self._give_up()

    def _give_up(self) -> None:
        """Awaits no reply any more; a request that nobody has got is taken back."""
        asked, request = self._asked, self._request
        self._awaiting, self._asked, self._reply, self._request = False, None, None, None
        if asked is not None and request is not None and asked.partner is None:
            asked.outbox.take_back(request)
        self._write_bell.ring()

    def _left(self, remote: Remote) -> None:
        super()._left(remote)
        self._lost(remote)

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        if (
            remote is self._asked
            and self._retry is not None
            and not any(self._request is item for item in remote.outbox.queue)
        ):
            self._retry.cancel()

    def _lost(self, remote: Remote) -> None:
        if self._asked is remote:
            self._asked = None
            if self._retry is not None:
                self._retry.cancel()


class Rep(Greeting, FairQueued[Message], Sending[MessageLike]):
    """Receives a request, then sends its reply, in turn; peers are Req and Dealer (RFC 28, ZMQ_REP).

    Requests are taken from each peer in turn; the reply goes to the peer that asked, and is dropped and counted if that
    peer is gone or its queue is full. Out of turn, ``send`` and ``receive`` raise StateError; a second concurrent
    ``receive`` raises trio.BusyResourceError. A request without the empty frame before its body is dropped.
    """

    socket_type = "REP"
    _accepts = frozenset({"REQ", "DEALER"})

    def __init__(self, **options: Unpack[RepOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._next: tuple[Remote, list[bytes], Body] | None = None
        self._asker: tuple[Remote, list[bytes]] | None = None  # who awaits our reply, and its envelope
        self._take = self._take_request
        self._take_many = self._take_first
        self._receivable = self._find_request
        self._offer = self._answer

    def _can_be_greeted(self, remote: Remote) -> bool:
        # A Req cannot receive what is no reply; libzmq's ends the connection, for good.
        return remote.info is not None and remote.info.socket_type != "REQ"

    def _find_request(self) -> bool:
        """Whether there is a request; drops what is none. While a reply is due there is none to receive."""
        if self._asker is not None:
            return False
        while self._next is None:
            item = self._fair.take()
            if item is None:
                return False
            if isinstance(item, list) and b"" in item[:-1]:
                end = item.index(b"") + 1
                assert self._fair.source is not None
                self._next = (self._fair.source, item[:end], _body(item[end:]))
            elif self._fair.source is not None:
                self._fair.source.drop()
        return True

    def _source(self) -> Remote | None:
        return None if self._asker is None else self._asker[0]

    def _take_request(self) -> Body | None:
        if self._asker is not None:
            raise StateError("this Rep owes a reply: send it before receiving the next request")
        if not self._find_request():
            return None
        assert self._next is not None
        asker, envelope, body = self._next
        self._next, self._asker = None, (asker, envelope)
        self._write_bell.ring()
        return body

    def _take_first(self, limit: int) -> list[Body]:
        body = self._take_request()
        return [] if body is None else [body]

    async def _wait_to_receive(self, want: int) -> Any:
        if self._receivers:
            raise trio.BusyResourceError("another task is receiving the next request already")
        return await super()._wait_to_receive(want)

    def _answer(self, item: Body) -> bool:
        if self._asker is None:
            raise StateError("this Rep owes nobody a reply: receive a request before sending")
        (asker, envelope), self._asker = self._asker, None
        if asker.attached and asker.outbox.room > 0:
            asker.outbox.put(_join(envelope, item))
        else:
            asker.drop()
        self._read_bell.ring()
        return True

    def _sendable(self) -> bool:
        return self._asker is not None
