"""Radio, Dish and Dgram with libzmq: the npm package zeromq (4.3.5 with drafts), each way, over tcp, ipc and udp.

Dgram makes no handshake, so that pyzmq's wheels have it too, though they are built without drafts.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from interop.harness import Peer, running
from interop.npm import NpmSocket, npm_peer

import trimq
from trimq import Dgram, Dish, GroupMessage, Radio

BODIES = [b"", b"x", bytes(range(256)), b"y" * 255, b"z" * 5000]
"""Short and long frames, each of its own."""


def free_port() -> int:
    """A port of udp's that was free a moment ago: libzmq does not say which one it has bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


BEGIN = b"begin"


async def until_there(receive: Callable[[], Awaitable[object]], send: Callable[[], Awaitable[object]]) -> None:
    """Sends `BEGIN` until it is heard: libzmq binds udp in a thread of its own, some time after its bind has returned."""
    async with trio.open_nursery() as nursery:

        async def again_and_again() -> None:
            while True:
                await send()
                await trio.sleep(0.02)

        nursery.start_soon(again_and_again)
        await receive()
        nursery.cancel_scope.cancel()


async def after_begin(socket: NpmSocket) -> list[Any]:
    """The next message that is not from then."""
    while BEGIN in (message := await socket.receive()):
        pass
    return message


@pytest.mark.npm
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("binds", ["trimq", "libzmq"])
async def test_our_radio_their_dish(transport: str, binds: str, tmp_path: Path) -> None:
    """Exact groups; joining and leaving while connected; a group of 255 bytes, and the empty one (wire.md 5.3)."""
    endpoint = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/radio"
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        radio, dish = ctx.socket(Radio), await peer.socket("Dish")
        groups = [b"Movies", b"g" * 255, b"g" * 251]
        for group in groups:
            await dish.join(group)
        if binds == "trimq":
            await dish.connect(radio.bind(endpoint))
        else:
            await radio.connect(await dish.bind(endpoint)).ready()
            while not radio.statistics().topics:
                await dish.poke()
                await trio.sleep(0.01)
        for group in groups:
            await radio.wait_for_members(1, group)
        for group in groups:
            for body in BODIES:
                await radio.send(GroupMessage(b"Mov", b"not for them"))
                await radio.send(GroupMessage(group, body))
                assert await dish.receive() == [body, {"group": group}]
        await dish.join(b"TV")
        await radio.wait_for_members(1, b"TV")
        await dish.leave(b"Movies")
        await dish.join(b"after")
        await radio.wait_for_members(1, b"after")
        await radio.send(GroupMessage(b"Movies", b"left"))
        await radio.send(GroupMessage(b"TV", b"heard"))
        assert await dish.receive() == [b"heard", {"group": b"TV"}]


@pytest.mark.npm
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("binds", ["trimq", "libzmq"])
async def test_their_radio_our_dish(transport: str, binds: str, tmp_path: Path) -> None:
    """The same, the other way round. libzmq answers a PING before its program has applied the joins: they are tried."""
    endpoint = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/radio"
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        radio, dish = await peer.socket("Radio"), ctx.socket(Dish)
        groups = [b"Movies", b"g" * 255, b"g" * 251]
        for group in groups:
            dish.join(group)
        if binds == "trimq":
            await radio.connect(dish.bind(endpoint))
        else:
            dish.connect(await radio.bind(endpoint))
        await dish.wait_for_peers()
        await dish.wait_joined()

        async def until_heard(group: bytes) -> None:
            """Sends until something comes, and takes all of it."""
            await radio.send(b"first", group=group)
            with trio.move_on_after(0.2) as scope:
                await dish.receive()
            if scope.cancelled_caught:
                await until_heard(group)

        for group in groups:
            await until_heard(group)
            for body in BODIES:
                await radio.send(b"not for us", group=b"Mov")
                await radio.send(body, group=group)
                message = await dish.receive()
                assert message == GroupMessage(group, body)
        dish.leave(b"Movies")
        dish.join(b"TV")
        await dish.wait_joined()
        await until_heard(b"TV")
        await radio.send(b"left", group=b"Movies")
        await radio.send(b"heard", group=b"TV")
        assert await dish.receive() == GroupMessage(b"TV", b"heard")


@pytest.mark.npm
async def test_our_radio_their_dish_over_udp() -> None:
    """Wire.md 5.1: one datagram per message; libzmq's Dish filters. 8192 bytes arrive, all in all."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        radio, dish = ctx.socket(Radio), await peer.socket("Dish")
        endpoint = f"udp://127.0.0.1:{free_port()}"
        await dish.bind(endpoint)
        await dish.join(b"TV")
        await radio.connect(endpoint).ready()
        await until_there(dish.receive, lambda: radio.send(GroupMessage(b"TV", BEGIN)))
        for body in [*BODIES, bytes(8192 - 3)]:
            await radio.send(GroupMessage(b"other", b"not for them"))
            await radio.send(GroupMessage(b"TV", body))
            assert await after_begin(dish) == [body, {"group": b"TV"}]


@pytest.mark.npm
async def test_their_radio_our_dish_over_udp() -> None:
    """The same, the other way round."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        radio, dish = await peer.socket("Radio"), ctx.socket(Dish)
        dish.join("TV")
        await radio.connect(dish.bind("udp://127.0.0.1:*"))
        for body in [*BODIES, bytes(8192 - 3)]:
            await radio.send(b"not for us", group=b"other")
            await radio.send(body, group=b"TV")
            assert await dish.receive() == GroupMessage(b"TV", body)
        assert dish.statistics().dropped == 0


@pytest.mark.npm
@pytest.mark.parametrize("ours", ["radio", "dish"])
async def test_multicast(ours: str) -> None:
    """A group on lo, each way."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        endpoint = f"udp://127.0.0.1;239.255.7.9:{free_port()}"
        if ours == "radio":
            radio, theirs = ctx.socket(Radio), await peer.socket("Dish")
            await theirs.bind(endpoint)
            await theirs.join(b"TV")
            await radio.connect(endpoint).ready()
            await until_there(theirs.receive, lambda: radio.send(GroupMessage(b"TV", BEGIN)))
            await radio.send(GroupMessage(b"TV", b"hello"))
            assert await after_begin(theirs) == [b"hello", {"group": b"TV"}]
        else:
            dish, theirs = ctx.socket(Dish), await peer.socket("Radio")
            dish.bind(endpoint)
            dish.join("TV")
            await theirs.connect(endpoint)
            await theirs.send(b"hello", group=b"TV")
            assert await dish.receive() == GroupMessage(b"TV", b"hello")


@pytest.mark.npm
async def test_datagrams() -> None:
    """Wire.md 5.2: question and answer, each way; libzmq's addresses end with a zero byte, and are taken as they are."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        ours, theirs = ctx.socket(Dgram), await peer.socket("Datagram")
        port = free_port()
        await theirs.bind(f"udp://127.0.0.1:{port}")
        here = str(ours.bind("udp://127.0.0.1:*")).removeprefix("udp://").encode()
        there = b"127.0.0.1:%d" % port
        await until_there(theirs.receive, lambda: ours.send([there, BEGIN]))
        for body in (b"", b"question", b"x" * 8000):
            await ours.send([there, body])
            [address, question] = await after_begin(theirs)
            assert (address.rstrip(b"\0"), question) == (here, body)
            await theirs.send(address, b"answer to " + body)
            assert await ours.receive() == [there, b"answer to " + body]
            await ours.send([there + b"\0", b"with a zero byte"])
            assert (await theirs.receive())[1] == b"with a zero byte"


@pytest.mark.pyzmq
async def test_datagrams_with_pyzmq(peer: Peer) -> None:
    """The same with pyzmq's DGRAM."""
    async with running() as ctx:
        ours, theirs = ctx.socket(Dgram), await peer.socket("DGRAM")
        port = free_port()
        await theirs.bind(f"udp://127.0.0.1:{port}")
        here = str(ours.bind("udp://127.0.0.1:*")).removeprefix("udp://").encode()
        there = b"127.0.0.1:%d" % port
        await until_there(theirs.receive, lambda: ours.send([there, BEGIN]))
        for body in (b"", b"question", bytes(range(256)), b"x" * 8000):
            await ours.send([there, body])
            while BEGIN in (question := await theirs.receive()):
                pass
            assert question == [here + b"\0", body]
            await theirs.send([question[0], b"answer to " + body])
            assert await ours.receive() == [there, b"answer to " + body]
            await ours.send([there + b"\0", b"with a zero byte"])
            assert (await theirs.receive())[1] == b"with a zero byte"
