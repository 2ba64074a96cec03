"""Conversations: how a socket of some type and its peer are brought to talk, for the clauses that hold for every type."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Literal, cast

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from .._context import Context, open_context
from .._message import GroupMessage, RoutedMessage
from ._clauses import clause
from ._memory import MemoryTransport

__all__ = ["Call", "Clauses", "Conversation", "Subject", "Table", "begin", "text_of"]

_BUFFER = 64  # bytes on their way in a connection: few, so that it is soon full
_MOST = 2000  # messages that find room before it counts as without limit


class Conversation:
    """How a socket of the type under check talks with its peer, if there is more to it than to send and receive bytes.

    One is made for each pair of sockets. Its class says what is special about the type; a subclass overrides what it needs.
    What is sent and compared is a text: the last frame of a message, or its body.

    Args:
      socket: a socket of the type under check, which binds.
      peer: its peer, which connects.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    """Options of the socket."""
    peer_options: ClassVar[Mapping[str, Any]] = {}
    """Options of the peer."""
    waits_with: ClassVar[Mapping[str, Any] | None] = {}
    """More options, with which ``send`` waits while there is no room; None if it never waits."""
    always_sendable: ClassVar[bool] = False
    """Whether ``wait_sendable`` returns at once also where ``send`` waits, since room depends on whom a message is for."""
    in_turn: ClassVar[bool] = False
    """Whether the socket sends and receives in turn. Then each pair of sockets is asked for one message only, and a
    second concurrent ``receive`` is to raise trio.BusyResourceError."""
    to_all: ClassVar[bool] = False
    """Whether a message goes to all peers; then there may be several, all with the same options."""
    pieces: ClassVar[bool] = False
    """Whether what is sent arrives as pieces of a stream of bytes, joined or parted in any way."""

    def __init__(self, socket: Any, peer: Any) -> None:
        self.socket: Any = socket
        self.peer: Any = peer

    async def start(self) -> None:
        """Called once both are bound and connected: returns when messages pass both ways, so far as the types let them."""
        await self.socket.wait_for_peers()
        await self.peer.wait_for_peers()

    async def before_send(self) -> None:
        """Called once before the socket sends its first message, where it needs to be its turn."""

    async def before_receive(self) -> None:
        """Called once before the socket receives its first message, where it needs to be its turn."""

    def message(self, text: Any) -> Any:
        """The message that the socket has to send for its peer to get this text.

        Where messages are lists of frames the text is the last one. Where they are one frame it is the message itself, and
        where they are values with a body it is that. The text may also be a bytearray or a memoryview: it is passed on as
        it is.
        """
        return [text]

    async def peer_sends(self, text: bytes) -> None:
        """Lets the peer send a message to the socket, with this text as its last frame."""
        await self.peer.send(text)

    async def peer_receives(self) -> Any:
        """Lets the peer receive the next message of the socket; its last frame, or its body, is the text."""
        return await self.peer.receive()


def text_of(message: object) -> bytes:
    """The text of a message that somebody received, once its form is right."""
    if isinstance(message, (RoutedMessage, GroupMessage)):
        assert type(message.body) is bytes, f"a message's body is bytes: {message!r:.60}"
        return message.body
    assert type(message) is list, f"a message is a list of bytes, not {message!r:.60}"
    frames = cast("list[bytes]", message)
    assert frames, "a message has at least one frame"
    for frame in frames:
        kind: object = type(frame)
        assert kind is bytes, f"a message's frames are bytes: {message!r:.60}"
    return frames[-1]


class Table:
    """What a clause finds set: a context, a socket and its peer."""

    def __init__(self, context: Context, conversation: Conversation, endpoint: str) -> None:
        self.context = context
        self.conversation = conversation
        self.endpoint = endpoint
        self.socket: Any = conversation.socket
        self.peer: Any = conversation.peer
        self.fillers: list[bytes] = []  # texts that were sent and leave no room
        self._got: list[bytes] = []

    @asynccontextmanager
    async def calls(self) -> AsyncGenerator[trio.Nursery, None]:
        """A nursery for calls that wait, see `begin`. Those that do at its end are cancelled."""
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException:
                self.context.shutdown()  # for calls that shield themselves
                raise
            nursery.cancel_scope.cancel()

    def meet(self) -> None:
        """Binds the socket and connects the peer."""
        if not self.socket.endpoints:
            self.socket.bind(self.endpoint)
        if not self.peer.endpoints:
            self.peer.connect(self.endpoint)

    async def put(self, *texts: bytes) -> None:
        """Lets the peer send these; returns when they are there."""
        for text in texts:
            await self.conversation.peer_sends(text)
            await wait_all_tasks_blocked()  # one by one, so that a stream does not join them

    async def fill(self) -> None:
        """Sends until there is no room left in the queues, nor on the way."""
        while True:
            text = b"<filler %d>" % len(self.fillers)
            try:
                self.socket.send_nowait(self.conversation.message(text))
            except trio.WouldBlock:
                await wait_all_tasks_blocked()
                try:
                    self.socket.send_nowait(self.conversation.message(text))
                except trio.WouldBlock:
                    return
            self.fillers.append(text)
            if len(self.fillers) >= _MOST:
                raise AssertionError(
                    f"{_MOST} messages found room though nobody reads and queues hold one: either there is no limit, or "
                    "`waits_with` of the Conversation is wrong"
                )

    async def read(self) -> None:
        """Lets the peer receive all that comes, which makes room."""
        while not (self._got and self.conversation.in_turn):
            self._got.append(text_of(await self.conversation.peer_receives()))

    async def check_arrives(self, *texts: bytes) -> None:
        """The peer gets what filled the queues and then these, in order, and nothing else."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.read)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        got, expected = self._got, [*self.fillers, *texts]
        if self.conversation.pieces:
            got, expected = [b"".join(got)], [b"".join(expected)]
        assert got == expected, f"the peer got {_shown(got)}, not {_shown(expected)}"


def _shown(texts: list[bytes]) -> str:
    text = b" ".join(texts).decode("ascii", "backslashreplace")
    return f"{text[:80]} ... {text[-80:]}" if len(text) > 170 else text or "nothing"


@attrs.frozen
class Subject:
    """A socket type under check, on one transport."""

    kind: Any
    peer: Any
    conversation: type[Conversation]
    endpoint: str

    @property
    def transport(self) -> str:
        """What it is tried over, in words."""
        return "inproc" if self.endpoint.startswith("inproc") else "a network in memory"

    @property
    def texts(self) -> list[bytes]:
        """As many as a pair of sockets may exchange."""
        return [b"<%d>" % n for n in range(1 if self.conversation.in_turn else 5)]

    @asynccontextmanager
    async def apart(
        self,
        options: Mapping[str, Any] | None = None,
        peer_options: Mapping[str, Any] | None = None,
        checkpoints: Literal["amortised", "every"] = "amortised",
    ) -> AsyncGenerator[Table, None]:
        """A socket and its peer, neither bound nor connected."""
        finished = False
        network = MemoryTransport(buffer=_BUFFER)
        async with open_context(transports=[network], checkpoints=checkpoints, linger=0.0) as context:
            socket = context.socket(self.kind, **{**self.conversation.options, **(options or {})})
            peer = context.socket(self.peer, **{**self.conversation.peer_options, **(peer_options or {})})
            yield Table(context, self.conversation(socket, peer), self.endpoint)
            finished = True
        # The end of a context ends silently at its block: it may not hide that a clause was left half-way.
        assert finished, "a call raised ContextTerminated that was not expected to"

    @asynccontextmanager
    async def met(self, options: Mapping[str, Any] | None = None, **more: Any) -> AsyncGenerator[Table, None]:
        """A socket and its peer, connected."""
        async with self.apart(options, **more) as table:
            table.meet()
            await table.conversation.start()
            yield table

    @asynccontextmanager
    async def receiving(self, *texts: bytes, **more: Any) -> AsyncGenerator[Table, None]:
        """A socket whose turn it is to receive, and for which these are there."""
        async with self.met(**more) as table:
            await table.conversation.before_receive()
            await table.put(*texts)
            yield table

    @asynccontextmanager
    async def sending(self, options: Mapping[str, Any] | None = None, **more: Any) -> AsyncGenerator[Table, None]:
        """A socket whose turn it is to send, and which has room."""
        async with self.met(options, **more) as table:
            await table.conversation.before_send()
            yield table

    @asynccontextmanager
    async def full(self) -> AsyncGenerator[Table, None]:
        """A socket that has no room until `Table.meet` and `Table.check_arrives`."""
        options = {"send_hwm": 1, **(self.conversation.waits_with or {})}
        if self.conversation.in_turn:  # one message cannot fill a queue: there is nobody yet
            async with self.apart(options) as table:
                table.socket.bind(self.endpoint)
                yield table
        else:
            async with self.sending(options, peer_options={"receive_hwm": 1}) as table:
                await table.fill()
                yield table


class Call:
    """A call in a task of its own, and what became of it; see `begin`."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self.scope = trio.CancelScope()
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None
        self._call = call

    @property
    def cancelled(self) -> bool:
        """Whether it raised Cancelled."""
        return self.scope.cancelled_caught

    async def run(self) -> None:
        """Makes the call."""
        with self.scope:
            try:
                self.value = await self._call()
            except Exception as error:  # noqa: BLE001 - whatever it is, the clause will say
                self.error = error
        self.done = True

    def __str__(self) -> str:
        if not self.done:
            return "it still waits"
        if self.cancelled:
            return "it raised Cancelled"
        return f"it returned {self.value!r}" if self.error is None else f"it raised {self.error!r}"


async def begin(nursery: trio.Nursery, call: Callable[[], Awaitable[Any]]) -> Call:
    """Starts a call that is to wait.

    Raises:
      AssertionError: it does not.
    """
    begun = Call(call)
    nursery.start_soon(begun.run)
    await wait_all_tasks_blocked()
    assert not begun.done, f"it was to wait, but {begun}"
    return begun


_Check = Callable[[Subject], Awaitable[None]]


class Clauses:
    """Clauses of a contract, each a function that a `Subject` is given to."""

    def __init__(self) -> None:
        self._all: list[tuple[str, _Check]] = []

    def __call__(self, text: str) -> Callable[[_Check], _Check]:
        """Adds the function below; ``text`` is what it checks."""

        def add(check: _Check) -> _Check:
            self._all.append((text, check))
            return check

        return add

    async def check(self, subjects: Iterable[Subject]) -> None:
        """Goes through all of them.

        Raises:
          AssertionError: one is broken; the message says which, and where.
        """
        known = list(subjects)
        for text, check in self._all:
            for subject in known:
                with clause(f"{text} (over {subject.transport})"):
                    await check(subject)
