"""Peers that are bytes on a real socket, for the tests of faults: what they send, how they die, how it is waited for.

No code under test plays a peer here.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from wire.helpers import F, G, command, frame, greeting, prop, ready

import trimq

DEADLINE = 20.0  # seconds for a whole test; one that needs them has failed

__all__ = [
    "DEADLINE",
    "STAGES",
    "F",
    "G",
    "RawPeer",
    "Victim",
    "address_of",
    "command",
    "eventually",
    "frame",
    "greeting",
    "hello",
    "listen",
    "prop",
    "ready",
    "running",
]  # fmt: skip


def hello(socket_type: bytes, *more: bytes) -> bytes:
    """A peer's greeting and READY."""
    return G + ready(prop(b"Socket-Type", socket_type), *more)


R = ready(prop(b"Socket-Type", b"PUSH"))

STAGES = {
    "connected": b"",
    "first byte": G[:1],
    "signature": G[:10],
    "revision": G[:11],
    "mid-greeting": G[:40],
    "greeting": G,
    "READY's header": G + R[:2],
    "mid-READY": G + R[:12],
    "READY": G + R,
    "header": G + R + F + b"\x02\0\0\0",
    "frame": G + R + F + b"\x00\x05ab",
    "message": G + R + F + b"\x01\x02ab",
    "large frame": G + R + F + b"\x02" + (1 << 20).to_bytes(8, "big") + bytes(100_000),
}
"""What a PUSH has sent when it dies. From READY on it is a peer; after that its message ``ok`` is complete."""


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[trimq.Context]:
    """A context, and a deadline for it and all that is done in it."""
    with trio.fail_after(DEADLINE):
        async with trimq.open_context(**{"linger": 0.0, "reconnect_interval": 0.01, **options}) as context:
            yield context


async def eventually(test: Callable[[], object]) -> None:
    """Waits for a level that nothing rings a bell for; the test's deadline ends it."""
    while not test():
        await trio.sleep(0.001)


def address_of(endpoint: object) -> tuple[str, int]:
    """Host and port of a tcp endpoint."""
    host, _, port = str(endpoint).removeprefix("tcp://").rpartition(":")
    return host, int(port)


def listen() -> socket.socket:
    """A listening socket at a free port."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


class RawPeer:
    """One connection, whose bytes the test decides."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = bytearray()

    @classmethod
    async def connect(cls, endpoint: object, data: bytes = b"") -> RawPeer:
        """Connects to a bound socket, and sends this."""
        peer = cls(await trio.open_tcp_stream(*address_of(endpoint)))
        await peer.send(data)
        return peer

    @classmethod
    async def accept(cls, listener: socket.socket, data: bytes = b"") -> RawPeer:
        """Accepts whoever connects, and sends this."""
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)
            else:
                break
        peer = cls(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        await peer.send(data)
        return peer

    async def send(self, data: bytes) -> bool:
        """Sends; False if the other side has ended the connection meanwhile."""
        try:
            if data:
                await self.stream.send_all(data)
        except trio.BrokenResourceError:
            return False
        return True

    async def read(self, count: int) -> bytes:
        """Reads exactly so many bytes."""
        while len(self.received) < count:
            data = await self.stream.receive_some()
            assert data, f"the connection ended after {bytes(self.received)!r}"
            self.received += data
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def greeted(self) -> None:
        """Reads the other side's greeting and READY."""
        await self.read(64)
        _, size = await self.read(2)
        assert (await self.read(size)).startswith(b"\x05READY")

    async def ended(self) -> None:
        """Waits until the other side ends the connection."""
        try:
            while data := await self.stream.receive_some():
                self.received += data
        except trio.BrokenResourceError:
            pass

    async def fin(self) -> None:
        """Closes as close(2) does."""
        await self.stream.aclose()

    def rst(self) -> None:
        """Resets the connection."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


_VICTIM = """
import socket, sys
where, port, data = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.stdin.readline())
if where == "connect":
    sock = socket.create_connection(("127.0.0.1", port))
else:
    listener = socket.create_server(("127.0.0.1", port))
    print("listens", flush=True)
    sock, _ = listener.accept()
sock.sendall(data)
print("sent", flush=True)
while True:
    sock.recv(1)  # slowly: most of what comes stays where it is
    sys.stdin.readline()
"""


class Victim:
    """A process that connects or listens, sends some bytes, and waits to be killed."""

    def __init__(self, where: str, port: int, data: bytes) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _VICTIM, where, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(data.hex().encode() + b"\n")
        self._process.stdin.flush()

    async def said(self) -> str:
        """Its next line."""
        assert self._process.stdout is not None
        return (await trio.to_thread.run_sync(self._process.stdout.readline)).decode().strip()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
