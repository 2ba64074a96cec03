"""Listening on what somebody else has bound (ZMQ_USE_FD, libzmq.md 2.2)."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import trimq
from trimq._abc import AcceptRefused, StreamTransport
from trimq._errors import InvalidEndpoint, NoSuchDevice, ProtocolNotSupported
from trimq._options import Settings
from trimq._transports._ipc import IpcTransport
from trimq._transports._tcp import TcpTransport
from trimq.testing import MemoryTransport

TCP, IPC = TcpTransport(), IpcTransport()
ON = Settings()
linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: Linux only")


def tcp(host: str = "127.0.0.1", v6only: int = 0) -> socket.socket:
    """A socket that is bound."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, 0))
    return sock


def ipc(path: str) -> socket.socket:
    """A socket that is bound."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    return sock


async def meets(transport: StreamTransport, listener: Any) -> None:
    """Connections come in there."""
    address = transport.dial_address(listener.address.partition("://")[2])
    ours = await transport.connect(address, ON)
    async with ours, await listener.accept() as theirs:
        await ours.send_all(b"hello")
        assert await theirs.receive_some(5) == b"hello"


@pytest.mark.parametrize("form", ["number", "socket"])
@pytest.mark.parametrize("listening", [False, True])
async def test_tcp(form: str, listening: bool) -> None:
    """Bound, or listening too: it is taken over, with the options; the address is the socket's own."""
    sock = tcp()
    port = sock.getsockname()[1]
    if listening:
        sock.listen(3)
    fd = sock.detach() if form == "number" else sock
    listener = TCP.adopt("*:*", Settings(tcp_keepalive_idle=7.0, tcp_accept_filter=("127.0.0.0/8",)), fd)
    assert listener.address == f"tcp://127.0.0.1:{port}"
    assert sock.fileno() == -1  # it has lost its descriptor
    assert not os.get_inheritable(listener._socket.fileno())  # type: ignore[attr-defined]
    await meets(TCP, listener)
    ours = await TCP.connect(f"127.0.0.1:{port}", ON)
    theirs = await listener.accept()
    assert theirs.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7  # type: ignore[attr-defined]
    await ours.aclose()
    await theirs.aclose()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await TCP.connect(f"127.0.0.1:{port}", ON)


async def test_filters_hold_for_what_is_taken_over() -> None:
    """So do options of who comes in."""
    listener = TCP.adopt("*:*", Settings(tcp_accept_filter=("10.0.0.0/8",)), tcp())
    ours = await TCP.connect(listener.address.removeprefix("tcp://"), ON)
    with pytest.raises(AcceptRefused):
        await listener.accept()
    await ours.aclose()
    listener.close()


@pytest.mark.parametrize("given", ["*:*", "*:0", "*:PORT", "127.0.0.1:*", "127.0.0.1:PORT", "lo:PORT"])
async def test_addresses_that_agree(given: str) -> None:
    """What is given may have wildcards, or be exact."""
    sock = tcp()
    port = sock.getsockname()[1]
    TCP.adopt(given.replace("PORT", str(port)), ON, sock).close()


@pytest.mark.parametrize("given", ["[::]:*", "[0:0::0]:*", "0.0.0.0:*"])
async def test_a_socket_for_both(given: str) -> None:
    """A dual-stack wildcard reads 0.0.0.0, as one that was bound here; one for IPv6 alone does not."""
    sock = tcp("::")
    port = sock.getsockname()[1]
    listener = TCP.adopt(given, ON, sock)
    assert listener.address == f"tcp://0.0.0.0:{port}"
    await meets(TCP, listener)
    listener.close()
    listener = TCP.adopt("[::]:*", ON, tcp("::", v6only=1))
    assert listener.address == f"tcp://[::]:{listener.address.rpartition(':')[2]}"
    await meets(TCP, listener)
    listener.close()


@pytest.mark.parametrize("given", ["*:1", "127.0.0.2:*", "0.0.0.0:*", "[::1]:*"])
def test_addresses_that_do_not_agree(given: str) -> None:
    """Who binds somewhere else than he thinks is told; the descriptor stays the caller's."""
    with tcp() as sock:
        with pytest.raises(InvalidEndpoint, match=r"is bound to tcp://127\.0\.0\.1:\d+; write that, or tcp://\*:\*"):
            TCP.adopt(given, ON, sock)
        sock.listen()


def test_ipv6_where_it_is_off() -> None:
    """The option holds here, too."""
    with tcp("::1") as sock, pytest.raises(NoSuchDevice, match=r"use_fd=.*ipv6=True"):
        TCP.adopt("*:*", Settings(ipv6=False), sock)


@pytest.mark.parametrize("form", ["number", "socket"])
@pytest.mark.parametrize("listening", [False, True])
@pytest.mark.parametrize("given", ["*", "PATH"])
async def test_ipc(given: str, form: str, listening: bool, tmp_path: Path) -> None:
    """As for tcp; the path belongs to whoever made it, and stays."""
    path = tmp_path / "s"
    sock = ipc(str(path))
    if listening:
        sock.listen(3)
    listener = IPC.adopt(given.replace("PATH", str(path)), ON, sock.detach() if form == "number" else sock)
    assert sock.fileno() == -1
    assert listener.address == f"ipc://{path}"
    await meets(IPC, listener)
    listener.close()
    assert stat.S_ISSOCK(path.stat().st_mode)


async def test_ipc_by_another_name_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may be said in several ways; the address is the socket's own word."""
    monkeypatch.chdir(tmp_path)
    listener = IPC.adopt(str(tmp_path / "s"), ON, ipc("s"))
    assert listener.address == "ipc://s"
    await meets(IPC, listener)
    listener.close()


@linux
@pytest.mark.parametrize("given", ["*", "@NAME"])
async def test_ipc_by_an_abstract_name(given: str) -> None:
    """The name has its @."""
    name = f"trimq-adopted-{os.getpid()}"
    listener = IPC.adopt(given.replace("NAME", name), ON, ipc(f"\0{name}"))
    assert listener.address == f"ipc://@{name}"
    await meets(IPC, listener)
    listener.close()


def test_ipc_elsewhere(tmp_path: Path) -> None:
    """Bound to another path, or to a name; or permissions are asked for, that are not ours to set."""
    with ipc(str(tmp_path / "s")) as sock:
        for given in (str(tmp_path / "other"), "@name"):
            with pytest.raises(InvalidEndpoint, match=f"bound to ipc://{tmp_path}/s; write that, or "):
                IPC.adopt(given, ON, sock)
        with pytest.raises(InvalidEndpoint, match="ipc_mode=0o660: with use_fd, permissions"):
            IPC.adopt("*", Settings(ipc_mode=0o660), sock)
        sock.listen()


def connected() -> socket.socket:
    with tcp() as listener:
        listener.listen()
        sock = socket.create_connection(listener.getsockname())
        sock.send(b"left to be read")
        with sock:
            return listener.accept()[0]


@pytest.mark.parametrize(
    ("make", "number", "says"),
    [
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), errno.EINVAL, "SOCK_DGRAM, and not SOCK_STREAM"),
        (lambda: socket.socket(socket.AF_UNIX), errno.EINVAL, "AF_UNIX, and not AF_INET or AF_INET6"),
        (socket.socket, errno.EINVAL, "it is not bound yet"),
        (connected, errno.EISCONN, "it is a connection"),
    ],
)
def test_what_cannot_be_taken_over(make: Callable[[], socket.socket], number: int, says: str) -> None:
    """Each says what is wrong, and stays the caller's."""
    with make() as sock:
        for fd in (sock, sock.fileno()):
            with pytest.raises(
                OSError, match=rf"cannot bind tcp://\*:\* with use_fd={sock.fileno()}: .*{says}"
            ) as caught:
                TCP.adopt("*:*", ON, fd)
            assert caught.value.errno == number
            os.fstat(sock.fileno())


def test_what_cannot_be_taken_over_by_ipc() -> None:
    """The same, of a Unix socket that is not bound, and of one end of a pair."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other, tcp() as wrong, socket.socket(socket.AF_UNIX) as unbound:
        for sock, says in ((one, "not bound"), (wrong, "AF_INET, and not AF_UNIX"), (unbound, "not bound")):
            with pytest.raises(OSError, match=rf"ipc://\*.*{says}"):
                IPC.adopt("*", ON, sock)
            os.fstat(sock.fileno())


def test_what_is_no_socket() -> None:
    """A pipe, a closed descriptor, a negative number, a closed socket; and what is no descriptor at all."""
    reader, writer = os.pipe()
    closed = socket.socket()
    closed.close()
    gone = os.dup(reader)
    os.close(gone)
    for fd, number in ((reader, errno.ENOTSOCK), (gone, errno.EBADF), (-1, errno.EBADF), (closed, errno.EBADF)):
        with pytest.raises(OSError, match=r"with use_fd=-?\d+: .*; give a stream socket that is bound") as caught:
            TCP.adopt("*:*", ON, fd)
        assert caught.value.errno == number
    os.close(reader)
    os.close(writer)
    for wrong in (True, "3", None, 3.0):
        with pytest.raises(TypeError, match="use_fd is the number of a descriptor, or a socket"):
            TCP.adopt("*:*", ON, wrong)  # type: ignore[arg-type]


@linux
def test_an_option_that_is_refused() -> None:
    """It names the descriptor; which stays the caller's."""
    with tcp() as sock:
        with pytest.raises(OSError, match=rf"tcp://\*:\* with use_fd={sock.fileno()}: the system refuses tos=256"):
            TCP.adopt("*:*", Settings(tos=256), sock)
        os.fstat(sock.fileno())


def test_other_transports() -> None:
    """One that cannot says so."""
    with tcp() as sock, pytest.raises(ProtocolNotSupported, match="tcp cannot take over a descriptor"):
        MemoryTransport().adopt("*:*", ON, sock)


async def test_bind_with_use_fd() -> None:
    """``socket.bind(..., use_fd=)``, from the user's side; inproc has no descriptors."""
    async with trimq.open_context(linger=0.0) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        sock = tcp()
        with pytest.raises(trimq.ProtocolNotSupported, match="inproc has no descriptors"):
            pull.bind("inproc://name", use_fd=sock)
        assert not pull.endpoints
        endpoint = pull.bind("tcp://127.0.0.1:*", use_fd=sock)
        push.connect(endpoint)
        await push.send(b"hello")
        with trio.fail_after(10):
            assert await pull.receive() == [b"hello"]
        with tcp("127.0.0.2") as elsewhere, pytest.raises(trimq.InvalidEndpoint, match="tcp://127.0.0.2:"):
            pull.bind("tcp://127.0.0.1:*", use_fd=elsewhere)
        assert pull.endpoints == (endpoint,)


CHILD = """
    import os, trimq, trio

    async def main():
        async with trimq.open_context() as context:
            rep = context.socket(trimq.Rep)
            for number in range(int(os.environ["LISTEN_FDS"])):
                scheme = os.environ["LISTEN_FDNAMES"].split(":")[number]
                fd = int(os.environ["FIRST"]) + number
                print(rep.bind("tcp://*:*" if scheme == "tcp" else "ipc://*", use_fd=fd), flush=True)
            for _ in range(2):
                [question] = await rep.receive()
                await rep.send(b"re: " + question)

    trio.run(main)
"""


async def test_from_a_parent_process(tmp_path: Path) -> None:
    """As systemd does: sockets are bound and listen before the program is there, and clients may connect already."""
    path = str(tmp_path / "s")
    with tcp() as one, ipc(path) as two:
        for sock in (one, two):
            sock.listen()
        # LISTEN_FDS counts descriptors that follow each other.
        first = 100
        os.dup2(one.fileno(), first)
        os.dup2(two.fileno(), first + 1)
        names = [f"tcp://127.0.0.1:{one.getsockname()[1]}", f"ipc://{path}"]
    async with trimq.open_context(linger=0.0) as context:
        reqs = [context.socket(trimq.Req) for _ in names]
        for req, name in zip(reqs, names, strict=True):
            req.connect(name)
            await req.send(name.encode())
        env = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "tcp:ipc", "FIRST": str(first)}
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                process = await nursery.start(
                    lambda task_status: trio.run_process(
                        [sys.executable, "-c", textwrap.dedent(CHILD)],
                        env=env,
                        pass_fds=(first, first + 1),
                        stdout=subprocess.PIPE,
                        task_status=task_status,
                    )
                )
                os.close(first)
                os.close(first + 1)
                for req, name in zip(reqs, names, strict=True):
                    assert await req.receive() == [b"re: " + name.encode()]
                assert process.stdout is not None
                said = b""
                while data := await process.stdout.receive_some():
                    said += data
    assert said.decode().split() == names
    assert os.path.exists(path)
