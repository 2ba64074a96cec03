"""SystemStream: trio's stream over a socket, and what a link may do beyond that (`trimq._abc.Direct`)."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trimq._transports._system import SystemStream

MANY = 3000  # buffers, more than the system takes in one call


@pytest.fixture
def pair() -> Iterator[tuple[SystemStream, SystemStream]]:
    """Both ends of a connection over TCP on loopback; nothing of them is left open."""
    before = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    streams = [SystemStream(sock) for sock in (ours, theirs)]
    yield streams[0], streams[1]
    for stream in streams:
        stream.socket.close()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


async def read(stream: SystemStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        assert piece
        data += piece
    return bytes(data)


async def wait_readable(stream: SystemStream) -> None:
    """Waits until something can be read, and takes nothing."""
    await trio.lowlevel.wait_readable(stream.socket)


def fill(stream: SystemStream) -> int:
    """Writes until the system takes no more; returns how much it took."""
    taken = 0
    chunk = bytes(65536)
    while True:
        rest = stream.send_now([chunk])
        taken += len(chunk) - sum(map(len, rest))
        if rest:
            return taken


async def test_send_now_takes_all_that_fits(pair: tuple[SystemStream, SystemStream]) -> None:
    """One buffer, several, more than one call takes, and empty ones: in order, nothing left over."""
    ours, theirs = pair
    for buffers in (
        [b"alone"],
        [b"one", b"two", memoryview(b"three")],
        [b"%05d" % number for number in range(MANY)],
        [b"", b"between", b"", b""],
        [],
    ):
        assert not ours.send_now(buffers)
        whole = b"".join(buffers)
        assert await read(theirs, len(whole)) == whole


@pytest.mark.parametrize("shape", ["one large", "large ones", "headers and bodies"])
async def test_send_now_gives_back_what_did_not_fit(pair: tuple[SystemStream, SystemStream], shape: str) -> None:
    """What is given back is what the peer still lacks, to the byte; a full connection takes nothing, and does not wait."""
    ours, theirs = pair
    body = os.urandom(3_000_000)
    buffers = {
        "one large": [body * 5],
        "large ones": [body] * 5,
        "headers and bodies": [b"header", body] * 5,
    }[shape]
    rest = ours.send_now(buffers)
    assert rest, "the system took all of it: this test needs more"
    assert [bytes(buffer) for buffer in ours.send_now(rest)] == [bytes(buffer) for buffer in rest]
    whole = b"".join(buffers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_buffers, rest)
        assert await read(theirs, len(whole)) == whole


async def test_send_buffers_waits_for_the_peer(pair: tuple[SystemStream, SystemStream]) -> None:
    """It returns once the system has all of it, and not before."""
    ours, theirs = pair
    taken = fill(ours)
    done = trio.Event()

    async def send() -> None:
        await ours.send_buffers([b"a", b"b" * 100_000])
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        await read(theirs, taken)
        assert await read(theirs, 100_001) == b"a" + b"b" * 100_000
        await done.wait()


async def test_every_call_is_a_cancel_point(pair: tuple[SystemStream, SystemStream]) -> None:
    """Promise 5, for streams: cancelled before it began, a call has moved no byte."""
    ours, theirs = pair
    await theirs.send_all(b"waits")
    calls = [
        lambda: ours.send_all(b"x"),
        lambda: ours.send_buffers([b"x"]),
        lambda: ours.receive_some(10),
        lambda: ours.receive_now(10),
        ours.wait_send_all_might_not_block,
        ours.send_eof,
    ]
    for call in calls:
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
    assert await ours.receive_some(10) == b"waits"
    await ours.send_all(b"still open")
    assert await theirs.receive_some(100) == b"still open"


async def test_a_cancelled_wait_leaves_the_stream_of_use(pair: tuple[SystemStream, SystemStream]) -> None:
    """A cancelled receive has taken nothing."""
    ours, theirs = pair
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.receive_some, 10)
            await wait_all_tasks_blocked()
            scope.cancel()
    await theirs.send_all(b"later")
    assert await ours.receive_some(10) == b"later"


async def test_the_end(pair: tuple[SystemStream, SystemStream]) -> None:
    """send_eof is the peer's end of data, idempotent, and leaves the other direction open."""
    ours, theirs = pair
    await ours.send_all(b"last")
    await ours.send_eof()
    await ours.send_eof()
    assert await theirs.receive_some(100) == b"last"
    assert await theirs.receive_some(100) == b""
    await theirs.send_all(b"reply")
    assert await ours.receive_some(100) == b"reply"
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"more")


async def test_a_peer_that_resets(pair: tuple[SystemStream, SystemStream]) -> None:
    """BrokenResourceError where trio's streams have it, with the cause; OSError from what only links call."""
    ours, theirs = pair
    theirs.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await ours.receive_some(10)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"x")
    with pytest.raises(OSError, match=r"\[Errno") as told:
        ours.send_now([b"x"])
    assert told.value.errno == errno.EPIPE
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_eof()


async def test_closing(pair: tuple[SystemStream, SystemStream]) -> None:
    """aclose is idempotent, wakes who waits in either direction with ClosedResourceError, and so do later calls."""
    ours, theirs = pair
    fill(ours)
    caught: list[str] = []

    async def waits(name: str, *args: object) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(ours, name)(*args)
        caught.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits, "receive_some", 10)
        nursery.start_soon(waits, "send_all", b"x")
        await wait_all_tasks_blocked()
        await ours.aclose()
        await ours.aclose()
    assert sorted(caught) == ["receive_some", "send_all"]
    for name, *args in (("receive_some", 10), ("send_all", b"x"), ("send_eof",), ("wait_send_all_might_not_block",)):
        await waits(str(name), *args)
    await theirs.aclose()


async def test_receive_now_does_not_wait_for_what_is_there(pair: tuple[SystemStream, SystemStream]) -> None:
    """No other task runs in between; never more than was asked for; the end is ``b""``, again and again."""
    ours, theirs = pair
    await theirs.send_all(b"abcde")
    await wait_readable(ours)
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert [await ours.receive_now(2) for _ in range(3)] == [b"ab", b"cd", b"e"]
        assert not ran
    await theirs.send_eof()
    assert [await ours.receive_now(2) for _ in range(2)] == [b"", b""]


async def test_receive_now_waits_for_what_is_not(pair: tuple[SystemStream, SystemStream]) -> None:
    """As long as need be; cancelled, it has taken nothing."""
    ours, theirs = pair
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await ours.receive_now(1 << 20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert received == []
        await theirs.send_all(b"later")
    assert received == [b"later"]


async def test_receive_now_gives_a_large_piece_at_once(pair: tuple[SystemStream, SystemStream]) -> None:
    """Of what is there in one piece, however the peer has written it; bytes, so that nobody has to copy them."""
    ours, theirs = pair
    data = os.urandom(200_000)
    for start in range(0, len(data), 10_000):
        assert not theirs.send_now([data[start : start + 10_000]])
    got = [await ours.receive_now(len(data))]
    while sum(map(len, got)) < len(data):
        got.append(await ours.receive_now(len(data)))
    assert b"".join(got) == data
    assert {type(piece) for piece in got} == {bytes}
    assert len(got) < 10


async def test_receive_now_from_a_peer_that_resets(pair: tuple[SystemStream, SystemStream]) -> None:
    """OSError, as the contract of `Direct` has it, and not trio's; while it waits, too."""
    ours, theirs = pair

    async def reset() -> None:
        await wait_all_tasks_blocked()
        theirs.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reset)
        with pytest.raises(ConnectionResetError):
            await ours.receive_now(10)


async def test_receive_now_on_a_stream_that_is_closed(pair: tuple[SystemStream, SystemStream]) -> None:
    """Closed while it waits: ClosedResourceError wakes it."""
    ours, _ = pair

    async def close() -> None:
        await wait_all_tasks_blocked()
        await ours.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_now(10)


async def test_unix_sockets() -> None:
    """The same over a socket that has no TCP_NODELAY."""
    streams = [SystemStream(sock) for sock in socket.socketpair()]
    assert not streams[0].send_now([b"ipc", b"too"])
    assert await read(streams[1], 6) == b"ipctoo"
    for stream in streams:
        await stream.aclose()
