"""Addresses of pgm and epgm: libzmq.md 3.5, and OpenPGM's notation for an interface, a group and a port."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from trimq._errors import InvalidEndpoint, NoSuchDevice
from trimq._transports import _pgm_address
from trimq._transports._pgm import PgmTransport
from trimq._transports._pgm_address import PgmAddress, Place, parse_pgm

LO, IPV6 = ip_address("127.0.0.1"), ip_address("2001:db8::1")
GROUP, GROUP6 = ip_address("239.192.0.1"), ip_address("ff05::7")


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1;239.192.0.1:5555", PgmAddress(LO, GROUP, 5555)),
        ("192.0.2.0/24;239.192.0.1:5555", PgmAddress(ip_network("192.0.2.0/24"), GROUP, 5555)),
        ("192.0.2.7/24;239.192.0.1:5555", PgmAddress(ip_network("192.0.2.0/24"), GROUP, 5555)),
        ("eth0;239.192.0.1:5555", PgmAddress("eth0", GROUP, 5555)),
        ("eth0:1;239.192.0.1:1", PgmAddress("eth0:1", GROUP, 1)),
        ("br-0.7_a;224.0.0.0:65535", PgmAddress("br-0.7_a", ip_address("224.0.0.0"), 65535)),
        ("2001:db8::1;ff05::7:5555", PgmAddress(IPV6, GROUP6, 5555)),
        ("[2001:db8::1];[ff05::7]:5555", PgmAddress(IPV6, GROUP6, 5555)),
        ("fe80::1%eth0;ff02::7:5555", PgmAddress(ip_address("fe80::1"), ip_address("ff02::7"), 5555)),
        ("2001:db8::/64;ff05::7:5555", PgmAddress(ip_network("2001:db8::/64"), GROUP6, 5555)),
        ("eth0;[ff05::7]:5555", PgmAddress("eth0", GROUP6, 5555)),
    ],
)
def test_right_addresses(address: str, found: PgmAddress) -> None:
    """INTERFACE;GROUP:PORT with an address, a network or a name; the same to bind and to connect, pgm and epgm."""
    assert parse_pgm("epgm", address) == found
    assert found.family == (socket.AF_INET if found.group.version == 4 else socket.AF_INET6)
    for udp in (False, True):
        for bind in (False, True):
            PgmTransport(udp=udp).check(address, bind=bind)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("239.192.0.1:5555", "there is no interface before ';'"),
        (";239.192.0.1:5555", "there is no interface before ';'"),
        ("eth0", "there is no interface before ';'"),
        ("eth0;239.192.0.1", "there is no port"),
        ("eth0;[ff05::7]", "there is no port"),
        ("eth0;239.192.0.1:", "a port is a decimal number from 1 to 65535, and '' is not"),
        ("eth0;239.192.0.1:0", "'0' is not"),
        ("eth0;239.192.0.1:*", r"'\*' is not"),
        ("eth0;239.192.0.1:65536", "'65536' is not"),
        ("eth0;239.192.0.1:٣", "is not"),
        ("eth0;group:5555", "'group' is no address; a group is one of 224.0.0.0 to 239.255.255.255"),
        ("eth0;:5555", "'' is no address"),
        ("eth0;192.0.2.1:5555", "'192.0.2.1' is no multicast address"),
        ("eth0;240.0.0.1:5555", "is no multicast address"),
        ("eth0;2001:db8::1:5555", "is no multicast address; those are .* ff00::/8"),
        ("eth0;ff02::7%eth0:5555", "names an interface again"),
        ("239.192.0.2;239.192.0.1:5555", "is no interface's address"),
        ("0.0.0.0;239.192.0.1:5555", "is no interface's address"),
        ("*;239.192.0.1:5555", "is no interface's address"),
        ("192.0.2.0/33;239.192.0.1:5555", "is no interface's address, no network and no name"),
        ("a-name-that-is-too-long;239.192.0.1:5555", "no name of one"),
        ("eth0;eth1;239.192.0.1:5555", "no name of one"),
        ("::1;239.192.0.1:5555", "are not of one IP version"),
        ("127.0.0.1;ff05::7:5555", "are not of one IP version"),
        ("10.0.0.0/8;ff05::7:5555", "are not of one IP version"),
    ],
)
@pytest.mark.parametrize("scheme", ["pgm", "epgm"])
def test_wrong_addresses(scheme: str, address: str, fault: str) -> None:
    """InvalidEndpoint says what is wrong with it, and shows two that are right, of this scheme: they are."""
    with pytest.raises(InvalidEndpoint, match=fault) as caught:
        PgmTransport(udp=scheme == "epgm").check(address, bind=True)
    said = str(caught.value)
    assert repr(f"{scheme}://{address}") in said
    shown = said.rpartition("; write ")[2].split(" or ")
    assert len(shown) == 2
    for endpoint in shown:
        assert endpoint.startswith(f"{scheme}://")
        parse_pgm(scheme, endpoint.partition("://")[2])


# Which interface that is, on a machine of the test's own

INTERFACES = {
    "lo": [(socket.AF_INET, "127.0.0.1", 0), (socket.AF_INET6, "::1", 0)],
    "eth0": [
        (socket.AF_INET, "192.0.2.1", 0), (socket.AF_INET6, "2001:db8::1", 0), (socket.AF_INET6, "fe80::1", 2),
    ],
    "eth1": [(socket.AF_INET, "198.51.100.1", 0)],
}  # fmt: skip


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interfaces are INTERFACES, numbered from 1 on."""
    monkeypatch.setattr(_pgm_address.socket, "if_nameindex", lambda: [*enumerate(INTERFACES, 1)])  # type: ignore[attr-defined]
    monkeypatch.setattr(_pgm_address, "interface_addresses", lambda name: INTERFACES[name])


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("interface", "group", "place"),
    [
        ("eth0", "239.192.0.1", Place("192.0.2.1", 2)),
        ("eth1", "239.192.0.1", Place("198.51.100.1", 3)),
        ("eth0", "ff05::7", Place("2001:db8::1", 2)),
        ("192.0.2.0/24", "239.192.0.1", Place("192.0.2.1", 2)),
        ("198.51.100.9/28", "239.192.0.1", Place("198.51.100.1", 3)),
        ("192.0.2.1", "239.192.0.1", Place("192.0.2.1", 0)),
        ("203.0.113.1", "239.192.0.1", Place("203.0.113.1", 0)),  # whether it is there, bind says
        ("2001:db8::1", "ff05::7", Place("2001:db8::1", 2)),
        ("fe80::1", "ff05::7", Place("fe80::1", 2)),
        ("2001:db8::/32", "ff05::7", Place("2001:db8::1", 2)),
        ("::1", "ff05::7", Place("::1", 1)),
    ],
)
def test_the_interface(interface: str, group: str, place: Place) -> None:
    """An interface is found by its name, an address of it, or a network that it has an address in."""
    assert parse_pgm("epgm", f"{interface};{group}:5555").find("epgm://this") == place


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("interface", "group", "says"),
    [
        ("eth2", "239.192.0.1", "no interface is called 'eth2'"),
        ("eth1", "ff05::7", "interface 'eth1' has no address of IPv6, as the group"),
        ("203.0.113.0/24", "239.192.0.1", "no interface has an address in 203.0.113.0/24"),
        ("2001:db8::2", "ff05::7", "no interface has the address 2001:db8::2"),
    ],
)
def test_no_such_interface(interface: str, group: str, says: str) -> None:
    """NoSuchDevice says what was looked for."""
    where: Any = parse_pgm("epgm", f"{interface};{group}:5555")
    with pytest.raises(NoSuchDevice, match=f"cannot use epgm://this: {says}"):
        where.find("epgm://this")
