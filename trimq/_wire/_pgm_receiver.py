"""One PGM receiver: packets of any number of senders in, messages and NAKs out (RFC 3208, 6). Sans-I/O.

`now` and chance are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from .._errors import ProtocolError
from . import _pgm_packets as packets
from ._pgm_events import Delivered, Event, Joined, Left, Lost, Outgoing, ReceiverStatistics, Stream
from ._pgm_packets import DATA, NCF, ODATA, PARITY, SPM, SPMR, Header, Heartbeat, Options, Request
from ._pgm_settings import EXPIRY, REPEAT, SPMR_WAIT, PgmSettings
from ._pgm_window import ASK, HELD_COST, KNOCK, Round, Suspect, Timers, Window

__all__ = ["MAX_STREAMS", "MAX_STREAMS_OF_HOST", "PgmReceiver"]

MAX_STREAMS = 256
"""How many senders are followed at once."""

MAX_STREAMS_OF_HOST = 64
"""How many of one host."""

_WRAP = 0xFFFFFFFF
_HALF = 0x80000000
_SCAN = 10.0  # seconds from one look for senders that are silent to the next
_SILENT = 1.0  # seconds of silence after which a sender may have to give way
_BURIED = 0.25  # seconds after a session's end in which its packets are late, and no new session of the same name
_KNOCKS = 5  # how often an SPM is asked for
_DOWN = (*DATA, SPM, NCF)

_Key = tuple[int, bytes, str]


class PgmReceiver:
    """A receiver of one group and port: any number of senders, up to a bound.

    Use: give ``receive_untrusted`` each datagram; then ``take`` what came of them; then, and at ``deadline``, send what
    ``poll`` returns, and ``take`` again.

    Args:
      settings: group, port; the rate and recovery_interval say how large a gap is waited for.
      now: seconds of any clock that only goes forward; the same for all calls.
      chance: a number from 0 up to 1 on each call (``random.random``): the back-off.
      max_message_size: the most bytes in a message's frame; a larger message is skipped, and its sender heard further.
      max_kept: the most bytes that all senders' packets out of order and unfinished messages may take; where it is more, the
        sender with the most of it loses them.
    """

    def __init__(
        self,
        settings: PgmSettings,
        now: float,
        *,
        chance: Callable[[], float],
        max_message_size: float,
        max_kept: int = 256 * 1024 * 1024,
    ) -> None:
        self.statistics = ReceiverStatistics()
        self._settings = settings
        self._port = settings.port
        self._size = settings.window
        self._chance = chance
        self._max_message_size = max_message_size
        self._max_kept = max_kept
        self._kept = 0
        self._windows: dict[_Key, Window] = {}
        self._of_host: dict[str, int] = {}
        self._buried: dict[_Key, float] = {}  # until when
        self._timers = Timers()
        self._scan_at = now + _SCAN
        self._ready: dict[Window, None] = {}  # those with something to take
        self._events: list[Event] = []
        self._closed = False

    # in

    def receive_untrusted(self, packet: bytes, host: str, now: float) -> None:
        """Takes a packet.

        Args:
          packet: from PGM's header on (what UDP carried; or what IP carried, without the header of IP).
          host: the address it came from, without port, in one spelling; a sender is known by it and its session.
          now: the time.

        Raises:
          ProtocolError: it is malformed. Drop it and go on; it is counted.
        """
        try:
            header = packets.check_untrusted(packet)
            source, destination, kind, flags, _, gsi, size = header
            if kind == ODATA and not flags and destination == self._port:
                window = self._windows.get((source, gsi, host))
                if window is not None and size > 1:
                    sqn = int.from_bytes(packet[16:20], "big")
                    # By far the most common: the packet that is next, and none is missing.
                    if sqn == window.expected:
                        fresh = window.fresh
                        if not fresh:
                            self._ready[window] = None
                        fresh.append(packet[24:])
                        window.next += 1
                        window.expected = window.next & _WRAP
                        window.heard = now
                        window.suspect = None
                        return
                    # And the one that is new, where one before it is missing.
                    if sqn == window.ahead and window.hold(packet[24:], int.from_bytes(packet[20:24], "big")):
                        window.heard = now
                        window.suspect = None
                        window.counted += size + HELD_COST
                        self._kept += size + HELD_COST
                        if self._kept > self._max_kept:
                            self._account(window)
                        return
            self._receive_untrusted(packet, header, host, now)
        except ProtocolError:
            self.statistics.malformed += 1
            raise

    def receive_run_untrusted(self, run: Sequence[bytes], host: str, now: float) -> list[ProtocolError]:
        """Takes packets that came together from one host, as `receive_untrusted` does; returns what was malformed."""
        errors: list[ProtocolError] = []
        port, take_apart, remainder = self._port, packets.DATA_HEADER.unpack_from, packets.remainder
        window: Window | None = None
        whose = (0, b"")
        for packet in run:
            if len(packet) > 25:
                source, destination, kind, flags, checksum, gsi, size, sqn, _ = take_apart(packet)
                if kind == ODATA and not flags and checksum and destination == port and size == len(packet) - 24:
                    if window is None or (source, gsi) != whose:
                        whose = (source, gsi)
                        window = self._windows.get((source, gsi, host))
                    if window is not None and sqn == window.expected and not remainder(packet):
                        fresh = window.fresh
                        if not fresh:
                            self._ready[window] = None
                        fresh.append(packet[24:])
                        window.next += 1
                        window.expected = window.next & _WRAP
                        window.heard = now
                        window.suspect = None
                        continue
            window = None
            try:
                self.receive_untrusted(packet, host, now)
            except ProtocolError as error:
                errors.append(error)
        return errors

    def _receive_untrusted(self, packet: bytes, header: Header, host: str, now: float) -> None:
        source, destination, kind, flags, _, gsi, _ = header
        if self._closed or (destination if kind in _DOWN else source) != self._port:
            self.statistics.skipped += 1
            return
        key = (source, gsi, host)
        if kind in DATA:
            sqn, trail, tsdu, options = packets.data_untrusted(packet, header)
            if (sqn - trail) & _WRAP >= _HALF:
                raise ProtocolError(f"a PGM data packet {sqn} of a window that begins at {trail}")
            if flags & PARITY:
                self.statistics.skipped += 1
            else:
                self._data(key, kind, sqn, trail, tsdu, options, now)
            return
        said = packets.control_untrusted(packet, header)
        if isinstance(said, Heartbeat):
            if not _is_host(said.path, len(self._settings.group)):
                raise ProtocolError(f"an SPM whose path is no host's address: {said.path.hex()}")
            self._spm(key, said, now)
        elif kind == NCF and isinstance(said, Request) and key in self._windows:
            self._ncf(self._windows[key], said, now)
        elif kind == SPMR:
            for window in self._windows.values():
                if window.path is None and window.stream.tsi == gsi + destination.to_bytes(2, "big"):
                    window.knocked = True  # the answer is for all
        else:
            self.statistics.skipped += 1

    def _data(
        self, key: _Key, kind: int, wrapped: int, trail: int, tsdu: bytes | None, options: Options, now: float
    ) -> None:
        if options.fragment or (tsdu is not None and len(tsdu) < 2):
            self.statistics.malformed += 1
            tsdu = None  # the packet was had, all the same
        window = self._windows.get(key)
        if window is None:
            if kind != ODATA or options.rst or (window := self._join(key, wrapped, now)) is None:
                self.statistics.skipped += 1
                return
            self._timers.add(now + SPMR_WAIT * (1 + self._chance()), Round(window, KNOCK, ()))
        sqn = window.absolute(wrapped)
        if not window.reaches(sqn):
            if kind == ODATA:
                self._suspect(key, window, Suspect(sqn, (ODATA, sqn), tsdu, sqn - ((wrapped - trail) & _WRAP)), now)
            return
        window.heard = now
        window.suspect = None
        if not window.data(sqn, tsdu, now):
            self.statistics.duplicates += 1
        elif kind != ODATA:
            self.statistics.repairs += 1
        window.there_is_no_more(sqn - ((wrapped - trail) & _WRAP), now)
        window.fin = window.fin or options.fin
        self._look_at(key, window, "reset" if options.rst else "", now)

    def _spm(self, key: _Key, said: Heartbeat, now: float) -> None:
        window = self._windows.get(key)
        over = said.options.fin or said.options.rst
        if window is None:
            window = None if over else self._join(key, (said.lead + 1) & _WRAP, now)
            if window is None:
                self.statistics.skipped += 1
                return
        elif window.spm_sqn >= 0 and (behind := (window.spm_sqn - said.sqn) & _WRAP) < _HALF:
            if not behind or over or now < window.spm_at + REPEAT:
                self.statistics.duplicates += 1
                return
            # No packet is late for so long: its numbers have begun again, and so has the session.
            self._leave(key, window, "restarted")
            window = self._follow(key, (said.lead + 1) & _WRAP, now)
        window.heard = window.spm_at = now
        window.spm_sqn = said.sqn
        window.path = said.path
        lead = window.absolute(said.lead)
        trail = lead + 1 - ((said.lead + 1 - said.trail) & _WRAP)
        if not window.reaches(lead):
            self._suspect(key, window, Suspect(lead, (SPM, said.sqn), None, trail), now)
            return
        window.there_is(lead, now)
        window.there_is_no_more(trail, now)
        window.fin = window.fin or said.options.fin
        self._look_at(key, window, "reset" if said.options.rst else "", now)

    def _ncf(self, window: Window, said: Request, now: float) -> None:
        if said.group != self._settings.group or said.parity:
            self.statistics.skipped += 1
            return
        window.heard = now
        sqns = [window.absolute(sqn) for sqn in said.sqns]
        newest = max(sqns)
        if window.reaches(newest):
            window.there_is(newest, now)
            window.confirmed(sqns, now)
            self._account(window)

    def _suspect(self, key: _Key, window: Window, new: Suspect, now: float) -> None:
        """The window moves if this is the second packet that says so. What it can hold of what is to be had is asked for."""
        old = window.suspect
        if old is None or old.witness == new.witness or abs(old.sqn - new.sqn) > self._size:
            window.suspect = new
            return
        window.suspect = None
        first, last = sorted((old.sqn, new.sqn))
        window.there_is_no_more(min(first, max(old.trail, new.trail, last + 1 - self._size)), now)
        window.there_is(last, now)
        for one in (old, new):
            if one.witness[0] == ODATA:
                window.data(one.sqn, one.tsdu, now)
        self._look_at(key, window, "", now)

    # senders

    def _join(self, key: _Key, first: int, now: float) -> Window | None:
        """A new sender, if there is room for one and it is none that has just gone."""
        if now < self._buried.get(key, now):
            return None
        host = key[2]
        if len(self._windows) >= MAX_STREAMS or self._of_host.get(host, 0) >= MAX_STREAMS_OF_HOST:
            full = len(self._windows) >= MAX_STREAMS and self._of_host.get(host, 0) < MAX_STREAMS_OF_HOST
            rivals = [(one.heard, other) for other, one in self._windows.items() if full or other[2] == host]
            heard, other = min(rivals)
            if now < heard + _SILENT:
                self.statistics.refused += 1
                return None
            self._leave(other, self._windows[other], "replaced")
        return self._follow(key, first, now)

    def _follow(self, key: _Key, first: int, now: float) -> Window:
        source, gsi, host = key
        stream = Stream(gsi + source.to_bytes(2, "big"), host)
        window = Window(stream, first, self._size, self._timers, self._chance, self._max_message_size, now)
        self._windows[key] = window
        self._of_host[host] = self._of_host.get(host, 0) + 1
        self._events.append(Joined(stream))
        return window

    def _leave(self, key: _Key, window: Window, why: str) -> None:
        window.give_up_all()
        self._deliver(window)
        self._kept -= window.counted
        self._ready.pop(window, None)
        del self._windows[key]
        self._of_host[key[2]] -= 1
        if not self._of_host[key[2]]:
            del self._of_host[key[2]]
        self._events.append(Left(window.stream, why))

    def _look_at(self, key: _Key, window: Window, why: str, now: float) -> None:
        """Sees what has become of a window; it is given up for a reason, or because all has come that will."""
        if window.fin and window.expected >= 0:
            why = why or "fin"
        if why:
            self._leave(key, window, why)
            self._buried.pop(key, None)
            if len(self._buried) >= MAX_STREAMS:
                del self._buried[next(iter(self._buried))]
            self._buried[key] = now + _BURIED
        else:
            self._account(window)

    def _account(self, window: Window) -> None:
        if window.fresh or window.lost:
            self._ready[window] = None
        cost = window.cost
        self._kept += cost - window.counted
        window.counted = cost
        while self._kept > self._max_kept:
            largest = max(self._windows.values(), key=lambda one: one.counted)
            self.statistics.refused += 1
            largest.give_up_all()
            largest.unpacker.reset()
            self._ready[largest] = None
            self._kept += largest.cost - largest.counted
            largest.counted = largest.cost

    # out

    def poll(self, now: float) -> list[Outgoing]:
        """The packets to send now: NAKs and SPMRs. It also gives up what was waited for too long: `take` tells."""
        out: list[Outgoing] = []
        ask: dict[Window, list[Round]] = {}
        while (ended := self._timers.pop(now)) is not None:
            window = ended.window
            key = self._key(window)
            if self._windows.get(key) is not window:
                continue
            if ended.kind == KNOCK:
                self._knock(window, ended, now, out)
            elif ended.kind == ASK:
                ask.setdefault(window, []).append(ended)
            else:
                window.in_vain(ended, now)
                self._look_at(key, window, "", now)
        for window, rounds in ask.items():
            self._nak(window, [sqn for one in rounds for sqn in window.living(one)], now, out)
        if now >= self._scan_at:
            self._scan_at = now + _SCAN
            for key, window in list(self._windows.items()):
                if now >= window.heard + EXPIRY:
                    self._leave(key, window, "expired")
        return out

    def _nak(self, window: Window, sqns: list[int], now: float, out: list[Outgoing]) -> None:
        if window.path is not None and sqns:
            ports, gsi = (self._port, self._key(window)[0]), window.stream.tsi[:6]
            host = str(ip_address(window.path))
            for start in range(0, len(sqns), 1 + packets.MOST_LISTED):
                some = tuple(sqn & _WRAP for sqn in sqns[start : start + 1 + packets.MOST_LISTED])
                asked = Request(packets.NAK, some, window.path, self._settings.group)
                out.append(Outgoing(packets.request(gsi, ports, asked), host))
                self.statistics.naks += 1
            self.statistics.asked += len(sqns)
        window.asked(sqns, now)

    def _knock(self, window: Window, ended: Round, now: float, out: list[Outgoing]) -> None:
        if window.path is not None or window.knocks >= _KNOCKS:
            return
        if not window.knocked:
            packet = packets.spmr(window.stream.tsi[:6], (self._port, self._key(window)[0]))
            out += (Outgoing(packet, None), Outgoing(packet, window.stream.host))
        window.knocks += 1
        window.knocked = False
        self._timers.add(now + REPEAT * (1 + self._chance()), ended)

    @property
    def deadline(self) -> float:
        """When `poll` has something to do next; ``math.inf`` while there is nobody to wait for."""
        return min(self._timers.next, self._scan_at) if self._windows else math.inf

    def take(self) -> list[Event]:
        """What has happened since the last call: whole messages, each sender's in its order, and what became of senders."""
        ready, self._ready = self._ready, {}
        for window in ready:
            self._deliver(window)
            self._account(window)
        events, self._events = self._events, []
        return events

    def _deliver(self, window: Window) -> None:
        fresh, window.fresh = window.fresh, []
        unpacker, statistics = window.unpacker, self.statistics
        broken = unpacker.broken
        items = unpacker.unpack_untrusted(fresh)
        statistics.malformed += unpacker.broken - broken
        statistics.data += len(fresh) - fresh.count(None)
        if items:
            self._events.append(Delivered(window.stream, items))
        if window.lost:
            statistics.lost += window.lost
            self._events.append(Lost(window.stream, window.lost))
            window.lost = 0

    def close(self) -> None:
        """Forgets all senders; what comes later is skipped, `poll` has nothing and `take` what was whole. Idempotent."""
        self._closed = True
        for window in self._ready:
            self._deliver(window)
        for state in (self._windows, self._of_host, self._buried, self._ready, self._timers):
            state.clear()
        self._kept = 0

    @staticmethod
    def _key(window: Window) -> _Key:
        tsi = window.stream.tsi
        return int.from_bytes(tsi[6:], "big"), tsi[:6], window.stream.host


def _is_host(address: bytes, size: int) -> bool:
    """Whether it is one host's address, and of the group's family."""
    if len(address) != size or not any(address):
        return False
    return address[0] < 224 if size == 4 else address[0] != 255
