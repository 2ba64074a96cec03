"""The contracts between rooms: Wire, Mechanism and Handshake (sans-I/O), Transport and Listener (trio).

Whoever adds a transport, a mechanism or a way of speaking on a stream implements one of these and hands it
in as a value (``open_context(transports=[...])``); nothing is registered anywhere. Only contracts and the
plain values they exchange live here, no behaviour.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ._errors import ProtocolNotSupported
from ._message import Item

if TYPE_CHECKING:
    import socket

    import trio

    from ._options import Settings

__all__ = [
    "AcceptRefused",
    "Direct",
    "Handshake",
    "JoinTransport",
    "Listener",
    "Mechanism",
    "PeerInfo",
    "Site",
    "StreamTransport",
    "Transport",
    "Wire",
]


@attrs.frozen(eq=False)
class PeerInfo:
    """What is known of a peer once its handshake is complete. It stands for one connection, and equals no other.

    All of it but ``address``, and what follows from it, is the peer's word.
    """

    socket_type: str
    """The peer's socket type, as ``"DEALER"``; empty where the protocol does not tell."""
    identity: bytes = b""
    """The routing id the peer announced; empty if it has none."""
    address: str = ""
    """Where the peer is: a host for tcp, ``:uid:gid:pid`` for ipc, empty for inproc."""
    mechanism: str = "NULL"
    """The security mechanism in use on the connection."""
    user_id: str | None = None
    """Who the peer is, if an authenticator said so."""
    metadata: Mapping[str, bytes] = attrs.field(factory=dict[str, bytes])
    """The other properties of the peer's READY, ``X-`` ones included."""

    @property
    def uid(self) -> int | None:
        """The number of the user whose process the peer is, over ipc where the system tells; else None."""
        return self._credential(1)

    @property
    def gid(self) -> int | None:
        """The number of that process's group."""
        return self._credential(2)

    @property
    def pid(self) -> int | None:
        """The number of that process."""
        return self._credential(3)

    def _credential(self, place: int) -> int | None:
        fields = self.address.split(":")
        return int(fields[place]) if len(fields) == 4 and not fields[0] and fields[place].isdecimal() else None


class Handshake(ABC):
    """One connection's security handshake, sans-I/O: command bodies in, command bodies out.

    A command body is ``name-length name data`` without its frame header. The engine makes one from a
    `Mechanism` per connection; `begin` is called once both greetings are through.
    """

    @abstractmethod
    def begin(self) -> Sequence[bytes]:
        """The commands to send first, if any."""

    @abstractmethod
    def receive_untrusted(self, command: bytes) -> Sequence[bytes]:
        """Takes one command of the peer; returns the commands to answer.

        Raises:
          ProtocolError: the command is malformed, out of order, or a refusal. Nothing else.
        """

    @property
    @abstractmethod
    def peer_metadata(self) -> Mapping[str, bytes] | None:
        """The peer's properties, once the handshake is complete; None before."""

    @property
    def user_id(self) -> str | None:
        """Who the peer is, if an authenticator said so."""
        return None


class Mechanism(ABC):
    """A security mechanism of ZMTP 3 (RFC 23): a frozen value that makes one `Handshake` per connection."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in the greeting, as ``"NULL"``; at most 20 ASCII characters."""

    @property
    def as_server(self) -> bool:
        """Whether this side announces itself as the mechanism's server."""
        return False

    @abstractmethod
    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        """A handshake that announces these properties (Socket-Type, Identity, X-...)."""


class Wire(ABC):
    """What is spoken on one stream, sans-I/O: bytes to items and back. It never waits and knows no clock.

    Two phases. Until `peer` is set: send what `begin` returned, then give each read to
    `handshake_untrusted` and send what it returns. After that: give each read to `feed`, take messages
    with `decode_untrusted`, and turn what is to be sent into buffers with `encode`.
    """

    peer: PeerInfo | None = None
    """Who is at the other end; None until the handshake is complete."""

    early: int = 0
    """Bytes behind the handshake that came together with its end."""

    on_pong: Callable[[bytes], object] | None = None
    """Called with the context of each PONG that is decoded, if it is set."""

    @abstractmethod
    def begin(self) -> bytes:
        """The bytes to send as soon as the stream is open (may be none)."""

    @abstractmethod
    def handshake_untrusted(self, data: bytes) -> bytes:
        """Takes bytes of the peer; returns the bytes to answer. What follows the handshake is kept for `decode_untrusted`.

        Raises:
          ProtocolError: with the bytes to send before closing in ``reply``. Nothing else.
        """

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Takes bytes of the peer after the handshake. It only stores them."""

    @abstractmethod
    def decode_untrusted(self, limit: int) -> list[Item]:
        """Up to ``limit`` messages (and subscriptions) that are complete; fewer means that it needs more bytes.

        Raises:
          ProtocolError: the peer broke the protocol. What was complete before is given first. Nothing else.
        """

    @abstractmethod
    def encode(self, items: Sequence[Item]) -> list[bytes]:
        """These items as buffers to write one after the other: small ones joined, large ones as they are."""

    @property
    def exhausted(self) -> bool:
        """Whether the last `decode_untrusted` is known to have taken all that there was: it need not be asked again."""
        return False

    @property
    def unfinished(self) -> bool:
        """Whether the last `decode_untrusted` has stopped though there was more, so that others may run: ask it again."""
        return False

    @property
    def missing(self) -> int:
        """How many bytes a frame lacks that is not complete, where it would help to be fed just these in one piece."""
        return 0

    def refuse(self, reason: str) -> bytes:
        """What tells the peer, after its handshake, that the socket does not want it; nothing if that cannot be said."""
        return b""

    def take_reply(self) -> bytes:
        """What must be written to answer the peer (a PONG), if anything; asked after each decode."""
        return b""

    @property
    def heartbeats(self) -> bool:
        """Whether `ping` gives something that this peer is bound to answer. Known once the handshake is complete."""
        return False

    @property
    def peer_pings(self) -> bool:
        """Whether the peer has sent a PING itself."""
        return False

    @property
    def peer_ttl(self) -> float:
        """The seconds without traffic, as its latest PING said, after which the peer is to be taken for dead; 0 for none."""
        return 0.0

    def ping(self, ttl: float = 0.0, context: bytes = b"") -> bytes:
        """What asks the peer for a sign of life, to be written between messages; nothing if there is no such thing.

        Args:
          ttl: seconds after which the peer may take us for dead if it hears nothing; 0 for none.
          context: up to 16 bytes that come back in the PONG, and are handed to ``on_pong`` then.
        """
        return b""


class Direct(ABC):
    """What a stream may offer beyond trio's, for a link to write and read without a copy, and without waiting.

    A stream that does not is written with ``send_all``, one buffer after the other.
    """

    hangs_up: bool = False
    """Whether closing it may take from the peer what it has not read, even if nothing came from there."""

    @abstractmethod
    def send_now(self, buffers: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
        """Writes what can be written at once; returns what is left of the buffers.

        Raises:
          OSError: the connection is lost.
        """

    @abstractmethod
    async def send_buffers(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Writes buffers one after the other. Cancelled, it may have written a part of them.

        Raises:
          OSError: the connection is lost.
        """

    @abstractmethod
    async def receive_now(self, max_bytes: int) -> bytes:
        """Reads without waiting if there is something, which ``receive_some`` does not try; ``b""`` is the end.

        Raises:
          OSError: the connection is lost.
        """


class AcceptRefused(OSError):
    """A connection came in and was closed at once, since it is not to be let in. The next accept may be tried at once."""


class Listener(ABC):
    """An address that is bound and listens."""

    left: OSError | None = None
    """Why `close` could not take away something that it should have, as a file; None if it could."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The resolved endpoint with its scheme, wildcards filled in, as ``tcp://127.0.0.1:49152``."""

    @abstractmethod
    async def accept(self) -> trio.abc.Stream:
        """Waits for the next connection.

        Raises:
          AcceptRefused: a connection came, and was closed: its text says who is not let in, and why (it is told).
          OSError: this accept failed; the next one may succeed (the caller backs off and tries again).
          trio.ClosedResourceError: the listener was closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Stops listening; the address is free at once. Idempotent, never blocks, wakes `accept`."""


class Transport(ABC):
    """A scheme of endpoints. Implement `StreamTransport`, `DatagramTransport`, or `JoinTransport`: peers of one context."""

    @property
    @abstractmethod
    def scheme(self) -> str:
        """What stands before ``://``."""

    @abstractmethod
    def check(self, address: str, *, bind: bool) -> None:
        """Checks what stands after ``://`` as far as can be done at once, without any I/O.

        Raises:
          InvalidEndpoint: says what was expected, with an example that is right.
        """

    def check_system(self) -> None:  # noqa: B027 - most need nothing
        """Checks that this machine has what the transport needs; asked once an address is known to be right.

        Raises:
          ProtocolNotSupported: says what is missing, and what to do.
        """

    def dial_address(self, bound: str) -> str:
        """The address (after ``://``) to connect to for what is bound at ``bound``: a wildcard means loopback."""
        return bound


class StreamTransport(Transport):
    """A transport whose connections are trio streams."""

    connects_slowly: bool = True
    """Whether `connect` takes a round trip, and is worth to be told of before it is over."""

    async def resolve(self, address: str, settings: Settings) -> Any:
        """Looks up what the address means, afresh for each attempt; what it returns is handed to `connect`.

        Raises:
          OSError: nobody knows. The caller tries again later.
        """
        return None

    @abstractmethod
    async def connect(self, address: str, settings: Settings, resolved: Any = None) -> trio.abc.Stream:
        """Connects to ``address`` (what stands after ``://``), which `check` has passed. One attempt.

        Args:
          address: where to.
          settings: the socket's options, as they were at its ``connect``.
          resolved: what `resolve` has found; all of it is tried.

        Raises:
          OSError: it could not. The caller tries again later.
        """

    @abstractmethod
    def bind(self, address: str, settings: Settings) -> Listener:
        """Binds and listens, at once: no name is looked up, nothing waits.

        Raises:
          AddressInUse, AddressNotAvailable, NoSuchDevice, PermissionError, InvalidEndpoint, OSError: it cannot be bound.
        """

    def adopt(self, address: str, settings: Settings, fd: int | socket.socket) -> Listener:
        """Listens on a socket that somebody else has bound: a parent process, or the system's service manager.

        Args:
          address: as `bind` has it; what is bound has to agree with it as far as it has no wildcards.
          settings: the socket's options, as they were at its ``bind``.
          fd: the number of a descriptor, or a socket, which loses its descriptor. If this raises, it stays the caller's.

        Raises:
          ProtocolNotSupported: the transport cannot do that.
          InvalidEndpoint: it is bound elsewhere.
          OSError: it is no such socket, or the system refuses an option.
        """
        raise ProtocolNotSupported(
            f"{self.scheme} cannot take over a descriptor; leave out use_fd, and bind an address"
        )

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """Where the peer of this stream is, as `PeerInfo.address` has it."""
        return ""


class JoinTransport(Transport):
    """A transport between sockets of one context: it only finds who belongs together.

    ``site`` stands for the binding or connecting socket; of it a transport only knows that a binder's
    ``meet(site)`` joins it with a connector's site.
    """

    @abstractmethod
    def bind(self, address: str, site: Site) -> None:
        """Takes the name, and meets all who wait for it.

        Raises:
          AddressInUse: the name is taken.
        """

    @abstractmethod
    def connect(self, address: str, site: Site) -> None:
        """Meets the binder of the name, now or when there is one."""

    @abstractmethod
    def release(self, address: str, site: Site) -> None:
        """The site no longer binds, or no longer waits. What is joined stays so. Idempotent."""


class Site(ABC):
    """One end of a `JoinTransport`, offered by a socket."""

    @abstractmethod
    def meet(self, connector: Site) -> None:
        """Joins this binding site with a connecting one."""
