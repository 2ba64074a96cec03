"""pgm and epgm as transports: their sockets, privilege and options; libzmq.md 3.5, wire.md 7.1.

What is sent to a group stays on lo, or in a network namespace of the test's own.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from transports.test_tuning import without_rights
from transports.test_udp import in_namespace

import trimq
from trimq._errors import InvalidEndpoint, NoSuchDevice
from trimq._options import Settings
from trimq._transports._pgm import PgmPort, PgmTransport
from trimq._wire import _pgm_packets as packets
from trimq._wire._pgm_sessions import PgmReceiving, PgmSending

EPGM = PgmTransport(udp=True)
HERE = "127.0.0.1;239.192.7.8:15601"


@contextmanager
def opened(publishes: bool, address: str = HERE, *, udp: bool = True, **options: Any) -> Iterator[tuple[PgmPort, Any]]:
    """A port and its session, the session's clock at 0."""
    port, session = PgmTransport(udp=udp).open(address, Settings(**options), 0.0, publishes=publishes)
    assert isinstance(port, PgmPort)
    try:
        yield port, session
    finally:
        port.close()


def option(port: PgmPort, level: int, number: int) -> int:
    """What the system says of a port's socket."""
    return port._socket.getsockopt(level, number)


async def next_at(port: PgmPort) -> tuple[bytes, str]:
    """The next datagram."""
    with trio.fail_after(5):
        while True:
            await port.wait_receivable()
            if (received := port.receive_now(65535)) is not None:
                return received


# Ports


async def test_a_sender_and_two_receivers() -> None:
    """A sender's datagrams come to all that listen; what is sent to its host comes to it, and to nobody else."""
    with opened(True) as (sender, session), opened(False) as (one, _), opened(False) as (other, _):
        assert isinstance(session, PgmSending)
        assert sender.address == one.address == f"epgm://{HERE}"
        assert sender.send_now(b"to all", "")
        assert await next_at(one) == await next_at(other) == (b"to all", "127.0.0.1")
        assert one.send_now(b"to the sender", "127.0.0.1")
        assert await next_at(sender) == (b"to the sender", "127.0.0.1")
        assert one.receive_now(100) is other.receive_now(100) is sender.receive_now(100) is None


async def test_groups_are_apart() -> None:
    """A receiver hears its group only, though another one's port is the same."""
    there = "127.0.0.1;239.192.7.9:15601"
    with (
        opened(False) as (one, _), opened(False, there) as (other, _),
        opened(True) as (sender, _), opened(True, there) as (elsewhere, _),
    ):  # fmt: skip
        assert sender.send_now(b"here", "")
        assert elsewhere.send_now(b"elsewhere", "")
        assert (await next_at(one))[0] == b"here"
        assert (await next_at(other))[0] == b"elsewhere"
        assert one.receive_now(100) is other.receive_now(100) is None


async def test_close_wakes_who_waits() -> None:
    """`DatagramPort.close`: idempotent, wakes who waits, and who waits afterwards is told at once."""
    with opened(False) as (port, _):

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await port.wait_receivable()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            port.close()
        port.close()
        for again in (port.wait_receivable, port.wait_sendable):
            with pytest.raises(trio.ClosedResourceError):
                await again()


async def test_open_checks_again() -> None:
    """`MulticastTransport.open` says what is wrong: the address, no such interface, IPv6 that is off."""
    with pytest.raises(InvalidEndpoint), opened(True, "239.192.7.8:15601"):
        pass
    with (
        pytest.raises(NoSuchDevice, match="no interface has the address 192.0.2.77"),
        opened(True, "192.0.2.77;239.192.7.8:1"),
    ):
        pass
    with pytest.raises(NoSuchDevice, match="IPv6 is off"), opened(True, "::1;ff05::7:15601", ipv6=False):
        pass


@pytest.mark.parametrize("size", [64, 65536])
async def test_a_datagram_with_no_room_for_data(size: int) -> None:
    """ZMQ_MULTICAST_MAXTPDU: the headers have to fit, and a datagram has at most 65535 bytes."""
    with pytest.raises(ValueError, match=f"multicast_maxtpdu of {size} bytes"), opened(True, multicast_maxtpdu=size):
        pass


# Privilege


def test_pgm_without_the_right() -> None:
    """A PermissionError that says which right is missing, and that epgm does without; nothing is left behind."""
    said = without_rights(
        "import trio\n"
        "async def main():\n"
        "    async with trimq.open_context() as context:\n"
        "        for kind, verb in ((trimq.Sub, 'bind'), (trimq.Pub, 'connect')):\n"
        "            socket = context.socket(kind)\n"
        "            try:\n"
        "                getattr(socket, verb)('pgm://127.0.0.1;239.192.7.8:15601')\n"
        "            except PermissionError as error:\n"
        "                print(error, socket.endpoints)\n"
        "            print(getattr(socket, verb)('epgm://127.0.0.1;239.192.7.8:15601'))\n"
        "trio.run(main)\n"
    )
    assert len(said.splitlines()) == 4
    for refused, taken in zip(said.splitlines()[::2], said.splitlines()[1::2], strict=True):
        assert "cannot use pgm://127.0.0.1;239.192.7.8:15601: pgm needs raw sockets" in refused
        assert "CAP_NET_RAW" in refused
        assert refused.endswith(f"epgm does without: {taken} ()")


def can_be_raw() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 113).close()
    except PermissionError:
        return False
    return True


@pytest.mark.skipif(not can_be_raw(), reason="platform: no right to raw sockets")
async def test_pgm_is_the_ip_protocol() -> None:
    """pgm: PGM in IP itself, protocol 113; what is received begins with PGM's header. Who has the port tells PGM."""
    with opened(True, udp=False) as (sender, session), opened(False, udp=False) as (receiver, _):
        assert option(sender, socket.SOL_SOCKET, socket.SO_PROTOCOL) == 113
        for data, to in session.poll(0.0):
            assert sender.send_now(data, to)
        received, host = await next_at(receiver)
        assert host == "127.0.0.1"
        header = packets.check_untrusted(received)
        assert header[1] == 15601
        assert isinstance(packets.control_untrusted(received, header), packets.Heartbeat)


# Options


@pytest.mark.parametrize(
    ("options", "hops", "loop"), [({}, 1, 1), ({"multicast_hops": 7, "multicast_loop": False}, 7, 0)]
)
async def test_how_far_it_goes(options: dict[str, Any], hops: int, loop: int) -> None:
    """ZMQ_MULTICAST_HOPS and ZMQ_MULTICAST_LOOP are the sender's; what a receiver sends to the group goes one hop."""
    with opened(True, **options) as (sender, _), opened(False, **options) as (receiver, _):
        assert option(sender, socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == hops
        assert option(sender, socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == loop
        assert option(receiver, socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 1
        interface = sender._socket.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)
        assert interface == socket.inet_aton("127.0.0.1")


@pytest.mark.parametrize(("given", "found"), [(None, 0xB8), (0, 0), (32, 32)])
async def test_type_of_service(given: int | None, found: int) -> None:
    """Expedited forwarding, as libzmq has it, where ZMQ_TOS says nothing else."""
    with opened(True, tos=given) as (port, _):
        assert option(port, socket.IPPROTO_IP, socket.IP_TOS) == found


def data_packets(session: Any, messages: int, size: int, seconds: float = 0.0) -> list[bytes]:
    """The data that a sender lets go by then, of so many messages that it was given at once."""
    session.send([bytes(size)] * messages, 0.0)
    sent: list[bytes] = []
    now = 0.0
    while now <= seconds:
        while some := session.poll(now):
            sent += [data for data, to in some if data[4] == packets.ODATA and not to]
        now = max(now, session.deadline)
    return sent


@pytest.mark.parametrize(("size", "headers"), [(128, 28), (1500, 28), (9000, 28)])
async def test_size_of_datagrams(size: int, headers: int) -> None:
    """ZMQ_MULTICAST_MAXTPDU: no datagram with its headers is larger, and while there is more all are as large as may be."""
    with opened(True, multicast_maxtpdu=size, rate=100_000) as (_, session):
        *sent, last = data_packets(session, 1, 100 * size, seconds=1.0)
        assert len(sent) >= 100
        assert {len(data) for data in sent} == {size - headers - 20}  # the place of an option that never comes
        assert len(last) <= size - headers - 20


@pytest.mark.parametrize("rate", [100, 1000, 40_000])
async def test_rate(rate: int) -> None:
    """ZMQ_RATE, in kbit/s, headers included, beside what may leave at once."""
    with opened(True, rate=rate) as (_, session):
        sent = sum(len(data) + 28 for data in data_packets(session, rate // 2, 1000, seconds=2.0))
        assert 2 * rate * 125 - 1500 <= sent <= 2 * rate * 125 + min(rate * 125, 65536) + 1500


@pytest.mark.parametrize(("rate", "seconds", "window"), [(100, 10.0, 80), (800, 1.5, 100)])
async def test_recovery_interval(rate: int, seconds: float, window: int) -> None:
    """ZMQ_RECOVERY_IVL, with ZMQ_RATE, is what a sender keeps for repair: its trailing edge is that far behind."""
    with opened(True, rate=rate, recovery_interval=seconds) as (_, session):
        *_, last = data_packets(session, 400, 1000, seconds=60.0)
        sqn, trail = struct.unpack_from(">II", last, 16)
        assert sqn > window
        assert sqn - trail + 1 == window


async def test_a_receivers_buffer() -> None:
    """It has room for what may be on its way within the recovery interval, or as much as ``receive_buffer`` says."""
    with opened(False) as (small, _), opened(False, rate=2400) as (large, _):
        before = option(small, socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert option(large, socket.SOL_SOCKET, socket.SO_RCVBUF) > before
    with opened(False, rate=2400, receive_buffer=10_000) as (set_to, session):
        assert option(set_to, socket.SOL_SOCKET, socket.SO_RCVBUF) == 20_000  # socket(7): the system doubles it
        assert isinstance(session, PgmReceiving)


async def test_max_message_size() -> None:
    """ZMQ_MAXMSGSIZE holds here, too: a larger message is left out, and the next ones come."""
    with opened(True, rate=100_000) as (_, sending), opened(False, max_message_size=1000) as (_, receiving):
        got: list[Any] = []
        for now, item in enumerate([b"first", bytes(1001), b"last", bytes(1000)]):
            sending.send([item], float(now))
            for data, _ in sending.poll(float(now)):
                receiving.receive_untrusted(data, "127.0.0.1", float(now))
            got += receiving.take()
        assert got == [b"first", b"last", bytes(1000)]


# Sockets

TALK = r"""
import sys, trio, trimq

async def main():
    for endpoint in sys.argv[1:]:
        with trio.fail_after(10):
            async with trimq.open_context(linger=0, rate=10_000) as ctx:
                pub, sub, silent = ctx.socket(trimq.Pub), ctx.socket(trimq.Sub), ctx.socket(trimq.Pub, multicast_loop=False)
                sub.subscribe(b"")
                sub.bind(endpoint)
                pub.connect(endpoint)
                silent.connect(endpoint)
                while True:  # an interface that has just come up may lose the first
                    await silent.send(b"not heard on this machine")
                    await pub.send([endpoint.encode(), bytes(5000)])
                    with trio.move_on_after(0.5):
                        assert await sub.receive() == [endpoint.encode(), bytes(5000)]
                        print(endpoint)
                        break

trio.run(main)
"""


def test_in_a_namespace() -> None:
    """IPv4 and IPv6, the interface by name, address and network; with multicast_loop=False this machine hears nothing."""
    endpoints = [
        "epgm://trimq0;239.192.7.7:5555",
        "epgm://10.9.9.1;239.192.7.7:5555",
        "epgm://10.9.9.0/24;239.192.7.7:5555",
        "epgm://trimq0;ff05::7:7:5555",
        "epgm://[fd00::1];[ff05::7:7]:5555",
        "epgm://fd00::/64;[ff02::7:7]:5555",
        "pgm://10.9.9.1;239.192.7.7:5555",  # in there one is root
        "pgm://fd00::1;[ff05::7:7]:5555",
    ]
    assert in_namespace(TALK, *endpoints) == endpoints


@pytest.mark.parametrize("interface", ["127.0.0.1", "127.0.0.0/8", "lo"])
async def test_sockets_on_lo(interface: str) -> None:
    """Pub and Sub over epgm, the interface by address, network and name; a Sub gets what it is subscribed to."""
    endpoint = f"epgm://{interface};239.192.7.8:15602"
    async with trimq.open_context(linger=0, rate=100_000) as context:
        pub, sub = context.socket(trimq.Pub), context.socket(trimq.Sub)
        sub.subscribe(b"a")
        assert str(sub.bind(endpoint)) == str(pub.connect(endpoint)) == endpoint
        await pub.send_many([b"b not", b"a little", [b"a", bytes(100_000)]])
        with trio.fail_after(10):
            assert await sub.receive() == [b"a little"]
            assert await sub.receive() == [b"a", bytes(100_000)]


async def test_some_and_one_are_the_same_datagrams() -> None:
    """`DatagramPort.receive_some_now` gives what came together, `receive_now` the same one by one."""
    with opened(True) as (sender, _), opened(False) as (together, _), opened(False) as (apart, _):
        datagrams = [(bytes([number]) * 100, "") for number in range(10)]
        at = 0
        while at < len(datagrams):
            at += sender.send_some_now(datagrams, at)
        got, alone = list[bytes](), list[bytes]()
        with trio.fail_after(5):
            while len(got) < 10:
                await together.wait_receivable()
                if (run := together.receive_some_now(65535)) is not None:
                    assert run[1] == "127.0.0.1"
                    got += run[0]
            while len(alone) < 10:
                await apart.wait_receivable()
                if (one := apart.receive_now(65535)) is not None:
                    alone.append(one[0])
        assert got == alone == [data for data, _ in datagrams]
        assert together.receive_some_now(65535) is None
