"""ipc: libzmq.md 3.2; where trimq is more careful with files than libzmq, the test says so."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from trimq._errors import AddressInUse, InvalidEndpoint
from trimq._options import Settings
from trimq._transports import _ipc
from trimq._transports._ipc import IpcTransport

IPC = IpcTransport()
ON = Settings()
LONGEST = 107 if sys.platform == "linux" else 103
linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: Linux only")


async def works(address: str) -> None:
    """Somebody accepts connections there: the kernel completes them."""
    await (await IPC.connect(address, ON)).aclose()


def leave_behind(path: Path) -> None:
    """A socket file of a program that has crashed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


@pytest.mark.parametrize("address", ["/tmp/x", "x", "./*x", "a b", "@name", "@ ", "\udcff", "/" + "x" * (LONGEST - 1)])
@pytest.mark.parametrize("bind", [True, False])
def test_check(address: str, bind: bool) -> None:
    """Any path that fits, relative ones and ones that are no UTF-8 too; @ and a name (3.2)."""
    IPC.check(address, bind=bind)


def test_check_wildcard() -> None:
    """'*' is for bind."""
    IPC.check("*", bind=True)
    with pytest.raises(InvalidEndpoint, match="'\\*' is for bind"):
        IPC.check("*", bind=False)


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "no path"),
        ("@", "no name after '@'"),
        ("*x", r"write ipc://\./\*x"),  # libzmq takes it for the wildcard
        ("a\0b", "zero byte"),
        ("\ud800", "cannot be encoded"),
    ],
)
def test_check_refuses(address: str, says: str, bind: bool) -> None:
    """EINVAL, with what was wrong and what would be right."""
    with pytest.raises(InvalidEndpoint, match=says) as caught:
        IPC.check(address, bind=bind)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("address", ["x" * (LONGEST + 1), "@" + "x" * LONGEST, "\u00e9" * (LONGEST // 2 + 1)])
async def test_too_long(address: str) -> None:
    """A path or name that does not fit into sun_path, counted in bytes, is ENAMETOOLONG (3.2)."""
    for attempt in (lambda: IPC.check(address, bind=False), lambda: IPC.bind(address, ON)):
        with pytest.raises(InvalidEndpoint, match=f"takes {LONGEST} bytes, and this has 10") as caught:
            attempt()
        assert caught.value.errno == errno.ENAMETOOLONG
    with pytest.raises(InvalidEndpoint):
        await IPC.connect(address, ON)


async def test_longest_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is exact."""
    monkeypatch.chdir(tmp_path)
    listener = IPC.bind("x" * LONGEST, ON)
    await works("x" * LONGEST)
    listener.close()


async def test_path(tmp_path: Path) -> None:
    """The file is there while bound and gone when closed (a listed difference: libzmq leaves it)."""
    path = tmp_path / "s"
    listener = IPC.bind(str(path), ON)
    assert listener.address == f"ipc://{path}"
    assert stat.S_ISSOCK(path.stat().st_mode)
    await works(str(path))
    listener.close()
    assert not path.exists()


async def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is the text given, and is removed even from another directory."""
    monkeypatch.chdir(tmp_path)
    listener = IPC.bind("s", ON)
    assert listener.address == "ipc://s"
    await works("s")
    monkeypatch.chdir("/")
    listener.close()
    assert not (tmp_path / "s").exists()


@linux
async def test_abstract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """@name has no file; the resolved address keeps the @; the byte on the wire is zero (3.2)."""
    monkeypatch.chdir(tmp_path)
    name = f"@trimq-test-{os.getpid()}"
    listener = IPC.bind(name, ON)
    assert listener.address == f"ipc://{name}"
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(f"\0{name[1:]}")
    assert os.listdir(tmp_path) == []
    with pytest.raises(AddressInUse, match=name):
        IPC.bind(name, ON)
    listener.close()
    with pytest.raises(ConnectionRefusedError, match=f"ipc://{name}"):
        await IPC.connect(name, ON)


async def test_wildcard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """'*' is a fresh directory of mode 0700 in TMPDIR; file and directory are removed on close (3.2)."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers the first answer
    listeners = [IPC.bind("*", ON) for _ in range(2)]
    paths = [Path(listener.address.removeprefix("ipc://")) for listener in listeners]
    assert paths[0] != paths[1]
    for listener, path in zip(listeners, paths, strict=True):
        assert path.parent.parent == tmp_path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await works(str(path))
        listener.close()
    assert os.listdir(tmp_path) == []


def test_wildcard_in_too_deep_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TMPDIR whose path leaves no room is ENAMETOOLONG, and leaves no directory."""
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(InvalidEndpoint) as caught:
        IPC.bind("*", ON)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert os.listdir(deep) == []


def test_wildcard_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TMPDIR that is not there is an OSError with the endpoint."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"ipc://\*"):
        IPC.bind("*", ON)


async def test_stale_file_is_replaced(tmp_path: Path) -> None:
    """A socket file that refuses connections was left behind; it is no obstacle."""
    path = tmp_path / "s"
    leave_behind(path)
    listener = IPC.bind(str(path), ON)
    await works(str(path))
    listener.close()
    assert not path.exists()


async def test_live_socket_is_not_stolen(tmp_path: Path) -> None:
    """Where somebody listens it is AddressInUse (libzmq steals the path)."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        for _ in range(3):  # the later ones find its backlog full
            with pytest.raises(AddressInUse, match=f"ipc://{path}"):
                IPC.bind(str(path), ON)
        assert path.exists()


def test_socket_of_another_kind_is_not_stolen(tmp_path: Path) -> None:
    """A datagram socket cannot answer, but is somebody's."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(AddressInUse):
            IPC.bind(str(path), ON)
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling"])
def test_what_is_no_socket_is_not_deleted(kind: str, tmp_path: Path) -> None:
    """A file, a directory or a link at the path is AddressInUse, and stays (libzmq deletes files)."""
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        if kind == "link":
            leave_behind(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    before = path.lstat()
    with pytest.raises(AddressInUse, match="no socket is there"):
        IPC.bind(str(path), ON)
    assert path.lstat().st_ino == before.st_ino


async def test_close_leaves_anothers_file(tmp_path: Path) -> None:
    """A file that has taken the place of ours stays."""
    path = tmp_path / "s"
    listener = IPC.bind(str(path), ON)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        listener.close()
        await works(str(path))


async def test_close_does_not_miss_a_file_that_is_gone(tmp_path: Path) -> None:
    """Whoever deleted our file has spared us the work."""
    path = tmp_path / "s"
    listener = IPC.bind(str(path), ON)
    path.unlink()
    listener.close()


def test_missing_directory(tmp_path: Path) -> None:
    """It is FileNotFoundError, and says which directory is missing."""
    path = tmp_path / "no" / "s"
    with pytest.raises(FileNotFoundError, match=f"ipc://{path}: there is no directory '{path.parent}'"):
        IPC.bind(str(path), ON)


def test_a_file_for_a_directory(tmp_path: Path) -> None:
    """Other errors of the system's name the endpoint too."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=f"ipc://{tmp_path}/file/s"):
        IPC.bind(f"{tmp_path}/file/s", ON)


async def test_connect_errors(tmp_path: Path) -> None:
    """No file, a file that nobody answers for, a file that is no socket."""
    with pytest.raises(FileNotFoundError, match=f"ipc://{tmp_path}/none: "):
        await IPC.connect(f"{tmp_path}/none", ON)
    leave_behind(tmp_path / "stale")
    with pytest.raises(ConnectionRefusedError, match=f"ipc://{tmp_path}/stale: "):
        await IPC.connect(f"{tmp_path}/stale", ON)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"ipc://{tmp_path}/file: "):
        await IPC.connect(f"{tmp_path}/file", ON)


@linux
async def test_full_backlog_is_an_error(tmp_path: Path) -> None:
    """A Unix connect that finds the backlog full fails at once, and must not look like a connection."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(path)
        full.listen(0)
        first = await IPC.connect(path, ON)
        with pytest.raises(BlockingIOError, match=f"ipc://{path}: "):
            await IPC.connect(path, ON)
        await first.aclose()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777, 0o200, 0])
async def test_mode(mode: int, mask: int, tmp_path: Path) -> None:
    """ipc_mode is what the path has, whatever the umask; without it, the umask decides, as with libzmq."""
    path, other = tmp_path / "s", tmp_path / "t"
    with umask(mask):
        listener, plain = IPC.bind(str(path), Settings(ipc_mode=mode)), IPC.bind(str(other), ON)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(other.stat().st_mode) == 0o777 & ~mask
    plain.close()
    listener.close()
    assert os.listdir(tmp_path) == []


async def test_mode_of_a_replaced_file(tmp_path: Path) -> None:
    """What was left behind is replaced, and its permissions with it; and what is there is not touched."""
    path = tmp_path / "s"
    leave_behind(path)
    path.chmod(0o777)
    settings = Settings(ipc_mode=0o600)
    listener = IPC.bind(str(path), settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await works(str(path))
    with pytest.raises(AddressInUse):
        IPC.bind(str(path), Settings(ipc_mode=0o666))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()


async def test_mode_of_a_wildcard() -> None:
    """The file has it; its directory stays the user's own."""
    listener = IPC.bind("*", Settings(ipc_mode=0o606))
    path = Path(listener.address.removeprefix("ipc://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o606
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    listener.close()


async def test_nobody_connects_before_the_mode_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between bind and chmod, the system refuses everybody, since nobody listens yet."""
    path = tmp_path / "s"
    set_mode = _ipc._set_mode
    tried = []

    def race(bound: str, mode: int) -> None:
        for _ in range(2):  # before, and after
            with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(str(path))
            set_mode(bound, mode)
            tried.append(stat.S_IMODE(path.stat().st_mode))

    monkeypatch.setattr(_ipc, "_set_mode", race)
    with umask(0):
        IPC.bind(str(path), Settings(ipc_mode=0o600)).close()
    assert tried == [0o600, 0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can be somebody else")
async def test_mode_is_the_systems_business() -> None:
    """Another user cannot connect where the mode says so, and can where it does not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o711)
        script = (
            "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "with socket.socket(socket.AF_UNIX) as sock:\n"
            f"    print(sock.connect_ex({directory + '/s'!r}))"
        )
        for mode, number in ((0o600, errno.EACCES), (0o660, errno.EACCES), (0o602, 0)):
            listener = IPC.bind(directory + "/s", Settings(ipc_mode=mode))
            said = await trio.run_process([sys.executable, "-c", script], capture_stdout=True)
            assert int(said.stdout) == number
            listener.close()


def test_mode_is_set_through_no_link(tmp_path: Path) -> None:
    """Who may write to the directory may put a link in the path's place, but not have another file's mode changed."""
    precious, link = tmp_path / "precious", tmp_path / "s"
    precious.write_text("")
    precious.chmod(0o600)
    link.symlink_to(precious)
    for path in (link, precious) if sys.platform == "linux" else ():
        with pytest.raises(OSError, match="the system refuses ipc_mode=0o666: "):
            _ipc._set_mode(str(path), 0o666)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o600


@pytest.mark.parametrize("where", ["set_mode", "listen"])
def test_a_failure_after_bind_leaves_no_file(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor a directory stays; the error names the endpoint."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own may be too long for ipc
        _fail_after_bind(where, Path(folder), monkeypatch)


def _fail_after_bind(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(*args: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if where == "listen":
        monkeypatch.setattr(socket.socket, "listen", fail)
    else:
        monkeypatch.setattr(os, "chmod", fail)
    for address in ("*", f"{tmp_path}/s"):
        with pytest.raises(PermissionError, match="cannot bind ipc://"):
            IPC.bind(address, Settings(ipc_mode=0o600))
        assert os.listdir(tmp_path) == []


@linux
def test_a_name_has_no_mode() -> None:
    """Abstract names have no permissions: asking for some is an error, not a wish."""
    with pytest.raises(InvalidEndpoint, match="ipc://@name with ipc_mode=0o600: a name has no permissions; .*filter"):
        IPC.bind("@name", Settings(ipc_mode=0o600))


@pytest.mark.parametrize("mode", [660, 0o1000, 0o100600])
def test_a_mode_that_is_none(mode: int, tmp_path: Path) -> None:
    """A mode in decimal is a mistake; others than permissions are not for sockets."""
    with pytest.raises(InvalidEndpoint, match="three octal digits, as 0o660"):
        IPC.bind(f"{tmp_path}/s", Settings(ipc_mode=mode))
    assert os.listdir(tmp_path) == []


@linux
async def test_peer_address(tmp_path: Path) -> None:
    """:uid:gid:pid (3.2), here of another process."""
    path = str(tmp_path / "s")
    listener = IPC.bind(path, ON)
    script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({path!r}); s.recv(1)"
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, [sys.executable, "-c", script])
        theirs = await listener.accept()
        assert IPC.peer_address(theirs) == f":{os.getuid()}:{os.getgid()}:{process.pid}"
        await theirs.aclose()
        assert IPC.peer_address(theirs) == ""  # no connection, no peer; no error
    listener.close()
