"""udp: libzmq.md 3.4, wire.md 5.1; its unit test udp_address.

What is sent to a group stays on lo, or in a network namespace of the test's own.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from trimq._address import UdpAddress, parse_udp
from trimq._errors import AddressInUse, AddressNotAvailable, InvalidEndpoint, NoSuchDevice, ZMQError
from trimq._options import Settings
from trimq._transports._udp import UdpPort, UdpTransport

UDP = UdpTransport()
ON = Settings()
OFF = Settings(ipv6=False)

needs_lo = pytest.mark.skipif(not Path("/sys/class/net/lo").exists(), reason="platform: no interface called lo")


async def arrives(sender: UdpPort, receiver: UdpPort, data: bytes = b"hello", to: str = "") -> str:
    """Sends one datagram, and says who sent it."""
    with trio.fail_after(5):
        assert sender.send_now(data, to)
        await receiver.wait_receivable()
        received = receiver.receive_now(1000)
        assert received is not None
        assert received[0] == data
        return received[1]


# The grammar


@pytest.mark.parametrize(
    ("address", "bind", "found"),
    [
        ("*:5555", True, UdpAddress("*", 5555)),
        ("*:*", True, UdpAddress("*", 0)),
        ("127.0.0.1:5555", True, UdpAddress("127.0.0.1", 5555)),
        ("eth0:5555", True, UdpAddress("eth0", 5555)),
        ("[::1]:5555", True, UdpAddress("::1", 5555)),
        ("server001:5555", False, UdpAddress("server001", 5555)),
        ("239.0.0.1:5555", False, UdpAddress("239.0.0.1", 5555)),
        ("eth0;239.0.0.1:5555", False, UdpAddress("239.0.0.1", 5555, interface="eth0")),
        ("192.0.2.1;239.0.0.1:5555", True, UdpAddress("239.0.0.1", 5555, interface="192.0.2.1")),
        ("*;239.0.0.1:5555", True, UdpAddress("239.0.0.1", 5555)),
        ("eth0;[ff02::1]:5555", True, UdpAddress("ff02::1", 5555, interface="eth0")),
        ("[2001:db8::1];[ff02::1]:5555", True, UdpAddress("ff02::1", 5555, interface="2001:db8::1")),
        ("[ff02::1%eth0]:5555", False, UdpAddress("ff02::1", 5555, zone="eth0")),
    ],
)
def test_right_addresses(address: str, bind: bool, found: UdpAddress) -> None:
    """Libzmq.md 3.4: [IFACE;]ADDR:PORT; brackets as for tcp."""
    assert parse_udp(address, bind=bind) == found
    UDP.check(address, bind=bind)


@pytest.mark.parametrize(
    ("address", "bind", "fault"),
    [
        ("239.0.0.1", True, "there is no port"),
        ("239.0.0.1", False, "there is no port"),
        ("*:5555", False, "'*' is for bind"),
        ("127.0.0.1:*", False, r"port \* is for bind"),
        ("127.0.0.1:65536", True, "a port is"),
        ("[::1:5555", True, "the brackets do not match"),
        ("eth0;127.0.0.1:5555", True, "an interface before ';' is for a multicast group, and '127.0.0.1' is none"),
        ("eth0;*:5555", True, "an interface before ';'"),
        ("eth0;server001:5555", False, "an interface before ';'"),
        ("239.0.0.2;239.0.0.1:5555", True, "'239.0.0.2' is a multicast group, and no interface"),
        ("::1;239.0.0.1:5555", True, "not of one IP version"),
        (";239.0.0.1:5555", True, "'' is no interface's name"),
        ("eth0;eth1;239.0.0.1:5555", True, "is no interface's name"),
        ("server 001:5555", False, "neither an address nor a host's name"),
    ],
)
def test_wrong_addresses(address: str, bind: bool, fault: str) -> None:
    """Each is refused, with a right one of the same scheme."""
    with pytest.raises(InvalidEndpoint, match=fault) as caught:
        parse_udp(address, bind=bind)
    assert str(caught.value).startswith(f"'udp://{address}' is no udp endpoint: ")
    right = str(caught.value).partition("; write ")[2].split(", or ")[0].split(", ")[0].split(" for ")[0]
    parse_udp(right.removeprefix("udp://"), bind=bind)


@pytest.mark.parametrize("host", ["239.0.0.1", "224.0.0.1", "ff02::1"])
def test_multicast_is_known(host: str) -> None:
    """RFC 5771, RFC 4291."""
    assert UdpAddress(host, 1).multicast
    assert not UdpAddress("192.0.2.1", 1).multicast
    assert not UdpAddress("name", 1).multicast


# Unicast


@pytest.mark.parametrize(
    ("address", "settings", "seen"),
    [
        ("127.0.0.1:*", ON, "udp://127.0.0.1:"),
        ("[::1]:*", ON, "udp://[::1]:"),
        ("*:*", ON, "udp://0.0.0.0:"),
        ("*:*", OFF, "udp://0.0.0.0:"),
        pytest.param("lo:*", ON, "udp://127.0.0.1:", marks=needs_lo),
    ],
)
async def test_unicast(address: str, settings: Settings, seen: str) -> None:
    """Wildcards are filled in; a wildcard is dialled by loopback; the answer finds its way."""
    with closing(UDP.bind(address, settings)) as here:
        assert here.address.startswith(seen)
        with closing(await UDP.connect(UDP.dial_address(here.address.removeprefix("udp://")), settings)) as there:
            sender = await arrives(there, here)
            assert sender.startswith("[::1]:" if "::1" in seen else "127.0.0.1:")
            await arrives(here, there, b"answer", sender)
            assert here.receive_now(100) is None


async def test_one_for_both_kinds() -> None:
    """With ipv6, '*' hears IPv6, too, and answers either."""
    with closing(UDP.bind("*:*", ON)) as here:
        port = here.address.rpartition(":")[2]
        with closing(await UDP.connect(f"[::1]:{port}", ON)) as six:
            sender = await arrives(six, here)
            assert sender.startswith("[::1]:")
            await arrives(here, six, b"answer", sender)


async def test_a_name_is_looked_up() -> None:
    """For connect; each attempt, in the resolver of the run. A name without an address says so."""

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: Any, *more: Any) -> Any:
            if host != b"known":
                return []
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", more[0]))]

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    with closing(UDP.bind("127.0.0.1:*", ON)) as here:
        port = here.address.rpartition(":")[2]
        with closing(await UDP.connect(f"known:{port}", ON)) as there:
            await arrives(there, here)
    with pytest.raises(socket.gaierror, match="no address was found for 'unknown'"):
        await UDP.connect("unknown:5555", ON)


async def test_an_address_is_one_sockets() -> None:
    """Unicast is not shared (in libzmq the second one takes it over); it is free at once after a close."""
    here = UDP.bind("127.0.0.1:*", ON)
    with pytest.raises(AddressInUse):
        UDP.bind(here.address.removeprefix("udp://"), ON)
    here.close()
    here.close()
    UDP.bind(here.address.removeprefix("udp://"), ON).close()


@pytest.mark.parametrize(
    ("address", "settings", "error"),
    [
        ("192.0.2.1:5555", ON, AddressNotAvailable),
        ("no-such:5555", ON, NoSuchDevice),
        ("no-such;239.0.0.1:5555", ON, NoSuchDevice),
        ("no-such;[ff02::1]:5555", ON, NoSuchDevice),
        ("2001:db8::1;[ff02::1]:5555", ON, NoSuchDevice),
        ("[::1]:5555", OFF, NoSuchDevice),
        ("lo;[ff02::1]:5555", OFF, NoSuchDevice),
        ("127.0.0.1:*", Settings(bind_to_device="no-such"), ZMQError),
    ],
)
def test_what_cannot_be_bound(address: str, settings: Settings, error: type[OSError]) -> None:
    """Each says which endpoint it was."""
    with pytest.raises(error, match="udp://"):
        UDP.bind(address, settings)


async def test_an_interface_that_is_not_there() -> None:
    """For connect, too: each attempt says what there is not, by name and by address."""
    for address, fault in (
        ("no-such;239.0.0.1:5555", "is called 'no-such'"),
        ("192.0.2.1;239.0.0.1:5555", "no interface has the address 192.0.2.1"),
        ("[2001:db8::1];[ff02::1]:5555", "no interface has the address 2001:db8::1"),
    ):
        with pytest.raises(NoSuchDevice, match=fault) as caught:
            await UDP.connect(address, ON)
        assert f"udp://{address}" in str(caught.value)


async def test_ipv6_can_be_off() -> None:
    """For connect it is the endpoint that is wrong, as for tcp."""
    with pytest.raises(InvalidEndpoint, match="IPv6 is off"):
        await UDP.connect("[::1]:5555", OFF)


async def test_a_large_datagram_is_seen_to_be_large() -> None:
    """What is larger than wanted comes with one byte too many: never cut to what is allowed."""
    with closing(UDP.bind("127.0.0.1:*", ON)) as here, closing(await UDP.connect(here.address[6:], ON)) as there:
        assert there.send_now(bytes(200), "")
        with trio.fail_after(5):
            await here.wait_receivable()
        received = here.receive_now(100)
        assert received is not None
        assert len(received[0]) == 101


async def test_who_waits_is_woken_by_close() -> None:
    """`DatagramPort.close`."""
    for wait in ("wait_receivable", "wait_sendable"):
        here = UDP.bind("127.0.0.1:*", ON)
        async with trio.open_nursery() as nursery:
            if wait == "wait_receivable":

                @nursery.start_soon
                async def waits(here: UdpPort = here) -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await here.wait_receivable()

                await trio.testing.wait_all_tasks_blocked()
            here.close()
        with pytest.raises(trio.ClosedResourceError):
            await getattr(here, wait)()


async def test_options_reach_the_socket() -> None:
    """No option is silently ignored: hops, loop, type of service, buffers."""
    settings = Settings(multicast_hops=7, multicast_loop=False, tos=0x28, receive_buffer=10_000)
    with closing(UDP.bind("*:*", settings)) as here:
        get = here._socket.getsockopt
        assert (
            get(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == get(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS) == 7
        )
        assert (
            get(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)
            == get(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP)
            == 0
        )
        assert get(socket.IPPROTO_IP, socket.IP_TOS) == 0x28
        assert get(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 10_000


# To many


@needs_lo
async def test_broadcast() -> None:
    """Issue 7: broadcast where allowed; lo has one of its own."""
    here = UDP.bind("*:*", OFF)
    with closing(here), closing(await UDP.connect(f"127.255.255.255:{here.address.rpartition(':')[2]}", ON)) as there:
        await arrives(there, here)


@needs_lo
@pytest.mark.parametrize("interface", ["lo", "127.0.0.1"])
async def test_multicast(interface: str) -> None:
    """A group is heard by all who joined it, on one port, and by nobody else; it is resolved with its interface."""
    with closing(UDP.bind(f"{interface};239.255.7.7:*", ON)) as one:
        assert one.address.startswith(f"udp://{interface};239.255.7.7:")
        port = one.address.rpartition(":")[2]
        with (
            closing(UDP.bind(one.address.removeprefix("udp://"), ON)) as another,
            closing(UDP.bind(f"{interface};239.255.7.8:{port}", ON)) as elsewhere,
            closing(await UDP.connect(one.address.removeprefix("udp://"), ON)) as there,
        ):
            await arrives(there, one)
            await arrives(there, another, b"hello")
            # Had it come there, too, it would have come before what is sent to that group now.
            with closing(await UDP.connect(f"{interface};239.255.7.8:{port}", ON)) as to_elsewhere:
                await arrives(to_elsewhere, elsewhere, b"other")


NAMESPACE = r"""
set -e
ip link set lo up
ip link add trimq0 type veth peer name trimq1
ip link set trimq0 up
ip link set trimq1 up
ip addr add 10.9.9.1/24 dev trimq0
ip addr add fd00::1/64 dev trimq0 nodad
"""

TALK = r"""
import sys, trio, trimq

async def main():
    for endpoint in sys.argv[1:]:
        with trio.fail_after(10):
            async with trimq.open_context(linger=0) as ctx:
                radio, dish = ctx.socket(trimq.Radio), ctx.socket(trimq.Dish)
                silent = ctx.socket(trimq.Radio, multicast_loop=False)
                dish.join("g")
                bound = dish.bind(endpoint)
                await radio.connect(bound).ready()
                await silent.connect(bound).ready()
                while True:  # an interface that has just come up may lose the first
                    await silent.send(trimq.GroupMessage("g", b"not heard on this machine"))
                    await silent.flush()
                    await radio.send(trimq.GroupMessage("g", endpoint.encode()))
                    with trio.move_on_after(0.2):
                        assert (await dish.receive()).body == endpoint.encode()
                        print(endpoint)
                        break

trio.run(main)
"""


NO_ROUTE = """
import trio, trimq

async def main():
    async with trimq.open_context() as ctx:
        for group in ("239.255.7.7:5555", "*;239.255.7.7:5555"):
            try:
                ctx.socket(trimq.Dish).bind(f"udp://{group}")
            except trimq.NoSuchDevice as error:
                print(error)

trio.run(main)
"""


def in_namespace(program: str, *arguments: str) -> list[str]:
    """What a program prints in a network of its own; skips the test where there can be none."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("ip") is None:
        pytest.skip("platform: no unshare or ip to make a network namespace with")
    made = subprocess.run([unshare, "-rn", "sh", "-c", NAMESPACE], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"platform: no network namespace with a veth here: {made.stderr.decode()[-100:]}")
    done = subprocess.run(
        [unshare, "-rn", "sh", "-c", NAMESPACE + 'exec "$@"', "sh", sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_route_to_a_group() -> None:
    """Without a route the system does not know by which interface; the error says what to write."""
    lines = in_namespace(NO_ROUTE)
    assert len(lines) == 2
    for line in lines:
        assert line.endswith("name one, as in udp://eth0;239.255.7.7:5555")


def test_multicast_in_a_namespace() -> None:
    """IPv6 groups need an interface that is not lo: by name, by zone, by address; and IPv4 the same.

    With multicast_loop=False nothing is heard on the sender's own machine (test_radio_dish): lo has no way to do that.
    """
    endpoints = [
        "udp://trimq0;[ff05::7:7]:*",
        "udp://[ff02::7:7%trimq0]:*",
        "udp://[fd00::1];[ff05::7:7]:*",
        "udp://trimq0;239.255.7.7:*",
        "udp://10.9.9.1;239.255.7.7:*",
    ]
    assert in_namespace(TALK, *endpoints) == endpoints
