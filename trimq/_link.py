"""Link: one live connection, a trio stream with a wire on it, that moves batches between the stream and two pipes.

Two tasks: the reader (the caller of `run`) and the writer. A peer's fault ends the link and is returned, never
raised: OSError, trio.BrokenResourceError and ProtocolError. Nothing else is caught. Who is at the other end,
what happens next and who else is connected is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter

import trio
from trio.lowlevel import current_clock, enable_ki_protection

from ._abc import Direct, PeerInfo, Wire
from ._errors import ProtocolError, is_own
from ._flusher import Flusher
from ._heart import Echoes, Heart, Pulse
from ._options import Settings
from ._pipe import Pipe

__all__ = ["Link"]

# What was measured to settle these is in docs/explanation/performance.
_BATCH, _SMALLEST_BATCH = 1000, 64  # messages in one write, as long as they are
_LARGEST_WRITE = 1024 * 1024  # bytes
_ENOUGH = 256  # messages: more of them cost no less each when they are written together
_SMALLEST_READ, _LARGEST_READ = 8 * 1024, 1024 * 1024  # bytes; the largest
_SHARED_READ = 64 * 1024  # where other connections are busy, too
_LITTLE = 2 * 1024  # bytes: what is in so few holds nobody up
_LARGE = 32 * 1024  # bytes that a frame lacks, and that are worth a read of their own,
_SMALLEST_PIECE, _LARGEST_PIECE = 256 * 1024, 4 * 1024 * 1024  # of up to so many
_HEADER = 9  # bytes: what follows such a frame
_STRETCH = 512 * 1024  # bytes of large frames that are read before others may run
_TURN = 500e-6  # seconds that the writer goes on before others may run
_GOODBYE = 0.5  # seconds

# libzmq closes without a word where it should say ERROR (RFC 37).
_HANGS_UP = (
    "the peer closed the connection during the handshake: it may want another security mechanism, "
    "have no use for this socket type, not let in this address, hold as many connections as it takes, or have just ended"
)


class Link:
    """One connection, from its handshake to its end. The caller closes the stream."""

    def __init__(self, stream: trio.abc.Stream, wire: Wire, flusher: Flusher, heart: Heart, settings: Settings) -> None:
        self._stream = stream
        self._direct = stream if isinstance(stream, Direct) else None
        self._wire = wire
        self._flusher = flusher
        self._heart = heart
        self._settings = settings
        self._parked: trio.lowlevel.Task | None = None  # the writer of a direct stream
        self._outbox: Pipe | None = None  # while it runs
        self._scope: trio.CancelScope | None = None
        self._batch = _SMALLEST_BATCH
        self._rest: Sequence[bytes | memoryview] = ()  # of what was written directly
        self._read_size = _SMALLEST_READ
        self._large = False  # what was read last belonged to a large frame
        self._piece = _SMALLEST_PIECE
        self._stretch = 0  # bytes read since others could run
        self._reply = b""  # what is to be written between messages: an answer to the peer, and these
        self._pings = b""
        self._echoes: Echoes | None = None
        self._received = False
        self._failure: Exception | None = None
        self._bug: Exception | None = None

    @enable_ki_protection
    async def handshake(self) -> PeerInfo:
        """Greets the peer and completes the handshake. A cancellation leaves the stream of no use.

        Raises:
          ProtocolError: the peer broke the protocol or refused, or hung up; it was told, where that is possible.
          OSError, trio.BrokenResourceError: the connection was lost before anything came.
        """
        wire = self._wire
        try:
            # Nothing is not sent: it would be an error to a peer that has gone already, of whom there is something to read.
            if opening := wire.begin():
                await self._send([opening])
            while wire.peer is None:
                try:
                    data = await self._stream.receive_some(_SMALLEST_READ)
                except (OSError, trio.BrokenResourceError) as error:
                    raise ProtocolError(_HANGS_UP, hung_up=True) from error
                if not data:
                    raise ProtocolError(_HANGS_UP, hung_up=True)
                if answer := wire.handshake_untrusted(bytes(data)):
                    await self._send([answer])
        except ProtocolError as error:
            if error.reply:
                with suppress(OSError, trio.BrokenResourceError):  # it has gone already
                    await self._send([error.reply])
            raise
        return wire.peer

    async def refuse(self, reason: str) -> None:
        """Tells the peer that it is not wanted, where that is possible.

        Raises:
          OSError, trio.BrokenResourceError: the connection was lost.
        """
        await self._send([self._wire.refuse(reason)])

    async def _send(self, buffers: Sequence[bytes | memoryview]) -> None:
        if self._direct is not None:
            await self._direct.send_buffers(buffers)
        else:
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
        wire, settings = self._wire, self._settings
        inbox.bytes += wire.early
        pings = wire.heartbeats or (settings.libzmq and wire.ping() != b"")  # libzmq does not ask for the version
        pulse = Pulse(self._heart, self, settings, trio.current_time(), pings=pings)
        try:
            async with trio.open_nursery() as nursery:
                self._outbox, self._scope = outbox, nursery.cancel_scope
                nursery.start_soon(self._write, outbox, nursery.cancel_scope.cancel)
                await self._read(inbox, outbox, pulse)
                nursery.cancel_scope.cancel()
        finally:
            outbox.leave()
            pulse.stop()
            self._outbox = self._scope = None
            if self._echoes is not None:
                self._wire.on_pong = None
                self._echoes.end()
        if outbox.ended and not len(outbox):
            return None
        return self._failure or ConnectionResetError("the peer closed the connection")

    @enable_ki_protection
    async def _write(self, outbox: Pipe, done: Callable[[], None]) -> None:
        queue = outbox.queue
        start = perf_counter()
        try:
            while True:
                if self._reply:
                    reply, self._reply, self._pings = self._reply, b"", b""
                    await self._send([reply])
                elif queue:
                    await self._send(self._encode(outbox))
                    outbox.taken()
                    if perf_counter() - start > _TURN:  # the system takes it as fast as it is put
                        await trio.lowlevel.checkpoint()
                        start = perf_counter()
                elif outbox.ended:
                    await self._say_goodbye()
                    done()
                    return
                else:
                    await self._park(outbox)
                    start = perf_counter()
                    if self._bug is not None:
                        raise self._bug
                    if self._failure is not None:
                        return
                    if self._rest:
                        rest, self._rest = self._rest, ()
                        await self._send(rest)
                        outbox.taken()
        except (OSError, trio.BrokenResourceError) as error:
            if is_own(error):
                raise
            # What the peer sent before it went is still to be read: the reader ends the link (as in libzmq).
            self._failure = error

    def _encode(self, outbox: Pipe) -> list[bytes]:
        """A batch that waits, as buffers; how many messages are in it follows their size."""
        batch = self._batch
        buffers = self._wire.encode(outbox.hold(batch))
        size = sum(map(len, buffers))
        outbox.bytes += size
        if size > _LARGEST_WRITE:
            self._batch = max(1, batch // 2)
        elif batch < _BATCH:
            self._batch = min(_BATCH, 2 * batch)
        return buffers

    # A stream that can be written without waiting is written by whoever puts something, or by the flusher, while the
    # writer stays parked; the plain path, above, is for all other streams, and for what the system does not take.

    async def _park(self, outbox: Pipe) -> None:
        if self._direct is None:
            await outbox.wait_readable()
            return
        self._parked = trio.lowlevel.current_task()
        outbox.on_readable = self._written_to
        outbox.ask()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            outbox.reader_waits = False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @enable_ki_protection
    def _written_to(self) -> None:
        # A call that has just waited, and has nothing else to do, most likely sends one message: that goes out at once.
        pace = self._flusher.pace
        if pace.fresh:
            pace.fresh = False
            self.flush()
        else:
            self._flusher.add(self)

    def much(self) -> bool:
        """Whether a batch waits."""
        return self._outbox is not None and len(self._outbox.queue) >= min(self._batch, _ENOUGH)

    @enable_ki_protection
    def flush(self) -> None:
        """Writes what waits, as far as that can be done at once; the rest is the writer's, and so is all else."""
        task, outbox = self._parked, self._outbox
        if task is None:
            return  # the link has ended, or its writer is at work
        assert self._direct is not None
        assert outbox is not None
        if outbox.queue and not self._reply:
            try:
                self._rest = self._direct.send_now(self._encode(outbox))
            except OSError as error:
                self._failure = error
            except Exception as error:  # noqa: BLE001 - a bug, or no memory: no caller's doing, so the writer raises it
                self._bug = error
            else:
                if not self._rest:
                    outbox.taken()
                    if outbox.queue:
                        self._flusher.add(self)  # the others first
                        return
                    if not outbox.ended:
                        outbox.ask()
                        return
        self._parked = None
        trio.lowlevel.reschedule(task)

    # Signs of life. When it is time for them is the pulse's to say.

    @property
    def peer_pings(self) -> bool:
        """Whether the peer has sent PINGs on this connection."""
        return self._wire.peer_pings

    def ping(self) -> None:
        """Sends a PING as soon as anything can be written; one that still waits is enough."""
        if not self._pings:
            self._ask(self._wire.ping(self._settings.heartbeat_ttl))

    def expire(self, error: TimeoutError) -> None:
        """Ends the connection. What is being written is then in doubt, as whenever a connection is lost."""
        assert self._scope is not None
        self._failure = self._failure or error
        self._scope.cancel()

    def _ask(self, ping: bytes) -> None:
        assert self._outbox is not None
        self._pings += ping
        self._reply += ping
        self._outbox.nudge()

    @enable_ki_protection
    async def confirm(self) -> bool:
        """Waits until the peer has read all that is queued now: sends a PING behind it, and waits for the answer.

        Returns:
          True when that has come; False if the connection has ended before, or if the peer is not bound to answer.

        A cancellation leaves no trace, but for a PING that may still go out.
        """
        await self._flusher.pace.checkpoint()
        outbox = self._outbox
        if outbox is None or not self._wire.heartbeats:
            return False
        if self._echoes is None:
            self._echoes = Echoes(outbox, self._flusher.pace)
            self._wire.on_pong = self._echoes.heard
        if not await self._echoes.written():
            return False
        context = self._echoes.new_context()
        self._ask(self._wire.ping(0.0, context))
        return await self._echoes.answer(context)

    async def _say_goodbye(self) -> None:
        """Lets the peer read all that was written.

        Closing a TCP connection while the peer still sends would reset it, and take from the peer what it has not got
        yet. So the peer is told that we are done, and our reader goes on until it has closed, too. (A Unix socket that
        is closed at the other end is at its end for libzmq at once, if it stands at its high-water mark.)
        """
        hangs_up = self._direct is not None and self._direct.hangs_up
        if (self._received or hangs_up) and isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
            await trio.sleep(_GOODBYE)  # the reader ends it as soon as the peer has closed

    async def _read(self, inbox: Pipe, outbox: Pipe, pulse: Pulse) -> None:
        wire, pace, now = self._wire, self._flusher.pace, current_clock().current_time
        try:
            while True:
                room = pace.portion if outbox.ended else min(inbox.room, pace.portion)
                if room <= 0:
                    pulse.hold(now())
                    await inbox.wait_writable()
                    pulse.resume(now())
                    continue
                items = wire.decode_untrusted(room)
                if items:
                    self._received = True
                    if len(items) > 1:
                        pace.more = True
                    if not outbox.ended:  # else it is read only so that the peer can go on
                        inbox.put_many(items)
                if reply := wire.take_reply():
                    self._reply = self._pings + reply  # in the order in which they were made
                    pulse.announced(wire.peer_ttl)
                    outbox.nudge()
                if items or wire.unfinished:
                    pace.delivered(len(items))
                    if len(items) == room or wire.unfinished:
                        await pace.pause_link()
                    if not wire.exhausted:
                        continue  # what ends the connection may stand behind what was complete
                data = await self._receive()
                if not data:
                    return
                pulse.heard = now()
                inbox.bytes += len(data)
                wire.feed(bytes(data))  # no copy: streams give bytes
        except (OSError, trio.BrokenResourceError) as error:
            if is_own(error):
                raise  # a bug of ours, in what the arrival has set off (promise 4)
            self._failure = error

    async def _receive(self) -> bytes | bytearray:
        """What the peer has sent, or sends next; nothing at the end of the stream."""
        missing = self._wire.missing if self._direct is not None else 0
        if missing >= _LARGE or self._large:
            data: bytes | bytearray = await self._read_large(missing)
            self._large = missing > 0
            return data
        data = await self._stream.receive_some(self._read_size)
        self._adapt(len(data))
        pace = self._flusher.pace
        if len(data) > _LITTLE and pace.enough:
            await pace.pause_link()
        return data

    async def _read_large(self, missing: int) -> bytes:
        """Reads what a large frame lacks and nothing else, in one piece if it is there, for then it need not be copied;
        and after it no more than the header of what is most likely another.
        """
        assert self._direct is not None
        size = min(missing, self._piece) or _HEADER
        data = await self._direct.receive_now(size)
        if len(data) == self._piece:
            self._piece = min(4 * self._piece, _LARGEST_PIECE)
        self._stretch += max(len(data), _SMALLEST_READ)
        if self._stretch > _STRETCH:
            self._stretch = 0
            await trio.lowlevel.checkpoint()
        return data

    def _most_read(self) -> int:
        room = self._flusher.pace.room_for_links
        return _LARGEST_READ if room > 0.25 else _SHARED_READ if room > 0.05 else _SMALLEST_READ

    def _adapt(self, received: int) -> None:
        """Busy connections read much at once, idle ones keep no large buffers."""
        if received == self._read_size:
            self._read_size = min(4 * received, self._most_read())
        elif received < _SMALLEST_READ:
            self._read_size = _SMALLEST_READ
