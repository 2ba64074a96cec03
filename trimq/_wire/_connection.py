"""One ZMTP connection: greeting, handshake, then messages and subscriptions both ways (RFC 23, 37)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .._abc import Handshake, Mechanism, PeerInfo, Wire
from .._errors import ProtocolError
from .._message import Item, Subscription
from ._commands import (
    CANCEL,
    ERROR,
    PING,
    PONG,
    READY,
    SUBSCRIBE,
    Metadata,
    error,
    error_reason_untrusted,
    ping,
    pong_untrusted,
    printable,
    split_untrusted,
    ttl_untrusted,
)
from ._frames import (
    COMMAND,
    LONG,
    MAX_COMMAND,
    Decoder,
    check_header,
    command_frame,
    encode,
    subscription_as_command,
    subscription_as_message,
)
from ._greeting import Greeting, Version
from ._old import answer as old_answer, meet_untrusted
from ._zmtp1 import Decoder1, encode as encode1

__all__ = ["Connection"]

_OWN = frozenset({"socket-type", "identity"})  # they have a place of their own in PeerInfo


class Connection(Wire):
    """ZMTP on one stream: 3.1 and 3.0, and 2.0 and 1.0 where the peer is that old.

    Args:
      socket_type: ours, as it travels: ``"DEALER"``.
      accepts: the peers' socket types that ours can talk to (RFC 37's table).
      mechanism: the security mechanism; the peer must name the same.
      identity: the routing id to announce, empty for none; None announces no Identity at all, as all
        types but REQ, DEALER and ROUTER do.
      metadata: further properties of ours for the peer (``X-...``).
      max_message_size: the most bytes in one frame of a message; the handshake and commands have their own limit.
      publishes: whether the peer's subscriptions are of interest (PUB, XPUB); they are ignored if not.
    """

    def __init__(
        self,
        *,
        socket_type: str,
        accepts: frozenset[str],
        mechanism: Mechanism,
        identity: bytes | None,
        publishes: bool,
        metadata: Mapping[str, bytes] | None = None,
        max_message_size: float = math.inf,
    ) -> None:
        self.peer: PeerInfo | None = None
        self.early: int = 0
        self.on_pong: Callable[[bytes], object] | None = None
        self._socket_type = socket_type
        self._accepts = accepts
        self._mechanism = mechanism
        self._publishes = publishes
        self._properties = {"Socket-Type": socket_type.encode("ascii")}
        if identity is not None:
            self._properties["Identity"] = identity
        self._properties.update(metadata or {})
        self._greeting: Greeting | None = Greeting(
            mechanism.name, as_server=mechanism.as_server, identity_length=len(identity or b"")
        )
        self._handshake: Handshake | None = None
        self._old: Version | None = None  # the peer's version, if it is older than 3.0
        self._identity = identity or b""
        self._max_message_size = max_message_size
        self._commands = bytearray()  # of the handshake, as they come
        self._error: ProtocolError | None = None
        # A mechanism that wraps traffic (CURVE, GSSAPI) goes between these and what they are used for below:
        # each frame's flags and body into a MESSAGE on encoding, and out of one on decoding, where a clear frame
        # ends the connection. ZMTP 2.0 keeps them, with messages for subscriptions; 1.0 brings a pair of its own.
        self._decoder: Decoder | Decoder1 = Decoder(max_message_size, self._command_untrusted)
        self._encode_subscription = subscription_as_command
        self._reply = b""
        self._heartbeats = False
        self._peer_pings = False
        self._peer_ttl = 0.0

    def begin(self) -> bytes:
        """The part of our greeting that any version can take."""
        assert self._greeting is not None
        return self._greeting.begin()

    def handshake_untrusted(self, data: bytes) -> bytes:
        """Takes bytes of the peer; returns the bytes to answer.

        Messages may arrive together with the end of the handshake; they are kept for `decode_untrusted`. Ours
        must not leave before `peer` is set: libzmq closes on a message that comes before it has sent its READY.

        Raises:
          ProtocolError: with everything in ``reply`` that the peer should still get.
        """
        if self._error is not None:
            raise self._error
        assert self._greeting is not None, "the handshake is complete"
        answer = bytearray()
        try:
            if self._old is not None:
                self._commands += data
                self._meet_untrusted(self._old)
                return b""
            if self._handshake is None:
                answer += self._greeting.receive_untrusted(data)
                if self._greeting.old is not None:
                    self._old = self._greeting.old
                    self._commands += self._greeting.rest
                    answer += old_answer(self._old, self._socket_type, self._identity)
                    self._meet_untrusted(self._old)
                    return bytes(answer)
                if self._greeting.peer is None:
                    return bytes(answer)
                data = self._greeting.rest
                self._handshake = self._mechanism.handshake(self._properties)
                for command in self._handshake.begin():
                    answer += command_frame(command)
            self._commands += data
            while (properties := self._handshake.peer_metadata) is None:
                body = _take_command_untrusted(self._commands)
                if body is None:
                    return bytes(answer)
                for command in self._handshake.receive_untrusted(body):
                    answer += command_frame(command)
            self._welcome_untrusted(properties, self._handshake.user_id)
        except ProtocolError as failure:
            self._error = ProtocolError(str(failure))
            failure.reply = bytes(answer) + failure.reply
            raise
        return bytes(answer)

    def _meet_untrusted(self, version: Version) -> None:
        """A peer of ZMTP 2.0 or 1.0 has said more of who it is."""
        met = meet_untrusted(self._commands, version, self._accepts)
        if met is None:
            return
        self.peer, rest = met
        if version is Version.V1_0:
            # Its subscribers say nothing, for they choose themselves: they get everything, as from libzmq.
            first = [Subscription(b"", subscribe=True)] if self._publishes else []
            self._decoder = Decoder1(self._max_message_size, first)
        else:
            self._encode_subscription = subscription_as_message
        self._decoder.feed(rest)
        self.early = len(rest)
        self._commands = bytearray()
        self._properties = {}
        self._greeting = None

    def _welcome_untrusted(self, properties: Mapping[str, bytes], user_id: str | None) -> None:
        """The mechanism is content with the peer; sees whether we are."""
        socket_type = printable(properties.get("Socket-Type", b""))
        if socket_type not in self._accepts:
            # RFC 37: ERROR, then close. (libzmq closes without a word, and takes a READY without Socket-Type.)
            theirs = f"the peer is a {socket_type}" if socket_type else "the peer did not say its socket type"
            ours = f"a {self._socket_type}, which talks to {' or '.join(sorted(self._accepts))}"
            refusal = f"{socket_type or 'no socket type'} cannot talk to {self._socket_type}"
            raise ProtocolError(
                f"socket types do not match: {theirs}, this is {ours}", reply=command_frame(error(refusal))
            )
        assert self._greeting is not None
        greeting = self._greeting.peer
        if greeting is not None and greeting.version is Version.V3_0:
            self._encode_subscription = subscription_as_message
        else:
            self._heartbeats = True
        self.peer = PeerInfo(
            socket_type=socket_type,
            identity=properties.get("Identity", b""),
            mechanism=self._mechanism.name,
            user_id=user_id,
            metadata=Metadata(item for item in properties.items() if item[0].lower() not in _OWN),
        )
        self._decoder.feed(bytes(self._commands))
        self.early = len(self._commands)
        # An idle connection keeps nothing of its handshake.
        self._commands = bytearray()
        self._properties = {}
        self._handshake = self._greeting = None

    def feed(self, data: bytes) -> None:
        """Takes bytes of the peer after the handshake. It only stores them."""
        self._decoder.feed(data)

    def decode_untrusted(self, limit: int) -> list[Item]:
        """Up to ``limit`` messages and subscriptions; fewer: it needs more bytes, or the next call raises.

        Raises:
          ProtocolError: the peer broke the protocol, or refused us. What was complete before is given first.
        """
        return self._decoder.decode(limit)

    @property
    def missing(self) -> int:
        """What a frame lacks that is not complete."""
        return self._decoder.missing

    @property
    def unfinished(self) -> bool:
        """Whether `decode_untrusted` has stopped at so many commands."""
        return self._decoder.unfinished

    @property
    def exhausted(self) -> bool:
        """Whether `decode_untrusted` has taken all that there was."""
        return self._decoder.exhausted

    def encode(self, items: Sequence[Item]) -> list[bytes]:
        """These items as buffers to write one after the other."""
        if self._old is Version.V1_0:
            return encode1(items)
        return encode(items, self._encode_subscription)

    def refuse(self, reason: str) -> bytes:
        """An ERROR command, if the peer knows any; libzmq ignores it at this point, and sees the connection close."""
        return b"" if self._old is not None else command_frame(error(reason))

    def take_reply(self) -> bytes:
        """The PONG for the latest PING, once; however many came, there is never more than one."""
        reply, self._reply = self._reply, b""
        return reply

    @property
    def heartbeats(self) -> bool:
        """Whether the peer speaks ZMTP 3.1. libzmq pings peers of 3.0, too, and its own of that version ignore it."""
        return self._heartbeats

    @property
    def peer_pings(self) -> bool:
        """Whether the peer has sent a PING."""
        return self._peer_pings

    @property
    def peer_ttl(self) -> float:
        """The seconds that its latest PING announced; 0 for none."""
        return self._peer_ttl

    def ping(self, ttl: float = 0.0, context: bytes = b"") -> bytes:
        """A PING; for peers of ZMTP 3.0, too, if it is asked for. Older ones have none."""
        return b"" if self._old is not None else command_frame(ping(ttl, context))

    def _command_untrusted(self, body: bytes) -> Item | None:
        """A command among the traffic. Unknown ones mean nothing; their arrival was a sign of life."""
        if self._old is not None:
            raise ProtocolError("the peer speaks ZMTP 2.0, which has no commands, and sent one")
        name, data = split_untrusted(body)
        if name == SUBSCRIBE:
            return Subscription(data, subscribe=True) if self._publishes else None
        if name == CANCEL:
            return Subscription(data, subscribe=False) if self._publishes else None
        if name == PING:
            self._reply = command_frame(pong_untrusted(data))
            self._peer_pings = True
            self._peer_ttl = ttl_untrusted(data)
        elif name == PONG:
            if self.on_pong is not None:
                self.on_pong(data)
        elif name == READY:
            raise ProtocolError("the peer sent READY twice")
        elif name == ERROR:
            # libzmq ignores it here. NULL is symmetric, so that a refusal can cross our reading of the peer's READY.
            raise ProtocolError(f"the peer refused the connection: {error_reason_untrusted(data)}")
        return None


def _take_command_untrusted(buffer: bytearray) -> bytes | None:
    """Takes the command that the buffer begins with out of it, as handshakes need it: body without frame.

    Returns:
      The body, or None while it is incomplete.

    Raises:
      ProtocolError: not a command frame (a message before the handshake is complete), or a longer one
        than `MAX_COMMAND`.
    """
    if len(buffer) < 2:
        return None
    flags, size, start = buffer[0], buffer[1], 2
    if flags & LONG:
        if len(buffer) < 9:
            return None
        size, start = int.from_bytes(buffer[1:9], "big"), 9
    if not flags & COMMAND:
        raise ProtocolError("the peer sent a message before its handshake was complete")
    check_header(flags, size, MAX_COMMAND)
    stop = start + size
    if len(buffer) < stop:
        return None
    body = bytes(buffer[start:stop])
    del buffer[:stop]
    return body
