"""Stream: raw bytes to and from peers that do not speak ZMTP (ZMQ_STREAM)."""

from __future__ import annotations

import math
from typing import Unpack

from .._abc import Wire
from .._errors import HostUnreachable
from .._message import Body, MessageLike
from .._options import Option, Settings, SocketOptions, boolean
from .._remote import Remote
from .._wire._raw import Raw
from ._dealer_router import Addressed

__all__ = ["Stream", "StreamOptions"]


class StreamOptions(SocketOptions, total=False):
    """The options of a Stream."""

    notify: bool


class Stream(Addressed):
    """Exchanges bytes with raw tcp (or ipc) peers; messages are the peer's routing id and a piece of its bytes (ZMQ_STREAM).

    With ``notify``, a connection and its end each are told as the id and an empty frame. Sending the id and an empty frame
    closes that connection once all before is written. ``send`` waits while the peer's queue is full, and raises
    HostUnreachable for an unknown peer. Of an endpoint that was connected, ``endpoint.routing_id`` is the id.
    """

    socket_type = "STREAM"

    notify: Option[bool] = Option(True, boolean, "Whether connections and their ends are told (ZMQ_STREAM_NOTIFY).")

    def __init__(self, **options: Unpack[StreamOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._offer = self._write

    def _wire(self, settings: Settings) -> Wire:
        return Raw()

    def _pack(self, value: MessageLike) -> Body:
        body = super()._pack(value)
        if len(body) != 2:
            raise ValueError(
                f"a Stream's message is the peer's routing id and one frame of bytes, not {len(body)} frames"
            )
        return body

    def _write(self, item: Body) -> bool:
        remote = self._by_id.remotes.get(self._addressed(item)[0])
        if remote is None:
            raise HostUnreachable(f"no peer has the routing id {item[0]!r}")
        if item[1]:
            return self._put(remote, item[1])  # type: ignore[arg-type]
        self._by_id.remove(remote)
        self._dismiss(remote, math.inf)  # after all that was sent before, whatever the socket's own linger
        return True

    def _sendable(self) -> bool:
        return True

    def _proxy_room(self) -> int:
        return min(1, self._room_of_all())

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        if self.notify:
            remote.inbox.put(b"")

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        if self.notify and not remote.outbox.ended:  # who closed it need not be told
            remote.inbox.put(b"")
