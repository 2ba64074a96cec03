"""Req and Rep: the strict halves of request-reply (RFC 28)."""

from __future__ import annotations

import random
import sys
from functools import partial
from typing import Any, Unpack

import trio

from .._errors import StateError
from .._message import Body
from .._options import Option, SocketOptions, boolean
from .._remote import Intake, Remote
from ._flow import Receiving, Sending
from ._patterns import Balancing, FairQueued, Identified

__all__ = ["Rep", "Req", "ReqOptions"]


class ReqOptions(SocketOptions, total=False):
    """The options of a Req."""

    routing_id: bytes
    probe_router: bool
    correlate: bool
    relaxed: bool


def _join(envelope: list[bytes], body: Body) -> list[bytes]:
    return [*envelope, body] if isinstance(body, bytes) else [*envelope, *body]


def _body(frames: list[bytes]) -> Body:
    return frames[0] if len(frames) == 1 else frames


class Req(Identified, Balancing, Receiving):
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
        self._serve_receivers()

    def _ask(self, item: Body) -> bool:
        if self._awaiting and not self.relaxed:
            raise StateError("this Req awaits a reply: receive it before the next request, or set relaxed=True")
        envelope = [b""]
        if self.correlate:
            envelope.insert(0, self._number.to_bytes(4, sys.byteorder))
        asked = self._balancer.send(_join(envelope, item))
        if asked is None:
            return False
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

    def _left(self, remote: Remote) -> None:
        super()._left(remote)
        if self._asked is remote:
            self._asked = None


class Rep(FairQueued, Sending):
    """Receives a request, then sends its reply, in turn; peers are Req and Dealer (RFC 28, ZMQ_REP).

    Requests are taken from each peer in turn; the reply goes to the peer that asked, and is dropped and counted if that
    peer is gone or its queue is full. Out of turn, ``send`` and ``receive`` raise StateError; a second concurrent
    ``receive`` raises trio.BusyResourceError. A request without the empty frame before its body is dropped.
    """

    socket_type = "REP"
    _accepts = frozenset({"REQ", "DEALER"})

    def __init__(self, **options: Unpack[SocketOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._next: tuple[Remote, list[bytes], Body] | None = None
        self._asker: tuple[Remote, list[bytes]] | None = None  # who awaits our reply, and its envelope
        self._take = self._take_request
        self._take_many = self._take_first
        self._receivable = self._find_request
        self._offer = self._answer

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
                self._fair.source.dropped += 1
        return True

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
            asker.dropped += 1
        self._read_bell.ring()
        return True

    def _sendable(self) -> bool:
        return self._asker is not None
