"""The socket types, one file per pattern: a class is a composition of routing strategies over `_socket` and `_flow`."""

from __future__ import annotations

from ._dealer_router import Dealer, Router
from ._pair import Pair
from ._pipeline import Pull, Push
from ._publishers import Pub, XPub
from ._request_reply import Rep, Req
from ._socket import Socket
from ._stream import Stream
from ._subscribers import Sub, XSub

__all__ = ["ALL_TYPES"]

ALL_TYPES: tuple[type[Socket], ...] = (
    Req, Rep, Dealer, Router, Pub, Sub, XPub, XSub, Push, Pull, Pair, Stream,
)  # fmt: skip
