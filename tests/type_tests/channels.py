"""Checked by mypy and pyright, never run: sockets are typed, and are trio's channels where they can be.

An ignore is an expectation: both checkers fail where there is nothing to ignore.
"""

# pyright: reportUnusedVariable=false
from __future__ import annotations

from typing import assert_type

import trio

import trimq


async def a_socket_has_the_type_that_was_asked_for(ctx: trimq.Context) -> None:
    assert_type(ctx.socket(trimq.Req), trimq.Req)
    assert_type(ctx.socket(trimq.Rep), trimq.Rep)
    assert_type(ctx.socket(trimq.Dealer), trimq.Dealer)
    assert_type(ctx.socket(trimq.Router), trimq.Router)
    assert_type(ctx.socket(trimq.Pub), trimq.Pub)
    assert_type(ctx.socket(trimq.Sub), trimq.Sub)
    assert_type(ctx.socket(trimq.XPub), trimq.XPub)
    assert_type(ctx.socket(trimq.XSub), trimq.XSub)
    assert_type(ctx.socket(trimq.Push), trimq.Push)
    assert_type(ctx.socket(trimq.Pull), trimq.Pull)
    assert_type(ctx.socket(trimq.Pair), trimq.Pair)
    assert_type(ctx.socket(trimq.Stream), trimq.Stream)


async def the_readme_example() -> None:
    async with trimq.open_context() as ctx:
        assert_type(ctx, trimq.Context)
        rep = ctx.socket(trimq.Rep)
        endpoint = rep.bind("tcp://127.0.0.1:*")
        assert_type(endpoint, trimq.Endpoint)
        req = ctx.socket(trimq.Req, linger=1.0)
        req.connect(endpoint)
        req.connect("tcp://127.0.0.1:5555")
        await req.send(b"hello")
        [question] = await rep.receive()
        assert_type(question, bytes)
        await rep.send([b"world"])


async def what_comes_out_is_a_list_of_bytes(pull: trimq.Pull) -> None:
    assert_type(await pull.receive(), list[bytes])
    assert_type(pull.receive_nowait(), list[bytes])
    assert_type(await pull.receive_many(), list[list[bytes]])
    async for message in pull:
        assert_type(message, list[bytes])


async def what_goes_in(push: trimq.Push, view: memoryview) -> None:
    await push.send(b"one frame")
    await push.send(bytearray(b"one frame"))
    await push.send(view)
    await push.send([b"several", bytearray(b"frames"), view])
    await push.send((b"a", b"tuple"))
    push.send_nowait(b"now")
    await push.send_many([b"one", [b"two", b"frames"]])
    await push.send(1)  # type: ignore[arg-type]


async def a_type_lacks_what_its_pattern_cannot_do(push: trimq.Push, pull: trimq.Pull, sub: trimq.Sub) -> None:
    await push.receive()  # type: ignore[attr-defined]
    await pull.send(b"no")  # type: ignore[attr-defined]
    await sub.send(b"no")  # type: ignore[attr-defined]
    push.subscribe(b"no")  # type: ignore[attr-defined]


def they_are_trios_channels(push: trimq.Push, pull: trimq.Pull, pair: trimq.Pair) -> None:
    sends: trio.abc.SendChannel[bytes] = push
    receives: trio.abc.ReceiveChannel[list[bytes]] = pull
    sends, receives = pair, pair
    no_receiver: trio.abc.ReceiveChannel[list[bytes]] = push  # type: ignore[assignment]


def errors_are_what_python_people_catch(
    ended: trimq.ContextTerminated, closed: trimq.SocketClosed, endpoint: trimq.InvalidEndpoint
) -> None:
    one: OSError = ended
    closed_resource: trio.ClosedResourceError = ended
    closed_resource = closed
    value: ValueError = endpoint
