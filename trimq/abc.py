"""The contracts of transports, which `trimq.open_context` takes from you, and of mechanisms, which it does not take yet."""

from __future__ import annotations

from ._abc import (
    AcceptRefused,
    Direct,
    Handshake,
    JoinTransport,
    Listener,
    Mechanism,
    Site,
    StreamTransport,
    Transport,
    Wire,
)
from ._abc_datagrams import DatagramCodec, DatagramPort, DatagramSession, DatagramTransport, MulticastTransport
from ._options import Settings
from ._util import fixup_module as _fixup_module

__all__ = [
    "AcceptRefused",
    "DatagramCodec",
    "DatagramPort",
    "DatagramSession",
    "DatagramTransport",
    "Direct",
    "Handshake",
    "JoinTransport",
    "Listener",
    "Mechanism",
    "MulticastTransport",
    "Settings",
    "Site",
    "StreamTransport",
    "Transport",
    "Wire",
]

_fixup_module(__name__, globals())
del _fixup_module
