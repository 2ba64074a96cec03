"""NULL: no security; each side says READY at once (RFC 23, 37).

RFC 37 lets the connecting side go first. libzmq is symmetric in every version, and so is this: both
sides send READY when the greetings are through, and expect exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from .._abc import Handshake, Mechanism
from .._errors import ProtocolError
from .._wire._commands import (
    ERROR,
    READY,
    error_reason_untrusted,
    metadata_untrusted,
    printable,
    ready,
    split_untrusted,
)

__all__ = ["Null"]


@attrs.frozen
class Null(Mechanism):
    """No security: whoever connects is taken at its word."""

    @property
    def name(self) -> str:
        """``"NULL"``."""
        return "NULL"

    def handshake(self, properties: Mapping[str, bytes]) -> Handshake:
        """A handshake that announces these properties."""
        return _NullHandshake(properties)


class _NullHandshake(Handshake):
    def __init__(self, properties: Mapping[str, bytes]) -> None:
        self._properties = properties
        self._peer_metadata: Mapping[str, bytes] | None = None

    def begin(self) -> Sequence[bytes]:
        return [ready(self._properties)]

    def receive_untrusted(self, command: bytes) -> Sequence[bytes]:
        name, data = split_untrusted(command)
        if name == ERROR:
            reason = error_reason_untrusted(data)
            raise ProtocolError(f"the peer refused the connection: {reason or 'it gave no reason'}")
        if name != READY or self._peer_metadata is not None:
            expected = "READY" if self._peer_metadata is None else "nothing after READY"
            raise ProtocolError(f"NULL handshake: expected {expected}, and the peer sent {printable(name)}")
        self._peer_metadata = metadata_untrusted(data)
        return []

    @property
    def peer_metadata(self) -> Mapping[str, bytes] | None:
        return self._peer_metadata
