"""vmci without any of its sockets: addresses, and what the system is told. What connects is in tests/guest."""

from __future__ import annotations

import errno
import math
import socket
import struct
from typing import Any

import pytest

import trimq
from trimq._abc import StreamTransport
from trimq._options import Settings
from trimq._transports._tipc import TipcTransport
from trimq._transports._tuning import vmci_tunings
from trimq._transports._vmci import VmciTransport

VMCI = VmciTransport()
ANY = 2**32 - 1


@pytest.mark.parametrize(
    ("address", "bind", "name"),
    [
        ("3:5555", False, (3, 5555)),
        ("0:0", False, (0, 0)),
        ("4294967294:4294967294", False, (ANY - 1, ANY - 1)),
        ("local:5555", False, (1, 5555)),
        ("host:5555", False, (2, 5555)),
        ("@:5555", False, (None, 5555)),
        ("*:5555", True, (ANY, 5555)),
        ("any:5555", True, (ANY, 5555)),
        ("-1:5555", True, (ANY, 5555)),
        ("4294967295:4294967295", True, (ANY, ANY)),
        ("*:*", True, (ANY, ANY)),
        ("-1:-1", True, (ANY, ANY)),
        ("local:*", True, (1, ANY)),
        ("@:-1", True, (None, ANY)),
    ],
)
def test_addresses(address: str, bind: bool, name: tuple[int | None, int]) -> None:
    """CIDs and ports, as libzmq has them, and names beside (libzmq.md 3.7)."""
    VMCI.check(address, bind=bind)
    assert VMCI._parse(address, bind=bind) == name


@pytest.mark.parametrize(
    ("address", "bind", "fault"),
    [
        ("", True, "there is no port"),
        ("5555", True, "there is no port"),
        (":5555", True, "a CID is a decimal number, local, host or @, or '*' for all, and '' is not"),
        (":5555", False, "a CID is a decimal number, local, host or @, and '' is not"),
        ("*:", True, "a port is a decimal number from 0 to 4294967294, or '*', and '' is not"),
        ("2:*", False, "a port is a decimal number from 0 to 4294967294 that was bound, and '*' is not"),
        ("2:-1", False, "a port is"),
        ("2:4294967295", False, "a port is"),
        ("2:4294967296", True, "a port is"),
        ("2:00000005555", True, "a port is"),
        ("2:+5", True, "a port is"),
        ("2: 5", True, "a port is"),
        ("2:5 ", True, "a port is"),
        ("2:5_5", True, "a port is"),
        ("2:0x5", True, "a port is"),
        ("2:\N{ARABIC-INDIC DIGIT FIVE}", True, "a port is"),
        ("2:\N{SUPERSCRIPT TWO}", True, "a port is"),
        ("2:5junk", True, "a port is"),
        ("-2:5555", True, "a CID is"),
        ("4294967296:5555", True, "a CID is"),
        ("LOCAL:5555", True, "a CID is"),
        ("localhost:5555", True, "a CID is"),
        ("2:3:5555", True, "a CID is"),
        ("*:5555", False, "'*' stands for all CIDs and is for bind"),
        ("any:5555", False, "'any' stands for all CIDs and is for bind"),
        ("-1:5555", False, "'-1' stands for all CIDs and is for bind"),
        ("4294967295:5555", False, "'4294967295' stands for all CIDs and is for bind"),
    ],
)
@pytest.mark.parametrize("scheme", ["vmci", "vsock"])
def test_wrong_addresses(address: str, bind: bool, fault: str, scheme: Any) -> None:
    """The error says what is wrong, and shows addresses that are right: they are."""
    transport = VmciTransport(scheme)
    with pytest.raises(trimq.InvalidEndpoint) as caught:
        transport.check(address, bind=bind)
    said = str(caught.value)
    assert said.startswith(f"'{scheme}://{address}' is no {scheme} endpoint: {fault}")
    for right in said.partition("; write ")[2].split(" or "):
        transport.check(right.removeprefix(f"{scheme}://"), bind=bind)


@pytest.mark.parametrize(("bound", "dialled"), [("*:5555", "1:5555"), ("1:5555", "1:5555"), ("3:5555", "3:5555")])
def test_dial_address(bound: str, dialled: str) -> None:
    """All CIDs are reached by loopback."""
    assert VMCI.dial_address(bound) == dialled


def test_which_option_is_which_of_the_systems() -> None:
    """vm_sockets.h: bytes are 64 bits, a time is a timeval; the limits come first, since a size is moved into them."""
    every = Settings(
        vmci_buffer_size=3, vmci_buffer_min_size=1, vmci_buffer_max_size=2**64 - 1, vmci_connect_timeout=1.25
    )
    assert [(tuning.option, tuning.number, tuning.raw) for tuning in vmci_tunings(every)] == [
        ("vmci_buffer_max_size", 2, b"\xff" * 8),
        ("vmci_buffer_min_size", 1, struct.pack("Q", 1)),
        ("vmci_buffer_size", 0, struct.pack("Q", 3)),
        ("vmci_connect_timeout", 6, struct.pack("ll", 1, 250_000)),
    ]
    assert vmci_tunings(Settings()) == ()


@pytest.mark.parametrize(
    ("seconds", "pair"),
    [
        (1e-9, (0, 1)),
        (0.5, (0, 500_000)),
        (2, (2, 0)),
        (0.9999999, (1, 0)),
        (1.9999999, (2, 0)),
        (math.inf, (2**31 - 1, 0)),
    ],
)
def test_connect_timeout(seconds: float, pair: tuple[int, int]) -> None:
    """Never nothing, which would be the system's default, and never more than a long has room for."""
    [tuning] = vmci_tunings(Settings(vmci_connect_timeout=seconds))
    assert tuning.raw == struct.pack("ll", *pair)


def test_a_size_beyond_64_bits_cannot_be_said() -> None:
    """Then there is nothing to tell the system, which is an error when a socket is made."""
    [tuning] = vmci_tunings(Settings(vmci_buffer_size=2**64))
    assert tuning.raw is None


@pytest.mark.parametrize(
    ("transport", "family", "remedy"),
    [
        (VMCI, "AF_VSOCK", "modprobe vsock"),
        (VmciTransport("vsock"), "AF_VSOCK", ""),
        (TipcTransport(), "AF_TIPC", "modprobe tipc"),
    ],
)
def test_where_the_system_has_no_such_sockets(
    transport: StreamTransport, family: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python lacks the family, as elsewhere than on Linux, or the kernel does: it says which, and what to do."""
    monkeypatch.delattr(socket, family, raising=False)
    with pytest.raises(
        trimq.ProtocolNotSupported, match=f"this Python has no {family} sockets, which {transport.scheme} needs"
    ):
        transport.check_system()
    monkeypatch.setattr(socket, family, 4000, raising=False)  # no kernel has that
    with pytest.raises(trimq.ProtocolNotSupported, match=f"this machine's kernel has no {family}.*{remedy}") as caught:
        transport.check_system()
    assert caught.value.errno == errno.EPROTONOSUPPORT
