"""The greeting: the first 64 bytes each way, and which version of ZMTP the peer speaks (RFC 23, 37, 13, 15).

It is sent in stages, as libzmq does, so that older peers can be told apart before they are sent what they
would misread: 10 bytes at once, one more when the peer's first 10 look versioned, and the remaining 53
when the peer's revision is 3 or more.
"""

from __future__ import annotations

import enum

import attrs

from .._errors import ProtocolError
from ._commands import printable

__all__ = ["OLD", "Greeting", "PeerGreeting", "Version", "build", "detect_untrusted", "parse_untrusted"]

_SIGNATURE = 10
_LENGTH = 64
_MAX_IDENTITY_FRAME = 256  # ZMTP 1.0 counts the flags byte


class Version(enum.Enum):
    """The dialects of ZMTP that libzmq tells apart."""

    V1_0 = "1.0"
    V2_0 = "2.0"
    V3_0 = "3.0"
    V3_1 = "3.1"


OLD = (Version.V1_0, Version.V2_0)
"""Those that have no handshake but an identity."""


@attrs.frozen
class PeerGreeting:
    """What a ZMTP 3 greeting says."""

    version: Version
    mechanism: bytes
    """All 20 bytes of it."""
    as_server: bool
    """Not to be relied on: libzmq's servers do not set it."""


def build(mechanism: str, *, as_server: bool, identity_length: int) -> bytes:
    """Our greeting, all 64 bytes."""
    return b"".join(
        (
            # A ZMTP 1.0 peer reads the signature as the header of a long frame, our identity's.
            b"\xff" + (identity_length + 1).to_bytes(8, "big") + b"\x7f",
            b"\x03\x01",
            mechanism.encode("ascii").ljust(20, b"\0"),
            bytes([as_server]),
            bytes(31),
        )
    )


def detect_untrusted(received: bytes | bytearray) -> Version | None:
    """Which version the peer speaks, by the first bytes it sent; None while they do not tell.

    Raises:
      ProtocolError: they begin no version of ZMTP.
    """
    if not received:
        return None
    if received[0] != 0xFF:  # ZMTP 1.0, an identity frame with a short length
        if received[0] == 0:
            raise ProtocolError("the peer does not speak ZMTP: its first byte is 0x00")
        return Version.V1_0
    if len(received) < _SIGNATURE:
        return None
    if not received[9] & 1:  # ZMTP 1.0, an identity frame with a long length
        length = int.from_bytes(received[1:9], "big")
        if not 0 < length <= _MAX_IDENTITY_FRAME:
            raise ProtocolError(f"the peer does not speak ZMTP: an identity frame of {length} bytes")
        return Version.V1_0
    if len(received) == _SIGNATURE:
        return None
    revision = received[10]
    if revision in (0, 2):  # 0: 1.0 to libzmq. 2: 2.0 to the RFCs, 3.1 to libzmq. Nobody sends either.
        raise ProtocolError(f"the peer speaks revision {revision} of ZMTP, and nobody does: 1 or 3 was expected")
    if revision == 1:
        return Version.V2_0
    if len(received) == _SIGNATURE + 1:
        return None
    return Version.V3_0 if revision == 3 and received[11] == 0 else Version.V3_1


def parse_untrusted(received: bytes | bytearray) -> PeerGreeting | None:
    """What the peer's greeting says; None while it is incomplete, or if the peer is older than ZMTP 3.

    Padding, filler and the signature's other bits mean nothing, and as-server is not checked (RFC 23, libzmq).

    Raises:
      ProtocolError: the peer does not speak ZMTP.
    """
    version = detect_untrusted(received)
    if version is None or version in OLD or len(received) < _LENGTH:
        return None
    return PeerGreeting(version, bytes(received[12:32]), received[32] == 1)


class Greeting:
    """One connection's greetings: when to send what of ours, and what came of the peer's.

    Args:
      mechanism: the security mechanism's name; the peer's must be the same in all 20 bytes.
      as_server: whether we are the mechanism's server.
      identity_length: how long our identity is, for the eyes of ZMTP 1.0 peers.

    Attributes:
      peer: the peer's greeting, once it is complete and agrees with ours.
      old: the peer's version, if it is older than ZMTP 3.
      rest: what came after the greeting; all that came, if the peer is older.
    """

    def __init__(self, mechanism: str, *, as_server: bool, identity_length: int) -> None:
        self._ours = build(mechanism, as_server=as_server, identity_length=identity_length)
        self._sent = 0
        self._received = bytearray()
        self.peer: PeerGreeting | None = None
        self.old: Version | None = None
        self.rest = b""

    def begin(self) -> bytes:
        """The bytes to send as soon as there is a connection."""
        return self._until(_SIGNATURE)

    def receive_untrusted(self, data: bytes) -> bytes:
        """Takes bytes of the peer; returns what of our greeting may be sent now. Not to be called again once `old` is set.

        Raises:
          ProtocolError: no ZMTP, another mechanism, or a version that has none where ours is not NULL.
        """
        received = self._received
        received += data
        reply = b""
        if len(received) >= _SIGNATURE and received[0] == 0xFF and received[9] & 1:
            reply = self._until(_SIGNATURE + 1)
        try:
            peer = parse_untrusted(received)
        except ProtocolError as error:
            error.reply = reply
            raise
        version = detect_untrusted(received)
        if version in OLD:
            if self._ours[12:17] != b"NULL\0":  # the downgrade rule of RFC 23 and 37
                raise ProtocolError(
                    f"the peer speaks ZMTP {version.value}, which has no security: "
                    f"{printable(self._ours[12:32].rstrip(bytes(1)))} was expected",
                    reply=reply,
                )
            self.old = version
            self.rest = bytes(received)
            return reply
        if len(received) > _SIGNATURE:
            reply += self._until(_LENGTH)
        if peer is not None:
            ours = self._ours[12:32]
            if peer.mechanism != ours:
                theirs = printable(peer.mechanism.rstrip(b"\0")) or "nothing"
                # RFC 23, 37: who has read a full greeting sends its own in full before it closes.
                raise ProtocolError(
                    f"security mechanisms differ: {printable(ours.rstrip(bytes(1)))} here, {theirs} at the peer",
                    reply=reply,
                )
            self.peer = peer
            self.rest = bytes(received[_LENGTH:])
            self._received = bytearray()
        return reply

    def _until(self, stop: int) -> bytes:
        due = self._ours[self._sent : stop]
        self._sent = max(self._sent, stop)
        return due
