"""Tools for testing programs that use trimq: no ports, no sleeps."""

from __future__ import annotations

from .._util import fixup_module as _fixup_module
from ._cancellation import Trial, cancel_everywhere
from ._check_datagram_transport import check_datagram_transport
from ._check_join_transport import check_join_transport
from ._check_mechanism import check_mechanism
from ._check_socket_type import check_socket_type
from ._check_transport import check_transport
from ._conversation import Conversation
from ._memory import MemoryStream, MemoryTransport
from ._recorder import Recorder, Recording, render

__all__ = [
    "Conversation",
    "MemoryStream",
    "MemoryTransport",
    "Recorder",
    "Recording",
    "Trial",
    "cancel_everywhere",
    "check_datagram_transport",
    "check_join_transport",
    "check_mechanism",
    "check_socket_type",
    "check_transport",
    "render",
]

_fixup_module(__name__, globals())
del _fixup_module
