"""Proxy: hands messages on between two sockets, whole, both ways (zmq_proxy, zmq_proxy_steerable).

It is one task that moves batches from queue to queue: only what finds room is taken, and what was taken is queued in the
same step, so that there is never anything in its hand to lose.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, TypeGuard, cast

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ._message import Body, GroupMessage
from ._sockets._flow import Receiving, Sending
from ._sockets._request_reply import Rep
from ._sockets._socket import Socket
from ._util import Bell, until

__all__ = ["ProxyHandle", "ProxyStatistics", "ProxyTraffic", "proxy"]

_TURN = 500  # messages moved one way before the other has its turn


@attrs.frozen
class ProxyTraffic:
    """What has passed one side of a proxy. Bytes are those of frames, without anything that was around them."""

    received: int = 0
    """Messages taken from this side."""
    received_bytes: int = 0
    sent: int = 0
    """Messages queued at this side."""
    sent_bytes: int = 0


@attrs.frozen
class ProxyStatistics:
    """What has passed a proxy; where one socket is both sides, it is told as the frontend's."""

    frontend: ProxyTraffic
    backend: ProxyTraffic


class ProxyHandle:
    """Steers a running `proxy`: what ``await nursery.start(trimq.proxy, frontend, backend)`` gives."""

    def __init__(self, frontend: Socket, backend: Socket) -> None:
        self._paused = False
        self._terminated = False
        self._bell = Bell()
        self._traffic: dict[Socket, list[int]] = {frontend: [0, 0, 0, 0], backend: [0, 0, 0, 0]}
        self._sides = (frontend, backend)

    @property
    def paused(self) -> bool:
        """Whether nothing is handed on at present."""
        return self._paused

    def pause(self) -> None:
        """From now on messages wait where they are, until `resume`. Idempotent."""
        self._paused = True

    @enable_ki_protection
    def resume(self) -> None:
        """Goes on after `pause`. Idempotent."""
        self._paused = False
        self._bell.ring()

    def statistics(self) -> ProxyStatistics:
        """What has passed so far."""
        frontend, backend = self._sides
        nothing = [0, 0, 0, 0]
        return ProxyStatistics(
            ProxyTraffic(*self._traffic[frontend]),
            ProxyTraffic(*(nothing if backend is frontend else self._traffic[backend])),
        )


async def proxy(
    frontend: Socket,
    backend: Socket,
    *,
    capture: Socket | None = None,
    control: Socket | None = None,
    task_status: trio.TaskStatus[ProxyHandle] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Hands on messages between two sockets, both ways as far as their types can, until it is cancelled.

    The usual pairs are Router and Dealer, XSub and XPub, Pull and Push. While one side has no room, messages wait in the
    other's queues. Both may be the same socket, which then gets its own messages back.

    Args:
      frontend, backend: two sockets of one run. They stay the caller's to close.
      capture: gets a copy of each message (a Pub, Push, Dealer or Pair). While it has no room, nothing is handed on.
      control: a socket on which ``PAUSE``, ``RESUME``, ``STATISTICS`` and ``TERMINATE`` arrive as messages
        (zmq_proxy_steerable). STATISTICS is answered with eight frames of eight bytes, native integers: messages and
        bytes received and sent by the frontend, then by the backend. A Rep answers everything else with an empty
        message. An answer for which there is no room is dropped.
      task_status: ``nursery.start`` gives a `ProxyHandle`.

    Returns:
      after TERMINATE; otherwise never.

    Raises:
      ContextTerminated, SocketClosed: one of the sockets has ended.
      HostUnreachable: a Router with ``mandatory``, or a Stream, was to send to a peer that is gone; that message is lost.
      TypeError: no messages can pass between these two, or be captured by that one.

    A cancellation loses nothing: each message is in the queue that it came to, or has been queued at the other side.
    """
    routes = list(_routes(frontend, backend, capture))
    if control is not None and not _receives(control):
        raise TypeError(f"control is a socket that receives, not a {type(control).__name__}")
    if control is not None and control._form != "frames":
        raise TypeError(f"control is a socket that can answer with several frames, not a {type(control).__name__}")
    sockets = {socket for socket in (frontend, backend, capture, control) if socket is not None}
    handle = ProxyHandle(frontend, backend)
    bells = [handle._bell]
    for socket in sockets:
        bells += [socket._read_bell, socket._write_bell]

    def test() -> bool:
        for socket in sockets:
            socket._check_open()
        if control is not None and control._receivable():
            return True
        # All of them look, since each leaves word where it has to wait.
        return not handle._paused and sum(route.look() for route in routes) > 0

    task_status.started(handle)
    while not handle._terminated:
        await until(test, *bells, pace=frontend._pace)
        if control is not None:
            _obey(handle, control)
        if not handle._paused:
            for route in routes:
                route.move(handle)


def _routes(frontend: Socket, backend: Socket, capture: Socket | None) -> Iterator[_Route]:
    if capture is not None and not _sends(capture):
        raise TypeError(f"capture is a socket that sends, not a {type(capture).__name__}")
    if capture is not None and any(not _takes(capture, side) for side in (frontend, backend)):
        raise TypeError(f"a {type(capture).__name__} cannot send what these sockets receive")
    found = False
    for source, to in dict.fromkeys([(frontend, backend), (backend, frontend)]):
        if _receives(source) and _sends(to) and _takes(to, source):
            found = True
            yield _Route(source, to, capture)
    if not found:
        raise TypeError(
            f"nothing can pass between a {type(frontend).__name__} and a {type(backend).__name__}: "
            "one has to receive, and the other to send, messages of the same form"
        )


def _receives(socket: object) -> TypeGuard[Receiving[Any]]:
    return isinstance(socket, Receiving)


def _sends(socket: object) -> TypeGuard[Sending[Any]]:
    return isinstance(socket, Sending)


def _takes(to: Socket, source: Socket) -> bool:
    """Whether what the one receives is what the other sends. What is routed by number has its number here only."""
    form = source._form
    return (form == to._form and form != "routed") or (form == "frame" and to._form == "frames")


def _size(body: Any) -> int:
    if isinstance(body, GroupMessage):
        return len(body.group) + len(body.body)
    return len(body) if isinstance(body, bytes) else sum(map(len, body))


class _Route:
    """One way."""

    def __init__(self, source: Receiving[Any], to: Sending[Any], capture: Sending[Any] | None) -> None:
        self._source = source
        self._to = to
        self._capture = capture
        # A Rep that is to answer itself has room as soon as it has taken a request, and not before.
        self._echoes = isinstance(source, Rep) and source == to
        self._room = 0

    def look(self) -> bool:
        """Whether there is something to move, and room for it."""
        self._room = 0
        if self._source._receivable():
            self._room = 1 if self._echoes else self._to._proxy_room()
            if self._capture is not None:
                self._room = min(self._room, self._capture._proxy_room())
        return self._room > 0

    @enable_ki_protection
    def move(self, handle: ProxyHandle) -> None:
        """Moves what there is and finds room."""
        if not self.look():
            return
        bodies = self._source._take_many(min(self._room, self._source._pace.most, _TURN))
        if self._capture is not None:
            self._capture._put_all(
                [list(cast("list[bytes]", body)) if isinstance(body, list) else body for body in bodies]
            )
        size = sum(map(len if set(map(type, bodies)) == {bytes} else _size, bodies))
        self._to._put_all(bodies)
        received, sent = handle._traffic[self._source], handle._traffic[self._to]
        received[0] += len(bodies)
        received[1] += size
        sent[2] += len(bodies)
        sent[3] += size


@enable_ki_protection
def _obey(handle: ProxyHandle, control: Receiving[Any]) -> None:
    while control._receivable():
        command: Body | None = control._take()
        answer: list[bytes] | None = [b""] if isinstance(control, Rep) else None
        if command == b"PAUSE":
            handle.pause()
        elif command == b"RESUME":
            handle.resume()
        elif command == b"TERMINATE":
            handle._terminated = True
        elif command == b"STATISTICS":
            told = handle.statistics()
            answer = [
                struct.pack("=Q", count) for side in (told.frontend, told.backend) for count in attrs.astuple(side)
            ]
        if answer is not None and isinstance(control, Sending):
            try:
                control.send_nowait(answer)
            except trio.WouldBlock:
                pass
        if handle._terminated:
            return
