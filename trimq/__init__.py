"""ZeroMQ for trio, in pure Python.

Everything public is here, in `trimq.abc` (contracts for transports and mechanisms), `trimq.wire` (ZMTP without
I/O), `trimq.events` and `trimq.testing`. These modules only re-export; the code is in those that begin with an underscore.
"""

from __future__ import annotations

from . import abc as abc, events as events, wire as wire
from ._abc import PeerInfo
from ._context import Context, has, open_context
from ._endpoint import Endpoint, EndpointState
from ._errors import (
    AddressInUse,
    AddressNotAvailable,
    ContextTerminated,
    HostUnreachable,
    IncompatibleProtocol,
    InvalidEndpoint,
    MessageTooLarge,
    NoIOThread,
    NoSuchDevice,
    ProtocolError,
    ProtocolNotSupported,
    SocketClosed,
    StateError,
    ZMQError,
)
from ._message import Frame, GroupMessage, Message, MessageLike, RoutedMessage
from ._proxy import ProxyHandle, ProxyStatistics, ProxyTraffic, proxy
from ._sockets._channel import Channel
from ._sockets._client_server import Client, Server
from ._sockets._dealer_router import Dealer, Router
from ._sockets._dgram import Dgram
from ._sockets._flow import wait_any
from ._sockets._pair import Pair
from ._sockets._peer import Peer
from ._sockets._pipeline import Pull, Push
from ._sockets._publishers import Pub, XPub
from ._sockets._radio_dish import Dish, Radio
from ._sockets._request_reply import Rep, Req
from ._sockets._scatter_gather import Gather, Scatter
from ._sockets._socket import Socket
from ._sockets._stream import Stream
from ._sockets._subscribers import Sub, XSub
from ._statistics import ContextStatistics, PeerStatistics, SocketStatistics, Traffic
from ._util import fixup_module as _fixup_module
from ._version import __version__

__all__ = [
    "AddressInUse",
    "AddressNotAvailable",
    "Channel",
    "Client",
    "Context",
    "ContextStatistics",
    "ContextTerminated",
    "Dealer",
    "Dgram",
    "Dish",
    "Endpoint",
    "EndpointState",
    "Frame",
    "Gather",
    "GroupMessage",
    "HostUnreachable",
    "IncompatibleProtocol",
    "InvalidEndpoint",
    "Message",
    "MessageLike",
    "MessageTooLarge",
    "NoIOThread",
    "NoSuchDevice",
    "Pair",
    "Peer",
    "PeerInfo",
    "PeerStatistics",
    "ProtocolError",
    "ProtocolNotSupported",
    "ProxyHandle",
    "ProxyStatistics",
    "ProxyTraffic",
    "Pub",
    "Pull",
    "Push",
    "Radio",
    "Rep",
    "Req",
    "RoutedMessage",
    "Router",
    "Scatter",
    "Server",
    "Socket",
    "SocketClosed",
    "SocketStatistics",
    "StateError",
    "Stream",
    "Sub",
    "Traffic",
    "XPub",
    "XSub",
    "ZMQError",
    "__version__",
    "has",
    "open_context",
    "proxy",
    "wait_any",
]

_fixup_module(__name__, globals())
del _fixup_module
