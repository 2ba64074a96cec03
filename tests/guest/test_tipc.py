"""tipc over the guest's own AF_TIPC: what an address becomes, ranges and sharing, ends and errors."""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq._options import Settings
from trimq._transports._tipc import TipcTransport

pytestmark = pytest.mark.usefixtures("nothing_leaks")
Fresh = Callable[[str], str]
TIPC = TipcTransport()
HERE = re.escape("cannot connect to tipc://{7000,0}: ")
CLOSER = "trimq closes a tipc socket"


async def pair(address: str = "{7000,0}", settings: Settings | None = None) -> tuple[Any, Any]:
    """Two ends of a connection."""
    settings = settings or Settings()
    listener = TIPC.bind(address, settings)
    ends: list[Any] = []

    async def connect() -> None:
        ends.append(await TIPC.connect(TIPC.dial_address(listener.address.partition("://")[2]), settings))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        theirs = await listener.accept()
    listener.close()
    return ends[0], theirs


# Addresses


@pytest.mark.parametrize(
    ("bound", "text", "dialled"),
    [
        ("{7000,0}", "{7000,0}", "{7000,0}"),
        ("{7000,5,5}", "{7000,5}", "{7000,5}"),
        ("{7000,5,9}", "{7000,5,9}", "{7000,5}"),
        ("{7000, 5, 9}", "{7000,5,9}", "{7000,5}"),
    ],
)
async def test_services(bound: str, text: str, dialled: str) -> None:
    """The endpoint is what was bound, written shortly; of a range the first instance is connected to."""
    async with trimq.open_context() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        there = pull.bind(f"tipc://{bound}")
        assert str(there) == f"tipc://{text}"
        endpoint = push.connect(there)
        await push.wait_for_peers()
        await pull.wait_for_peers()
        assert str(endpoint) == f"tipc://{dialled}"
        for peer in (*push.peers, *pull.peers):
            assert peer.address.startswith("<1.1.1:")
        pull.unbind(f"tipc://{text}")


async def test_each_instance_of_a_range() -> None:
    """With a domain that holds this node, or without; none beyond the range."""
    async with trimq.open_context() as ctx:
        pull = ctx.socket(trimq.Pull)
        pull.bind("tipc://{7000,5,9}")
        for address in ("{7000,5}", "{7000,7}", "{7000,9}", "{7000,9}@0.0.0", "{7000,9}@1.1.1", "{7000,9}@1.0.0"):
            push = ctx.socket(trimq.Push)
            await push.connect(f"tipc://{address}").ready()
            await push.send(address.encode())
            assert await pull.receive() == [address.encode()]
    for address in ("{7000,4}", "{7000,10}", "{7000,9}@1.1.2"):
        with pytest.raises(OSError, match=re.escape(f"cannot connect to tipc://{address}: ")) as caught:
            await TIPC.connect(address, Settings())
        assert caught.value.errno == errno.EHOSTUNREACH


async def test_a_sockets_own_address() -> None:
    """``<*>`` becomes it; it has the node and a number, and is never the same twice."""
    async with trimq.open_context() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        first, second = str(pull.bind("tipc://<*>")), str(pull.bind("tipc://<*>"))
        assert first.startswith("tipc://<1.1.1:")
        assert first != second
        for address in (first, second):
            push.connect(address)
        await push.wait_for_peers(2)
        pull.unbind(first)
        with pytest.raises(ConnectionRefusedError):
            await TIPC.connect(first.partition("://")[2], Settings())


async def test_who_shares_an_address_takes_turns() -> None:
    """There is no AddressInUse: the system gives each listener its share; when one goes, the other has all."""
    async with trimq.open_context() as ctx:
        one, other, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        one.bind("tipc://{7000,0}")
        other.bind("tipc://{7000,0}")
        for _ in range(10):
            push.connect("tipc://{7000,0}")
        for pull in (one, other):
            await pull.wait_for_peers(5)
        one.close()
        late = ctx.socket(trimq.Push)
        await late.connect("tipc://{7000,0}").ready()
        await late.send(b"for the other")
        assert await other.receive() == [b"for the other"]


# Connecting


async def test_connect_errors() -> None:
    """Not bound: EHOSTUNREACH; bound, and nobody listens: ECONNREFUSED. The endpoint is named."""
    with pytest.raises(OSError, match=HERE) as caught:
        await TIPC.connect("{7000,0}", Settings())
    assert caught.value.errno == errno.EHOSTUNREACH
    with socket.socket(socket.AF_TIPC, socket.SOCK_STREAM) as sock:
        sock.bind((socket.TIPC_ADDR_NAMESEQ, 7000, 0, 0, socket.TIPC_ZONE_SCOPE))
        with pytest.raises(ConnectionRefusedError, match=HERE):
            await TIPC.connect("{7000,0}", Settings())


async def test_nobody_accepts(autojump_clock: MockClock) -> None:
    """The kernel would wait for ever: an attempt has 8 seconds, or what connect_timeout says; it leaves nothing."""
    listener = TIPC.bind("{7000,0}", Settings())
    start = trio.current_time()
    with pytest.raises(TimeoutError, match=HERE + "nobody accepted within 8"):
        await TIPC.connect("{7000,0}", Settings())
    assert trio.current_time() - start == pytest.approx(8)
    async with trimq.open_context(linger=0, connect_timeout=3.0, reconnect_interval=float("inf")) as ctx:
        start = trio.current_time()
        with pytest.raises(TimeoutError):
            await ctx.socket(trimq.Push).connect("tipc://{7000,0}").ready()
        assert trio.current_time() - start == pytest.approx(3)
    listener.close()


async def test_a_connect_that_waits_is_told_when_the_listener_goes() -> None:
    """It was in line, and is refused."""
    listener = TIPC.bind("{7000,0}", Settings())

    async def connect() -> None:
        with pytest.raises(OSError, match=HERE):
            await TIPC.connect("{7000,0}", Settings())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await wait_all_tasks_blocked()
            listener.close()


# Ends


@pytest.mark.parametrize("size", [0, 1, 300_000])
async def test_a_plain_close_is_an_end(size: int) -> None:
    """The system says reset; the reader has all data first, and then an end, for trio's streams as for our links."""
    for now in (False, True):
        ours, theirs = await pair()
        receive = theirs.receive_now if now else theirs.receive_some
        async with trio.open_nursery() as nursery:

            async def send(ours: Any = ours) -> None:
                await ours.send_all(bytes(size))
                ours.socket.close()  # as libzmq does

            nursery.start_soon(send)
            received = 0
            while data := await receive(65536):
                received += len(data)
        assert received == size
        await theirs.aclose()


async def test_a_send_to_who_has_closed_is_broken() -> None:
    """That is no end, but a loss."""
    ours, theirs = await pair()
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await ours.send_all(bytes(1000))
    await ours.aclose()


async def test_close_does_not_block_the_run() -> None:
    """close(2) waits for seconds for a peer that does not read: in a thread, which ends when the peer does."""
    ours, theirs = await pair()
    ours.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            ours.socket.send(bytes(10_000))
    with trio.fail_after(2):
        await ours.aclose()
    [thread] = [thread for thread in threading.enumerate() if thread.name == CLOSER]
    assert thread.daemon  # a process that ends does not wait
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some(1)
    await theirs.aclose()
    thread.join(5)
    assert not thread.is_alive()


async def test_close_needs_no_thread_where_there_is_room() -> None:
    """As with any stream that is read."""
    ours, theirs = await pair()
    await ours.send_all(b"hello")
    await ours.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name == CLOSER]
    assert await theirs.receive_some() == b"hello"
    await theirs.aclose()


async def test_many_that_do_not_read() -> None:
    """The threads that close are few, however many sockets are to be closed; all are, in the end."""
    pairs = [await pair() for _ in range(40)]
    for ours, _ in pairs:
        with pytest.raises(BlockingIOError):
            while True:
                ours.socket.send(bytes(10_000))
    with trio.fail_after(5):
        for ours, _ in pairs:
            await ours.aclose()
    assert len([thread for thread in threading.enumerate() if thread.name == CLOSER]) == 16
    for _, theirs in pairs:
        await theirs.aclose()


async def test_a_context_that_ends_before_who_does_not_read() -> None:
    """A peer that stops reading does not hold up the end of a context, and its run goes on meanwhile."""
    sock = trio.socket.socket(socket.AF_TIPC, socket.SOCK_STREAM)
    with trio.fail_after(5):
        async with trimq.open_context(linger=0) as ctx:
            push = ctx.socket(trimq.Stream)
            push.bind("tipc://{7000,0}")
            await sock.connect((socket.TIPC_ADDR_NAME, 7000, 0, 0))
            routing_id, _ = await push.receive()
            with trio.move_on_after(0.5):
                while True:
                    await push.send([routing_id, bytes(100_000)])
    sock.close()


# Sockets of others (ZMQ_USE_FD)


@pytest.mark.parametrize(("address", "text"), [("{7000,3}", "{7000,3}"), ("<*>", "<1.1.1:")])
async def test_use_fd(address: str, text: str) -> None:
    """A socket that somebody has bound, and under its own address; the system does not tell where, so it is believed."""
    sock = socket.socket(socket.AF_TIPC, socket.SOCK_STREAM)
    sock.bind((socket.TIPC_ADDR_NAMESEQ, 7000, 3, 3, socket.TIPC_ZONE_SCOPE))
    async with trimq.open_context() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        bound = pull.bind(f"tipc://{address}", use_fd=sock)
        assert str(bound).startswith(f"tipc://{text}")
        push.connect(bound)
        await push.send(b"hello")
        assert await pull.receive() == [b"hello"]


async def test_use_fd_of_another_family() -> None:
    """It is said what is needed, and it stays the caller's."""
    with socket.socket() as tcp, pytest.raises(OSError, match="AF_TIPC"):
        TIPC.adopt("{7000,0}", Settings(), tcp)


async def test_buffers(fresh: Fresh) -> None:
    """send_buffer and receive_buffer reach the sockets, accepted ones among them."""
    ours, theirs = await pair(settings=Settings(send_buffer=50_000, receive_buffer=60_000))
    for end in (ours, theirs):
        assert end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000  # Linux counts double
        assert end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 120_000
        await end.aclose()
