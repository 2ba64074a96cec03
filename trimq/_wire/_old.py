"""Peers of ZMTP 2.0 and 1.0 (libzmq 3.x and 2.x; RFC 15, 13): what takes the place of the handshake.

There are no commands, hence no security, no properties, no refusal, no heartbeats. The peer tells its routing id, and in 2.0
its socket type; libzmq looks at neither, we look at the type.
"""

from __future__ import annotations

from .._abc import PeerInfo
from .._errors import ProtocolError
from ._commands import check_identity, printable
from ._greeting import Version
from ._zmtp1 import take_frame_untrusted

__all__ = ["answer", "meet_untrusted"]

_NUMBERS = {
    "PAIR": 0,
    "PUB": 1,
    "SUB": 2,
    "REQ": 3,
    "REP": 4,
    "DEALER": 5,
    "ROUTER": 6,
    "PULL": 7,
    "PUSH": 8,
    "XPUB": 1,
    "XSUB": 2,  # RFC 15; libzmq sends 9 and 10, and nobody looks
}
_TYPES = ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"]
_MAX_IDENTITY = 255


def answer(version: Version, socket_type: str, identity: bytes) -> bytes:
    """What we send once we know the version: behind the beginning of a greeting that is out already."""
    if version is Version.V1_0:
        return identity  # the header of its frame was the signature
    if socket_type not in _NUMBERS:
        raise ProtocolError(f"the peer speaks ZMTP 2.0, which has no {socket_type}")
    return bytes([_NUMBERS[socket_type], 0, len(identity)]) + identity


def meet_untrusted(
    received: bytes | bytearray, version: Version, accepts: frozenset[str]
) -> tuple[PeerInfo, bytes] | None:
    """Who the peer is, and what comes after that; None while it has not said so.

    Raises:
      ProtocolError: it is no peer of that version, or of a type that ours cannot talk to.
    """
    socket_type = ""
    if version is Version.V1_0:
        if received[0] != 0xFF and len(received) > 1 and received[1]:
            # libzmq does not look, and takes every stray client for a peer: GET is the length of a frame, flags, a body.
            raise ProtocolError(f"the peer does not speak ZMTP: it began with {printable(bytes(received[:2]))}")
        found = take_frame_untrusted(received, 0, _MAX_IDENTITY)
        if found is None:
            return None
        _, identity, stop = found
    else:
        if len(received) < 14:  # signature, revision, type, and a frame's header
            return None
        number, flags, size = received[11:14]
        if number >= len(_TYPES):
            raise ProtocolError(f"the peer speaks ZMTP 2.0, and says that its socket type is {number}, which is none")
        socket_type = _TYPES[number]
        if not _agree(socket_type, accepts):
            raise ProtocolError(
                f"socket types do not match: the peer is a {socket_type}, this talks to {' or '.join(sorted(accepts))}"
            )
        if flags:
            raise ProtocolError(f"the peer speaks ZMTP 2.0, and its identity has flags: 0x{flags:02x}")
        stop = 14 + size
        if len(received) < stop:
            return None
        identity = bytes(received[14:stop])
    check_identity(identity)
    return PeerInfo(socket_type=socket_type, identity=identity), bytes(received[stop:])


def _agree(theirs: str, accepts: frozenset[str]) -> bool:
    """Whether the peer may be one of these; an XPub or XSub of ZMTP 2.0 says that it is a Pub or a Sub."""
    return theirs in accepts or {"PUB": "XPUB", "SUB": "XSUB"}.get(theirs, "") in accepts
