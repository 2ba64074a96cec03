"""What an address of pgm and epgm means, and which interface it names."""

from __future__ import annotations

import ipaddress
import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

import attrs

from .._errors import InvalidEndpoint, NoSuchDevice
from ._tcp import _interface as interface_addresses

__all__ = ["PgmAddress", "Place", "parse_pgm"]

IP: TypeAlias = "IPv4Address | IPv6Address"

_NAME = re.compile(r"(?=[!-~]{1,15}\Z)[^/:;,%*\[\]]+(:[^/:;,%*\[\]]+)?")  # eth0, br-1f, eth0:1


@attrs.frozen
class PgmAddress:
    """An address of pgm or epgm, taken apart."""

    interface: IP | IPv4Network | IPv6Network | str
    """By its address, by a network that its address is in, or by name."""
    group: IP
    """The multicast group."""
    port: int
    """From 1 on: PGM's port, and epgm's of UDP."""

    @property
    def family(self) -> socket.AddressFamily:
        """The group's, and so the interface's."""
        return socket.AF_INET if self.group.version == 4 else socket.AF_INET6

    def find(self, endpoint: str) -> Place:
        """Finds the interface.

        Raises:
          NoSuchDevice: there is none, or it has no address of the group's IP version.
        """
        if isinstance(self.interface, IPv4Address):  # the system knows whose it is, second addresses too
            return Place(str(self.interface), 0)
        names = {name: index for index, name in socket.if_nameindex()}
        if isinstance(self.interface, str):
            names = {name: index for name, index in names.items() if name == self.interface.partition(":")[0]}
            if not names:
                raise NoSuchDevice(f"cannot use {endpoint}: no interface is called {self.interface!r}")
            names = {self.interface: min(names.values())}
        for name, index in names.items():
            for family, host, _ in interface_addresses(name):
                if family == self.family and self._names(host):
                    return Place(host, index)
        if isinstance(self.interface, str):
            what = f"interface {self.interface!r} has no address of IPv{self.group.version}, as the group"
        elif isinstance(self.interface, IPv6Address):
            what = f"no interface has the address {self.interface}"
        else:
            what = f"no interface has an address in {self.interface}"
        raise NoSuchDevice(f"cannot use {endpoint}: {what}")

    def _names(self, host: str) -> bool:
        if isinstance(self.interface, str):
            return True
        address = ipaddress.ip_address(host)
        return address == self.interface or (
            isinstance(self.interface, (IPv4Network, IPv6Network)) and address in self.interface
        )


@attrs.frozen
class Place:
    """An interface, as the system's calls take it."""

    host: str
    """Its address: senders are reached there."""
    index: int
    """Its number; 0 where the address says enough (IPv4)."""


def parse_pgm(scheme: str, address: str) -> PgmAddress:
    """Takes an address (what stands after ``://``) apart: ``INTERFACE;GROUP:PORT``.

    The interface is an address, a network or a name, the group a multicast address; both are of one IP version. Brackets
    around IPv6 are optional: the last colon separates the port.

    Raises:
      InvalidEndpoint: says what was wrong and what would be right.
    """
    interface, separator, target = address.rpartition(";")
    host, colon, port = target.rpartition(":")
    if not separator or not interface:
        fault = "there is no interface before ';', and without one it would go out wherever the system likes"
    elif not colon or target.endswith("]"):
        fault = "there is no port"
    elif not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        fault = f"a port is a decimal number from 1 to 65535, and {port!r} is not"
    elif (group := _address(host)) is None:
        fault = f"{host!r} is no address; a group is one of 224.0.0.0 to 239.255.255.255, or of ff00::/8"
    elif not group.is_multicast:
        fault = f"{host!r} is no multicast address; those are 224.0.0.0 to 239.255.255.255, and ff00::/8"
    elif isinstance(group, IPv6Address) and group.scope_id:
        fault = f"{host!r} names an interface again, after '%'"
    else:
        named = _interface(interface)
        if named is None:
            fault = f"{interface!r} is no interface's address, no network and no name of one"
        elif not isinstance(named, str) and named.version != group.version:
            fault = f"interface {interface!r} and group {host!r} are not of one IP version"
        else:
            return PgmAddress(named, group, int(port))
    raise InvalidEndpoint(
        f"{f'{scheme}://{address}'!r} is no {scheme} endpoint: {fault}; "
        f"write {scheme}://eth0;239.192.0.1:5555 or {scheme}://192.0.2.1;239.192.0.1:5555"
    )


def _address(text: str) -> IP | None:
    try:
        return ipaddress.ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return None


def _interface(text: str) -> IP | IPv4Network | IPv6Network | str | None:
    address = _address(text)
    if address is not None:
        if address.is_multicast or address.is_unspecified:
            return None
        return ipaddress.ip_address(address.packed)  # without a zone: the address says which interface it is
    if "/" in text:
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            return None
    return text if _NAME.fullmatch(text) else None
