"""libzmq's tests of sockets as such and of their options: test_setsockopt, test_tcp_accept_filter, test_socket_*,
test_shutdown_stress, test_security_null and test_zmq_poll_fd. What can be asked of libzmq, is.
"""

from __future__ import annotations

import errno
import random
import socket as system
from typing import Any

import pytest
import trio
from conformance.both import Side
from conformance.sides import Mine, bounce, trimqs

import trimq
from trimq._options import Option


@pytest.mark.parametrize("option", ["send_buffer", "receive_buffer"])
async def test_setsockopt_buffers(side: Side, option: str) -> None:
    """Left to the system by default (None; -1 in libzmq); what was set is read."""
    push = await side.socket("PUSH")
    assert await push.get(option) == (None if side.is_trimq else -1)
    await push.set(option, 16384)
    assert await push.get(option) == 16384


async def test_setsockopt_device(side: Side) -> None:
    """No interface by default (None; an empty text in libzmq); what was set is read."""
    push = await side.socket("PUSH")
    if isinstance(push, Mine):
        assert await push.get("bind_to_device") is None
        await push.set("bind_to_device", "testdev")
        assert await push.get("bind_to_device") == "testdev"
    else:
        assert await push.socket.get("BINDTODEVICE") == b""
        await push.socket.set("BINDTODEVICE", b"testdev")
        assert await push.socket.get("BINDTODEVICE") == b"testdev"


async def test_setsockopt_priority() -> None:
    """None by default; what was set is read. (Draft in libzmq, and not in pyzmq's.)"""
    async with trimqs() as library:
        push = await library.socket("PUSH")
        assert await push.get("priority") is None
        await push.set("priority", 3)
        assert await push.get("priority") == 3


FORMS = ["foo", "0.0.0.0foo", "0.0.0.0/foo", "0.0.0.0/", "0.0.0.0/-1", "0.0.0.0/33"]


async def add_filter(socket: Any, network: str) -> None:
    """One network more to accept from."""
    if isinstance(socket, Mine):
        await socket.set("tcp_accept_filter", [*await socket.get("tcp_accept_filter"), network])
    else:
        await socket.socket.set("TCP_ACCEPT_FILTER", network.encode())


@pytest.mark.parametrize("form", FORMS)
async def test_tcp_accept_filter_refuses(side: Side, form: str) -> None:
    """What is no network is refused."""
    binder = await side.socket("PAIR")
    with pytest.raises(Exception, match="Invalid argument|tcp_accept_filter"):
        await add_filter(binder, form)


@pytest.mark.parametrize(
    ("networks", "admitted"),
    [
        ([], True),
        (["127.0.0.1/32"], True),
        (["0.0.0.0/0"], True),
        (["127.0.0.255/32"], False),
        (["127.0.0.255/32", "127.0.0.1/32"], True),
    ],
)
async def test_tcp_accept_filter(side: Side, networks: list[str], admitted: bool) -> None:
    """Who comes from one of the networks gets in, others do not; without networks everybody does."""
    binder, connector = await side.socket("PAIR"), await side.socket("PAIR")
    for network in networks:
        await add_filter(binder, network)
    place = await binder.bind(side.place("tcp"))
    await connector.connect(place)
    if admitted:
        await bounce(binder, connector)
    else:
        await connector.send(b"let me in")
        assert await side.refused(binder, b"nobody is there") == "EAGAIN"
        await side.nothing(binder, connector)


async def test_tcp_accept_filter_cleared() -> None:
    """Without the networks that were set everybody gets in again. (pyzmq has no way to say NULL, which clears in libzmq.)"""
    async with trimqs() as library:
        binder, connector = await library.socket("PAIR"), await library.socket("PAIR")
        await binder.set("tcp_accept_filter", ["127.0.0.255/32"])
        await binder.set("tcp_accept_filter", [])
        await connector.connect(await binder.bind("tcp://127.0.0.1:*"))
        await bounce(binder, connector)


async def test_security_null(side: Side) -> None:
    """With the mechanism NULL and nobody to ask whom to let in, everybody is."""
    server, client = await side.socket("DEALER"), await side.socket("DEALER")
    await side.join("tcp", server, client)
    await bounce(server, client)


CALLS = ["bind", "connect", "unbind", "disconnect"]


async def test_socket_null() -> None:
    """Whatever is asked of a socket that is closed is refused with ENOTSOCK; and there is none without a context."""
    async with trimqs() as library:
        sub = library.source.socket(trimq.Sub)
        sub.close()
        calls = [lambda verb=verb: getattr(sub, verb)("inproc://a") for verb in CALLS]
        calls += [sub.events, sub.receive_nowait, lambda: sub.subscribe(b""), lambda: sub.unsubscribe(b"")]
        for call in calls:
            with pytest.raises(trimq.SocketClosed) as caught:
                call()
            assert caught.value.errno == errno.ENOTSOCK
        sub.close()  # again, which is no fault (in libzmq it is one)
    with pytest.raises(TypeError):
        trimq.Sub()


async def test_socket_options_fuzzer() -> None:
    """Any value of any option is taken, or refused with a TypeError or a ValueError, and then the old one is kept."""
    source = random.Random(7)
    async with trimqs() as library:
        xpub = library.source.socket(trimq.XPub)
        names = [name for name in dir(trimq.XPub) if isinstance(getattr(trimq.XPub, name, None), Option)]
        assert len(names) > 30
        taken = 0
        for name in names:
            for _ in range(30):
                before = getattr(xpub, name)
                value: Any = source.choice(
                    [
                        source.randbytes(source.randrange(300)),
                        source.randrange(-(2**40), 2**40),
                        source.randrange(3),
                        source.random() * 10,
                        source.choice([None, True, False, "", "block", "127.0.0.1/8"]),
                        [source.randrange(9)],
                    ]
                )
                try:
                    setattr(xpub, name, value)
                except (TypeError, ValueError):
                    assert getattr(xpub, name) == before
                else:
                    taken += 1
        assert taken > 50


async def test_shutdown_stress() -> None:
    """A hundred sockets at once, each connecting and closed at once, from tasks and from threads; the context ends well."""
    await come_and_go("tcp://127.0.0.1:*")


async def come_and_go(place: str) -> None:
    for _ in range(3):
        async with trimqs() as library:
            pub = library.source.socket(trimq.Pub)
            address = str(pub.bind(place))
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(trio.to_thread.run_sync, _in_a_thread, library.source, address)
                for _ in range(80):
                    nursery.start_soon(_in_a_task, library.source, address)


async def _in_a_task(context: trimq.Context, address: str) -> None:
    _come_and_go(context, address)
    await trio.lowlevel.checkpoint()
    _come_and_go(context, address)


def _in_a_thread(context: trimq.Context, address: str) -> None:
    trio.from_thread.run_sync(_come_and_go, context, address)


def _come_and_go(context: trimq.Context, address: str) -> None:
    sub = context.socket(trimq.Sub)
    sub.connect(address)
    sub.close()


async def test_zmq_poll_fd() -> None:
    """A socket and a descriptor are waited for side by side, and only that of the two that has something is through."""
    async with trimqs() as library:
        rep = library.source.socket(trimq.Rep)
        rep.bind("tcp://127.0.0.1:*")
        through: list[str] = []

        async def wait(name: str, ready: Any, scope: trio.CancelScope) -> None:
            await ready()
            through.append(name)
            scope.cancel()

        with system.socket(system.AF_INET, system.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", 0))
            datagrams.sendto(b"here", datagrams.getsockname())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, "rep", rep.wait_receivable, nursery.cancel_scope)
                nursery.start_soon(
                    wait, "datagrams", lambda: trio.lowlevel.wait_readable(datagrams), nursery.cancel_scope
                )
        assert through == ["datagrams"]
