"""One PGM sender: messages in, packets out, repairs for whoever missed one (RFC 3208, 5). Sans-I/O, `now` is an argument."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice

import attrs

from .._message import Item
from . import _pgm_packets as packets
from ._pgm_packets import NAK, ODATA, RDATA, SPMR, Heartbeat, Request
from ._pgm_settings import (
    AMBIENT,
    ELIMINATION,
    HEARTBEATS,
    HEARTBEATS_OF_REPAIR,
    LATENESS,
    LOSSY,
    OVERRUN,
    PACE_DOWN,
    PACE_INTERVAL,
    PACE_LEAST,
    PACE_UP,
    QUIET,
    QUIET_AFTER_LOSS,
    SPMR_WAIT,
    SPMS,
    PgmSettings,
)
from ._pgm_stream import Packer

__all__ = ["PgmSource", "SourceStatistics"]

_WRAP = 0xFFFFFFFF
_REPAIRS = 7
"""The most repairs between two packets of data that wait."""


@attrs.define
class SourceStatistics:
    """What a `PgmSource` has counted since it began. Read it whenever you like."""

    data: int = 0
    """Packets with data (ODATA)."""
    repairs: int = 0
    """Packets sent again (RDATA)."""
    naks: int = 0
    """NAKs for this source that were right."""
    too_late: int = 0
    """Packets asked for that had left the window, or had never been sent."""
    spms: int = 0
    """SPMs, those at the beginning and at the end included."""


class PgmSource:
    """A sender of one session. All of its packets go to the group.

    It sends data and repairs at the settings' rate; at less for a while, down to an eighth, after a NAK that tells of a
    receiver that was overrun (libzmq has no such thing: there the repairs overrun it again).

    Use: ``send`` messages while ``room`` is positive; give ``receive_untrusted`` each datagram that came; after each of
    these, and at ``deadline``, send what ``poll`` returns, until it returns less than ``most``. At the end: ``close``, and
    go on until ``finished`` or for as long as one likes to wait.

    Args:
      settings: group, port, rate, window.
      tsi: the session's identity, 8 bytes by chance: GSI and source port; the port is neither 0 nor the settings' port.
      now: seconds of any clock that only goes forward; the same for all calls.
      address: the own unicast address, its 4 or 16 bytes; receivers send their NAKs there.
      first: the first packet's sequence number.
    """

    def __init__(self, settings: PgmSettings, tsi: bytes, now: float, *, address: bytes, first: int = 0) -> None:
        self.statistics = SourceStatistics()
        self._settings = settings
        self._gsi, self._port = tsi[:6], int.from_bytes(tsi[6:], "big")
        self._ports = (self._port, settings.port)
        self._address = address
        self._packer = Packer(settings.max_tsdu)
        # Numbers do not wrap in here: `_WRAP` is for the wire.
        self._next = first
        self._window: deque[bytes] = deque(maxlen=settings.window)
        self._confirm: dict[int, None] = {}  # what an NCF is to be sent for
        self._repair: dict[int, None] = {}  # what is to be sent again
        self._repaired: dict[int, float] = {}  # what was, a moment ago
        self._repairs_in_row = 0
        # The bucket
        self._cost = settings.headers
        self._rate = settings.bytes_per_second
        self._burst = settings.burst
        self._tokens = self._burst
        self._filled_at = now
        self._pace = 1.0  # of the rate
        self._paced_at = now
        self._now = now
        # SPMs
        self._spms = SPMS  # how many are to be sent now
        self._spm_sqn = 0
        self._spm_sent = -math.inf
        self._spm_due = math.inf
        self._spm_wanted = math.inf  # the same, because somebody has asked for one
        self._beats = iter(HEARTBEATS[:0])
        # The end
        self._closing = False
        self._fin = False
        self._quiet_at = now
        self._asked_at = -math.inf

    @property
    def room(self) -> int:
        """Bytes of messages that it would take now. Zero or less: wait until `poll` has made room.

        Some 2 ms at the rate, 64 KiB at least; what waits here can still be packed tighter.
        """
        return max(65536, int(self._burst)) - self._packer.waiting

    @property
    def pending(self) -> int:
        """Bytes of messages that have not left yet."""
        return self._packer.waiting

    def send(self, items: Sequence[Item], now: float) -> None:
        """Takes messages, whatever ``room`` says; they leave at the rate, in order, as `poll` is called."""
        assert not self._closing, "nothing is sent after close"
        self._fill(now)
        self._packer.add(items)

    def receive_untrusted(self, packet: bytes, host: str, now: float) -> None:
        """Takes a packet of a receiver: a NAK, an SPMR. Those for other sessions, and those of senders, mean nothing here.

        Args:
          packet: from PGM's header on (what UDP carried; or what IP carried, without the header of IP).
          host: where it came from; it makes no difference.
          now: the time.

        Raises:
          ProtocolError: it is malformed. Drop it, count it, go on.
        """
        header = packets.check_untrusted(packet)
        source, destination, kind, _, _, gsi, _ = header
        if destination != self._port or source != self._settings.port or gsi != self._gsi or kind not in (NAK, SPMR):
            return
        said = packets.control_untrusted(packet, header)
        if kind == SPMR:
            self._want_spm(now)
        elif (
            isinstance(said, Request)
            and not said.parity
            and (said.source, said.group) == (self._address, self._settings.group)
        ):
            self._asked(said.sqns, now)

    def _asked(self, sqns: Sequence[int], now: float) -> None:
        self.statistics.naks += 1
        self._fill(now)
        self._asked_at = now
        if self._fin:
            self._quiet_at = now + QUIET_AFTER_LOSS
        if len(sqns) >= OVERRUN and (sqns[OVERRUN - 1] - sqns[0]) & _WRAP == OVERRUN - 1:
            self._slow_down(now)
        trail = self._next - len(self._window)
        for wrapped in sqns:
            sqn = self._next - 1 - ((self._next - 1 - wrapped) & _WRAP)
            if sqn < trail:
                self.statistics.too_late += 1
                self._want_spm(now)  # it says what can be had
            elif now >= self._repaired.get(sqn, -math.inf) + ELIMINATION:
                self._confirm[sqn] = None
                self._repair[sqn] = None

    def _fill(self, now: float) -> None:
        """Fills the bucket. A timer that is late, where something waits, costs no rate; a pause saves little up."""
        behind = self._packer.waiting or self._repair
        most = max(self._burst, LATENESS * self._rate) if behind else self._burst
        self._tokens = min(most, self._tokens + (now - self._filled_at) * self._rate * self._pace)
        self._filled_at = now

    def _slow_down(self, now: float) -> None:
        """Somebody is overrun: it gets less at a time, or the repairs would be too much for it, too."""
        if now >= self._paced_at + PACE_INTERVAL or self._pace == 1.0:
            self._paced_at = now
            self._pace = max(PACE_LEAST, self._pace * PACE_DOWN)

    def _want_spm(self, now: float) -> None:
        self._spm_wanted = max(now, self._spm_sent + SPMR_WAIT)

    def poll(self, now: float, most: int = 64) -> list[bytes]:
        """The packets to multicast to the group now, in this order; at most so many. Call it again if there were as many.

        They count as sent: one that the system does not take is lost like any other, and repaired like any other.
        All but the last of the data packets in a row are of the same size while more is waiting.
        """
        self._fill(now)
        self._now = now
        if self._pace < 1.0 and now >= self._paced_at + PACE_INTERVAL:
            self._pace = min(1.0, self._pace + PACE_UP * (now - self._paced_at) / PACE_INTERVAL)
            self._paced_at = now
        out: list[bytes] = []
        if self.finished:
            return out
        while self._spms and len(out) < most:
            self._spms -= 1
            out.append(self._spm())
        while self._confirm and len(out) < most:
            out.append(self._ncf())
        if (self._repair or self._packer.waiting) and self._tokens > self._wanted() - 1:  # time is not exact
            self._data(out, most)
        if self._closing and not self._fin and not self._packer.waiting:
            self._fin = True
            self._spms = SPMS
            self._beats = iter(HEARTBEATS if self._window else ())
            quiet = QUIET_AFTER_LOSS if now < self._asked_at + LOSSY else QUIET
            self._quiet_at = now + quiet if self._window else now
            return out + self.poll(now, most - len(out))
        if now >= min(self._spm_due, self._spm_wanted) and len(out) < most:
            out.append(self._spm())
        return out

    def _data(self, out: list[bytes], most: int) -> None:
        """Adds repairs and data, while there are tokens: the last one may take more than there are."""
        packer, settings = self._packer, self._settings
        before, beats = len(out), HEARTBEATS_OF_REPAIR
        while self._tokens > 0 and len(out) < most:
            waiting = packer.waiting
            if self._repair and (not waiting or self._repairs_in_row < _REPAIRS):
                self._repairs_in_row += 1
                self._send_again(out)
                continue
            if not waiting:
                break
            self._repairs_in_row = 0
            beats = HEARTBEATS
            count = 1
            if not self._repair:
                count = min(most - len(out), math.ceil(self._tokens / settings.max_tpdu))
            for tsdu in packer.take(count):
                window = self._window
                window.append(tsdu)
                sqn = self._next
                self._next = sqn + 1
                packet = packets.data(
                    ODATA, self._gsi, self._ports, sqn & _WRAP, (self._next - len(window)) & _WRAP, tsdu
                )
                out.append(packet)
                self._tokens -= len(packet) + self._cost
                self.statistics.data += 1
        if len(out) > before:
            self._beats = iter(beats)
            self._spm_due = min(self._now + next(self._beats), self._spm_sent + AMBIENT)

    def _send_again(self, out: list[bytes]) -> None:
        sqn = next(iter(self._repair))
        del self._repair[sqn]
        trail = self._next - len(self._window)
        if sqn < trail:  # it has left the window since it was asked for
            self.statistics.too_late += 1
            return
        packet = packets.data(RDATA, self._gsi, self._ports, sqn & _WRAP, trail & _WRAP, self._window[sqn - trail])
        out.append(packet)
        self._tokens -= len(packet) + self._cost
        self.statistics.repairs += 1
        repaired = self._repaired
        repaired.pop(sqn, None)
        repaired[sqn] = self._now
        while repaired[oldest := next(iter(repaired))] + ELIMINATION <= self._now:
            del repaired[oldest]

    def _ncf(self) -> bytes:
        sqns = tuple(islice(self._confirm, 1 + packets.MOST_LISTED))
        for sqn in sqns:
            del self._confirm[sqn]
        asked = Request(packets.NCF, tuple(sqn & _WRAP for sqn in sqns), self._address, self._settings.group)
        return packets.request(self._gsi, self._ports, asked)

    def _spm(self) -> bytes:
        trail, lead = self._next - len(self._window), self._next - 1
        options = packets.fin() if self._fin else packets.NO_OPTIONS
        said = Heartbeat(self._spm_sqn, trail & _WRAP, lead & _WRAP, self._address, options)
        self._spm_sqn = (self._spm_sqn + 1) & _WRAP
        self.statistics.spms += 1
        self._spm_sent = self._now
        self._spm_due = self._now + next(self._beats, AMBIENT)
        self._spm_wanted = math.inf
        return packets.spm(self._gsi, self._ports, said)

    def _wanted(self) -> float:
        """The tokens that are waited for: what goes out is better sent together, up to half of the bucket."""
        waiting = self._packer.waiting + len(self._repair) * self._settings.max_tpdu
        return min(waiting, self._burst / 2)

    @property
    def deadline(self) -> float:
        """When `poll` has something next; ``math.inf`` once it is ``finished``. At most 30 s ahead before that."""
        if self.finished:
            return math.inf
        if self._spms or self._confirm or (self._closing and not self._fin and not self._packer.waiting):
            return self._now
        due = min(self._spm_due, self._spm_wanted)
        if self._fin and self._quiet_at > self._now:
            due = min(due, self._quiet_at)
        if self._repair or self._packer.waiting:
            due = min(due, self._filled_at + max(0.0, self._wanted() - self._tokens) / (self._rate * self._pace))
        return due

    def close(self, now: float, *, discard: bool = False) -> None:
        """Ends the session: what waits still leaves at the rate, then three SPMs with FIN; repairs are sent all the while.

        Args:
          now: the time.
          discard: drop what waits, so that the next `poll` has the FINs (linger ran out). It may follow a call without.
        """
        self._closing = True
        if discard:
            self._packer.clear()

    @property
    def finished(self) -> bool:
        """After ``close``: all has left, and nobody has asked for a repair for 0.3 s, or 1.5 s if somebody has of late.

        A session that never sent data is finished with its FINs.
        """
        return self._fin and not self._spms and not self._repair and self._now >= self._quiet_at
