"""What a PGM session is set to, and the sizes and times that follow from it (RFC 3208, as libzmq sets OpenPGM up)."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = [
    "AMBIENT",
    "BACK_OFF",
    "ELIMINATION",
    "EXPIRY",
    "HEARTBEATS",
    "HEARTBEATS_OF_REPAIR",
    "LATENESS",
    "LOSSY",
    "OVERRUN",
    "PACE_DOWN",
    "PACE_INTERVAL",
    "PACE_LEAST",
    "PACE_UP",
    "QUIET",
    "QUIET_AFTER_LOSS",
    "REPEAT",
    "SPMR_WAIT",
    "SPMS",
    "TRIES",
    "PgmSettings",
]

SPMS = 3
"""How many SPMs open a session, and how many close it, back to back."""

AMBIENT = 30.0
"""Seconds from one SPM to the next while nothing is sent."""

HEARTBEATS: Final[tuple[float, ...]] = (0.1, 0.1, 0.1, 0.1, 0.1, 1.3, 7.0, 16.0)
"""Seconds from data to the SPMs that follow it: how a receiver learns of a last packet that it has missed."""

HEARTBEATS_OF_REPAIR: Final = HEARTBEATS[1:]
"""The same after a repair."""

SPMR_WAIT = 0.025
"""Seconds that a new sender has to send an SPM, before it is asked for one."""

BACK_OFF = 0.05
"""The most seconds from a gap to its NAK; the least is next to nothing, and chance decides."""

REPEAT = 0.2
"""Seconds to wait for an NCF after a NAK (NAK_RPT_IVL), and for the data after an NCF (NAK_RDATA_IVL)."""

TRIES = 50
"""How often an NCF, and how often the data, is waited for in vain until the packet is lost."""

ELIMINATION = 0.01
"""Seconds after a repair in which a NAK for the same packet means nothing: it was on its way already."""

OVERRUN = 32
"""A NAK for so many packets in a row tells of a receiver that cannot follow: a network loses one here and one there."""

PACE_DOWN, PACE_UP, PACE_LEAST, PACE_INTERVAL = 0.7, 0.05, 0.125, 0.1
"""What a sender makes of its rate then: so much of it; so much more with each interval (seconds), up to all of it again."""

QUIET = 0.3
"""Seconds without a NAK until a sender that has closed may go: time for a NAK, and for another if that is lost."""

QUIET_AFTER_LOSS = 1.5
"""The same where a packet was asked for no longer ago than `LOSSY`: time for six NAKs, all but the last of them lost."""

LATENESS = 0.01
"""Seconds by which a timer may be late without loss of rate, on a machine with other things to do."""

LOSSY = 5.0
"""Seconds after a NAK in which the network counts as one that loses packets."""

EXPIRY = 300.0
"""Seconds of silence after which a sender is forgotten."""

_DATA = 24  # a data packet's bytes before its options
_RESERVED = 20  # for an OPT_FRAGMENT that never comes; OpenPGM keeps the place all the same


@attrs.frozen
class PgmSettings:
    """One group and port, and how fast and how far back. Both ends have them; a receiver's `rate` sizes its window.

    Args:
      group: the multicast address, its 4 or 16 bytes.
      port: the data-destination port (over UDP, the UDP port as well).
      udp: whether PGM is carried in UDP (epgm) or in IP itself (pgm).
      rate: kbit/s at most (ZMQ_RATE).
      recovery_interval: seconds (ZMQ_RECOVERY_IVL).
      max_tpdu: the most bytes in a datagram, the headers of IP and UDP included (ZMQ_MULTICAST_MAXTPDU).

    Raises:
      ValueError: in ``max_tpdu`` there is no room for data, or it is more than a datagram can have.
    """

    group: bytes
    port: int
    udp: bool = True
    rate: int = 100
    recovery_interval: float = 10.0
    max_tpdu: int = 1500

    def __attrs_post_init__(self) -> None:
        if self.max_tpdu > 65535:
            raise ValueError(f"multicast_maxtpdu of {self.max_tpdu} bytes: a datagram has at most 65535")
        if self.max_tsdu < 3:
            least = self.max_tpdu - self.max_tsdu + 3
            raise ValueError(f"multicast_maxtpdu of {self.max_tpdu} bytes: the headers alone take {least - 3}")

    @property
    def headers(self) -> int:
        """The bytes of IP's and UDP's headers, which count for the rate."""
        return (20 if len(self.group) == 4 else 40) + (8 if self.udp else 0)

    @property
    def max_tsdu(self) -> int:
        """The most bytes in a data packet's content, the offset included: 1428 for epgm over IPv4, if nothing is set."""
        return self.max_tpdu - self.headers - _DATA - _RESERVED

    @property
    def window(self) -> int:
        """How many packets a sender keeps for repair, and a receiver waits for: 80, if nothing is set."""
        return max(1, round(self.recovery_interval * 1000) * (self.rate // 8) // self.max_tpdu)

    @property
    def bytes_per_second(self) -> float:
        """The rate of what is sent, headers included."""
        return self.rate * 1000 / 8

    @property
    def burst(self) -> float:
        """The bytes that may leave at once after a pause: a second's worth at low rates, 2 ms' worth at high ones.

        Between them it is 64 KiB: as much as the buffers of any receiver hold. OpenPGM has a second's worth up to
        12 Mbit/s and 1 ms' worth from there on; a timer here may be late by a millisecond.
        """
        second = self.bytes_per_second
        return max(min(second, 65536.0), second * 0.002, float(self.max_tpdu))
