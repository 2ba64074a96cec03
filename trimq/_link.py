"""Link: one live connection, a trio stream with a wire on it, that moves batches between the stream and two pipes.

Two tasks: the reader (the caller of `run`) and the writer. A peer's fault ends the link and is returned, never
raised: OSError, trio.BrokenResourceError and ProtocolError. Nothing else is caught. Who is at the other end,
what happens next and who else is connected is not known here.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from ._abc import PeerInfo, Wire
from ._errors import ProtocolError, is_own
from ._pipe import Pipe

__all__ = ["Link"]

# As the sketch of this path had them when it was measured; the benchmark has yet to settle them.
_BATCH = 1000  # messages in one write
_LARGEST_READ = 256 * 1024
_SMALLEST_READ = 8 * 1024
_SLICE = 1000  # messages decoded between two looks at the queue
_GOODBYE = 0.5  # seconds

# libzmq closes without a word where it should say ERROR (RFC 37).
_HANGS_UP = (
    "the peer closed the connection during the handshake: it may want another security mechanism, "
    "or have no use for this socket type, or have just ended"
)


class Link:
    """One connection, from its handshake to its end. The caller closes the stream."""

    def __init__(self, stream: trio.abc.Stream, wire: Wire) -> None:
        self._stream = stream
        self._wire = wire
        self._read_size = _SMALLEST_READ
        self._reply = b""  # what the reader wants written to answer the peer
        self._received = False
        self._failure: Exception | None = None

    @enable_ki_protection
    async def handshake(self) -> PeerInfo:
        """Greets the peer and completes the handshake. A cancellation leaves the stream of no use.

        Raises:
          ProtocolError: the peer broke the protocol or refused, or hung up; it was told, where that is possible.
          OSError, trio.BrokenResourceError: the connection was lost before anything came.
        """
        wire = self._wire
        try:
            await self._send([wire.begin()])
            while wire.peer is None:
                try:
                    data = await self._stream.receive_some(_SMALLEST_READ)
                except (OSError, trio.BrokenResourceError) as error:
                    raise ProtocolError(_HANGS_UP) from error
                if not data:
                    raise ProtocolError(_HANGS_UP)
                await self._send([wire.handshake_untrusted(bytes(data))])
        except ProtocolError as error:
            if error.reply:
                await self._send([error.reply])
            raise
        return wire.peer

    async def refuse(self, reason: str) -> None:
        """Tells the peer that it is not wanted, where that is possible.

        Raises:
          OSError, trio.BrokenResourceError: the connection was lost.
        """
        await self._send([self._wire.refuse(reason)])

    async def _send(self, buffers: list[bytes]) -> None:
        for buffer in buffers:
            if buffer:
                await self._stream.send_all(buffer)

    @enable_ki_protection
    async def run(self, inbox: Pipe, outbox: Pipe) -> Exception | None:
        """Moves messages until the connection is lost, or until the outbox has ended and is written.

        Returns:
          why the connection was lost; None if it was ended from here.

        A cancellation leaves in ``outbox.held`` what may or may not have been written.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, outbox, nursery.cancel_scope.cancel)
            await self._read(inbox, outbox)
            nursery.cancel_scope.cancel()
        if outbox.ended and not len(outbox):
            return None
        return self._failure or ConnectionResetError("the peer closed the connection")

    @enable_ki_protection
    async def _write(self, outbox: Pipe, done: Callable[[], None]) -> None:
        wire, queue = self._wire, outbox.queue
        send_all = self._stream.send_all
        try:
            while True:
                if self._reply:
                    reply, self._reply = self._reply, b""
                    await send_all(reply)
                elif queue:
                    for buffer in wire.encode(outbox.hold(_BATCH)):
                        await send_all(buffer)
                    outbox.taken()
                elif outbox.ended:
                    await self._say_goodbye()
                    done()
                    return
                else:
                    await outbox.wait_readable()
        except (OSError, trio.BrokenResourceError) as error:
            if is_own(error):
                raise
            # What the peer sent before it went is still to be read: the reader ends the link (as in libzmq).
            self._failure = error

    async def _say_goodbye(self) -> None:
        """Lets the peer read all that was written.

        Closing a TCP connection while the peer still sends would reset it, and take from the peer what it has not got
        yet. So the peer is told that we are done, and our reader goes on until it has closed, too.
        """
        if self._received and isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
            await trio.sleep(_GOODBYE)  # the reader ends it as soon as the peer has closed

    async def _read(self, inbox: Pipe, outbox: Pipe) -> None:
        wire = self._wire
        receive_some = self._stream.receive_some
        try:
            while True:
                room = _SLICE if outbox.ended else min(inbox.room, _SLICE)
                if room <= 0:
                    await inbox.wait_writable()
                    continue
                items = wire.decode_untrusted(room)
                if items:
                    self._received = True
                    if not outbox.ended:  # else it is read only so that the peer can go on
                        inbox.put_many(items)
                if reply := wire.take_reply():
                    self._reply = reply
                    outbox.nudge()
                if items:
                    if len(items) == room:
                        await trio.lowlevel.checkpoint()
                    continue  # what ends the connection may stand behind what was complete
                data = await receive_some(self._read_size)
                if not data:
                    return
                self._adapt(len(data))
                wire.feed(bytes(data))  # no copy: streams give bytes
        except (OSError, trio.BrokenResourceError) as error:
            if is_own(error):
                raise  # a bug of ours, in what the arrival has set off (promise 4)
            self._failure = error

    def _adapt(self, received: int) -> None:
        """Busy connections read much at once, idle ones keep no large buffers."""
        if received == self._read_size:
            self._read_size = min(4 * received, _LARGEST_READ)
        elif received < _SMALLEST_READ:
            self._read_size = _SMALLEST_READ
