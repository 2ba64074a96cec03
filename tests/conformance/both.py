"""The fixture ``side`` is a `Side`: one of the libraries that sides.py asks, and what scenarios of joins and turns need.

A test that takes it runs on trimq and, marked pyzmq, on libzmq. Addresses are real: tcp over loopback, ipc, inproc.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
from conformance.asked import errno_name
from conformance.sides import NUMBERS, Library, Mine
from interop.harness import Peer

import trimq

MOMENT = 0.03
"""Seconds in which something that must not come would have come: what does come takes well under 1 ms."""


class Side(Library):
    """One of the two libraries, for one test."""

    def __init__(self, source: trimq.Context | Peer, folder: Path) -> None:
        super().__init__(source)
        self._folder = folder

    async def socket(self, kind: str, **options: Any) -> Any:
        """A socket; options by trimq's names and with its values."""
        return await super().socket(kind, **options)

    def place(self, transport: str) -> str:
        """Something to bind, of this transport (``tcp6`` is tcp over IPv6)."""
        if transport.startswith("tcp"):
            return "tcp://[::1]:*" if transport == "tcp6" else "tcp://127.0.0.1:*"
        number = next(NUMBERS)
        return f"inproc://{number}" if transport == "inproc" else f"ipc://{self._folder}/{number}"

    async def join(self, transport: str, binder: Any, *connectors: Any) -> str:
        """Binds, and connects each in turn; at return all are peers, in this order. Returns the address."""
        place: str = await binder.bind(self.place(transport))
        for number, connector in enumerate(connectors, 1):
            await connector.connect(place)
            await binder.peers(number)
        return place

    async def within(self, socket: Any, seconds: float = MOMENT) -> list[bytes] | None:
        """A message; None if none comes in so many seconds (ZMQ_RCVTIMEO; in trimq, a cancel scope)."""
        if not isinstance(socket, Mine):
            message: list[bytes] | None = await socket.socket.receive_within(seconds)
            return message
        with trio.move_on_after(seconds):
            return await socket.receive()
        return None

    async def nothing(self, *sockets: Any) -> None:
        """Nothing has come, and nothing comes."""
        for socket in sockets:
            assert await self.within(socket) is None

    async def arrived(self, socket: Any, count: int) -> None:
        """Waits until so many messages wait to be received."""
        if isinstance(socket, Mine):
            while sum(len(remote.inbox) for remote in socket.socket._remotes) < count:
                await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(3 * MOMENT)  # libzmq tells nobody

    async def refused(self, socket: Any, message: bytes | Sequence[bytes]) -> str:
        """Sends without waiting (ZMQ_DONTWAIT); the name of the errno if that is refused, else nothing."""
        try:
            if isinstance(socket, Mine):
                return "" if await socket.offer(message) else "EAGAIN"
        except OSError as error:
            return errno_name(error.errno or 0)
        await socket.socket.set("SNDTIMEO", 0)
        try:
            return str(await socket.refuses("send", message))
        finally:
            await socket.socket.set("SNDTIMEO", 20_000)

    async def fill(self, socket: Any, cap: int) -> int:
        """Sends ``0``, ``1``, ... until there is no room; how many went."""
        if not isinstance(socket, Mine):
            return int(await socket.socket.fill(cap))
        for number in range(cap):
            if not await socket.offer(b"%d" % number):
                return number
        return cap
