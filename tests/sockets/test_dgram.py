"""Dgram: libzmq's test_dgram, libzmq.md 1.4, wire.md 5.2."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trimq
from trimq import Dgram, InvalidEndpoint, MessageTooLarge


def address_of(socket: Dgram) -> bytes:
    return str(socket.endpoints[0]).removeprefix("udp://").encode()


async def test_question_and_answer() -> None:
    """Test_dgram: two bound; the answer goes to the address that the question came with."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            one, other = ctx.socket(Dgram), ctx.socket(Dgram)
            one.bind("udp://127.0.0.1:*")
            other.bind("udp://127.0.0.1:*")
            await one.send([address_of(other), b"question"])
            [address, text] = await other.receive()
            assert (address, text) == (address_of(one), b"question")
            await other.send(
                [address + b"\0", b""]
            )  # libzmq's addresses end with a zero byte; an empty one is a datagram
            assert await one.receive() == [address_of(other), b""]
            assert one.statistics().sent == one.statistics().received == 1


async def test_ipv6_and_both() -> None:
    """Issue 7: IPv4 and IPv6; one bound to all hears and answers both, with addresses as their own kind spells them."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            every, four, six = (ctx.socket(Dgram) for _ in range(3))
            port = str(every.bind("udp://*:*")).rpartition(":")[2].encode()
            four.bind("udp://127.0.0.1:*")
            six.bind("udp://[::1]:*")
            for socket, to in ((four, b"127.0.0.1:"), (six, b"[::1]:")):
                await socket.send([to + port, b"question"])
                [address, _] = await every.receive()
                assert address == address_of(socket)
                await every.send([address, b"answer"])
                assert await socket.receive() == [to + port, b"answer"]
            # Each of the others has its own kind alone: it cannot send there, and that is counted.
            await six.send([b"127.0.0.1:" + port, b"lost"])
            await four.send([b"[::1]:" + port, b"lost"])
            await six.flush()
            await four.flush()
            assert (six.statistics().dropped, four.statistics().dropped) == (1, 1)


@pytest.mark.parametrize("message", [b"one", [b"one"], [b"127.0.0.1:5", b"2", b"3"]])
async def test_exactly_two_frames(message: Any) -> None:
    """Libzmq.md 1.4: exactly two frames, else EINVAL."""
    async with trimq.open_context() as ctx:
        dgram = ctx.socket(Dgram)
        dgram.bind("udp://127.0.0.1:*")
        for call in (dgram.send, dgram.send_nowait):
            with pytest.raises(ValueError, match="the other's address and one frame"):
                if (result := call(message)) is not None:
                    await result
        with pytest.raises(ValueError, match="the other's address and one frame"):
            await dgram.send_many([message])
        assert dgram.statistics().sent == 0


@pytest.mark.parametrize(
    "address", [b"", b"localhost:5555", b"127.0.0.1", b"127.0.0.1:0", b"127.0.0.1:http", b"\xff:1"]
)
async def test_no_address(address: bytes) -> None:
    """Wire.md 5.2: numeric; libzmq drops what it cannot parse without a word, here the error shows a right one."""
    async with trimq.open_context() as ctx:
        dgram = ctx.socket(Dgram)
        dgram.bind("udp://127.0.0.1:*")
        with pytest.raises(InvalidEndpoint, match=r"as b'127.0.0.1:5555'"):
            await dgram.send([address, b""])


async def test_what_fits() -> None:
    """Issue 7, wire.md 5.2: up to 65507 bytes, refused at send beyond that; libzmq overflows."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            dgram = ctx.socket(Dgram)
            dgram.bind("udp://127.0.0.1:*")
            with pytest.raises(MessageTooLarge, match="65507"):
                await dgram.send([address_of(dgram), bytes(65508)])
            await dgram.send([address_of(dgram), bytes(65507)])  # to itself
            assert await dgram.receive() == [address_of(dgram), bytes(65507)]


async def test_only_udp_only_bound() -> None:
    """Test_dgram: DGRAM connect is ENOCOMPATPROTO; so is every other transport."""
    async with trimq.open_context() as ctx:
        dgram = ctx.socket(Dgram)
        with pytest.raises(trimq.IncompatibleProtocol, match="a Dgram cannot connect over udp; it can bind there"):
            dgram.connect("udp://127.0.0.1:5555")
        for endpoint in ("tcp://127.0.0.1:*", "ipc://@x", "inproc://x"):
            with pytest.raises(trimq.IncompatibleProtocol):
                dgram.bind(endpoint)
        dgram.bind("udp://127.0.0.1:*")
        with pytest.raises(trimq.StateError, match="bound at one address at a time"):
            dgram.bind("udp://127.0.0.1:*")
        dgram.endpoints[0].close()
        dgram.bind("udp://127.0.0.1:*")
        dgram.close()
        with pytest.raises(trimq.SocketClosed):
            dgram.bind("udp://127.0.0.1:*")


async def test_a_dgram_that_falls_behind_drops_and_counts() -> None:
    """Its queue is full: what comes is dropped and counted, what waits stays in order."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            one, other = ctx.socket(Dgram), ctx.socket(Dgram, receive_hwm=2)
            one.bind("udp://127.0.0.1:*")
            other.bind("udp://127.0.0.1:*")
            await one.send_many([address_of(other), b"%d" % n] for n in range(5))
            while other.statistics().dropped < 3:
                await trio.sleep(0.01)
            assert [text for _, text in await other.receive_many()] == [b"0", b"1"]


async def test_send_waits_until_it_is_bound() -> None:
    """There is nothing to send by: as with a Dealer, send waits; bound, it goes. A closed one lingers."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            one, other = ctx.socket(Dgram), ctx.socket(Dgram)
            other.bind("udp://127.0.0.1:*")
            with pytest.raises(trio.WouldBlock):
                one.send_nowait([address_of(other), b"early"])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send, [address_of(other), b"early"])
                await trio.testing.wait_all_tasks_blocked()
                one.bind("udp://127.0.0.1:*")
            one.send_nowait([address_of(other), b"last"])
            one.close()
            assert [text for _, text in [await other.receive(), await other.receive()]] == [b"early", b"last"]


async def test_receive_from_names_the_endpoint_only() -> None:
    """Who sent a datagram stands in the message; PeerInfo, of which one stands for one connection, says nothing."""
    with trio.fail_after(10):
        async with trimq.open_context() as ctx:
            dgram = ctx.socket(Dgram)
            dgram.bind("udp://127.0.0.1:*")
            await dgram.send([address_of(dgram), b"x"])
            message, peer = await dgram.receive_from()
            assert message == [address_of(dgram), b"x"]
            assert (peer.socket_type, peer.address, peer.mechanism) == ("", "", "")
