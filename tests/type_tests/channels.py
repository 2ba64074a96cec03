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
    assert_type(ctx.socket(trimq.Client), trimq.Client)
    assert_type(ctx.socket(trimq.Server), trimq.Server)
    assert_type(ctx.socket(trimq.Scatter), trimq.Scatter)
    assert_type(ctx.socket(trimq.Gather), trimq.Gather)
    assert_type(ctx.socket(trimq.Channel), trimq.Channel)
    assert_type(ctx.socket(trimq.Peer), trimq.Peer)
    assert_type(ctx.socket(trimq.Radio), trimq.Radio)
    assert_type(ctx.socket(trimq.Dish), trimq.Dish)
    assert_type(ctx.socket(trimq.Dgram), trimq.Dgram)


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


async def single_part_by_type(client: trimq.Client, scatter: trimq.Scatter, channel: trimq.Channel) -> None:
    await client.send(b"one frame")
    await client.send(bytearray(b"one frame"))
    await client.send_many([b"one", memoryview(b"another")])
    await client.send([b"several", b"frames"])  # type: ignore[arg-type]
    scatter.send_nowait([b"several", b"frames"])  # type: ignore[arg-type]
    await channel.send((b"several", b"frames"))  # type: ignore[arg-type]
    await channel.send_many([[b"several", b"frames"]])  # type: ignore[list-item]
    assert_type(await client.receive(), list[bytes])
    assert_type(await channel.receive_many(), list[list[bytes]])


async def routed_by_type(server: trimq.Server, peer: trimq.Peer) -> None:
    question = await server.receive()
    assert_type(question, trimq.RoutedMessage)
    assert_type(question.routing_id, int)
    assert_type(question.body, bytes)
    assert_type(await peer.receive_many(), list[trimq.RoutedMessage])
    await server.send(trimq.RoutedMessage(question.routing_id, b"answer"))
    await server.send(b"answer")  # type: ignore[arg-type]
    await peer.send([b"answer"])  # type: ignore[arg-type]
    question.body = b"frozen"  # type: ignore[misc]
    server.disconnect_peer(question.routing_id)
    async for message in server:
        assert_type(message, trimq.RoutedMessage)


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


async def groups(radio: trimq.Radio, dish: trimq.Dish, dgram: trimq.Dgram) -> None:
    message = trimq.GroupMessage("group", bytearray(b"body"))
    assert_type(message.group, bytes)
    assert_type(message.body, bytes)
    await radio.send(message)
    await radio.send(b"no group")  # type: ignore[arg-type]
    await radio.send([b"group", b"body"])  # type: ignore[arg-type]
    assert_type(await dish.receive(), trimq.GroupMessage)
    assert_type(await dish.receive_many(), list[trimq.GroupMessage])
    sending: trio.abc.SendChannel[trimq.GroupMessage] = radio
    receiving: trio.abc.ReceiveChannel[trimq.GroupMessage] = dish
    await dgram.send([b"127.0.0.1:5555", b"hello"])
    assert_type(await dgram.receive(), list[bytes])
