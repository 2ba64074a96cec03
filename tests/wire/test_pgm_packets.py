"""PGM's packets: wire.md 7.2 to 7.5 (captured from libzmq over OpenPGM), and 9, rows 87 to 94. RFC 3208, 8 and 9."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trimq import ProtocolError
from trimq._wire import _pgm_packets as pgm
from trimq._wire._pgm_packets import Heartbeat, Options, Packet, Request

OURS, GROUP = bytes((10, 77, 0, 1)), bytes((239, 192, 0, 1))
GSI = bytes.fromhex("B7C6D1BC038A")
HELLO = bytes.fromhex("3B5315DF0400D3E4B7C6D1BC038A0009 00000000 00000000 0000060068656C6C6F")
SPM = bytes.fromhex("3B5315DF00001771B7C6D1BC038A0000 00000000 00000000 FFFFFFFF 000100000A4D0001")
FIN = bytes.fromhex("3B5315DF00018948B7C6D1BC038A0000 00000012 00000000 00000005 000100000A4D0001 000400088E040000")
NAK = bytes.fromhex("15DF11110800CDEF0102030405060000 00000002 000100000A4D0001 00010000EFC00001")
LIST = bytes.fromhex(
    "15DF111108034BBF0102030405060000 00000004 000100000A4D0001 00010000EFC00001 00040010820C00000000000500000006"
)
NCF = bytes.fromhex("3E7915DF0A001A85B7C6D1BC038A0000 00000003 000100000A4D0001 00010000EFC00001")
RDATA = bytes.fromhex("3E7915DF0500A95DB7C6D1BC038A0006 00000003 00000000 000003006D33")
SPMR = bytes.fromhex("15DF11110C00C4030102030405060000")


def control(packet: bytes) -> Packet:
    return pgm.control_untrusted(packet, pgm.check_untrusted(packet))


def content(packet: bytes) -> tuple[int, int, bytes, Options]:
    return pgm.data_untrusted(packet, pgm.check_untrusted(packet))


def summed(packet: bytes) -> bytes:
    """With the checksum made right, by the RFC's own words: the sum of 16-bit words with the carry, complemented."""
    cleared = packet[:6] + b"\0\0" + packet[8:] + b"\0" * (len(packet) % 2)
    total = sum(int.from_bytes(cleared[at : at + 2], "big") for at in range(0, len(cleared), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:6] + ((0xFFFF - total) or 0xFFFF).to_bytes(2, "big") + packet[8:]


def test_captured_data() -> None:
    """Wire.md 7.5: ODATA and RDATA, each way."""
    assert content(HELLO) == (0, 0, b"\0\0\6\0hello", pgm.NO_OPTIONS)
    assert content(RDATA) == (3, 0, b"\0\0\3\0m3", pgm.NO_OPTIONS)
    assert pgm.data(pgm.ODATA, GSI, (0x3B53, 5599), 0, 0, b"\0\0\6\0hello") == HELLO
    assert pgm.data(pgm.RDATA, GSI, (0x3E79, 5599), 3, 0, b"\0\0\3\0m3") == RDATA


def test_captured_control() -> None:
    """Wire.md 7.5: SPM, with FIN too; NAK, a list of them, NCF; SPMR; each way."""
    receiver = bytes(range(1, 7))
    first, last = Heartbeat(0, 0, 0xFFFFFFFF, OURS), Heartbeat(0x12, 0, 5, OURS, pgm.fin())
    assert (control(SPM), control(FIN)) == (first, last)
    assert pgm.spm(GSI, (0x3B53, 5599), first) == SPM
    assert pgm.spm(GSI, (0x3B53, 5599), last) == FIN
    nak, listed = Request(pgm.NAK, (2,), OURS, GROUP), Request(pgm.NAK, (4, 5, 6), OURS, GROUP)
    assert (control(NAK), control(LIST)) == (nak, listed)
    assert pgm.request(receiver, (5599, 0x1111), nak) == NAK
    assert pgm.request(receiver, (5599, 0x1111), listed) == LIST
    ncf = Request(pgm.NCF, (3,), OURS, GROUP)
    assert control(NCF) == ncf
    assert pgm.request(GSI, (0x3E79, 5599), ncf) == NCF
    assert control(SPMR) is None
    assert pgm.spmr(receiver, (5599, 0x1111)) == SPMR


@given(
    st.binary(min_size=6, max_size=6),
    st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=1500),
)
def test_data_comes_back(gsi: bytes, ports: tuple[int, int], sqn: int, trail: int, what: bytes) -> None:
    """Any content, of odd length too, with the checksum that RFC 3208, 8 asks for."""
    packet = pgm.data(pgm.ODATA, gsi, ports, sqn, trail, what)
    assert packet == summed(packet)
    assert content(packet) == (sqn, trail, what, pgm.NO_OPTIONS)


@given(
    st.sampled_from([4, 16]),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=63),
    st.sampled_from([pgm.NAK, pgm.NNAK, pgm.NCF]),
    st.data(),
)
def test_requests_come_back(size: int, sqns: list[int], kind: int, more: st.DataObject) -> None:
    """Addresses of both families, up to 63 packets asked for."""
    asked = Request(kind, tuple(sqns), more.draw(st.binary(min_size=size, max_size=size)), bytes(size))
    packet = pgm.request(GSI, (1, 2), asked)
    assert packet == summed(packet)
    assert control(packet) == asked


def options(*each: bytes, total: int | None = None) -> bytes:
    body = b"".join(each)
    return bytes((0, 4)) + (4 + len(body) if total is None else total).to_bytes(2, "big") + body


def with_options(packet: bytes, start: int, chain: bytes) -> bytes:
    return summed(packet[:5] + b"\1" + packet[6:start] + chain + packet[start:])


END_FIN = bytes((0x8E, 4, 0, 0))
MALFORMED = {
    "87 empty": (b"", "of 0 bytes"),
    "87 short": (HELLO[:15], "of 15 bytes"),
    "87 checksum": (HELLO[:-1] + b"p", "checksum is wrong"),
    "87 data without one": (HELLO[:6] + b"\0\0" + HELLO[8:], "without checksum"),
    "87 type": (summed(SPMR[:4] + b"\7" + SPMR[5:]), "type 0x07"),
    "87 version": (summed(HELLO[:4] + b"\x44" + HELLO[5:]), "version 1"),
    "88 too long": (summed(HELLO + b"x"), "cannot hold 9 bytes"),
    "88 too short": (summed(HELLO[:-1]), "cannot hold 9 bytes"),
    "88 no body": (summed(HELLO[:20]), "cannot hold 9 bytes"),
    "88 control with data": (summed(SPM[:14] + b"\0\1" + SPM[16:]), "cannot hold 1 bytes"),
    "90 beyond": (with_options(HELLO, 24, options(END_FIN, total=200)), "go from 24 to 224"),
    "90 nothing in it": (with_options(HELLO, 24, options(total=4)), "go from 24 to 28"),
    "90 length 0": (with_options(HELLO, 24, options(bytes((0x20, 0, 0, 0)), END_FIN)), "0x20 of 0 bytes"),
    "90 no length first": (with_options(HELLO, 24, END_FIN), "do not begin with their length"),
    "90 no end": (with_options(HELLO, 24, options(bytes((0x0E, 4, 0, 0)))), "no last one"),
    "90 end too early": (with_options(HELLO, 24, options(END_FIN, END_FIN)), "end at 32, not at 36"),
    "90 twice": (with_options(HELLO, 24, options(b"\x0e\4\0\0", END_FIN)), "0x0e twice"),
    "90 seventeen": (
        with_options(HELLO, 24, options(*(bytes((n, 4, 0, 0)) for n in range(0x20, 0x30)), END_FIN)),
        "more than 16 options",
    ),
    "90 to be dropped": (with_options(HELLO, 24, options(b"\xa0\4\2\0")), "0x20 is not known"),
    "91 fragment's length": (with_options(HELLO, 24, options(b"\x81\4\0\0")), "0x01 of 4 bytes"),
    "93 family": (summed(SPM[:28] + b"\0\3" + SPM[30:]), "family 3"),
    "93 cut address": (summed(SPM[:-2]), "ends within its fields"),
    "93 cut": (summed(SPM[:27]), "ends within its fields"),
    "93 window": (summed(SPM[:20] + b"\0\0\0\5\0\0\0\3" + SPM[28:]), "goes from 5 to 3"),
    "93 longer": (summed(SPM + b"\0\0"), "says all it has to say in 36"),
    "94 cut": (summed(NAK[:18]), "ends within its fields"),
    "94 63 listed": (
        with_options(NAK, 36, options(bytes((0x82, 255, 0, 0)) + bytes(251))),
        "a NAK list of 255 bytes",
    ),
    "94 an odd list": (with_options(NAK, 36, options(bytes((0x82, 9, 0, 0)) + bytes(5))), "a NAK list of 9 bytes"),
    "94 an empty list": (with_options(NAK, 36, options(b"\x82\4\0\0")), "a NAK list of 4 bytes"),
}


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed(row: str) -> None:
    """Wire.md 9: each is dropped, and says why."""
    packet, says = MALFORMED[row]
    with pytest.raises(ProtocolError, match=says):
        if (header := pgm.check_untrusted(packet))[2] in pgm.DATA:
            pgm.data_untrusted(packet, header)
        else:
            pgm.control_untrusted(packet, header)


def test_odd_but_right() -> None:
    """No checksum on control; options that are not known; a fragment (row 91), which is told; parity (7.4); POLL."""
    assert control(SPM[:6] + b"\0\0" + SPM[8:]) == control(SPM)
    assert content(with_options(HELLO, 24, options(b"\x20\6\0\0ab", END_FIN)))[2:] == (
        b"\0\0\6\0hello",
        Options(frozenset((0x20, 0x0E))),
    )
    assert content(with_options(HELLO, 24, options(b"\x81\x10" + bytes(14))))[3].fragment
    ended = control(with_options(SPM, 36, options(b"\x8f\4\0\1")))
    assert isinstance(ended, Heartbeat)
    assert ended.options.rst
    assert pgm.check_untrusted(summed(RDATA[:5] + b"\x80" + RDATA[6:]))[3] & pgm.PARITY
    assert control(summed(SPMR[:4] + b"\1" + SPMR[5:] + bytes(28))) is None


@given(st.sampled_from([HELLO, RDATA, SPM, FIN, NAK, LIST, NCF, SPMR]), st.data())
def test_anything_may_come(packet: bytes, more: st.DataObject) -> None:
    """A value or ProtocolError and nothing else, whatever is changed, cut off or put behind, the checksum made right."""
    changed = bytearray(packet)
    for _ in range(more.draw(st.integers(0, 4))):
        changed[more.draw(st.integers(0, len(packet) - 1))] = more.draw(st.integers(0, 255))
    cut = bytes(changed)[: more.draw(st.integers(0, len(packet)))] + more.draw(st.binary(max_size=40))
    for one in (bytes(changed), cut, summed(cut) if len(cut) >= 8 else cut):
        try:
            header = pgm.check_untrusted(one)
            if header[2] in pgm.DATA:
                assert one.endswith(pgm.data_untrusted(one, header)[2])
            else:
                pgm.control_untrusted(one, header)
        except ProtocolError:
            pass
