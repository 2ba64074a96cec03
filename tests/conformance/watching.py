"""Sockets whose events are all listened to, of trimq and of libzmq, for what libzmq's programs say of its monitor.

(The libzmq that sides.py asks listens to a few events only, and there is one monitor for each socket.)
"""

from __future__ import annotations

import math
from typing import Any

import trio
from interop.harness import KINDS, Peer, PeerSocket

import trimq

NAMES = {
    0x0001: "CONNECTED", 0x0002: "CONNECT_DELAYED", 0x0004: "CONNECT_RETRIED", 0x0008: "LISTENING", 0x0020: "ACCEPTED",
    0x0080: "CLOSED", 0x0200: "DISCONNECTED", 0x0400: "MONITOR_STOPPED", 0x0800: "HANDSHAKE_FAILED_NO_DETAIL",
    0x1000: "HANDSHAKE_SUCCEEDED", 0x2000: "HANDSHAKE_FAILED_PROTOCOL",
}  # fmt: skip
STOPS = {1: "refused", 2: "handshake"}
MOMENT = 0.05


class Watched:
    """A socket, and what is told of it."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.events = None if isinstance(socket, PeerSocket) else socket.events()

    async def connect(self, address: str) -> None:
        if self.events is None:
            await self.socket.connect(address)
        else:
            self.socket.connect(address)

    async def disconnect(self, address: str) -> None:
        if self.events is None:
            await self.socket.disconnect(address)
        else:
            self.socket.disconnect(address)

    async def until(self, last: str) -> list[str]:
        """The names of the next events, up to this one; those that only trimq has are left out."""
        if self.events is None:
            return [name for name, _, _ in await self.socket.events(last)]
        names = []
        while last not in names:
            event = await self.events.receive()
            if event.code:
                names.append(NAMES[event.code])
        return names

    async def more(self) -> list[str]:
        """The next event within a moment, if any."""
        if self.events is None:
            name = await self.socket.wait_event(*NAMES.values(), seconds=MOMENT)
            return [] if name is None else [name]
        with trio.move_on_after(MOMENT):
            while True:
                event = await self.events.receive()
                if event.code:
                    return [NAMES[event.code]]
        return []

    async def nothing(self) -> None:
        """Nothing is told."""
        assert await self.more() == []


class Watching:
    """Makes such sockets, and those that they talk to, in one library."""

    def __init__(self, source: trimq.Context | Peer) -> None:
        self.source: Any = source
        self.is_trimq = isinstance(source, trimq.Context)

    async def socket(self, kind: str, **options: int) -> Watched:
        """One that is listened to; options by libzmq's names."""
        socket = await self.plain(kind, **options)
        if not self.is_trimq:
            await socket.monitor()
        return Watched(socket)

    async def plain(self, kind: str, **options: int) -> Any:
        """One that is not."""
        if not self.is_trimq:
            return await self.source.socket(kind, **options)
        translated: dict[str, Any] = {}
        for name, value in options.items():
            if name == "RECONNECT_STOP":
                translated["reconnect_stop"] = {word for bit, word in STOPS.items() if value & bit}
            else:
                known = {"RECONNECT_IVL": "reconnect_interval", "HANDSHAKE_IVL": "handshake_timeout"}
                translated[known[name]] = math.inf if value < 0 else value / 1000
        return self.source.socket(KINDS[kind], **translated)

    async def bind(self, socket: Any, address: str = "tcp://127.0.0.1:*") -> str:
        return str(socket.bind(address)) if self.is_trimq else str(await socket.bind(address))

    async def close(self, socket: Any) -> None:
        if self.is_trimq:
            socket.close()
        else:
            await socket.close()
