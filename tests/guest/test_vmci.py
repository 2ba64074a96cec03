"""vmci over the guest's own vsock: what an address becomes, options, sockets of others, errors."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

import trimq
from trimq._options import Settings
from trimq._transports._vmci import VmciTransport

pytestmark = pytest.mark.usefixtures("nothing_leaks")
Fresh = Callable[[str], str]
VMCI = VmciTransport()
SIZES = (0, 1, 2)  # SO_VM_SOCKETS_BUFFER_SIZE, _MIN_SIZE and _MAX_SIZE, which not every system's Python has


def raw_socket() -> socket.socket:
    return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)


@pytest.mark.parametrize("scheme", ["vmci", "vsock"])
@pytest.mark.parametrize(
    ("address", "resolved"),
    [
        ("*:6001", "*:6001"),
        ("any:6001", "*:6001"),
        ("-1:6001", "*:6001"),
        ("4294967295:6001", "*:6001"),
        ("local:6001", "1:6001"),
        ("1:6001", "1:6001"),
        ("@:6001", "1:6001"),  # the guest has no other number
    ],
)
async def test_what_is_bound(scheme: str, address: str, resolved: str) -> None:
    """The endpoint has numbers, and keeps the scheme; what was bound to all CIDs is connected to by loopback."""
    async with trimq.open_context() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        bound = pull.bind(f"{scheme}://{address}")
        assert str(bound) == f"{scheme}://{resolved}"
        endpoint = push.connect(bound)
        await push.wait_for_peers()
        await pull.wait_for_peers()
        assert str(endpoint) == f"{scheme}://1:6001"
        assert [peer.address for peer in (*push.peers, *pull.peers)] == ["1", "1"]
        pull.unbind(f"{scheme}://{resolved}")


async def test_the_spellings_are_one_transport() -> None:
    """What is bound as vsock is connected to as vmci, and cannot be bound twice."""
    async with trimq.open_context() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind("vsock://local:6001")
        push.connect("vmci://local:6001")
        await push.send(b"hello")
        assert await pull.receive() == [b"hello"]
        with pytest.raises(trimq.AddressInUse, match="cannot bind vmci://\\*:6001: something is bound there"):
            pull.bind("vmci://*:6001")


@pytest.mark.parametrize("address", ["*:*", "-1:-1", "local:*", "@:-1"])
async def test_an_ephemeral_port(address: str) -> None:
    """It is read from the endpoint; and another bind gets another."""
    async with trimq.open_context() as ctx:
        pull = ctx.socket(trimq.Pull)
        ports = {int(str(pull.bind(f"vmci://{address}")).rpartition(":")[2]) for _ in range(3)}
        assert len(ports) == 3
        assert all(1024 <= port < 2**32 - 1 for port in ports)


@pytest.mark.parametrize(
    ("address", "kind", "number", "says"),
    [
        ("77:6001", trimq.AddressNotAvailable, errno.EADDRNOTAVAIL, "cannot bind vmci://77:6001: "),
        ("host:6001", trimq.AddressNotAvailable, errno.EADDRNOTAVAIL, "cannot bind vmci://host:6001: "),
    ],
)
async def test_bind_errors(address: str, kind: type[trimq.ZMQError], number: int, says: str) -> None:
    """A CID that is not this machine's, as the system says it."""
    async with trimq.open_context() as ctx:
        with pytest.raises(kind, match=says) as caught:
            ctx.socket(trimq.Pull).bind(f"vmci://{address}")
        assert caught.value.errno == number


@pytest.mark.parametrize(
    ("address", "number", "says"),
    [
        ("local:6001", errno.ECONNREFUSED, "nobody listens there, or its backlog is full"),
        ("@:6001", errno.ECONNREFUSED, "nobody listens there"),
        ("77:6001", errno.ENODEV, r"nothing here reaches that CID \(1 needs vsock_loopback\)"),
    ],
)
async def test_connect_errors(address: str, number: int, says: str) -> None:
    """An attempt says what is wrong in words that one can act on, and is repeated."""
    with pytest.raises(OSError, match=f"cannot connect to vmci://{address}: .*{says}") as caught:
        await VMCI.connect(address, Settings())
    assert caught.value.errno == number


async def test_a_full_backlog_refuses(fresh: Fresh) -> None:
    """AF_VSOCK says so with a reset; to us nobody is there yet."""
    listener = VMCI.bind("local:6001", Settings(backlog=1))
    streams = []
    with pytest.raises(ConnectionRefusedError):
        while True:
            streams.append(await VMCI.connect("1:6001", Settings()))
    assert len(streams) in (1, 2)
    for stream in streams:
        await stream.aclose()
    listener.close()


async def test_no_cid_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """``@`` where there is none is ENODEV, as in libzmq."""
    real = open

    def missing(path: Any, *rest: Any) -> Any:
        if path == "/dev/vsock":
            raise FileNotFoundError(errno.ENOENT, "gone", path)
        return real(path, *rest)

    monkeypatch.setattr("builtins.open", missing)
    with pytest.raises(
        trimq.NoSuchDevice, match="cannot use vmci://@:6001: this machine has no CID of its own"
    ) as caught:
        VMCI.bind("@:6001", Settings())
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(trimq.NoSuchDevice, match="this machine has no CID of its own"):
        await VMCI.connect("@:6001", Settings())


# Options


async def test_buffers() -> None:
    """The system has them, of the listener, of who connects, and of who was accepted (ZMQ_VMCI_BUFFER_*)."""
    settings = Settings(vmci_buffer_size=500_000, vmci_buffer_min_size=1000, vmci_buffer_max_size=600_000)
    listener: Any = VMCI.bind("local:6001", settings)
    ours = await VMCI.connect("1:6001", settings)
    theirs = await listener.accept()
    for sock in (listener._socket, ours.socket, theirs.socket):
        assert [sock.getsockopt(socket.AF_VSOCK, name) for name in SIZES] == [500_000, 1000, 600_000]
    await ours.aclose()
    await theirs.aclose()
    listener.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(vmci_buffer_size=300_000), "makes 262144 of vmci_buffer_size=300000: it is held within"),
        (Settings(vmci_buffer_size=5, vmci_buffer_min_size=10), "makes 10 of vmci_buffer_size=5"),
        (Settings(vmci_buffer_size=2**64), "vmci_buffer_size=18446744073709551616"),
    ],
    ids=str,
)
async def test_a_buffer_that_the_system_changes(settings: Settings, says: str) -> None:
    """No option is accepted and ignored: it says what became of it, and what to do."""
    with pytest.raises(OSError, match=f"cannot bind vmci://local:6001.*{says}"):
        VMCI.bind("local:6001", settings)
    with pytest.raises(OSError, match=f"cannot connect to vmci://local:6001.*{says}"):
        await VMCI.connect("local:6001", settings)


async def test_connect_timeout() -> None:
    """The system has it, at the grain of its clock, and its default is 2 seconds (ZMQ_VMCI_CONNECT_TIMEOUT)."""
    listener = VMCI.bind("local:6001", Settings())
    for settings, seconds in ((Settings(), 2.0), (Settings(vmci_connect_timeout=1.5), 1.5)):
        stream = await VMCI.connect("1:6001", settings)
        with socket.socket(
            socket.AF_UNIX, fileno=stream.socket.detach()
        ) as same:  # Python reads no bytes of AF_VSOCK's
            raw = same.getsockopt(socket.AF_VSOCK, 6, 16)
        whole, micro = (int.from_bytes(raw[start : start + 8], "little") for start in (0, 8))
        assert whole + micro / 1e6 == pytest.approx(seconds, abs=0.02)
    listener.close()


async def test_options_by_way_of_a_socket(fresh: Fresh) -> None:
    """A socket's options reach its connections, also those that make every write a small one."""
    small: dict[str, Any] = {"vmci_buffer_size": 2048, "vmci_buffer_min_size": 1024, "vmci_buffer_max_size": 4096}
    async with trimq.open_context(**small, vmci_connect_timeout=0.5) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        push.connect(pull.bind(fresh("vmci")))
        await push.send(bytes(1_000_000))
        assert await pull.receive() == [bytes(1_000_000)]


# Sockets of others (ZMQ_USE_FD)


@pytest.mark.parametrize("address", ["local:6001", "1:6001", "*:*", "local:*", "*:6001"])
async def test_use_fd(address: str) -> None:
    """A socket that somebody has bound; ``*`` stands for whatever it is."""
    sock = raw_socket()
    sock.bind((1, 6001))
    async with trimq.open_context() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        bound = pull.bind(f"vmci://{address}", use_fd=sock)
        assert str(bound) == "vmci://1:6001"
        push.connect(bound)
        await push.send(b"hello")
        assert await pull.receive() == [b"hello"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("local:6002", "it is bound to vmci://1:6001; write that, or vmci://\\*:\\* for whatever it is"),
        ("2:6001", "it is bound to vmci://1:6001"),
    ],
)
async def test_use_fd_bound_elsewhere(address: str, says: str) -> None:
    """It stays the caller's."""
    with raw_socket() as sock:
        sock.bind((1, 6001))
        async with trimq.open_context() as ctx:
            with pytest.raises(trimq.InvalidEndpoint, match=says):
                ctx.socket(trimq.Pull).bind(f"vmci://{address}", use_fd=sock)
        sock.listen()


async def test_use_fd_that_is_not_bound() -> None:
    """It is said what it lacks."""
    with raw_socket() as sock, pytest.raises(OSError, match="use_fd"):
        VMCI.adopt("*:*", Settings(), sock)
    with socket.socket() as tcp, pytest.raises(OSError, match="AF_VSOCK"):
        VMCI.adopt("*:*", Settings(), tcp)


async def test_a_privileged_port() -> None:
    """Below 1024 it takes a privilege, which the guest's root has, and nobody else."""
    VMCI.bind("local:1023", Settings()).close()
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="cannot bind vmci://local:1023: "):
            VMCI.bind("local:1023", Settings())
    finally:
        os.seteuid(0)
