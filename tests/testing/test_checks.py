"""The checks of transports and mechanisms: trimq's own pass them, and each clause is broken by something that it names.

What is broken here is a transport in memory, or inproc, or a mechanism, that is right but for one thing.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from testing.clauses import clauses_of, told, unbroken
from trio.testing import MockClock, memory_stream_pair

from trimq import AddressInUse, ProtocolError
from trimq._mechanisms._null import Null
from trimq._transports._inproc import InprocTransport
from trimq._transports._ipc import IpcTransport
from trimq._transports._tcp import TcpTransport
from trimq._wire._commands import error_reason_untrusted, metadata, metadata_untrusted, split_untrusted
from trimq.abc import Handshake, Listener, Mechanism, Settings, Site
from trimq.testing import (
    MemoryStream,
    MemoryTransport,
    check_join_transport,
    check_mechanism,
    check_transport,
)

# trimq's own


@pytest.mark.parametrize(("address", "wrong"), [("127.0.0.1:*", "127.0.0.1:port"), ("[::1]:*", "[::1]")])
async def test_tcp(address: str, wrong: str) -> None:
    """tcp does what `trimq.abc.StreamTransport` promises."""
    await check_transport(TcpTransport, address, wrong_address=wrong)


async def test_ipc() -> None:
    """And so does ipc. (What ``*`` stands for is gone with its listener, and cannot be bound again.)"""
    with tempfile.TemporaryDirectory() as folder:
        await check_transport(IpcTransport, f"{folder}/socket", wrong_address="x" * 200)


@pytest.mark.parametrize(
    "options", [{}, {"buffer": 1000}, {"torn": True}, {"latency": 0.1}, {"bandwidth": 1e6}], ids=str
)
async def test_in_memory(options: dict[str, Any], autojump_clock: MockClock) -> None:
    """The network in memory is one, however it is set: what is tested on it holds for tcp."""
    await check_transport(lambda: MemoryTransport(**options), "host:*", wrong_address="host")


async def test_inproc(autojump_clock: MockClock) -> None:
    """inproc does what `trimq.abc.JoinTransport` promises."""
    await check_join_transport(InprocTransport, "name")


def test_null() -> None:
    """NULL does what `trimq.abc.Mechanism` promises."""
    check_mechanism(Null, Null)


# Broken transports


class WrapsListener(Listener):
    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    @property
    def address(self) -> str:
        return self.listener.address

    async def accept(self) -> trio.abc.Stream:
        return await self.listener.accept()

    def close(self) -> None:
        self.listener.close()


class Wraps(MemoryTransport):
    """A network in memory with listeners of another kind."""

    kind: Callable[[Listener], Listener] = WrapsListener

    def bind(self, address: str, settings: Settings) -> Listener:
        return type(self).kind(super().bind(address, settings))


class WrapsStream(trio.abc.Stream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


class WrapsStreams(MemoryTransport):
    """A network in memory whose connecting ends are of another kind."""

    stream: Callable[[trio.abc.Stream], trio.abc.Stream] = WrapsStream

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> Any:
        return type(self).stream(await super().connect(address, settings))

    def peer_address(self, stream: Any) -> str:
        return super().peer_address(getattr(stream, "stream", stream))


class SchemeWithColon(MemoryTransport):
    @property
    def scheme(self) -> str:
        return "tcp://"


class ChecksNothing(MemoryTransport):
    def check(self, address: str, *, bind: bool) -> None:
        pass


class RefusesWithValueError(MemoryTransport):
    def check(self, address: str, *, bind: bool) -> None:
        if ":" not in address:
            raise ValueError(address)


class RefusesAll(MemoryTransport):
    def check(self, address: str, *, bind: bool) -> None:
        raise ValueError(address)


class ForgetsScheme(Wraps):
    class Bare(WrapsListener):
        @property
        def address(self) -> str:
            return self.listener.address.partition("://")[2]

    kind = Bare


class KeepsWildcard(Wraps):
    class Wild(WrapsListener):
        @property
        def address(self) -> str:
            return "tcp://host:*"

    kind = Wild


class BindsTwice(MemoryTransport):
    def bind(self, address: str, settings: Settings) -> Listener:
        self._net.listeners.pop(address, None)
        return super().bind(address, settings)


class UnbindsWhenRefused(MemoryTransport):
    def bind(self, address: str, settings: Settings) -> Listener:
        try:
            return super().bind(address, settings)
        except AddressInUse:
            del self._net.listeners[address]
            raise


class AcceptsGarbage(Wraps):
    class Garbage(WrapsListener):
        async def accept(self) -> Any:
            await self.listener.accept()
            return None

    kind = Garbage


class AltersBytes(WrapsStreams):
    class Upper(WrapsStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self.stream.send_all(bytes(data).upper())

    stream = Upper


class AltersMuch(WrapsStreams):
    """It loses count after a while."""

    class Worn(WrapsStream):
        sent = 0

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            self.sent += len(data)
            await self.stream.send_all(data if self.sent < 1_500_000 else bytes(len(data)))

    stream = Worn


class NeverEnds(WrapsStreams):
    class Endless(WrapsStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            return await self.stream.receive_some(max_bytes) or await trio.sleep_forever()

    stream = Endless


class NoConflict(WrapsStreams):
    """Two tasks may receive at a time, which trio's contract of streams refuses."""

    class Locked(WrapsStream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            super().__init__(stream)
            self.lock = trio.Lock()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            async with self.lock:
                return await self.stream.receive_some(max_bytes)

    stream = Locked


class AddressInBytes(MemoryTransport):
    def peer_address(self, stream: trio.abc.Stream) -> Any:
        return b"host"


class OneAddress(MemoryTransport):
    """Whatever is bound, its connections go to what was bound first."""

    first = ""

    def bind(self, address: str, settings: Settings) -> Listener:
        listener = super().bind(address, settings)
        self.first = self.first or listener.address.partition("://")[2]
        return listener

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> MemoryStream:
        return await super().connect(self.first, settings)


class CloseWakesNobody(Wraps):
    class Asleep(WrapsListener):
        async def accept(self) -> trio.abc.Stream:
            while True:
                try:
                    return await self.listener.accept()
                except trio.ClosedResourceError:
                    await trio.sleep_forever()

    kind = Asleep


class CloseRaisesTheSecondTime(Wraps):
    class Once(WrapsListener):
        closed = False

        def close(self) -> None:
            if self.closed:
                raise OSError("closed already")
            self.closed = True
            self.listener.close()

    kind = Once


class AcceptEndsWithNone(Wraps):
    class Ends(WrapsListener):
        async def accept(self) -> Any:
            try:
                return await self.listener.accept()
            except trio.ClosedResourceError:
                raise trio.EndOfChannel from None

    kind = Ends


class KeepsAddress(MemoryTransport):
    """A name that was bound once is never free again."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def bind(self, address: str, settings: Settings) -> Listener:
        if address in self.used:
            raise AddressInUse(address)
        listener = super().bind(address, settings)
        self.used.add(listener.address.partition("://")[2])
        return listener


class CloseCutsAll(Wraps):
    net: Any

    def bind(self, address: str, settings: Settings) -> Listener:
        listener, drop_all = super().bind(address, settings), self.drop_all

        class Cuts(WrapsListener):
            def close(self) -> None:
                self.listener.close()
                drop_all()

        return Cuts(listener)


class StillConnects(MemoryTransport):
    """A connect to nobody gives a stream to nowhere."""

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> Any:
        try:
            return await super().connect(address, settings)
        except OSError:
            return memory_stream_pair()[0]


class LeavesInLine(Wraps):
    """Who was in line when the listener closed is left there."""

    class Leaves(WrapsListener):
        def close(self) -> None:
            listener: Any = self.listener
            with suppress(trio.WouldBlock, trio.ClosedResourceError):
                self.kept = listener._receive.receive_nowait()
            listener.close()

    kind = Leaves


class NoCancelPoint(MemoryTransport):
    async def connect(self, address: str, settings: Settings, resolved: None = None) -> MemoryStream:
        with trio.CancelScope(shield=True):
            stream = await super().connect(address, settings)
        return stream  # noqa: RET504 - mypy believes that the scope may swallow the return


class LeaksConnection(MemoryTransport):
    """A schedule point between the connection and its return."""

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> MemoryStream:
        stream = await super().connect(address, settings)
        await trio.lowlevel.checkpoint()
        return stream


class LosesAccepted(Wraps):
    class Loses(WrapsListener):
        async def accept(self) -> trio.abc.Stream:
            stream = await self.listener.accept()
            await trio.lowlevel.checkpoint()
            return stream

    kind = Loses


class AcceptsWhenCancelled(Wraps):
    class Shielded(WrapsListener):
        async def accept(self) -> trio.abc.Stream:
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                return await self.listener.accept()
            raise OSError("nobody came")

    kind = Shielded


class NoSockets(WrapsStreams):
    """A stream in which whatever looks like ZMTP is broken."""

    class Deaf(WrapsStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self.stream.send_all(bytes(data).replace(b"\xff\0\0\0\0\0\0\0", b"\0" * 8))

    stream = Deaf


BROKEN: list[tuple[Any, str, str]] = [
    (SchemeWithColon, "the scheme is what stands before ://", "'tcp://'"),
    (RefusesAll, "check accepts the address to bind", "ValueError"),
    (ChecksNothing, "check refuses an address that is wrong with InvalidEndpoint", "nothing was raised"),
    (RefusesWithValueError, "check refuses an address that is wrong with InvalidEndpoint", "not ValueError"),
    (ForgetsScheme, "a listener's address is the resolved endpoint", ""),
    (KeepsWildcard, "a listener's address is the resolved endpoint", "InvalidEndpoint"),
    (BindsTwice, "to bind what is bound is an AddressInUse", "nothing was raised"),
    (UnbindsWhenRefused, "and the first listener stays", "ConnectionRefusedError"),
    (AcceptsGarbage, "to bind what is bound is an AddressInUse", "accept gave no trio stream, but None"),
    (AltersBytes, "connect and accept give both ends of one connection", ""),
    (AddressInBytes, "peer_address is text", "b'host'"),
    (NeverEnds, "a stream that is closed ends at the other side", "it still waits after 10 s"),
    (OneAddress, "one transport binds several addresses, each with its own connections", ""),
    (NoConflict, "its streams pass trio's checks of streams", ""),
    (AltersMuch, "a stream carries 2 MB unaltered", ""),
    (CloseWakesNobody, "close wakes accept with ClosedResourceError", "still waits"),
    (AcceptEndsWithNone, "close wakes accept with ClosedResourceError", "not EndOfChannel"),
    (CloseRaisesTheSecondTime, "close is idempotent", "OSError: closed already"),
    (KeepsAddress, "after close the address is free at once", "AddressInUse"),
    (CloseCutsAll, "connections outlive their listener", ""),
    (StillConnects, "to connect where nobody listens any more is an OSError", "nothing was raised"),
    (LeavesInLine, "a connection that was in line when its listener closed ends", "it still waits"),
    (NoCancelPoint, "connect is a cancel point", "it did not raise Cancelled"),
    (LeaksConnection, "a connect that is cancelled (at its moment", r"leaves no connection"),
    (AcceptsWhenCancelled, "an accept that is cancelled took no connection", ""),
    (LosesAccepted, "an accept that is cancelled in the tick of a connection has it, or the next one has", ""),
    (NoSockets, "sockets over the transport exchange messages", ""),
]


@pytest.mark.parametrize(("transport", "clause", "detail"), BROKEN, ids=[kind.__name__ for kind, _, _ in BROKEN])
async def test_a_broken_transport(transport: Any, clause: str, detail: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=told(clause, detail)):
        await check_transport(transport, "host:*", wrong_address="host")


async def test_what_is_shared_can_be_bound_twice(autojump_clock: MockClock) -> None:
    """For a transport whose addresses several may bind the check asks that they may."""
    with pytest.raises(AssertionError, match=told("or right if it is shared", "AddressInUse: ")):
        await check_transport(MemoryTransport, "host:*", shared=True)


def test_each_clause_of_transports_was_broken() -> None:
    """There is no clause that cannot fail."""
    assert unbroken(clauses_of(["clause"], "_check_transport"), [clause for _, clause, _ in BROKEN]) == []


# Broken transports that join


class NoScheme(InprocTransport):
    @property
    def scheme(self) -> str:
        return ""


class ChecksBindOnly(InprocTransport):
    def check(self, address: str, *, bind: bool) -> None:
        if not bind:
            raise ValueError(address)


class LastFirst(InprocTransport):
    def bind(self, address: str, site: Site) -> None:
        self._waiting.get(address, []).reverse()
        super().bind(address, site)


class MeetsTwice(InprocTransport):
    def connect(self, address: str, site: Site) -> None:
        super().connect(address, site)
        super().connect(address, site)


class NoSocketsJoin(InprocTransport):
    """What a socket's site has, and another has not, stops it."""

    def connect(self, address: str, site: Site) -> None:
        if not hasattr(site, "close"):
            super().connect(address, site)


class ForgetsWhoWaits(InprocTransport):
    def connect(self, address: str, site: Site) -> None:
        if address in self._binders:
            super().connect(address, site)


class TakesOver(InprocTransport):
    def bind(self, address: str, site: Site) -> None:
        self._binders.pop(address, None)
        super().bind(address, site)


class LosesBinder(InprocTransport):
    def bind(self, address: str, site: Site) -> None:
        try:
            super().bind(address, site)
        except AddressInUse:
            del self._binders[address]
            raise


class ReleasesOnce(InprocTransport):
    def release(self, address: str, site: Site) -> None:
        if self._binders.get(address) is not site and site not in self._waiting.get(address, ()):
            raise KeyError(address)
        super().release(address, site)


class ReleasesWhoever(InprocTransport):
    def release(self, address: str, site: Site) -> None:
        self._binders.pop(address, None)
        super().release(address, site)


class NeverFree(InprocTransport):
    def release(self, address: str, site: Site) -> None:
        if self._binders.get(address) is not site:
            super().release(address, site)


class StillWaits(InprocTransport):
    def release(self, address: str, site: Site) -> None:
        if self._binders.get(address) is site:
            super().release(address, site)


class AllStopWaiting(InprocTransport):
    def release(self, address: str, site: Site) -> None:
        super().release(address, site)
        self._waiting.pop(address, None)


BROKEN_JOIN: list[tuple[Any, str, str]] = [
    (NoScheme, "check accepts the address for both verbs, and the scheme is a name", "it is empty"),
    (ChecksBindOnly, "check accepts the address for both verbs", "ValueError"),
    (LastFirst, "who connects meets the binder, whichever comes first, in order and once", "3 of 3 met"),
    (ForgetsWhoWaits, "who connects meets the binder", "2 of 3 met"),
    (MeetsTwice, "who connects meets the binder", "6 of 3 met"),
    (TakesOver, "a name that is taken is an AddressInUse", "nothing was raised"),
    (LosesBinder, "a name that is taken is an AddressInUse, and its binder stays", ""),
    (ReleasesOnce, "release frees the name at once, and is idempotent", "KeyError"),
    (NeverFree, "release frees the name at once", "AddressInUse"),
    (ReleasesWhoever, "release frees the name at once, and is idempotent", "the new binder is not met"),
    (StillWaits, "who has been released while waiting meets nobody", ""),
    (AllStopWaiting, "who has been released while waiting meets nobody", ""),
    (NoSocketsJoin, "sockets over the transport exchange messages", "it still waits after 10 s"),
]


@pytest.mark.parametrize(
    ("transport", "clause", "detail"), BROKEN_JOIN, ids=[kind.__name__ for kind, *_ in BROKEN_JOIN]
)
async def test_a_broken_join(transport: Any, clause: str, detail: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=told(clause, detail)):
        await check_join_transport(transport, "name")


def test_each_clause_of_joins_was_broken() -> None:
    """There is no clause that cannot fail."""
    assert unbroken(clauses_of(["clause"], "_check_join_transport"), [clause for _, clause, _ in BROKEN_JOIN]) == []


# A mechanism of two steps, and what can be wrong with one


class Toy(Mechanism):
    """The client says HELLO, the server WELCOME with its properties; then the client says INITIATE with its own."""

    def __init__(self, server: bool = False) -> None:
        self.server = server

    @property
    def name(self) -> str:
        return "TOY"

    @property
    def as_server(self) -> bool:
        return self.server

    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        return ToyHandshake(self.server, properties)


class ToyHandshake(Handshake):
    def __init__(self, server: bool, properties: Mapping[str, bytes]) -> None:
        self.properties = properties
        self.expected = b"HELLO" if server else b"WELCOME"
        self.server = server
        self.metadata: Mapping[str, bytes] | None = None

    def begin(self) -> Sequence[bytes]:
        return [] if self.server else [b"\x05HELLO"]

    def receive_untrusted(self, command: bytes) -> Sequence[bytes]:
        name, data = split_untrusted(command)
        if name == b"ERROR":
            raise ProtocolError(f"refused: {error_reason_untrusted(data)}")
        if name != self.expected:
            raise ProtocolError(f"{self.expected!r} was expected")
        if name == b"HELLO":
            if data:
                raise ProtocolError("a HELLO has no data")
            self.expected = b"INITIATE"
            return [b"\x07WELCOME" + metadata(self.properties)]
        self.metadata = metadata_untrusted(data)
        self.expected = b""
        return [] if self.server else [b"\x08INITIATE" + metadata(self.properties)]

    @property
    def peer_metadata(self) -> Mapping[str, bytes] | None:
        return self.metadata


def test_a_mechanism_of_two_steps() -> None:
    """A mechanism of one's own passes, on both sides."""
    check_mechanism(Toy, lambda: Toy(server=True))


class LowerCase(Toy):
    name = "Toy"


class LongName(Toy):
    name = "T" * 21


class OwnName(Toy):
    @property
    def name(self) -> str:
        return "SERVER" if self.server else "CLIENT"


class BothServe(Toy):
    as_server = True


class OneForAll(Toy):
    """All connections share a handshake."""

    def __init__(self, server: bool = False) -> None:
        super().__init__(server)
        self.shared: Handshake | None = None

    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        if self.shared is None or self.shared.peer_metadata is not None:
            self.shared = super().handshake(properties)
        return self.shared


class ChangesProperties(Toy):
    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        assert isinstance(properties, dict)
        properties["X-more"] = b""
        return super().handshake(properties)


def toy(**methods: Any) -> type[Toy]:
    """A mechanism with other methods in its handshake."""
    kind = type("Handshake", (ToyHandshake,), methods)
    return type("Broken", (Toy,), {"handshake": lambda self, properties: kind(self.server, properties)})


def receives(alter: Callable[[ToyHandshake, bytes], bytes | Sequence[bytes]]) -> type[Toy]:
    """A mechanism that looks at a command in its own way first: takes another for it, or answers."""

    def receive_untrusted(self: ToyHandshake, command: bytes) -> Sequence[bytes]:
        altered = alter(self, command)
        return ToyHandshake.receive_untrusted(self, altered) if isinstance(altered, bytes) else altered

    return toy(receive_untrusted=receive_untrusted)


def raises_index_error(end: ToyHandshake, command: bytes) -> bytes:
    command[0]
    return command


def raises_key_error(end: ToyHandshake, command: bytes) -> bytes:
    return {b"HELLO": command, b"WELCOME": command, b"INITIATE": command, b"ERROR": command}[
        split_untrusted(command)[0]
    ]


def ignores_unknown(end: ToyHandshake, command: bytes) -> bytes | Sequence[bytes]:
    return [] if b"TRIMQ-X" in command else command


def ignores_refusals(end: ToyHandshake, command: bytes) -> bytes | Sequence[bytes]:
    return [] if command.startswith(b"\x05ERROR") else command


def ignores_case(end: ToyHandshake, command: bytes) -> bytes:
    return command[: 1 + command[0]].upper() + command[1 + command[0] :] if command else command


def takes_hello_again(end: ToyHandshake, command: bytes) -> bytes | Sequence[bytes]:
    return [] if command == b"\x05HELLO" and end.expected == b"INITIATE" else command


def takes_later_commands(end: ToyHandshake, command: bytes) -> bytes:
    if command.startswith(b"\x08INITIATE") and end.server:
        end.expected = b"INITIATE"
    return command


def completes_though_refused(end: ToyHandshake, command: bytes) -> bytes:
    if command.startswith(b"\x05ERROR"):
        end.metadata = {}
    return command


def never_ends(end: ToyHandshake, command: bytes) -> Sequence[bytes]:
    return [command]


def drops_empty(self: ToyHandshake) -> Mapping[str, bytes] | None:
    return self.metadata and {name: value for name, value in self.metadata.items() if value}


def adds_own(self: ToyHandshake) -> Mapping[str, bytes] | None:
    return None if self.metadata is None else {**self.metadata, "Extra": b""}


class Padded(ToyHandshake):
    """A HELLO of any length: who listens learns whose it is."""

    def begin(self) -> Sequence[bytes]:
        return [] if self.server else [b"\x05HELLO" + bytes(random.randrange(1000))]

    def receive_untrusted(self, command: bytes) -> Sequence[bytes]:
        return super().receive_untrusted(command[:6] if command.startswith(b"\x05HELLO") else command)


class OfAnyLength(Toy):
    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        return Padded(self.server, properties)


class NeedsMore(Toy):
    """It works with properties that only the check announces."""

    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        if not any(name.startswith("X-") for name in properties):
            raise LookupError("nothing of one's own")
        return super().handshake(properties)


COMPLETES = "the handshake completes on both sides"
AS_COMMAND = " is a ProtocolError, and nothing else"
BROKEN_MECHANISMS: list[tuple[str, type[Toy], str, str]] = [
    ("lower case", LowerCase, "both sides have one name, of 1 to 20 upper-case ASCII characters", "'Toy'"),
    ("long name", LongName, "both sides have one name, of 1 to 20 upper-case ASCII characters", "TTTT"),
    ("two names", OwnName, "both sides have one name", "'CLIENT' and 'SERVER'"),
    ("two servers", BothServe, "as_server is a bool, and True on one side at most", ""),
    ("changes what it is given", ChangesProperties, COMPLETES, "the properties that it was given were changed"),
    ("bare bytes", toy(begin=lambda self: b"\x05HELLO"), COMPLETES, "commands come as a sequence of bodies"),
    ("bytearray", toy(begin=lambda self: [bytearray(b"\x05HELLO")]), COMPLETES, "is bytes, not bytearray"),
    ("no command", toy(begin=lambda self: [b"HELLO"]), COMPLETES, "ProtocolError"),
    ("huge", toy(begin=lambda self: [b"\x05HELLO" + bytes(100_000)]), COMPLETES, "a command of 100006 bytes"),
    ("silence", toy(begin=lambda self: []), COMPLETES, "peer_metadata is None"),
    ("for ever", receives(never_ends), COMPLETES, "it is not complete after 100 commands"),
    ("complete at once", toy(peer_metadata={}), COMPLETES, "peer_metadata is not None before it has begun"),
    ("no empty ones", toy(peer_metadata=property(drops_empty)), "each side has the other's properties unaltered", ""),
    ("more", toy(peer_metadata=property(adds_own)), "each side has the other's", "that nobody announced: extra"),
    ("user_id", toy(user_id=b"me"), "user_id is a str or None", ""),
    ("any length", OfAnyLength, "handshakes with the same properties are alike", ""),
    ("shared", OneForAll, "a mechanism makes any number of handshakes", ""),
    ("IndexError", receives(raises_index_error), AS_COMMAND, "raises IndexError"),
    ("KeyError", receives(raises_key_error), AS_COMMAND, "raises KeyError"),
    ("unknown", receives(ignores_unknown), AS_COMMAND, "TRIMQ-X.* was accepted"),
    ("refusal", receives(ignores_refusals), AS_COMMAND, "ERROR.* was accepted"),
    ("refused", receives(completes_though_refused), AS_COMMAND, "was refused, and completed the handshake"),
    ("any case", receives(ignores_case), AS_COMMAND, "was accepted"),
    ("again", receives(takes_hello_again), " a second time is a ProtocolError", "was accepted"),
    ("too early", receives(takes_later_commands), " in the place of command ", "was accepted"),
    ("more needed", NeedsMore, "two connections with the mechanism complete", "LookupError"),
]


@pytest.mark.parametrize(
    ("kind", "clause", "detail"), [pytest.param(*rest, id=name) for name, *rest in BROKEN_MECHANISMS]
)
def test_a_broken_mechanism(kind: type[Toy], clause: str, detail: str) -> None:
    with pytest.raises(AssertionError, match=told(clause, detail)):
        check_mechanism(kind, lambda: kind(server=True))


def test_each_clause_of_mechanisms_was_broken() -> None:
    """There is no clause that cannot fail."""
    broken = [clause for _, _, clause, _ in BROKEN_MECHANISMS]
    assert unbroken(clauses_of(["plain_clause"], "_check_mechanism"), broken) == []
