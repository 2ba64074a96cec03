"""Multicast: the options of who sends to groups, or listens there. What goes over which transport is not said here."""

from __future__ import annotations

from .._options import Option, boolean, count, finite, hops, tpdu
from ._socket import Socket

__all__ = ["Multicasting", "ReliablyMulticasting"]


class Multicasting(Socket):
    """May send to multicast groups."""

    multicast_hops: Option[int] = Option(
        1, hops, "Networks that a datagram to a multicast group may cross, 1 to 255 (ZMQ_MULTICAST_HOPS)."
    )
    multicast_loop: Option[bool] = Option(
        True, boolean, "Whether what goes to a multicast group is also heard on this machine (ZMQ_MULTICAST_LOOP)."
    )


class ReliablyMulticasting(Multicasting):
    """May do so with repairs: over pgm and epgm."""

    _multicasts = True

    rate: Option[int] = Option(
        100,
        count,
        "Over pgm and epgm: kbit/s, headers included. A sender keeps to it; with ``recovery_interval``, it says how much "
        "both ends keep for repair (ZMQ_RATE).",
    )
    recovery_interval: Option[float] = Option(
        10.0,
        finite,
        "Over pgm and epgm: seconds for which a sender keeps what it sent, to send it again to who missed it, and for which "
        "a receiver waits for that (ZMQ_RECOVERY_IVL).",
    )
    multicast_maxtpdu: Option[int] = Option(
        1500, tpdu, "Over pgm and epgm: bytes in a datagram, IP's and UDP's headers included (ZMQ_MULTICAST_MAXTPDU)."
    )
