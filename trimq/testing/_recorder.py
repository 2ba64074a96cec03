"""A recorder: stands between a context and a transport, notes the bytes of each connection, and shows them as ZMTP.

It passes on what it gets and when, and never reads ahead; what bytes mean is `_dissect`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import trio
from trio.lowlevel import checkpoint_if_cancelled

from .._abc import Direct, Listener, StreamTransport
from .._context import _own_transports
from .._options import Settings
from ._dissect import dissect

__all__ = ["Recorder", "Recording", "render"]

_Buffers: TypeAlias = "Sequence[bytes | memoryview[int]]"

_SENT, _RECEIVED = ">", "<"


@attrs.define(eq=False)
class _Note:
    """Some bytes, or something else that happened."""

    time: float
    way: str  # which direction; empty for what belongs to none
    data: bytes = b""
    text: str = ""


class Recording:
    """The bytes of one connection, seen from the recorder's side. `Recorder.recordings` has them.

    Attributes:
      where: what it is: ``"connected to tcp://server:5555"``, or ``"accepted at tcp://0.0.0.0:5555 from 192.0.2.7"``.
    """

    def __init__(self, where: str, start: float, limit: float) -> None:
        self.where = where
        self._start = start
        self._limit = limit
        self._notes: list[_Note] = []
        self._kept = {_SENT: 0, _RECEIVED: 0}
        self._over: set[str] = set()  # directions of which more came than is kept

    @property
    def sent(self) -> bytes:
        """The bytes that were sent from this side, up to the recorder's limit."""
        return self._all(_SENT)

    @property
    def received(self) -> bytes:
        """The bytes that came from the peer, up to the recorder's limit."""
        return self._all(_RECEIVED)

    def _all(self, way: str) -> bytes:
        return b"".join(note.data for note in self._notes if note.way == way)

    def show(self, *, times: bool = True) -> str:
        """The connection as ZMTP, one line an event: ``>`` was sent from here, ``<`` came from the peer.

        Args:
          times: whether each line begins with seconds since the recorder's first connection.
        """
        lines: list[tuple[int, str]] = []
        for way, other in ((_SENT, _RECEIVED), (_RECEIVED, _SENT)):
            ends: list[tuple[int, int]] = []  # how many bytes there are after which note
            done = 0
            for number, note in enumerate(self._notes):
                if note.way == way and note.data:
                    done += len(note.data)
                    ends.append((done, number))
            at = 0
            for event in dissect(self._all(way), self._all(other)):
                while ends[at][0] < event.end:
                    at += 1
                lines.append((ends[at][1], f"{way} {event.text}"))
        lines += [(n, f"{note.way or ' '} {note.text}") for n, note in enumerate(self._notes) if note.text]
        lines.sort(key=lambda line: line[0])  # stable: in one note, in the order of the bytes
        if not times:
            return "\n".join(text for _, text in lines)
        return "\n".join(f"{self._notes[n].time - self._start:9.3f} {text}" for n, text in lines)

    def __str__(self) -> str:
        return self.show()

    # What the streams call

    def _begin(self, way: str, text: str = "") -> _Note:
        note = _Note(trio.current_time(), way, text=text)
        self._notes.append(note)
        return note

    def _keep(self, note: _Note, data: bytes) -> None:
        room = self._limit - self._kept[note.way]
        note.data = data if len(data) <= room else data[: int(room)]
        note.text = ""
        self._kept[note.way] += len(note.data)
        if not note.data:
            self._forget(note)
        if len(data) > room and note.way not in self._over:
            self._over.add(note.way)
            self._tell(f"more bytes, which are not kept (limit={self._limit})", note.way)

    def _forget(self, note: _Note) -> None:
        # There is nothing to say of it; it is among the last, if not the last.
        at = next(at for at in range(len(self._notes) - 1, -1, -1) if self._notes[at] is note)
        del self._notes[at]

    def _tell(self, text: str, way: str = "") -> None:
        self._notes.append(_Note(trio.current_time(), way, text=text))


class Recorder(StreamTransport):
    """Records what goes over a transport; hand it to ``open_context(transports=[...])`` in the transport's place.

    ``str(recorder)`` shows all connections as ZMTP. Both ends of a connection between two sockets of the context are
    recorded, each from its own side. The traffic is not disturbed: no call waits longer or fails for being recorded,
    and streams keep the abilities that they have (``send_eof``, and writing without waiting, as trimq's own do).

    Args:
      transport: the transport to record; or the scheme of one of trimq's own, as ``"tcp"`` or ``"ipc"``.
      limit: bytes to keep of each direction of a connection; what comes after them is not shown.

    Raises:
      ValueError: trimq has no transport of that scheme whose connections are streams.
    """

    def __init__(self, transport: StreamTransport | str = "tcp", *, limit: float = math.inf) -> None:
        if isinstance(transport, str):
            own = {one.scheme: one for one in _own_transports() if isinstance(one, StreamTransport)}
            if transport not in own:
                raise ValueError(f"trimq's own transports with streams are {', '.join(own)}, and not {transport!r}")
            transport = own[transport]
        if not limit >= 0:
            raise ValueError(f"limit is a number of bytes, 0 or more, not {limit}")
        self._transport = transport
        self._limit = limit
        self._recordings: list[Recording] = []
        self._start: float | None = None

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """The connections so far, those that have ended included, oldest first."""
        return tuple(self._recordings)

    def show(self, *, times: bool = True) -> str:
        """All connections as ZMTP, each under a line that says what it is; see `Recording.show`."""
        return "\n".join(f"{one.where}\n{one.show(times=times)}".rstrip() for one in self._recordings)

    def __str__(self) -> str:
        return self.show()

    # The transport's face

    @property
    def scheme(self) -> str:
        """The transport's."""
        return self._transport.scheme

    def check(self, address: str, *, bind: bool) -> None:
        """The transport's."""
        self._transport.check(address, bind=bind)

    def check_system(self) -> None:
        """The transport's."""
        self._transport.check_system()

    def dial_address(self, bound: str) -> str:
        """The transport's."""
        return self._transport.dial_address(bound)

    async def resolve(self, address: str, settings: Settings) -> Any:
        """The transport's."""
        return await self._transport.resolve(address, settings)

    async def connect(self, address: str, settings: Settings, resolved: Any = None) -> trio.abc.Stream:
        """Connects as the transport does, and records the connection."""
        stream = await self._transport.connect(address, settings, resolved)
        return self._record(stream, f"connected to {self.scheme}://{address}")

    def bind(self, address: str, settings: Settings) -> Listener:
        """Binds as the transport does, and records the connections that come in."""
        return _RecordedListener(self._transport.bind(address, settings), self)

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """The transport's."""
        assert isinstance(stream, _Recorded)
        return self._transport.peer_address(stream._stream)

    def _record(self, stream: trio.abc.Stream, where: str) -> trio.abc.Stream:
        if self._start is None:
            self._start = trio.current_time()
        recording = Recording(where, self._start, self._limit)
        self._recordings.append(recording)
        return _wrap(stream, recording)


def render(bytes_there: bytes = b"", bytes_back: bytes = b"") -> str:
    """Bytes from elsewhere (a packet capture, a failing test) as ZMTP, one line an event; wherever they are cut.

    It never raises: what is no ZMTP is shown in hexadecimal, with what was expected.

    Args:
      bytes_there: one direction from its first byte on, shown with ``>``.
      bytes_back: the other, shown with ``<`` below it: bytes do not say who spoke when.
    """
    lines = [f"{_SENT} {event.text}" for event in dissect(bytes_there, bytes_back)]
    lines += [f"{_RECEIVED} {event.text}" for event in dissect(bytes_back, bytes_there)]
    return "\n".join(lines)


class _RecordedListener(Listener):
    def __init__(self, listener: Listener, recorder: Recorder) -> None:
        self._listener = listener
        self._recorder = recorder

    @property
    def address(self) -> str:
        return self._listener.address

    async def accept(self) -> trio.abc.Stream:
        stream = await self._listener.accept()
        peer = self._recorder._transport.peer_address(stream)
        return self._recorder._record(stream, f"accepted at {self.address}" + (f" from {peer}" if peer else ""))

    def close(self) -> None:
        self._listener.close()


# A stream keeps the faces it has: a link looks whether it can say that nothing follows, and write without waiting.


def _wrap(stream: trio.abc.Stream, recording: Recording) -> _Recorded:
    halves, direct = isinstance(stream, trio.abc.HalfCloseableStream), isinstance(stream, Direct)
    kind = (_Recorded, _RecordedDirect, _RecordedHalves, _RecordedBoth)[2 * halves + direct]
    return kind(stream, recording)


class _Recorded(trio.abc.Stream):
    def __init__(self, stream: Any, recording: Recording) -> None:
        self._stream = stream
        self._recording = recording
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview[int]) -> None:
        snapshot = bytes(data)
        note = self._writes(len(snapshot))  # where it began: an answer may come before it is over
        try:
            await self._stream.send_all(data)
        except BaseException as error:
            self._in_doubt(note, len(snapshot), error)
            raise
        self._recording._keep(note, snapshot)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data: bytes | bytearray = await self._stream.receive_some(max_bytes)
        except (OSError, trio.BrokenResourceError) as error:
            self._recording._tell(f"lost: {_describe(error)}", _RECEIVED)
            raise
        self._received(data)
        return data

    def _received(self, data: bytes | bytearray) -> None:
        if data:
            self._recording._keep(self._recording._begin(_RECEIVED), bytes(data))
        else:
            self._recording._tell("end: nothing will follow", _RECEIVED)

    def _writes(self, size: int) -> _Note:
        return self._recording._begin(_SENT, f"{size} bytes are being written")

    @staticmethod
    def _in_doubt(note: _Note, size: int, error: BaseException) -> None:
        note.text = f"{size} bytes, of which all, some or none were written: {_describe(error)}"

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._recording._tell("closed", _SENT)
        await self._stream.aclose()


class _RecordedHalves(_Recorded, trio.abc.HalfCloseableStream):
    async def send_eof(self) -> None:
        await self._stream.send_eof()
        self._recording._tell("end: nothing will follow", _SENT)


class _RecordedDirect(_Recorded, Direct):
    def send_now(self, buffers: _Buffers) -> _Buffers:
        try:
            left: _Buffers = self._stream.send_now(buffers)
        except OSError as error:
            self._in_doubt(self._recording._begin(_SENT), sum(map(len, buffers)), error)
            raise
        data = b"".join(buffers)
        if written := len(data) - sum(map(len, left)):
            self._recording._keep(self._recording._begin(_SENT), data[:written])
        return left

    async def send_buffers(self, buffers: _Buffers) -> None:
        await checkpoint_if_cancelled()
        left = self.send_now(buffers)  # noted exactly, though the rest has to wait
        if left:
            data = b"".join(left)
            note = self._writes(len(data))
            try:
                await self._stream.send_buffers(left)
            except BaseException as error:
                self._in_doubt(note, len(data), error)
                raise
            self._recording._keep(note, data)

    async def receive_now(self, max_bytes: int) -> bytes:
        try:
            data: bytes = await self._stream.receive_now(max_bytes)
        except OSError as error:
            self._recording._tell(f"lost: {_describe(error)}", _RECEIVED)
            raise
        self._received(data)
        return data


class _RecordedBoth(_RecordedHalves, _RecordedDirect):
    pass


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else type(error).__name__
