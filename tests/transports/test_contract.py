"""What every StreamTransport and Listener promises (trimq/_abc.py), for those that come with trimq."""

from __future__ import annotations

import gc
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import attrs
import pytest
import trio
from trio.lowlevel import checkpoint
from trio.testing import wait_all_tasks_blocked

from trimq._abc import Listener, StreamTransport
from trimq._errors import AddressInUse
from trimq._options import Settings
from trimq._transports._ipc import IpcTransport
from trimq._transports._system import SystemStream
from trimq._transports._tcp import TcpTransport
from trimq.testing import MemoryTransport

SETTINGS = Settings()


@attrs.frozen
class Case:
    transport: StreamTransport
    wildcard: str  # to bind
    nobody: str  # to connect to

    def bind(self) -> tuple[Listener, str]:
        """A listener, and its address without the scheme."""
        listener = self.transport.bind(self.wildcard, SETTINGS)
        scheme, _, address = listener.address.partition("://")
        assert scheme == self.transport.scheme
        return listener, address


def open_files() -> int:
    """How many descriptors this process has."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


CASES: dict[str, Callable[[], Case]] = {
    "tcp": lambda: Case(TcpTransport(), "127.0.0.1:*", f"127.0.0.1:{closed_port()}"),
    "tcp-name": lambda: Case(TcpTransport(), "*:*", f"localhost:{closed_port()}"),
    "ipc": lambda: Case(IpcTransport(), "*", "/nonexistent/trimq"),
    "ipc-abstract": lambda: Case(IpcTransport(), f"@trimq-{os.getpid()}", f"@trimq-nobody-{os.getpid()}"),
    "memory": lambda: Case(MemoryTransport(), "here:*", "nobody:1"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    before = open_files()
    yield CASES[request.param]()
    assert open_files() == before  # nothing leaks, whatever the test did


of_the_system = pytest.mark.parametrize("case", [name for name in CASES if name != "memory"], indirect=True)
"""For what only sockets of the system have to do."""


async def test_bytes_go_both_ways(case: Case) -> None:
    """bind, connect to the resolved address, accept: two ends of one stream."""
    listener, address = case.bind()
    assert "*" not in address
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    theirs = await listener.accept()
    for one, other in ((ours, theirs), (theirs, ours)):
        await one.send_all(b"hello")
        assert await other.receive_some(5) == b"hello"
        assert isinstance(case.transport.peer_address(one), str)
    await ours.aclose()
    assert await theirs.receive_some(1) == b""
    await theirs.aclose()
    listener.close()


async def test_what_is_resolved_passes_the_check(case: Case) -> None:
    """A listener's address can be given to connect, and, once free, to bind."""
    listener, address = case.bind()
    case.transport.check(address, bind=False)
    case.transport.check(address, bind=True)
    listener.close()


async def test_second_bind_is_refused(case: Case) -> None:
    """AddressInUse comes at once, names the endpoint, and leaves the first listener as it is."""
    listener, address = case.bind()
    with pytest.raises(AddressInUse) as caught:
        case.transport.bind(address, SETTINGS)
    assert f"{case.transport.scheme}://{address}" in str(caught.value)
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    await ours.aclose()
    listener.close()


async def test_address_is_free_at_once(case: Case) -> None:
    """After close the address can be bound again at once, even if a connection of before is still open."""
    listener, address = case.bind()
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    theirs = await listener.accept()
    await theirs.aclose()  # the side that closes first keeps the port in TIME_WAIT
    listener.close()
    if not address.startswith("/"):  # the directory of ipc://* is gone with its listener
        case.transport.bind(address, SETTINGS).close()
    await ours.aclose()


async def test_address_is_free_at_once_with_a_connection_alive(case: Case) -> None:
    """The same while both ends of a connection of before are open; each of the two listeners' connections goes on."""
    listener, address = case.bind()
    dial = case.transport.dial_address(address)
    if address.startswith("/"):  # the directory of ipc://* is gone with its listener
        os.mkdir(os.path.dirname(address) + "-2")
        listener.close()
        address = dial = os.path.dirname(address) + "-2/s"
        listener = case.transport.bind(address, SETTINGS)
    pairs = []
    for _ in range(2):
        ours = await case.transport.connect(dial, SETTINGS)
        pairs.append((ours, await listener.accept()))
        listener.close()
        listener = case.transport.bind(address, SETTINGS)
    for ours, theirs in pairs:
        await ours.send_all(b"hello")
        assert await theirs.receive_some(5) == b"hello"
        await ours.aclose()
        await theirs.aclose()
    listener.close()
    if address.startswith("/"):
        os.rmdir(os.path.dirname(address))


async def test_close_wakes_accept(case: Case) -> None:
    """close wakes a pending accept with ClosedResourceError; a later accept raises it at once; it is idempotent."""
    listener, _ = case.bind()
    woken = 0

    async def accept() -> None:
        nonlocal woken
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        listener.close()
    await accept()
    listener.close()
    assert woken == 2


async def test_connect_to_nobody(case: Case) -> None:
    """It is an OSError that names the endpoint, and leaves no descriptor open (the fixture counts them)."""
    with pytest.raises(OSError, match=f"{case.transport.scheme}://{case.nobody}"):
        await case.transport.connect(case.nobody, SETTINGS)


async def test_connect_after_close(case: Case) -> None:
    """Nobody answers for a listener that was closed."""
    listener, address = case.bind()
    listener.close()
    with pytest.raises(OSError, match="cannot connect"):
        await case.transport.connect(case.transport.dial_address(address), SETTINGS)


async def test_never_accepted_is_cut(case: Case) -> None:
    """A connection that was in line when the listener closed ends, so that its dialer tries again."""
    listener, address = case.bind()
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    listener.close()
    try:
        assert await ours.receive_some(1) == b""
    except trio.BrokenResourceError:
        pass
    await ours.aclose()


async def test_cancelled_connect(case: Case) -> None:
    """A cancelled connect raises Cancelled, and leaves no descriptor open (the fixture counts them)."""
    listener, address = case.bind()
    with trio.CancelScope() as scope:
        scope.cancel()
        await case.transport.connect(case.transport.dial_address(address), SETTINGS)
        pytest.fail("connect is no checkpoint")
    assert scope.cancelled_caught
    listener.close()


async def test_cancelled_accept(case: Case) -> None:
    """A cancelled accept took no connection: the next one gets it."""
    listener, address = case.bind()
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    theirs = await listener.accept()
    await ours.aclose()
    await theirs.aclose()
    listener.close()


async def test_cancelled_accept_with_somebody_in_line(case: Case) -> None:
    """Promise 5: accept is a cancel point also where it need not wait; and promise 1: the connection stays in line."""
    listener, address = case.bind()
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    theirs = await listener.accept()
    await theirs.send_all(b"hello")
    assert await ours.receive_some(5) == b"hello"
    await ours.aclose()
    await theirs.aclose()
    listener.close()


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_the_end_comes_with_a_connection(end: str, case: Case) -> None:
    """Closed or cancelled in the tick that wakes accept: the connection is accepted, or else in line. None leaks."""
    for _ in range(20):  # who runs first in a tick is up to trio
        listener, address = case.bind()
        accepted: list[trio.abc.Stream] = []

        async def accept(listener: Listener, accepted: list[trio.abc.Stream]) -> None:
            try:
                accepted.append(await listener.accept())
            except trio.ClosedResourceError:
                assert end == "close"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, listener, accepted)
            await wait_all_tasks_blocked()
            ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
            if end == "close":
                listener.close()
            else:
                nursery.cancel_scope.cancel()
        if end == "cancel" and not accepted:
            await accept(listener, accepted)
        if accepted:
            await ours.send_all(b"hello")
            assert await accepted[0].receive_some(5) == b"hello"
            await accepted[0].aclose()
        await ours.aclose()
        listener.close()


@of_the_system
async def test_a_crowd_in_line_is_accepted_at_one_go(case: Case) -> None:
    """accept yields only where it has to wait: one in a tick would let the backlog of the system overflow."""
    listener, address = case.bind()
    ours = [await case.transport.connect(case.transport.dial_address(address), SETTINGS) for _ in range(50)]
    tick = 0
    ticks: Counter[int] = Counter()

    async def count() -> None:
        nonlocal tick
        while True:
            await checkpoint()
            tick += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await checkpoint()
        for _ in range(50):
            ours.append(await listener.accept())
            ticks[tick] += 1
        nursery.cancel_scope.cancel()
    assert ticks.most_common(1)[0][1] > 20  # not all 50: the last step of a connect may take the system a moment
    for stream in ours:
        await stream.aclose()
    listener.close()


@of_the_system
async def test_sockets_belong_to_this_run_alone(case: Case) -> None:
    """Of both ends: nothing blocks the run, and no child process keeps a connection open (PEP 446)."""
    listener, address = case.bind()
    ours = await case.transport.connect(case.transport.dial_address(address), SETTINGS)
    theirs = await listener.accept()
    for stream in (ours, theirs):
        assert isinstance(stream, SystemStream)
        assert not os.get_blocking(stream.socket.fileno())
        assert not stream.socket.getblocking()
        assert not os.get_inheritable(stream.socket.fileno())
        await stream.aclose()
    listener.close()
