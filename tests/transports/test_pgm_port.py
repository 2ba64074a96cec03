"""A port of PGM over UDP on loopback: many datagrams in one call of the system are what they would be one by one."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import trio

from trimq._options import Settings
from trimq._transports._pgm import PgmPort, PgmTransport

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each datagram is a call of its own")

GROUP, PORT = "239.192.77.1", 5598


def opened(*, publishes: bool) -> PgmPort:
    port, _ = PgmTransport(udp=True).open(f"127.0.0.1;{GROUP}:{PORT}", Settings(), 0.0, publishes=publishes)
    assert isinstance(port, PgmPort)
    return port


@pytest.fixture
async def sender() -> AsyncIterator[PgmPort]:
    port = opened(publishes=True)
    yield port
    port.close()


@pytest.fixture
async def receiver() -> AsyncIterator[PgmPort]:
    port = opened(publishes=False)
    yield port
    port.close()


@pytest.fixture
def plain() -> Iterator[socket.socket]:
    """A receiver that knows nothing of datagrams that come together, as libzmq's."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((GROUP, PORT))
    own = socket.inet_aton("127.0.0.1")
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + own)
    sock.settimeout(5)
    yield sock
    sock.close()


def sizes(*lengths: int) -> list[tuple[bytes, str]]:
    """Datagrams to the group."""
    return [(bytes([number]) * length, "") for number, length in enumerate(lengths)]


async def send(port: PgmPort, datagrams: Sequence[tuple[bytes, str]]) -> list[int]:
    """How many went with each call."""
    counts, at = list[int](), 0
    while at < len(datagrams):
        while not (sent := port.send_some_now(datagrams, at)):
            await port.wait_sendable()
        counts.append(sent)
        at += sent
    return counts


async def receive(port: PgmPort, count: int) -> list[bytes]:
    got = list[bytes]()
    with trio.fail_after(5):
        while len(got) < count:
            await port.wait_receivable()
            found = port.receive_now(65535)
            if found is not None:
                assert found[1] == "127.0.0.1"
                got.append(found[0])
    assert port.receive_now(65535) is None
    return got


async def test_runs(sender: PgmPort, receiver: PgmPort, plain: socket.socket) -> None:
    """One call for those of a size and a shorter last; each comes as it was, to who reads them together or not."""
    datagrams = sizes(40, *[1452] * 20, 30, 50, 50, 70, 10)
    assert await send(sender, datagrams) == [1, 21, 2, 2]
    expected = [data for data, _ in datagrams]
    assert await receive(receiver, len(expected)) == expected
    assert [plain.recv(65535) for _ in expected] == expected


async def test_the_most_in_a_run(sender: PgmPort, receiver: PgmPort) -> None:
    """64 datagrams, and no more bytes than one may have."""
    assert await send(sender, small := sizes(*[100] * 100)) == [64, 36]
    assert await receive(receiver, 100) == [data for data, _ in small]
    assert await send(sender, large := sizes(*[9000] * 9)) == [7, 2]
    assert await receive(receiver, 9) == [data for data, _ in large]


async def test_one_host_between(sender: PgmPort, receiver: PgmPort) -> None:
    """What is for one host goes alone, and ends a run."""
    datagrams = sizes(10, 10, 10, 10)
    datagrams[1] = (b"for one alone", "127.0.0.1")
    assert await send(sender, datagrams) == [1, 1, 2]
    assert await receive(receiver, 3) == [data for data, to in datagrams if not to]


class Refuses:
    """A socket whose interface cannot do it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock, self._number = sock, number
        self.calls = 0

    def sendmsg(self, *_: Any) -> int:
        self.calls += 1
        raise OSError(self._number, "no")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_an_interface_that_cannot(sender: PgmPort, receiver: PgmPort) -> None:
    """It is asked once; from then on each goes by itself."""
    sender._socket = refuses = Refuses(sender._socket, errno.EIO)  # type: ignore[assignment]
    datagrams = sizes(10, 10, 10)
    assert await send(sender, datagrams) == [1, 1, 1]
    assert await receive(receiver, 3) == [data for data, _ in datagrams]
    assert refuses.calls == 1


async def test_what_cannot_be_sent(sender: PgmPort) -> None:
    """Another error is the caller's to see, and the next run is tried as this one was; no room is no error."""
    sender._socket = refuses = Refuses(sender._socket, errno.EPERM)  # type: ignore[assignment]
    for _ in range(2):
        with pytest.raises(PermissionError):
            sender.send_some_now(sizes(10, 10), 0)
    refuses._number = errno.EAGAIN
    assert sender.send_some_now(sizes(10, 10), 0) == 0
    assert refuses.calls == 3


async def test_what_is_left_is_no_reason_to_wait(sender: PgmPort, receiver: PgmPort) -> None:
    """A reader that has stopped in the middle of a run finds the rest, though the system has nothing more."""
    await send(sender, sizes(10, 10, 10))
    with trio.fail_after(5):
        await receiver.wait_receivable()
        first = receiver.receive_now(65535)
        await receiver.wait_receivable()
        assert first is not None
        assert [receiver.receive_now(65535), receiver.receive_now(65535)] == [
            (bytes([n]) * 10, first[1]) for n in (1, 2)
        ]
    with trio.move_on_after(0.05) as scope:
        await receiver.wait_receivable()
    assert scope.cancelled_caught
