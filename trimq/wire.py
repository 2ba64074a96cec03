"""ZMTP without I/O: bytes to messages and back, for whoever has a stream of their own."""

from __future__ import annotations

from ._mechanisms._null import Null
from ._message import Item, Membership, Shared, Subscription
from ._util import fixup_module as _fixup_module
from ._wire._connection import Connection
from ._wire._groups import GroupConnection
from ._wire._raw import Raw

__all__ = [
    "Connection",
    "GroupConnection",
    "Item",
    "Membership",
    "Null",
    "Raw",
    "Shared",
    "Subscription",
]

_fixup_module(__name__, globals())
del _fixup_module
