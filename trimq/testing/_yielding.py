"""Streams that yield in every call, for trio's checks of streams: trimq asks only that calls are cancel points."""

from __future__ import annotations

import trio
from trio.lowlevel import cancel_shielded_checkpoint

__all__ = ["yielding"]


def yielding(stream: trio.abc.Stream) -> trio.abc.Stream:
    """The stream, with the schedule points that trio's checks ask of every call; half-closeable if it is."""
    return _YieldingHalves(stream) if isinstance(stream, trio.abc.HalfCloseableStream) else _Yielding(stream)


class _Yielding(trio.abc.Stream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        finally:
            await cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        try:
            await self._stream.wait_send_all_might_not_block()
        finally:
            await cancel_shielded_checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            return await self._stream.receive_some(max_bytes)
        finally:
            await cancel_shielded_checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _YieldingHalves(_Yielding, trio.abc.HalfCloseableStream):
    async def send_eof(self) -> None:
        assert isinstance(self._stream, trio.abc.HalfCloseableStream)
        await self._stream.send_eof()
