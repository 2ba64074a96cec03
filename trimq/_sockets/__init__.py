"""The socket types, one file per pattern: a class is a composition of routing strategies over `_socket` and `_flow`."""

from __future__ import annotations

from ._channel import Channel
from ._client_server import Client, Server
from ._dealer_router import Dealer, Router
from ._dgram import Dgram
from ._pair import Pair
from ._peer import Peer
from ._pipeline import Pull, Push
from ._publishers import Pub, XPub
from ._radio_dish import Dish, Radio
from ._request_reply import Rep, Req
from ._scatter_gather import Gather, Scatter
from ._socket import Socket
from ._stream import Stream
from ._subscribers import Sub, XSub

__all__ = ["ALL_TYPES"]

ALL_TYPES: tuple[type[Socket], ...] = (
    Req, Rep, Dealer, Router, Pub, Sub, XPub, XSub, Push, Pull, Pair, Stream,
    Client, Server, Scatter, Gather, Channel, Peer, Radio, Dish, Dgram,
)  # fmt: skip
