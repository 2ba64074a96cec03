"""Who may come in: ZMQ_TCP_ACCEPT_FILTER, ZMQ_IPC_FILTER_PID, _UID and _GID (libzmq.md 2.2, 3.1, 3.2)."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from trimq._abc import AcceptRefused
from trimq._options import Settings, networks
from trimq._transports import _filters
from trimq._transports._filters import by_credentials, by_network
from trimq._transports._ipc import IpcTransport
from trimq._transports._tcp import TcpTransport

TCP, IPC = TcpTransport(), IpcTransport()
ME = (os.getpid(), os.getuid(), os.getgid())

linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: Linux only")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can be somebody else")


def admits(given: list[str], peer: tuple[Any, ...]) -> bool:
    """Whether the filter for these networks lets in who comes from there."""
    filter_ = by_network(networks("tcp_accept_filter", given))
    with socket.socket() as sock:
        return filter_ is None or not filter_(sock, peer)


@pytest.mark.parametrize(
    ("given", "host", "in_"),
    [
        ([], "203.0.113.1", True),  # empty: all
        (["192.168.0.0/24"], "192.168.0.255", True),
        (["192.168.0.0/24"], "192.168.1.0", False),
        (["192.168.0.7/24"], "192.168.0.1", True),  # bits beyond the mask do not matter
        (["10.1.2.3"], "10.1.2.3", True),
        (["10.1.2.3"], "10.1.2.4", False),
        (["10.0.0.0/8", "192.168.0.0/16"], "192.168.9.9", True),  # any of them
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),  # IPv4 as a dual-stack socket sees it
        (["10.0.0.0/8"], "::ffff:11.1.2.3", False),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "::ffff:10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "11.1.2.3", False),
        (["0.0.0.0/0"], "::1", False),
        (["::/0"], "127.0.0.1", False),
        (["fd00::/8"], "fd12::1", True),
        (["fe80::/10"], "fe80::1%lo", True),  # in whichever zone
    ],
)
def test_networks(given: list[str], host: str, in_: bool) -> None:
    """CIDR; each version of IP by itself, but IPv4 in IPv6 is IPv4."""
    assert admits(given, (host, 1) if ":" not in host else (host, 1, 0, 0)) is in_


async def test_tcp() -> None:
    """Who is not let in is closed at once, and told; the next is accepted."""
    settings = Settings(tcp_accept_filter=("127.0.0.7/32",))
    listener = TCP.bind("127.0.0.1:*", settings)
    address = listener.address.removeprefix("tcp://")
    stranger = await TCP.connect(address, settings)
    with pytest.raises(AcceptRefused, match=r"127\.0\.0\.1 is not in the tcp_accept_filter") as caught:
        await listener.accept()
    assert caught.value.errno == errno.EACCES
    assert await stranger.receive_some(1) == b""
    friend = await TCP.connect(f"127.0.0.7:*;{address}", settings)
    async with friend, await listener.accept() as theirs:
        await friend.send_all(b"hello")
        assert await theirs.receive_some(5) == b"hello"
    await stranger.aclose()
    listener.close()


async def test_filters_of_tcp_mean_nothing_to_ipc() -> None:
    """One socket may have endpoints of both kinds."""
    listener = IPC.bind("*", Settings(tcp_accept_filter=("127.0.0.7/32",)))
    ours = await IPC.connect(listener.address.removeprefix("ipc://"), Settings())
    async with ours, await listener.accept():
        pass
    listener.close()


@linux
@pytest.mark.parametrize(
    ("pids", "uids", "gids", "in_"),
    [
        ([], [], [], True),
        ([ME[0]], [], [], True),
        ([], [ME[1]], [], True),
        ([], [], [ME[2]], True),
        ([1], [ME[1], 12345], [], True),  # any of them
        ([1], [12345], [54321], False),
        ([1], [], [], False),
    ],
)
async def test_ipc(pids: list[int], uids: list[int], gids: list[int], in_: bool) -> None:
    """Empty filters let all in; of those that are given, one that matches is enough."""
    settings = Settings(ipc_filter_pid=frozenset(pids), ipc_filter_uid=frozenset(uids), ipc_filter_gid=frozenset(gids))
    listener = IPC.bind("*", settings)
    ours = await IPC.connect(listener.address.removeprefix("ipc://"), Settings())
    if in_:
        await (await listener.accept()).aclose()
    else:
        with pytest.raises(AcceptRefused, match="process {} of user {} and group {} is in no ipc_filter".format(*ME)):
            await listener.accept()
    with trio.fail_after(5):
        assert await ours.receive_some(1) == b""
    await ours.aclose()
    listener.close()


@linux
async def test_ipc_by_an_abstract_name() -> None:
    """A name has no permissions: filters are what protects it."""
    settings = Settings(ipc_filter_uid=frozenset({12345}))
    listener = IPC.bind(f"@trimq-filter-{os.getpid()}", settings)
    ours = await IPC.connect(listener.address.removeprefix("ipc://"), Settings())
    with pytest.raises(AcceptRefused):
        await listener.accept()
    await ours.aclose()
    listener.close()


@contextmanager
def somebody_else(groups: list[int], group: int) -> Iterator[socket.socket]:
    """Our end of a connection with a process of user nobody in these groups."""
    name = f"\0trimq-filter-{os.getpid()}"
    script = (
        f"import os, socket; os.setgroups({groups}); os.setgid({group}); os.setuid(65534)\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({name!r}); s.recv(1)"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        listener.settimeout(30)
        with subprocess.Popen([sys.executable, "-c", script]) as process:
            sock, _ = listener.accept()
            with sock:
                yield sock
            assert process.wait(30) == 0


@linux
@as_root
@pytest.mark.parametrize(("gid", "in_"), [(54321, True), (54322, True), (54323, False), (0, False)])
def test_supplementary_groups(gid: int, in_: bool) -> None:
    """Its group, and the supplementary ones that the process has."""
    with somebody_else([54321], 54322) as sock:
        admit = by_credentials(Settings(ipc_filter_gid=frozenset({gid})))
        assert admit is not None
        assert (admit(sock, "") == "") is in_


@linux
@pytest.mark.parametrize("kernel_tells", [True, False])
@pytest.mark.parametrize(("members", "in_"), [(["somebody", "me"], True), (["somebody"], False), (None, False)])
def test_groups_of_the_user_database(
    members: list[str] | None, in_: bool, kernel_tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libzmq has it: a group's members by name, even if the process was started without the group."""
    gid = 987654

    def group(asked: int) -> Any:
        if members is None or asked != gid:
            raise KeyError
        return SimpleNamespace(gr_mem=members)

    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="me"))
    if not kernel_tells:  # a Linux before 4.13
        monkeypatch.setattr(_filters, "_PEERGROUPS", 9999)
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        admit = by_credentials(Settings(ipc_filter_gid=frozenset({1234567, gid})))
        assert admit is not None
        assert (admit(one, "") == "") is in_


@linux
def test_a_user_that_is_not_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: no name, no group."""

    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        admit = by_credentials(Settings(ipc_filter_gid=frozenset({1234567})))
        assert admit is not None
        assert "in no ipc_filter" in admit(one, "")


@linux
def test_who_cannot_be_known_is_not_let_in() -> None:
    """A filter that cannot ask refuses."""
    admit = by_credentials(Settings(ipc_filter_uid=frozenset({ME[1]})))
    assert admit is not None
    with socket.socket() as sock:
        sock.close()
        assert admit(sock, "") == "the system does not tell who it is"


@pytest.mark.parametrize("name", ["ipc_filter_pid", "ipc_filter_uid", "ipc_filter_gid"])
async def test_where_peers_have_no_credentials(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not Linux: a filter that is given is an error at bind, none is none; nothing is left at the path."""
    monkeypatch.setattr(_filters, "sys", SimpleNamespace(platform="darwin"))
    settings = Settings(**{name: frozenset({1})})  # type: ignore[arg-type]
    with pytest.raises(OSError, match=rf"cannot bind ipc://\*?.*: {name} is for Linux only.*ipc_mode") as caught:
        IPC.bind("*", settings)
    assert caught.value.errno == errno.ENOPROTOOPT
    IPC.bind("*", Settings()).close()
