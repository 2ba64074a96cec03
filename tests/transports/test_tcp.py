"""tcp: libzmq.md 3.1, and design.md 1 where it goes further."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trimq._abc import Listener
from trimq._address import parse_tcp
from trimq._errors import AddressInUse, AddressNotAvailable, InvalidEndpoint, NoSuchDevice
from trimq._options import Settings
from trimq._transports import _tcp
from trimq._transports._listener import bind_error
from trimq._transports._system import SystemStream
from trimq._transports._tcp import TcpTransport
from trimq._transports._tuning import Tuning

TCP = TcpTransport()
ON = Settings()
OFF = Settings(ipv6=False)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="platform: no IPv6 on loopback")
needs_lo = pytest.mark.skipif(not Path("/sys/class/net/lo").exists(), reason="platform: no interface called lo")


async def meet(listener: Listener, address: str, settings: Settings = ON) -> tuple[str, str]:
    """Connects, and tells where each end sees its peer."""
    async with await TCP.connect(address, settings) as ours, await listener.accept() as theirs:
        return TCP.peer_address(ours), TCP.peer_address(theirs)


def port_of(listener: Listener) -> str:
    return listener.address.rpartition(":")[2]


class Resolver(trio.abc.HostnameResolver):
    """Knows one name."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked: list[tuple[Any, ...]] = []

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes | None, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        self.asked.append((host, port, family))
        return [
            (socket.AF_INET6, kind, 6, "", (host, port, 0, 0))
            if ":" in host
            else (socket.AF_INET, kind, 6, "", (host, port))
            for host in self.hosts
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.mark.parametrize("address", ["127.0.0.1:*", "127.0.0.1:0"])
async def test_ephemeral_port(address: str) -> None:
    """0 and * are a port that the system picks; the listener's address tells which (LAST_ENDPOINT)."""
    listener = TCP.bind(address, ON)
    assert listener.address.startswith("tcp://127.0.0.1:")
    assert int(port_of(listener)) > 0
    listener.close()


@needs_ipv6
async def test_dual_stack_wildcard() -> None:
    """With ipv6, '*' is one socket for both; it reads 0.0.0.0 (design 1); IPv4 peers are seen as IPv4."""
    listener = TCP.bind("*:*", ON)
    assert listener.address == f"tcp://0.0.0.0:{port_of(listener)}"
    assert await meet(listener, f"127.0.0.1:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    assert await meet(listener, f"[::1]:{port_of(listener)}") == ("::1", "::1")
    listener.close()


async def test_wildcard_without_ipv6() -> None:
    """With ipv6=False '*' is IPv4 alone."""
    listener = TCP.bind("*:*", OFF)
    assert listener.address == f"tcp://0.0.0.0:{port_of(listener)}"
    assert await meet(listener, f"127.0.0.1:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        await TCP.connect(f"[::1]:{port_of(listener)}", ON)
    listener.close()


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
async def test_wildcard_where_the_kernel_has_no_ipv6(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """'*' falls back to IPv4 (3.1)."""
    listen = _tcp._listen

    def no_ipv6(place: _tcp._Place, settings: Settings) -> tuple[socket.socket, tuple[Tuning, ...]]:
        if place[0] == socket.AF_INET6:
            raise OSError(number, os.strerror(number))
        return listen(place, settings)

    monkeypatch.setattr(_tcp, "_listen", no_ipv6)
    listener = TCP.bind("*:*", ON)
    assert await meet(listener, f"127.0.0.1:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    listener.close()


@needs_ipv6
def test_wildcard_that_is_taken_does_not_fall_back() -> None:
    """Only a lack of IPv6 makes '*' IPv4; a port that is in use for IPv6 is AddressInUse."""
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"tcp://[*]:{port}"):
            TCP.bind(f"*:{port}", ON)


@needs_ipv6
@pytest.mark.parametrize("address", ["[::1]:*", "::1:*", "[::1%lo]:*", "[::1%1]:*"])
async def test_ipv6_address(address: str) -> None:
    """Brackets are optional, a zone may be a name or a number (3.1); what is resolved has brackets."""
    listener = TCP.bind(address, ON)
    assert listener.address.startswith("tcp://[::1]:")
    assert await meet(listener, listener.address.removeprefix("tcp://")) == ("::1", "::1")
    assert await meet(listener, f"[::1%lo]:{port_of(listener)}") == ("::1", "::1")
    listener.close()


@needs_ipv6
@needs_lo
async def test_zone_is_told() -> None:
    """A link-local address is of no use without its zone, so the resolved address and the peer's have it."""
    index = socket.if_nametoindex("lo")
    assert _tcp._host(("fe80::1", 5555, 0, index)) == "fe80::1%lo"
    assert _tcp._host(("fe80::1", 5555, 0, 2**31)) == "fe80::1"  # gone in between
    assert _tcp._host(("::1", 5555, 0, 0)) == "::1"


async def test_ipv6_address_without_ipv6() -> None:
    """bind to [::1] with ipv6=False is ENODEV (3.1), connect is EINVAL; both say what to do."""
    with pytest.raises(NoSuchDevice, match=r"tcp://\[::1\]:0.*set ipv6=True"):
        TCP.bind("[::1]:0", OFF)
    with pytest.raises(InvalidEndpoint, match=r"tcp://\[::1\]:1: .*set ipv6=True"):
        await TCP.connect("[::1]:1", OFF)


@needs_lo
async def test_interface() -> None:
    """An interface stands for its first address: 127.0.0.1 for lo."""
    listener = TCP.bind("lo:*", ON)
    assert listener.address == f"tcp://127.0.0.1:{port_of(listener)}"
    listener.close()


@needs_ipv6
@needs_lo
async def test_interface_addresses() -> None:
    """IPv4 and IPv6 of an interface are found; a link-local address comes last, with its scope."""
    assert _tcp._interface("lo") == [(socket.AF_INET, "127.0.0.1", 0), (socket.AF_INET6, "::1", 0)]
    assert _tcp._interface("no-such-interface-of-more-than-15-bytes") == []


@pytest.mark.parametrize("host", ["localhost", "server001", "nosuch0"])
def test_bind_resolves_no_names(host: str) -> None:
    """bind takes addresses and interfaces only (design 1), and says so."""
    with pytest.raises(NoSuchDevice, match=f"tcp://{host}:5555: .*'{host}', and names of hosts are not") as caught:
        TCP.bind(f"{host}:5555", ON)
    assert caught.value.errno == errno.ENODEV
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("zone", ["nosuch0", "99999999999"])
async def test_unknown_zone(zone: str) -> None:
    """A zone that is not there: told at bind, and at each attempt to connect."""
    with pytest.raises(NoSuchDevice, match=f"no interface is called '{zone}'"):
        TCP.bind(f"[fe80::1%{zone}]:0", ON)
    with pytest.raises(NoSuchDevice, match=f"no interface is called '{zone}'"):
        await TCP.connect(f"[fe80::1%{zone}]:1", ON)


def test_address_of_another_machine() -> None:
    """EADDRNOTAVAIL is AddressNotAvailable and names the endpoint."""
    with pytest.raises(AddressNotAvailable, match=r"tcp://203\.0\.113\.1:0") as caught:
        TCP.bind("203.0.113.1:0", ON)  # RFC 5737: an address for documentation
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EADDRINUSE, AddressInUse),
        (errno.EADDRNOTAVAIL, AddressNotAvailable),
        (errno.ENODEV, NoSuchDevice),
        (errno.EACCES, PermissionError),  # a port below 1024
        (errno.EMFILE, OSError),
    ],
)
def test_bind_errors(number: int, kind: type[OSError]) -> None:
    """Each error of the system's keeps its number, becomes its class (design 1), and names the endpoint."""
    error = bind_error(OSError(number, os.strerror(number)), "tcp://127.0.0.1:80")
    assert type(error) is kind
    assert error.errno == number
    assert "tcp://127.0.0.1:80" in str(error)


def test_malformed_addresses_are_checked_everywhere() -> None:
    """check and bind refuse what parse_tcp refuses."""
    with pytest.raises(InvalidEndpoint):
        TCP.check("nothing", bind=False)
    with pytest.raises(InvalidEndpoint):
        TCP.bind("127.0.0.1:567bad", ON)


@pytest.mark.parametrize(
    ("bound", "dialled"),
    [
        ("0.0.0.0:5555", "127.0.0.1:5555"),
        ("[::]:5555", "[::1]:5555"),
        ("192.0.2.1:5555", "192.0.2.1:5555"),
        ("[fe80::1%lo]:5555", "[fe80::1%lo]:5555"),
    ],
)
def test_dial_address(bound: str, dialled: str) -> None:
    """Connecting to a bound wildcard means loopback (design 1)."""
    assert TCP.dial_address(bound) == dialled


@pytest.mark.parametrize("keepalive", [True, False])
async def test_options_of_connections(keepalive: bool) -> None:
    """TCP_NODELAY always, SO_KEEPALIVE as the option says, on both ends (3.1)."""
    settings = Settings(tcp_keepalive=keepalive)
    listener = TCP.bind("127.0.0.1:*", settings)
    async with (
        await TCP.connect(listener.address.removeprefix("tcp://"), settings) as ours,
        await listener.accept() as theirs,
    ):
        for stream in (ours, theirs):
            assert bool(stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            assert bool(stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is keepalive
    listener.close()


async def test_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option is given to the system."""
    given: list[int] = []
    listen = socket.socket.listen

    def noted(sock: socket.socket, backlog: int) -> None:
        given.append(backlog)
        listen(sock, backlog)

    monkeypatch.setattr(socket.socket, "listen", noted)
    TCP.bind("127.0.0.1:*", Settings(backlog=7)).close()
    assert given == [7]


async def test_peer_address_of_a_dead_connection() -> None:
    """A connection that was reset before anybody looked has no peer: empty, no error."""
    listener = TCP.bind("127.0.0.1:*", ON)
    stream = await TCP.connect(listener.address.removeprefix("tcp://"), ON)
    await stream.aclose()
    assert TCP.peer_address(stream) == ""
    listener.close()


class Failing:
    """Instead of a socket's accept: fails with these error numbers first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: Iterable[int]) -> None:
        accept = socket.socket.accept
        self.errors = iter(errors)
        self.calls = 0

        def failing(sock: socket.socket) -> Any:
            self.calls += 1
            for number in self.errors:
                raise OSError(number, os.strerror(number))
            return accept(sock)

        monkeypatch.setattr(socket.socket, "accept", failing)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_accept_tells_of_exhaustion_and_goes_on(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes out of accept, for its caller to back off. The next accept works."""
    listener = TCP.bind("127.0.0.1:*", ON)
    Failing(monkeypatch, [number])
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        await listener.accept()
    assert caught.value.errno == number
    assert await meet(listener, f"127.0.0.1:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    listener.close()


async def test_accept_passes_over_who_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """accept(2): a connection's own error is no error of the listener; neither is to be woken for nothing."""
    listener = TCP.bind("127.0.0.1:*", ON)
    names = "EPERM ECONNABORTED EPROTO ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH"
    numbers = [getattr(errno, name) for name in names.split() if hasattr(errno, name)]
    failing = Failing(monkeypatch, [errno.EAGAIN, *numbers, errno.EAGAIN])
    assert await meet(listener, f"127.0.0.1:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    assert failing.calls == len(numbers) + 3
    listener.close()


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_accept_where_all_are_forbidden(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall may let accept fail for good: others still run, and it can be closed or cancelled."""
    listener = TCP.bind("127.0.0.1:*", ON)
    failing = Failing(monkeypatch, itertools.repeat(errno.EPERM, 10_000))  # an end, for a loop that does not yield
    ended = False

    async def accept() -> None:
        nonlocal ended
        try:
            await listener.accept()
        except trio.ClosedResourceError:
            ended = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert 5 <= failing.calls <= 11
        if end == "close":
            listener.close()
        else:
            nursery.cancel_scope.cancel()
    assert ended is (end == "close")
    listener.close()


# Names and several addresses


async def test_name_is_looked_up_on_each_attempt() -> None:
    """Names are resolved afresh at each attempt (issue 2, 5); ipv6=False asks for IPv4 only."""
    listener = TCP.bind("127.0.0.1:*", ON)
    port = int(port_of(listener))
    resolver = Resolver("127.0.0.1")
    trio.socket.set_custom_hostname_resolver(resolver)
    await meet(listener, f"server001:{port}")
    await meet(listener, f"server001:{port}", OFF)
    assert resolver.asked == [(b"server001", port, socket.AF_UNSPEC), (b"server001", port, socket.AF_INET)]
    listener.close()


@pytest.mark.parametrize("hosts", [("127.0.0.9", "127.0.0.1"), ("127.0.0.9", "127.0.0.8", "127.0.0.1")])
async def test_all_addresses_are_tried(hosts: tuple[str, ...]) -> None:
    """An address that refuses is passed over (libzmq tries only the first)."""
    listener = TCP.bind("127.0.0.1:*", ON)
    trio.socket.set_custom_hostname_resolver(Resolver(*hosts))
    assert await meet(listener, f"server001:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    listener.close()


@needs_ipv6
async def test_localhost_with_a_listener_on_ipv4_only() -> None:
    """Whichever address of localhost comes first, the one that is listened on is found."""
    listener = TCP.bind("127.0.0.1:*", ON)
    assert await meet(listener, f"localhost:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    listener.close()


async def test_second_attempt_is_of_the_other_family() -> None:
    """RFC 8305, 4: families alternate at the start."""
    trio.socket.set_custom_hostname_resolver(Resolver("::1", "::2", "127.0.0.1", "127.0.0.2"))
    targets = await _tcp._look_up(parse_tcp("server001:1", bind=False), True, "tcp://server001:1")
    assert [name[0] for _, name in targets] == ["::1", "127.0.0.1", "::2", "127.0.0.2"]


async def test_a_silent_address_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8305, 5: the next address is tried beside one that does not answer; the loser's socket is closed."""
    listener = TCP.bind("127.0.0.1:*", ON)
    trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.9", "127.0.0.1"))
    attempt = _tcp._open
    silent: list[str] = []

    async def silent_first(target: _tcp._Place, *more: Any) -> trio.socket.SocketType:
        if target[1][0] == "127.0.0.9":
            try:
                await trio.sleep_forever()
            finally:
                silent.append("ended")
        return await attempt(target, *more)

    monkeypatch.setattr(_tcp, "_open", silent_first)
    monkeypatch.setattr(_tcp, "_STAGGER", 0.001)
    assert await meet(listener, f"server001:{port_of(listener)}") == ("127.0.0.1", "127.0.0.1")
    assert silent == ["ended"]
    listener.close()


async def test_failure_names_every_address_and_its_cause() -> None:
    """The error has the endpoint, each address with its cause, and the number of the last."""
    trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.9", "127.0.0.8"))
    listener = TCP.bind("127.0.0.1:*", ON)  # so that the port is nobody else's
    refused = os.strerror(errno.ECONNREFUSED)
    with pytest.raises(
        ConnectionRefusedError,
        match=f"tcp://server001:{port_of(listener)}: 127.0.0.9: {refused}; 127.0.0.8: {refused}$",
    ) as caught:
        await TCP.connect(f"server001:{port_of(listener)}", ON)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    listener.close()


async def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is a gaierror, an OSError, with the endpoint and the name."""

    class Nothing(Resolver):
        async def getaddrinfo(self, *args: Any, **more: Any) -> list[Any]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolver in (Nothing(), Resolver()):
        trio.socket.set_custom_hostname_resolver(resolver)
        with pytest.raises(
            socket.gaierror, match=r"tcp://nosuch\.example:1: no address was found for 'nosuch.example'"
        ):
            await TCP.connect("nosuch.example:1", ON)


async def test_cancelled_in_the_middle_of_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while all attempts are under way, or when one has just won: no socket stays open."""
    listener = TCP.bind("127.0.0.1:*", ON)
    trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.1", "127.0.0.1"))
    made: list[trio.socket.SocketType] = []
    new_socket = trio.socket.socket

    def noted(*args: Any) -> trio.socket.SocketType:
        made.append(new_socket(*args))
        return made[-1]

    monkeypatch.setattr(trio.socket, "socket", noted)
    attempt = _tcp._open
    with trio.CancelScope() as scope:

        async def won_when_cancelled(*args: Any) -> trio.socket.SocketType:
            sock = await attempt(*args)
            scope.cancel()
            return sock

        monkeypatch.setattr(_tcp, "_open", won_when_cancelled)
        await TCP.connect(f"server001:{port_of(listener)}", ON)
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert made
    assert all(sock.fileno() == -1 for sock in made)
    listener.close()


async def test_cancelled_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connect that hangs in the kernel is closed by the cancellation."""
    made: list[trio.socket.SocketType] = []
    connected: list[SystemStream] = []
    with socket.socket() as full:  # a listener whose backlog is full: further connects get no answer
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = f"127.0.0.1:{full.getsockname()[1]}"
        new_socket = trio.socket.socket

        def noted(*args: Any) -> trio.socket.SocketType:
            made.append(new_socket(*args))
            return made[-1]

        monkeypatch.setattr(trio.socket, "socket", noted)
        async with trio.open_nursery() as nursery:

            async def connect() -> None:
                connected.append(await TCP.connect(address, ON))

            for _ in range(4):
                nursery.start_soon(connect)
            await wait_all_tasks_blocked(0.01)
            assert any(task.name.endswith("connect") for task in nursery.child_tasks), "none of them hangs"
            nursery.cancel_scope.cancel()
    assert all(sock.fileno() == -1 for sock in made)
    assert len(made) > len(connected)
    for stream in connected:
        await stream.aclose()


# Source addresses


@needs_lo
@pytest.mark.parametrize("source", ["127.0.0.7:0", "127.0.0.7:*", "lo:*", "*:*"])
async def test_source_address(source: str) -> None:
    """connect with SRC; comes from there (3.1)."""
    listener = TCP.bind("127.0.0.1:*", ON)
    _, seen = await meet(listener, f"{source};127.0.0.1:{port_of(listener)}")
    assert seen == ("127.0.0.7" if "7" in source else "127.0.0.1")
    listener.close()


async def test_source_port_can_be_used_again() -> None:
    """The source is bound with SO_REUSEADDR (3.1), so that the next attempt can have the same port."""
    listener = TCP.bind("127.0.0.1:*", ON)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    for _ in range(2):
        ours = await TCP.connect(f"127.0.0.1:{port};127.0.0.1:{port_of(listener)}", ON)
        assert ours.socket.getsockname()[1] == port
        await ours.aclose()  # closing first leaves the port in TIME_WAIT
        theirs = await listener.accept()
        await theirs.aclose()
        listener.close()
        listener = TCP.bind("127.0.0.1:*", ON)  # elsewhere: the four-tuple is another
    listener.close()


@needs_ipv6
async def test_source_of_another_family() -> None:
    """An IPv4 source cannot reach an IPv6 address, and the error says so."""
    with pytest.raises(OSError, match=r"tcp://127.0.0.1:\*;\[::1\]:1: the source has no IPv6 address"):
        await TCP.connect("127.0.0.1:*;[::1]:1", ON)


async def test_source_that_is_not_ours() -> None:
    """A source that is no address of this machine, or no interface."""
    with pytest.raises(OSError, match=r"the source, 203\.0\.113\.1 port 0: "):
        await TCP.connect("203.0.113.1:0;127.0.0.1:1", ON)
    with pytest.raises(NoSuchDevice, match="'nosuch0'"):
        await TCP.connect("nosuch0:0;127.0.0.1:1", ON)


async def test_no_connection_with_oneself() -> None:
    """Where nobody listens, the system may join a connecting socket to itself; that is ConnectionRefused.

    A dialer that waits for a listener on a port of the ephemeral range would come upon it in time.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1:{port}"):
        await TCP.connect(f"127.0.0.1:{port};127.0.0.1:{port}", ON)
