"""Options of the system's sockets, asked back from the system, on what listens, connects and is accepted (libzmq.md 3.1)."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import trimq
from trimq._abc import AcceptRefused, StreamTransport
from trimq._errors import NoSuchDevice
from trimq._options import Settings
from trimq._transports import _tuning
from trimq._transports._ipc import IpcTransport
from trimq._transports._listener import SocketListener
from trimq._transports._system import SystemStream
from trimq._transports._tcp import TcpTransport
from trimq._transports._tuning import Tuning

linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: Linux only")
pytestmark = linux


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="platform: no IPv6 on loopback")
needs_lo = pytest.mark.skipif(not Path("/sys/class/net/lo").exists(), reason="platform: no interface called lo")

TCP, IPC = TcpTransport(), IpcTransport()
SOL, IPPROTO_TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
SO_BUSY_POLL = 46


async def three(
    settings: Settings, transport: StreamTransport = TCP, address: str = "127.0.0.1:*"
) -> list[socket.socket]:
    """The sockets that listen, connect and are accepted with these options."""
    listener = transport.bind(address, settings)
    assert isinstance(listener, SocketListener)
    dial = transport.dial_address(listener.address.partition("://")[2])
    ours, theirs = await transport.connect(dial, settings), await listener.accept()
    assert isinstance(ours, SystemStream)
    return [listener._socket, ours.socket, theirs.socket]


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize(
    ("option", "value", "level", "number", "told"),
    [
        ("send_buffer", 20_000, SOL, socket.SO_SNDBUF, 40_000),  # socket(7): the kernel doubles it
        ("receive_buffer", 30_000, SOL, socket.SO_RCVBUF, 60_000),
        ("tcp_keepalive", True, SOL, socket.SO_KEEPALIVE, 1),
        ("tcp_keepalive", False, SOL, socket.SO_KEEPALIVE, 0),
        ("tcp_keepalive_idle", 7.2, IPPROTO_TCP, socket.TCP_KEEPIDLE, 8),  # whole seconds, rounded up
        ("tcp_keepalive_idle", 32767.0, IPPROTO_TCP, socket.TCP_KEEPIDLE, 32767),
        ("tcp_keepalive_interval", 0.1, IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
        ("tcp_keepalive_count", 4, IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
        ("tcp_user_timeout", 1.5, IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1500),  # tcp(7): milliseconds
        ("tcp_user_timeout", 1e-9, IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1),  # 0 would be the system's default
        ("tos", 0x28, socket.IPPROTO_IP, socket.IP_TOS, 0x28),
        ("priority", 5, SOL, socket.SO_PRIORITY, 5),
        ("busy_poll", 0.0, SOL, SO_BUSY_POLL, 0),
    ],
)
async def test_tcp(option: str, value: Any, level: int, number: int, told: int) -> None:
    """Each option is told to all three sockets, in the system's units."""
    sockets = await three(Settings(**{option: value}))
    assert [sock.getsockopt(level, number) for sock in sockets] == [told] * 3
    close(sockets)


@pytest.mark.parametrize("option", ["send_buffer", "receive_buffer"])
@pytest.mark.parametrize("address", ["*", f"@trimq-tuning-{os.getpid()}"])
async def test_ipc(option: str, address: str) -> None:
    """Buffers are for ipc, too; there an accepted socket inherits nothing."""
    options: dict[str, Any] = {option: 20_000}
    settings = Settings(**options)
    sockets = await three(settings, IPC, address)
    number = socket.SO_SNDBUF if option == "send_buffer" else socket.SO_RCVBUF
    assert [sock.getsockopt(SOL, number) for sock in sockets] == [40_000] * 3
    close(sockets)


async def test_options_of_tcp_mean_nothing_to_ipc() -> None:
    """One socket may have endpoints of both kinds: what is about TCP, IP and devices is not said to Unix sockets."""
    options: dict[str, Any] = {
        "tcp_keepalive_idle": 1.0,
        "tcp_user_timeout": 1.0,
        "tos": 8,
        "bind_to_device": "nosuch0",
    }
    close(await three(Settings(**options), IPC, "*"))


@needs_lo
async def test_device() -> None:
    """SO_BINDTODEVICE, of all three."""
    sockets = await three(Settings(bind_to_device="lo"))
    assert [sock.getsockopt(SOL, socket.SO_BINDTODEVICE, 16) for sock in sockets] == [b"lo\0"] * 3
    close(sockets)


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root may have a socket poll longer than the system does")
async def test_busy_poll() -> None:
    """SO_BUSY_POLL is in microseconds, rounded up."""
    sockets = await three(Settings(busy_poll=49.1e-6))
    assert [sock.getsockopt(SOL, SO_BUSY_POLL) for sock in sockets] == [50] * 3
    close(sockets)


@needs_ipv6
async def test_type_of_service_on_ipv6() -> None:
    """IPV6_TCLASS for IPv6."""
    sockets = await three(Settings(tos=0x28), TCP, "[::1]:*")
    assert [sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) for sock in sockets] == [0x28] * 3
    close(sockets)


@needs_ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_type_of_service_on_dual_stack(host: str) -> None:
    """A socket for both is told both; the priority that is given counts, not the one that follows from it (socket(7))."""
    settings = Settings(tos=0x28, priority=3)
    listener = TCP.bind("*:*", settings)
    assert isinstance(listener, SocketListener)
    ours = await TCP.connect(f"{host}:{listener.address.rpartition(':')[2]}", settings)
    theirs = await listener.accept()
    for sock in (listener._socket, theirs.socket, ours.socket):
        if sock.family == socket.AF_INET6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x28
        if host != "[::1]" or sock is listener._socket:
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x28
        assert sock.getsockopt(SOL, socket.SO_PRIORITY) == 3
    close([listener._socket, ours.socket, theirs.socket])


async def test_buffers_are_set_before_the_window_is() -> None:
    """tcp(7): buffers belong before listen and connect, since the window's scale goes with the first packets."""

    def scale(sock: socket.socket) -> int:
        return sock.getsockopt(IPPROTO_TCP, socket.TCP_INFO, 104)[6] >> 4  # tcpi_rcv_wscale

    usual, small = await three(Settings()), await three(Settings(receive_buffer=8_000))
    assert [scale(sock) for sock in small[1:]] == [0, 0]
    assert all(scale(sock) > 0 for sock in usual[1:]), "no machine to test this on"
    close([*usual, *small])


REFUSED = [
    ("tos", 256, errno.EINVAL, "0 to 255"),
    ("tcp_keepalive_count", 1000, errno.EINVAL, "up to 127"),
    ("tcp_keepalive_idle", 40_000.0, errno.EINVAL, "up to 32767 seconds"),
    ("tcp_keepalive_idle", math.inf, errno.EINVAL, "tcp_keepalive=False"),
    ("tcp_keepalive_interval", math.inf, errno.EINVAL, "tcp_keepalive=False"),
    ("tcp_user_timeout", math.inf, errno.EINVAL, "2147483 seconds"),
    ("send_buffer", 2**31, errno.EINVAL, "fewer bytes"),
    ("receive_buffer", 2**40, errno.EINVAL, "fewer bytes"),
    ("bind_to_device", "nosuch0", errno.ENODEV, "an interface of this machine's"),
]


@pytest.mark.parametrize(("option", "value", "number", "advice"), REFUSED)
async def test_what_the_system_refuses(option: str, value: Any, number: int, advice: str) -> None:
    """Nothing is ignored: at bind, and as an attempt's failure, it names the endpoint, the option, and what to do."""
    settings = Settings(**{option: value})
    says = rf"cannot bind tcp://127\.0\.0\.1:\*: the system refuses {option}={value!r}: .*{advice}"
    with pytest.raises(OSError, match=says) as caught:
        TCP.bind("127.0.0.1:*", settings)
    assert caught.value.errno == number
    assert isinstance(caught.value, NoSuchDevice) is (number == errno.ENODEV)
    says = rf"cannot connect to tcp://127\.0\.0\.1:1: the system refuses {option}={value!r}: .*{advice}"
    with pytest.raises(OSError, match=says) as caught:
        await TCP.connect("127.0.0.1:1", settings)
    assert caught.value.errno == number


async def test_what_the_system_refuses_for_ipc() -> None:
    """As for tcp; and a path that was to be bound is not left behind."""
    settings = Settings(send_buffer=2**31)
    with pytest.raises(OSError, match=r"cannot bind ipc://@trimq-none: the system refuses send_buffer=2147483648: "):
        IPC.bind("@trimq-none", settings)
    with pytest.raises(
        OSError, match=r"cannot connect to ipc://@trimq-none: the system refuses send_buffer=2147483648: "
    ):
        await IPC.connect("@trimq-none", settings)


@pytest.mark.parametrize("option", ["tcp_user_timeout", "priority", "busy_poll", "bind_to_device"])
async def test_what_the_system_lacks(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such option (other systems than Linux), one that is given is an error, too; not so None."""
    level, _, unit = _tuning._KNOWN[option]
    monkeypatch.setitem(_tuning._KNOWN, option, (level, None, unit))
    close(await three(Settings()))
    options: dict[str, Any] = {option: "lo" if option == "bind_to_device" else 1}
    settings = Settings(**options)
    with pytest.raises(OSError, match=f"tcp://127.*: {option}=.* is not for this system; leave it at None") as caught:
        TCP.bind("127.0.0.1:*", settings)
    assert caught.value.errno == errno.ENOPROTOOPT
    with pytest.raises(OSError, match=f"tcp://127.*: {option}=.* is not for this system; leave it at None"):
        await TCP.connect("127.0.0.1:1", settings)


async def test_a_lack_of_an_option_is_no_lack_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where '*' falls back to IPv4, it is not for an option's sake."""
    level, _, unit = _tuning._KNOWN["priority"]
    monkeypatch.setitem(_tuning._KNOWN, "priority", (level, None, unit))
    tried: list[int] = []
    tunings = _tuning.ip_tunings

    def noted(settings: Settings, family: int, host: str) -> tuple[Tuning, ...]:
        tried.append(family)
        return tunings(settings, family, host)

    monkeypatch.setattr("trimq._transports._tcp.ip_tunings", noted)
    with pytest.raises(OSError, match="not for this system"):
        TCP.bind("*:*", Settings(priority=1))
    assert tried == [socket.AF_INET6]


async def test_each_address_of_a_name_says_so() -> None:
    """With several addresses, each has its cause."""
    targets: list[Any] = [(socket.AF_INET, (f"127.0.0.{n}", 1)) for n in (9, 8)]
    with pytest.raises(
        OSError, match=r"127\.0\.0\.9: the system refuses tos=300: .*; 127\.0\.0\.8: the system refuses"
    ):
        await TCP.connect("server001:1", Settings(tos=300), targets)


def without_rights(code: str) -> str:
    """What a program prints that has no rights beyond those of a user."""
    drop = "import os, trimq\nif not os.geteuid():\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    return subprocess.run(
        [sys.executable, "-c", drop + code], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def test_without_the_right() -> None:
    """What needs a right is a PermissionError that names the right, at bind and at connect."""
    said = without_rights(
        "from trimq._options import Settings\n"
        "from trimq._transports._tcp import TcpTransport\n"
        "import trio\n"
        "settings = Settings(priority=7)\n"
        "try:\n    TcpTransport().bind('127.0.0.1:*', settings)\nexcept PermissionError as error:\n    print(error)\n"
        "try:\n    trio.run(TcpTransport().connect, '127.0.0.1:1', settings)\n"
        "except PermissionError as error:\n    print(error)\n"
    )
    bind, connect = said.splitlines()
    assert "cannot bind tcp://127.0.0.1:*: the system refuses priority=7: Operation not permitted; " in bind
    assert "cannot connect to tcp://127.0.0.1:1: the system refuses priority=7: Operation not permitted; " in connect
    assert "CAP_NET_ADMIN" in bind


async def test_a_device_without_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux before 5.7 lets nobody but root choose a device."""

    def forbidden(sock: socket.socket, level: int, number: int, value: int | bytes) -> None:
        if number == socket.SO_BINDTODEVICE and level == SOL:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(socket.socket, "setsockopt", forbidden)
    with pytest.raises(PermissionError, match=r"tcp://127.*bind_to_device='lo'.*CAP_NET_RAW"):
        TCP.bind("127.0.0.1:*", Settings(bind_to_device="lo"))


async def test_a_refusal_is_the_endpoints_cause() -> None:
    """Users see it: bind raises it; an endpoint that is connected has it as its cause."""
    async with trimq.open_context(linger=0.0) as context:
        push = context.socket(trimq.Push, bind_to_device="nosuch0")
        with pytest.raises(trimq.NoSuchDevice, match="bind_to_device='nosuch0'"):
            push.bind("tcp://127.0.0.1:*")
        endpoint = push.connect("tcp://127.0.0.1:1")
        with trio.fail_after(5):
            while endpoint.cause is None:
                await trio.lowlevel.checkpoint()
        assert "cannot connect to tcp://127.0.0.1:1: the system refuses bind_to_device='nosuch0'" in str(endpoint.cause)


async def test_a_buffer_that_is_smaller_than_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """The kernel cuts buffers without a word (net.core.wmem_max); the log says it, once for each figure."""
    caplog.set_level(logging.WARNING, "trimq")
    _tuning._tell_shortfall.cache_clear()
    for _ in range(2):
        sockets = await three(Settings(send_buffer=2**30, receive_buffer=10_000))
        got = sockets[0].getsockopt(SOL, socket.SO_SNDBUF) // 2
        close(sockets)
    assert caplog.messages == [
        f"send_buffer={2**30}: the system gives no more than {got} bytes; raise its net.core.wmem_max"
    ]


@pytest.mark.parametrize(("number", "fatal"), [(errno.EINVAL, False), (errno.ENOPROTOOPT, True)])
async def test_an_accepted_connection_that_cannot_be_told(
    number: int, fatal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that has closed already may be the reason, and then has left something to read; any other is an error."""
    listener = TCP.bind("127.0.0.1:*", Settings(priority=1))
    ours = await TCP.connect(listener.address.removeprefix("tcp://"), Settings())
    setsockopt = socket.socket.setsockopt

    def refuses(sock: socket.socket, level: int, which: int, value: int | bytes) -> None:
        if which == socket.SO_PRIORITY and level == SOL:
            raise OSError(number, os.strerror(number))
        setsockopt(sock, level, which, value)

    monkeypatch.setattr(socket.socket, "setsockopt", refuses)
    if fatal:
        with pytest.raises(OSError, match="refuses priority=1") as caught:
            await listener.accept()
        assert caught.value.errno == number
        assert not isinstance(caught.value, AcceptRefused)
        assert await ours.receive_some(1) == b""
    else:
        await (await listener.accept()).aclose()
    await ours.aclose()
    listener.close()


def test_units() -> None:
    """What a float cannot say exactly is not rounded up for that."""
    for us in range(1, 1000):
        assert _tuning._raw(us / 1e6, 1e6) == us
        assert _tuning._raw(us / 1e3, 1e3) == us
    assert _tuning._raw(2**31 - 1, 1) == 2**31 - 1
    assert _tuning._raw(2**31, 1) is None
