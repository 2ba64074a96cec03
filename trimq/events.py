"""What ``socket.events()`` gives: the events of sockets, typed."""

from __future__ import annotations

from ._monitor import (
    Accepted,
    AcceptFailed,
    BindFailed,
    Closed,
    CloseFailed,
    ConnectDelayed,
    Connected,
    ConnectFailed,
    ConnectRetried,
    Disconnected,
    Dropped,
    Event,
    EventStream,
    GaveUp,
    HandedOver,
    HandshakeFailed,
    HandshakeSucceeded,
    InDoubt,
    Listening,
    Lost,
    Missed,
    MonitorStopped,
    Subscribed,
    Unsubscribed,
)
from ._util import fixup_module as _fixup_module

__all__ = [
    "AcceptFailed",
    "Accepted",
    "BindFailed",
    "CloseFailed",
    "Closed",
    "ConnectDelayed",
    "ConnectFailed",
    "ConnectRetried",
    "Connected",
    "Disconnected",
    "Dropped",
    "Event",
    "EventStream",
    "GaveUp",
    "HandedOver",
    "HandshakeFailed",
    "HandshakeSucceeded",
    "InDoubt",
    "Listening",
    "Lost",
    "Missed",
    "MonitorStopped",
    "Subscribed",
    "Unsubscribed",
]

_fixup_module(__name__, globals())
del _fixup_module
