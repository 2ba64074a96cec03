"""MemoryTransport: that it behaves as a network of the system's does, without one (design 6; issue 2, 5)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, check_half_closeable_stream, wait_all_tasks_blocked

from trimq._abc import Listener
from trimq._errors import AddressInUse, InvalidEndpoint
from trimq._options import Settings
from trimq.testing import MemoryStream, MemoryTransport

ON = Settings()


async def pair(network: MemoryTransport | None = None) -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection."""
    network = network or MemoryTransport()
    listener = network.bind("here:*", ON)
    ours = await network.connect(listener.address.removeprefix("tcp://"), ON)
    theirs = await listener.accept()
    listener.close()
    assert isinstance(theirs, MemoryStream)
    return ours, theirs


async def test_streams_keep_trios_contract() -> None:
    """trio's own checks of a half-closeable stream, full ones included."""

    async def clogged() -> tuple[MemoryStream, MemoryStream]:
        ours, theirs = await pair(MemoryTransport(buffer=1))
        await ours.send_all(b"x")
        await theirs.send_all(b"x")
        return ours, theirs

    await check_half_closeable_stream(pair, clogged)


def test_scheme_and_buffer() -> None:
    """It stands in for tcp unless told otherwise; a buffer of nothing would never pass a byte."""
    assert MemoryTransport().scheme == "tcp"
    assert MemoryTransport("mem").scheme == "mem"
    with pytest.raises(ValueError, match="at least 1 byte"):
        MemoryTransport(buffer=0)


async def test_addresses() -> None:
    """Any text and a port; '*' ports are all different; a wildcard name is found under every name."""
    network = MemoryTransport("mem")
    listeners = [network.bind(a, ON) for a in ("a:1", "[::1]:1", "a:*", "a:0", "a:*", "*:7")]
    addresses = [listener.address for listener in listeners]
    assert addresses[:2] == ["mem://a:1", "mem://[::1]:1"]
    assert len(set(addresses)) == 6
    assert not any(address.endswith((":*", ":0")) for address in addresses)
    for address in ("whatever:7", "*:7", "a:1"):
        assert network.peer_address(await network.connect(address, ON)) == address.partition(":")[0]


async def test_an_ephemeral_port_is_free() -> None:
    """A '*' passes over ports that were bound by number."""
    network = MemoryTransport()
    network.bind("a:49152", ON)
    assert network.bind("a:*", ON).address == "tcp://a:49153"


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:x", "", "a:-1"])
@pytest.mark.parametrize("bind", [True, False])
def test_malformed_addresses(address: str, bind: bool) -> None:
    """InvalidEndpoint with an example, as from every transport."""
    with pytest.raises(InvalidEndpoint, match="write tcp://name:5555"):
        MemoryTransport().check(address, bind=bind)


def test_wildcard_port_is_for_bind() -> None:
    """As with tcp."""
    MemoryTransport().check("a:*", bind=True)
    with pytest.raises(InvalidEndpoint):
        MemoryTransport().check("a:*", bind=False)


async def test_networks_are_separate() -> None:
    """Only who is given the same transport shares a network."""
    one, other = MemoryTransport(), MemoryTransport()
    one.bind("a:1", ON)
    other.bind("a:1", ON)
    with pytest.raises(AddressInUse):
        one.bind("a:1", ON)
    await one.connect("a:1", ON)
    assert len(one.connections) == 1
    assert other.connections == ()


async def test_connect_waits_while_the_backlog_is_full() -> None:
    """The backlog is settings.backlog; whoever waits is let in by an accept, or refused by close."""
    network = MemoryTransport()
    listener = network.bind("a:1", Settings(backlog=1))
    await network.connect("a:1", ON)
    connected: list[MemoryStream] = []
    refused: list[OSError] = []

    async def connect() -> None:
        try:
            connected.append(await network.connect("a:1", ON))
        except ConnectionRefusedError as exc:
            refused.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        assert connected == []
        await listener.accept()
        await wait_all_tasks_blocked()
        assert len(connected) == 1
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        listener.close()
    # One was in line, one waited for the line: refused or cut off, neither has a connection.
    assert len(refused) + len(connected) == 2
    assert not any(stream.connected for stream in connected)


async def test_a_cancelled_connect_leaves_no_connection() -> None:
    """Also while it waits in line, where the other end exists already."""
    streams: list[MemoryStream] = []
    network = MemoryTransport(on_connect=streams.append)
    network.bind("a:1", Settings(backlog=1))
    await network.connect("a:1", ON)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.connect, "a:1", ON)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert [stream.connected for stream in streams] == [True, False]
    assert network.connections == (streams[0],)


async def test_a_listener_that_closes_meanwhile() -> None:
    """Whoever connects is refused, and `on_connect` may do such a thing."""
    network = MemoryTransport(on_connect=lambda stream: listener.close())
    listener = network.bind("a:1", ON)
    with pytest.raises(ConnectionRefusedError):
        await network.connect("a:1", ON)
    assert not network.connections


async def test_senders_wait_for_room() -> None:
    """A full connection holds its sender back, as a kernel's buffers do, so that high-water marks fill up."""
    ours, theirs = await pair(MemoryTransport(buffer=10))
    with assert_checkpoints():
        await ours.send_all(b"0123456789")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, b"abcde")
            nursery.start_soon(theirs.wait_send_all_might_not_block)  # the other way is free
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            assert await theirs.receive_some(3) == b"012"
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            scope.cancel()
    assert await theirs.receive_some() == b"3456789abc"  # a part was sent, as send_all's contract says


async def test_cut() -> None:
    """A cut connection is broken for both ends, pending calls included, and what was on its way is lost."""
    network = MemoryTransport()
    ours, theirs = await pair(network)
    await ours.send_all(b"lost")

    async def receive() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert network.drop_all() == 1
    for stream in (ours, theirs):
        assert not stream.connected
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        await stream.send_eof()  # nobody hears it
        await stream.aclose()
        for call in (stream.receive_some, stream.send_eof):
            with pytest.raises(trio.ClosedResourceError):
                await call()
    assert not network.connections
    assert network.drop_all() == 0


async def test_listeners_survive_a_cut() -> None:
    """drop_all cuts connections, not listeners: whoever reconnects is let in."""
    network = MemoryTransport()
    listener = network.bind("a:1", ON)
    await network.connect("a:1", ON)
    await listener.accept()
    network.drop_all()
    again = await network.connect("a:1", ON)
    theirs = await listener.accept()
    await again.send_all(b"x")
    assert await theirs.receive_some() == b"x"
    assert network.connections == (again,)
    await theirs.aclose()
    assert not network.connections


async def test_every_wait_is_trios(autojump_clock: MockClock) -> None:
    """With the autojump clock an hour of waiting for a peer passes at once, and no connection is missed."""
    network = MemoryTransport()

    async def dial() -> None:
        while True:
            try:
                stream = await network.connect("a:1", ON)
            except ConnectionRefusedError:
                await trio.sleep(60)
            else:
                await stream.send_all(b"hello")
                return

    async def serve(listener: Listener) -> bytes | bytearray:
        return await (await listener.accept()).receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.sleep(3600)
        assert await serve(network.bind("a:1", ON)) == b"hello"
    assert 3600 <= trio.current_time() <= 3660
