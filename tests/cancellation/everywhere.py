"""What the proofs of cancellation share: two sockets of a type, messages that show if they are torn, and the networks.

The proofs are in test_everywhere.py (sending and receiving), test_everywhere_ends.py (waits, and ends) and
test_everywhere_lines.py (those who wait in line).
"""

from __future__ import annotations

import errno
import itertools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq._abc import Direct, Listener  # Direct is between a link and its stream only
from trimq.testing import MemoryStream, MemoryTransport, Trial, cancel_everywhere

BUFFER = 64  # bytes on their way: the frames of a message pass in several writes
END = 1000  # the number of the message that is sent last, to see that the sockets work on
GROUP = b"group"  # of what a Radio sends
PART = b"part"  # the first of a message's two frames


async def later(seconds: float = 1) -> None:
    """Lets all else come to rest before what comes next in a scenario.

    The clock is that of `cancel_everywhere`, which jumps: nobody waits for it. To wait until all tasks are blocked, in place
    of this, would be a tick too early: calls would find what they are to wait for, and there would be fewer moments.
    """
    await trio.sleep(seconds)


# Messages


def body(n: int) -> bytes:
    """Message number n, longer than what is on its way: a torn one would be seen."""
    return b"%d:" % n + bytes(itertools.islice(itertools.cycle(b"%d" % (n % 10)), 90))


def message(n: int) -> list[bytes]:
    """The same, and each second one with a frame before it."""
    return [PART, body(n)] if n % 2 else [body(n)]


def alone(n: int) -> bytes:
    """Message number n of a type whose messages are one frame."""
    return body(n) + b"."


def number(received: Any) -> int:
    """Which message this is, and a look whether it is all there."""
    if isinstance(received, trimq.RoutedMessage):
        received = [received.body]
    if isinstance(received, list) and received[-1].endswith(b"."):
        n = int(received[0].partition(b":")[0])
        assert received == [alone(n)], "torn, or mixed with another"
        return n
    if isinstance(received, trimq.GroupMessage):
        n = int(received.body.partition(b":")[0])
        assert received == trimq.GroupMessage(GROUP, body(n)), "torn, or mixed with another"
        return n
    n = int(received[-1].partition(b":")[0])
    assert received[-1] == body(n), "torn, or mixed with another"
    assert (received[-2:-1] == [PART]) is bool(n % 2), "frames are missing, or too many"
    return n


class Reading:
    """Finds the numbers of what a socket receives; a Stream has no messages, they are found in its bytes."""

    def __init__(self, socket: Any) -> None:
        self._raw = isinstance(socket, trimq.Stream)
        self._stream = b""

    def numbers(self, received: list[bytes]) -> Iterator[int]:
        """Those that are complete with it."""
        if not self._raw:
            yield number(received)
            return
        self._stream += received[-1]
        while b":" in self._stream:
            n = int(self._stream.partition(b":")[0])
            whole = body(n)
            assert self._stream.startswith(whole[: len(self._stream)]), "bytes are lost, or come twice"
            if len(self._stream) < len(whole):
                return
            self._stream = self._stream[len(whole) :]
            yield n


@asynccontextmanager
async def numbers(socket: Any) -> AsyncIterator[Callable[[], Awaitable[list[int]]]]:
    """Receives slowly, in a task of its own that lives on; gives what waits for the last message, and tells all numbers."""
    got: list[int] = []
    done = trio.Event()
    reading = Reading(socket)

    async def run() -> None:
        while END not in got:
            await later()
            got.extend(reading.numbers(await socket.receive()))
        done.set()

    async def all_of_them() -> list[int]:
        with trio.fail_after(100):
            await done.wait()
        return got

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield all_of_them
        nursery.cancel_scope.cancel()


# Taking


async def one(socket: Any) -> list[list[bytes]]:
    return [await socket.receive()]


async def several(socket: Any) -> list[list[bytes]]:
    messages: list[list[bytes]] = await socket.receive_many(2)
    return messages


async def by_iteration(socket: Any) -> list[list[bytes]]:
    async for received in socket:
        return [received]
    raise AssertionError("async for over a socket never ends by itself")


async def with_its_peer(socket: Any) -> list[list[bytes]]:
    received, peer = await socket.receive_from()
    assert peer in socket.peers
    return [received]


Take = Callable[[Any], Awaitable[list[list[bytes]]]]
TAKES: tuple[Take, ...] = (one, several, by_iteration, with_its_peer)
every_take = pytest.mark.parametrize("take", TAKES, ids=["receive", "receive_many", "async_for", "receive_from"])


# Sockets


PEERS: dict[Any, Any] = {
    trimq.Push: trimq.Pull,
    trimq.Pull: trimq.Push,
    trimq.Dealer: trimq.Router,
    trimq.Router: trimq.Dealer,
    trimq.Pub: trimq.Sub,
    trimq.Sub: trimq.Pub,
    trimq.XPub: trimq.XSub,
    trimq.XSub: trimq.XPub,
    trimq.Pair: trimq.Pair,
    trimq.Req: trimq.Rep,
    trimq.Rep: trimq.Req,
    trimq.Stream: trimq.Stream,
    trimq.Radio: trimq.Dish,
    trimq.Dish: trimq.Radio,
    trimq.Client: trimq.Server,
    trimq.Server: trimq.Client,
    trimq.Scatter: trimq.Gather,
    trimq.Gather: trimq.Scatter,
    trimq.Channel: trimq.Channel,
    trimq.Peer: trimq.Peer,
}
ALL = tuple(PEERS)
RECEIVERS = (
    trimq.Pull,
    trimq.Dealer,
    trimq.Router,
    trimq.Pair,
    trimq.Sub,
    trimq.XSub,
    trimq.XPub,
    trimq.Stream,
    trimq.Dish,
    trimq.Client,
    trimq.Server,
    trimq.Gather,
    trimq.Channel,
    trimq.Peer,
)
SENDERS = (
    trimq.Push,
    trimq.Dealer,
    trimq.Router,
    trimq.Pair,
    trimq.Pub,
    trimq.XPub,
    trimq.XSub,
    trimq.Stream,
    trimq.Radio,
    trimq.Client,
    trimq.Server,
    trimq.Scatter,
    trimq.Channel,
    trimq.Peer,
)


def every(*kinds: Any) -> pytest.MarkDecorator:
    """For each of these socket types."""
    return pytest.mark.parametrize("kind", kinds, ids=[kind.__name__ for kind in kinds])


@attrs.frozen
class Two:
    """A socket, and what it talks with."""

    socket: Any
    peer: Any
    to_peer: tuple[Any, ...] = ()  # what a message must begin with
    to_socket: tuple[Any, ...] = ()

    def there(self, n: int) -> Any:
        """Message number n, as the socket sends it."""
        return self._form(self.socket, self.to_peer, n) or [*self.to_peer, *self._message(n)]

    def back(self, n: int) -> Any:
        """The same, as its peer does."""
        return self._form(self.peer, self.to_socket, n) or [*self.to_socket, *self._message(n)]

    @staticmethod
    def _form(sender: Any, to: tuple[Any, ...], n: int) -> Any:
        """The message where it is no list of frames."""
        if isinstance(sender, (trimq.Server, trimq.Peer)):
            return trimq.RoutedMessage(to[0], alone(n))
        if isinstance(sender, (trimq.Client, trimq.Scatter, trimq.Channel)):
            return alone(n)
        if isinstance(sender, trimq.Radio):
            return trimq.GroupMessage(GROUP, body(n))
        return None

    def _message(self, n: int) -> list[bytes]:
        return [body(n)] if isinstance(self.socket, trimq.Stream) else message(n)


def make(context: trimq.Context, kind: Any, *, hwm: int) -> Any:
    """A socket that waits where there is no room, and drops nothing."""
    options: dict[str, Any] = {"send_hwm": hwm, "receive_hwm": hwm}
    if kind in (trimq.Pub, trimq.XPub, trimq.Radio):
        options["nodrop"] = True
    if kind is trimq.Router:
        options["mandatory"] = True
    if kind is trimq.Dealer:
        options["routing_id"] = b"dealer"
    if kind is trimq.Stream:
        options["notify"] = False
    return context.socket(kind, **options)


async def two(context: trimq.Context, kind: Any, address: str, *, hwm: int = 1, binds: bool = False) -> Two:
    """The two, connected, and knowing of each other."""
    socket, peer = make(context, kind, hwm=hwm), make(context, PEERS[kind], hwm=hwm)
    binder, other = (socket, peer) if binds else (peer, socket)
    connected = other.connect(binder.bind(address))
    for end in (socket, peer):
        if isinstance(end, (trimq.Sub, trimq.XSub)):
            end.subscribe(b"")
        if isinstance(end, trimq.Dish):
            end.join(GROUP)
    await socket.wait_for_peers()
    await peer.wait_for_peers()
    for end in (socket, peer):
        if isinstance(end, (trimq.Pub, trimq.XPub)):
            await end.wait_for_subscribers(1, b"")
        if isinstance(end, trimq.Radio):
            await end.wait_for_members(1, GROUP)
        if isinstance(end, trimq.XPub):
            await end.receive()  # the subscription
    if isinstance(socket, (trimq.Client, trimq.Server, trimq.Peer)):
        numbers = [tuple(end._by_id.remotes) if not isinstance(end, trimq.Client) else () for end in (socket, peer)]
        return Two(socket, peer, *numbers)
    if kind is trimq.Router:
        return Two(socket, peer, to_peer=(b"dealer",))
    if kind is trimq.Dealer:
        return Two(socket, peer, to_socket=(b"dealer",))
    if kind is trimq.Stream:
        # Only who connected knows an id; the other learns it from the first bytes.
        await other.send([connected.routing_id, b"?"])
        learned = (await binder.receive())[0]
        ids = ((learned,), (connected.routing_id,))
        return Two(socket, peer, *(ids if binds else ids[::-1]))
    return Two(socket, peer)


# What the log tells


class Told(logging.Handler):
    """Counts what a socket says it has dropped, and what it cannot know."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.dropped = 0
        self.doubtful = 0
        self._who = f"{kind.__name__}: "

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith(self._who):
            if found := re.search(r"(\d+) unsent messages .* dropped", text):
                self.dropped += int(found[1])
            if found := re.search(r"(\d+) messages are in doubt", text):
                self.doubtful += int(found[1])

    def explains(self, sent: Sequence[int], got: Sequence[int]) -> bool:
        """Whether what has arrived is the beginning of what was sent, and the rest is told as dropped or in doubt."""
        certain = len(sent) - self.dropped
        return list(got) == list(sent[: len(got)]) and certain - self.doubtful <= len(got) <= certain


@contextmanager
def listening(kind: Any) -> Iterator[Told]:
    """What the log says of sockets of this type."""
    told = Told(kind)
    logger = logging.getLogger("trimq")
    logger.addHandler(told)
    try:
        yield told
    finally:
        logger.removeHandler(told)


# Networks


class _DirectStream(trio.abc.HalfCloseableStream, Direct):
    """A stream in memory that can be written and read without waiting, as those of tcp and ipc can."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream

    def send_now(self, buffers: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
        way, connection = self.stream._out, self.stream._connection
        try:
            self.stream._check_send()
        except trio.BrokenResourceError as error:
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
        rest = [memoryview(buffer) for buffer in buffers if buffer]
        while rest and (room := connection.most(way, len(rest[0]))) > 0:
            connection.put(way, rest[0][:room])
            rest[0] = rest[0][room:]
            if not rest[0]:
                del rest[0]
        return rest

    async def send_buffers(self, buffers: Sequence[bytes | memoryview]) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while buffers := self.send_now(buffers):
            await self.stream._wait_for_room()

    async def receive_now(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return await self.stream._take(max_bytes)
        except trio.BrokenResourceError as error:
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


class _DirectListener(Listener):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def address(self) -> str:
        return self._listener.address

    async def accept(self) -> trio.abc.Stream:
        stream = await self._listener.accept()
        assert isinstance(stream, MemoryStream)
        return _DirectStream(stream)

    def close(self) -> None:
        self._listener.close()


class DirectTransport(MemoryTransport):
    """A network in memory whose streams are written the way those of tcp are: by whoever sends, or by the flusher."""

    def bind(self, address: str, settings: Any) -> Listener:
        return _DirectListener(super().bind(address, settings))

    async def connect(self, address: str, settings: Any, resolved: None = None) -> Any:
        return _DirectStream(await super().connect(address, settings))

    def peer_address(self, stream: trio.abc.Stream) -> str:
        assert isinstance(stream, _DirectStream)
        return super().peer_address(stream.stream)


Scenario = Callable[[Trial, str], Awaitable[None]]
RUNS: tuple[tuple[str, type[MemoryTransport], Any], ...] = (
    ("tcp://a:1", DirectTransport, "every"),
    ("tcp://a:1", MemoryTransport, "amortised"),
    ("inproc://a", MemoryTransport, "every"),
    ("inproc://a", MemoryTransport, "amortised"),
)


async def leave_nothing(trial: Trial) -> None:
    """Closes all sockets: nobody may be left that waits, and nothing of the sockets."""
    for socket in list(trial.context._sockets):
        assert not any(socket._lines()), "somebody is left in line"
        assert not any(bell._sleepers for bell in (socket._peer_bell, socket._read_bell, socket._write_bell))
        with suppress(trimq.SocketClosed):
            socket.linger = 0.0
        socket.close()
    await wait_all_tasks_blocked()
    assert not trial.context._sockets
    assert trial.context._services is not None
    # the flusher is no child; the heart, once there was a connection, is one
    assert len(trial.context._services.child_tasks) == trial.context._heart._runs


def everywhere(scenario: Scenario, *, schemes: str = "tcp inproc", pace: str = "every amortised") -> None:
    """Runs it on inproc and on two networks in memory; afterwards nothing may be left of its sockets.

    One network, and inproc, are run with ``checkpoints="every"``. The other, and inproc again, are run with those that
    programs have, where a call that need not wait does not yield: there it is another look for a cancellation that the
    commit comes after. The arguments say which of these to do, in words.
    """
    for address, network, checkpoints in RUNS:
        if address.partition(":")[0] not in schemes or checkpoints not in pace:
            continue

        async def clean(trial: Trial, address: str = address) -> None:
            await scenario(trial, address)
            await leave_nothing(trial)

        total = cancel_everywhere(
            clean,
            transports=lambda network=network: [network(buffer=BUFFER)],  # type: ignore[misc]
            meanwhile=True,
            checkpoints=checkpoints,
        )
        assert total >= 1 + (checkpoints == "every")  # its beginning; and a yield or a wait


def everywhere_over(network: Callable[[], Any], scenario: Callable[[Trial], Awaitable[None]]) -> None:
    """Runs it over a network without connections, with full checkpoints and with those of programs; nothing may be left."""

    async def clean(trial: Trial, address: str = "") -> None:
        await scenario(trial)
        await leave_nothing(trial)

    checkpoints: Any
    for checkpoints in ("every", "amortised"):
        total = cancel_everywhere(clean, transports=lambda: [network()], meanwhile=True, checkpoints=checkpoints)
        assert total >= 1 + (checkpoints == "every")


def schemes_of(kind: Any) -> str:
    """Where sockets of this type can talk."""
    return "tcp" if kind is trimq.Stream else "tcp inproc"
