"""PGM's packets (RFC 3208, 8 and 9): bytes to values and back. What they lead to is not said here.

A data packet is taken apart without an object for it: `check_untrusted`, then `data_untrusted`. For the others there is
`control_untrusted`. Each raises ProtocolError for what is malformed, and nothing else.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, TypeAlias

import attrs

from .._errors import ProtocolError

__all__ = [
    "ACK",
    "DATA",
    "DATA_HEADER",
    "MOST_LISTED",
    "NAK",
    "NCF",
    "NNAK",
    "NO_OPTIONS",
    "ODATA",
    "PARITY",
    "POLL",
    "POLR",
    "RDATA",
    "SPM",
    "SPMR",
    "Heartbeat",
    "Options",
    "Packet",
    "Request",
    "check_untrusted",
    "control_untrusted",
    "data",
    "data_untrusted",
    "remainder",
    "request",
    "spm",
    "spmr",
]

SPM: Final = 0x00
POLL: Final = 0x01
POLR: Final = 0x02
ODATA: Final = 0x04
RDATA: Final = 0x05
NAK: Final = 0x08
NNAK: Final = 0x09
NCF: Final = 0x0A
SPMR: Final = 0x0C
ACK: Final = 0x0D

DATA: Final = (ODATA, RDATA)
_KNOWN = (SPM, POLL, POLR, ODATA, RDATA, NAK, NNAK, NCF, SPMR, ACK)
_LISTS = (NAK, NNAK, NCF)

PARITY: Final = 0x80
"""The bit of a packet's options that says: not a packet's content, but what repairs one of several."""

MOST_LISTED: Final = 62
"""The most packets that a NAK may ask for beside its first."""

_PRESENT, _SIGNIFICANT = 0x01, 0x02
_LENGTH, _FRAGMENT, _NAK_LIST, _SYN, _FIN, _RST = 0x00, 0x01, 0x02, 0x0D, 0x0E, 0x0F
_JOIN, _REDIRECT, _PARITY_PRM = 0x03, 0x07, 0x08
_END = 0x80
_MOST_OPTIONS = 16
# The lengths of the options that are looked at; others are stepped over.
_LENGTHS = {_LENGTH: (4,), _FRAGMENT: (16,), _JOIN: (8,), _PARITY_PRM: (8,), _SYN: (4,), _FIN: (4,), _RST: (4,)}

_HEADER = Struct(">HHBBH6sH")
DATA_HEADER: Final = Struct(">HHBBH6sHII")
_SQNS = Struct(">II")
_SPM = Struct(">III")
_NLA = Struct(">HH")
_AFIS = {4: b"\0\1\0\0", 16: b"\0\2\0\0"}  # with the reserved field
_FIN_OPTION = bytes((_LENGTH, 4, 0, 8, _FIN | _END, 4, 0, 0))

Header: TypeAlias = "tuple[int, int, int, int, int, bytes, int]"
"""Source port, destination port, type, options, checksum, GSI, TSDU length."""


@attrs.frozen
class Options:
    """What a packet's options say."""

    present: frozenset[int] = frozenset()
    listed: tuple[int, ...] = ()

    @property
    def fin(self) -> bool:
        """The session's end (OPT_FIN)."""
        return _FIN in self.present

    @property
    def rst(self) -> bool:
        """The session's end because something went wrong (OPT_RST)."""
        return _RST in self.present

    @property
    def fragment(self) -> bool:
        """A part of what the sender's application sent as one (OPT_FRAGMENT); ZeroMQ never does."""
        return _FRAGMENT in self.present


NO_OPTIONS = Options()


@attrs.frozen
class Heartbeat:
    """An SPM: what its sender has, and where it is."""

    sqn: int
    trail: int
    lead: int
    path: bytes
    options: Options = NO_OPTIONS


@attrs.frozen
class Request:
    """A NAK, NNAK or NCF: packets that somebody misses, and of whom and where."""

    kind: int
    sqns: tuple[int, ...]
    source: bytes
    group: bytes
    parity: bool = False


Packet: TypeAlias = "Heartbeat | Request | None"
"""None is an SPMR, which says nothing more, or one that is skipped: a POLL, a POLR, an ACK."""


# The sum of one's complement over 16 bits is the remainder by 65535. A division is slow: the number is folded before,
# at places that are multiples of 16 bits.
_FOLDS = tuple((bits, (1 << bits) - 1) for bits in (5824, 2912, 1456))


def remainder(octets: bytes) -> int:
    """What a checksum is made of: 0 for a packet whose checksum is right."""
    total = int.from_bytes(octets, "big")
    if len(octets) > 256:
        for bits, mask in _FOLDS:
            total = (total >> bits) + (total & mask)
    return total % 65535


# from the wire


def check_untrusted(packet: bytes) -> Header:
    """What every packet begins with.

    Raises:
      ProtocolError: it is too short, of another version or an unknown type, its checksum is wrong, or its length is.
    """
    if len(packet) < 16:
        raise ProtocolError(f"a PGM packet of {len(packet)} bytes: the header alone has 16")
    header: Header = _HEADER.unpack_from(packet)
    _, _, kind, flags, checksum, _, length = header
    if checksum:
        # A padding byte, where the length is odd, is a shift by 8: 65535 divides a number where it divides the shifted one.
        if remainder(packet):
            raise ProtocolError("a PGM packet whose checksum is wrong")
    elif kind in DATA:
        raise ProtocolError("a PGM data packet without checksum")
    if kind not in _KNOWN:
        raise ProtocolError(f"a PGM packet of version {kind >> 6}, type 0x{kind & 63:02x}: neither known here")
    if kind == ODATA and not flags:  # the one that comes by the thousand
        if length != len(packet) - 24:
            raise _wrong_length(packet, length)
    elif length > len(packet) - 16 or (length and kind not in DATA):
        raise _wrong_length(packet, length)
    return header


def _wrong_length(packet: bytes, length: int) -> ProtocolError:
    return ProtocolError(f"a PGM packet of {len(packet)} bytes cannot hold {length} bytes of data, as it says")


def data_untrusted(packet: bytes, header: Header) -> tuple[int, int, bytes, Options]:
    """The sequence number, the trailing edge of the window, the content and the options of ODATA or RDATA.

    Raises:
      ProtocolError: it is shorter than that, its length is wrong, or its options are.
    """
    if len(packet) < 24:
        raise ProtocolError(f"a PGM data packet of {len(packet)} bytes: the header alone has 24")
    sqn, trail = _SQNS.unpack_from(packet, 16)
    if not header[3] & _PRESENT:
        if header[6] != len(packet) - 24:
            raise _wrong_length(packet, header[6])
        return sqn, trail, packet[24:], NO_OPTIONS
    options, start = _options_untrusted(packet, 24)
    if header[6] != len(packet) - start:
        raise _wrong_length(packet, header[6])
    return sqn, trail, packet[start:], options


def control_untrusted(packet: bytes, header: Header) -> Packet:
    """What a packet without data says.

    Raises:
      ProtocolError: its fields or its options are malformed.
    """
    kind, flags = header[2], header[3]
    if kind == SPM:
        if len(packet) < 28:
            raise _cut()
        sqn, trail, lead = _SPM.unpack_from(packet, 16)
        path, at = _address_untrusted(packet, 28)
        options, at = _options_untrusted(packet, at) if flags & _PRESENT else (NO_OPTIONS, at)
        _check_end(packet, at)
        if (lead - trail + 1) & 0xFFFFFFFF > 0x7FFFFFFF:
            raise ProtocolError(f"an SPM whose window goes from {trail} to {lead}")
        return Heartbeat(sqn, trail, lead, path, options)
    if kind in _LISTS:
        if len(packet) < 20:
            raise _cut()
        first = int.from_bytes(packet[16:20], "big")
        source, at = _address_untrusted(packet, 20)
        group, at = _address_untrusted(packet, at)
        options, at = _options_untrusted(packet, at) if flags & _PRESENT else (NO_OPTIONS, at)
        _check_end(packet, at)
        return Request(kind, (first, *options.listed), source, group, bool(flags & PARITY))
    if kind == SPMR:
        _check_end(packet, _options_untrusted(packet, 16)[1] if flags & _PRESENT else 16)
    return None


def _cut() -> ProtocolError:
    return ProtocolError("a PGM packet that ends within its fields")


def _check_end(packet: bytes, at: int) -> None:
    if at != len(packet):
        raise ProtocolError(f"a PGM packet of {len(packet)} bytes that says all it has to say in {at}")


def _address_untrusted(packet: bytes, at: int) -> tuple[bytes, int]:
    if len(packet) < at + 8:
        raise _cut()
    family, _ = _NLA.unpack_from(packet, at)
    if family not in (1, 2):
        raise ProtocolError(f"an address of family {family} in a PGM packet, where 1 is IPv4 and 2 is IPv6")
    stop = at + (8 if family == 1 else 20)
    if len(packet) < stop:
        raise _cut()
    return packet[at + 4 : stop], stop


def _options_untrusted(packet: bytes, start: int) -> tuple[Options, int]:
    """The options that begin there, and where they end."""
    if len(packet) < start + 4 or packet[start] & 0x7F != _LENGTH or packet[start + 1] != 4:
        raise ProtocolError("the options of a PGM packet do not begin with their length")
    stop = start + int.from_bytes(packet[start + 2 : start + 4], "big")
    if not start + 8 <= stop <= len(packet) or packet[start] & _END:
        raise ProtocolError(f"the options of a PGM packet of {len(packet)} bytes go from {start} to {stop}")
    present: set[int] = set()
    listed: tuple[int, ...] = ()
    at, kind = start + 4, 0
    while not kind & _END:
        if len(present) == _MOST_OPTIONS:
            raise ProtocolError(f"a PGM packet has more than {_MOST_OPTIONS} options")
        if at + 4 > stop:
            raise ProtocolError("the options of a PGM packet have no last one")
        kind, length = packet[at], packet[at + 1]
        name = kind & 0x7F
        if length < 4 or at + length > stop or length not in _LENGTHS.get(name, (length,)):
            raise ProtocolError(f"an option 0x{name:02x} of {length} bytes in a PGM packet")
        if name in present or name == _LENGTH:
            raise ProtocolError(f"an option 0x{name:02x} twice in a PGM packet")
        if name == _NAK_LIST:
            if length % 4 or not 8 <= length <= 4 + 4 * MOST_LISTED:
                raise ProtocolError(f"a NAK list of {length} bytes")
            listed = Struct(f">{length // 4 - 1}I").unpack_from(packet, at + 4)
        elif name > _RST and packet[at + 2] & 3 == 2:
            raise ProtocolError(f"a PGM packet is to be dropped where option 0x{name:02x} is not known, and so it is")
        present.add(name)
        at += length
    if at != stop:
        raise ProtocolError(f"the options of a PGM packet end at {at}, not at {stop}")
    return Options(frozenset(present), listed), stop


# onto the wire


def _finished(packet: bytes) -> bytes:
    """With its checksum."""
    total = remainder(packet)  # all but data have an even length
    return packet[:6] + (65535 - total).to_bytes(2, "big") + packet[8:]


def data(kind: int, gsi: bytes, ports: tuple[int, int], sqn: int, trail: int, content: bytes) -> bytes:
    """ODATA or RDATA; ``ports`` are the sender's and the destination's."""
    size = len(content)
    source, destination = ports
    # All begin at an even place, and so their sums can be added.
    total = source + destination + (kind << 8) + int.from_bytes(gsi, "big") + size + sqn + trail
    total += remainder(content) << 8 if size & 1 else remainder(content)
    return DATA_HEADER.pack(source, destination, kind, 0, 65535 - total % 65535, gsi, size, sqn, trail) + content


def spm(gsi: bytes, ports: tuple[int, int], heartbeat: Heartbeat) -> bytes:
    """An SPM; of the options, FIN alone is sent."""
    fin = heartbeat.options.fin
    head = _HEADER.pack(*ports, SPM, _PRESENT if fin else 0, 0, gsi, 0)
    body = _SPM.pack(heartbeat.sqn, heartbeat.trail, heartbeat.lead) + _address(heartbeat.path)
    return _finished(head + body + (_FIN_OPTION if fin else b""))


def request(gsi: bytes, ports: tuple[int, int], asked: Request) -> bytes:
    """A NAK or an NCF. For a NAK the ports are the other way round than for the others: the destination's, the sender's."""
    more = asked.sqns[1:]
    head = _HEADER.pack(*ports, asked.kind, _PRESENT | _SIGNIFICANT if more else 0, 0, gsi, 0)
    body = asked.sqns[0].to_bytes(4, "big") + _address(asked.source) + _address(asked.group)
    if more:
        size = 4 + 4 * len(more)
        body += bytes((_LENGTH, 4)) + (4 + size).to_bytes(2, "big") + bytes((_NAK_LIST | _END, size, 0, 0))
        body += Struct(f">{len(more)}I").pack(*more)
    return _finished(head + body)


def spmr(gsi: bytes, ports: tuple[int, int]) -> bytes:
    """An SPMR; the ports as of a NAK."""
    return _finished(_HEADER.pack(*ports, SPMR, 0, 0, gsi, 0))


def _address(address: bytes) -> bytes:
    return _AFIS[len(address)] + address


def fin() -> Options:
    """The options of an SPM that ends the session."""
    return Options(frozenset((_FIN,)))
