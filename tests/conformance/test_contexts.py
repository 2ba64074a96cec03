"""libzmq's own tests of contexts, of waiting for several sockets, and of proxies (libzmq.md 7).

Each test bears the name of libzmq's program. These are about calls that each library has in its own form, so that only
trimq is asked; the clock jumps where all is in memory.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
from sockets.helpers import drain, fill, jumping, opened, settle

import trimq
from trimq import Dealer, Pull, Push, Rep, Req, Router, Sub, XPub, XSub

# test_ctx_destroy


@jumping
async def test_ctx_destroy() -> None:
    """A context ends after its socket was closed, and before."""
    async with opened() as ctx:
        ctx.socket(Pull).close()
    async with opened() as ctx:
        pull = ctx.socket(Pull)
    with pytest.raises(trimq.ContextTerminated):
        await pull.receive()


@jumping
@pytest.mark.parametrize("wait", [lambda pull: pull.receive(), trimq.wait_any], ids=["receive", "wait_any"])
async def test_ctx_destroy_while_a_call_waits(wait: Callable[[Any], Any]) -> None:
    """A shutdown ends what another task waits for; the socket can be closed, and the block left."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        pull = ctx.socket(Pull)
        ended = trio.Event()

        async def receives() -> None:
            with pytest.raises(trimq.ContextTerminated):
                await wait(pull)
            pull.close()
            ended.set()

        nursery.start_soon(receives)
        await settle()
        assert not ended.is_set()
        ctx.shutdown()
        await ended.wait()


@jumping
@pytest.mark.parametrize("had_one", [True, False], ids=["with a socket", "without"])
async def test_ctx_destroy_and_no_socket_any_more(had_one: bool) -> None:
    """After a shutdown no socket can be made any more."""
    async with opened() as ctx:
        if had_one:
            ctx.socket(Pull).close()
        ctx.shutdown()
        with pytest.raises(trimq.ContextTerminated):
            ctx.socket(Pull)


# test_ctx_options, test_many_sockets


@jumping
async def test_ctx_options() -> None:
    """What a context is given, its sockets have: IPv6, and a linger, which is here in the place of BLOCKY."""
    async with trimq.open_context(profile="libzmq") as ctx:
        assert (ctx.socket(Router).ipv6, ctx.socket(Router).linger) == (False, math.inf)
    async with trimq.open_context(profile="libzmq", ipv6=True, linger=0) as ctx:
        assert (ctx.socket(Router).ipv6, ctx.socket(Router).linger) == (True, 0)


@pytest.mark.parametrize(
    "name", ["io_threads", "max_sockets", "THREAD_SCHED_POLICY", "ZMQ_ZERO_COPY_RECV", "no_such_thing"]
)
def test_ctx_options_that_are_none(name: str) -> None:
    """No option is taken and ignored: what there is no need for here is refused in words."""
    with pytest.raises(TypeError, match=name.removeprefix("ZMQ_").upper() if name != "no_such_thing" else name):
        trimq.open_context(**{name: 1})  # type: ignore[misc]


async def test_ctx_options_large_and_small() -> None:
    """Small and large messages come over tcp, whatever is copied on the way (ZERO_COPY_RECV)."""
    async with trimq.open_context(linger=0) as ctx:
        pull, push = ctx.socket(Pull), ctx.socket(Push)
        push.connect(pull.bind("tcp://127.0.0.1:*"))
        for size in (4, 50, 100_000):
            await push.send(b"x" * size)
            assert await pull.receive() == [b"x" * size]


@jumping
async def test_many_sockets() -> None:
    """More than libzmq's 1,023 in one context, and all can be closed: a socket is no descriptor here."""
    async with opened() as ctx:
        sockets = [ctx.socket(Push) for _ in range(3000)]
        for socket in sockets:
            socket.close()


# test_fork

FORK = """
import os, sys, threading
import trio, trimq

async def main():
    async with trimq.open_context(linger=0) as context:
        pull = context.socket(trimq.Pull)
        endpoint = str(pull.bind("tcp://127.0.0.1:*"))
        child = os.fork()
        if child == 0:
            try:
                pull.close()
            except trimq.NoIOThread:
                # a run of its own; the one that was forked is the parent's, as long as this thread lives
                thread = threading.Thread(target=trio.run, args=(push, endpoint))
                thread.start()
                thread.join()
                os._exit(0)
            os._exit(1)
        for _ in range(5):
            assert await pull.receive() == [b"Hello"]
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

async def push(endpoint):
    async with trimq.open_context() as context:
        push = context.socket(trimq.Push)
        push.connect(endpoint)
        for _ in range(5):
            await push.send(b"Hello")

sys.exit(trio.run(main))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
def test_fork() -> None:
    """A forked child leaves what it inherited alone, opens a context of its own, and talks with its parent."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# test_poller


@jumping
async def test_poller() -> None:
    """``wait_any`` tells which of the sockets can be received from, once there is one; nothing to wait for is a mistake."""
    async with opened() as ctx:
        one, two, push = ctx.socket(Pull), ctx.socket(Pull), ctx.socket(Push)
        one.bind("inproc://one")
        push.connect(two.bind("inproc://two"))
        with trio.move_on_after(1) as scope:
            await trimq.wait_any(one, two)
        assert scope.cancelled_caught
        push.send_nowait(b"x")
        for _ in range(2):  # it is a level: it takes nothing
            assert await trimq.wait_any(one, two) == [two]
        assert await two.receive() == [b"x"]
        with pytest.raises((TypeError, ValueError)):
            await trimq.wait_any()


# Proxies


@jumping
async def test_proxy() -> None:
    """Three clients of a ROUTER, five workers behind a DEALER, which answer 0 to 4 times: each answer reaches its asker."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        frontend, backend = ctx.socket(Router), ctx.socket(Dealer)
        frontend.bind("tcp://front:1")
        backend.bind("inproc://back")
        answered: list[bytes] = []

        async def work(number: int) -> None:
            worker = ctx.socket(Dealer)
            worker.connect("inproc://back")
            async for [client, request] in worker:
                for _ in range(number):
                    await worker.send([client, request])
                answered.extend([request] * number)

        for number in range(5):
            nursery.start_soon(work, number)
        await backend.wait_for_peers(5)
        nursery.start_soon(trimq.proxy, frontend, backend)
        clients = [ctx.socket(Dealer) for _ in range(3)]
        for number, client in enumerate(clients):
            client.connect("tcp://front:1")
            for turn in range(20):
                await client.send(b"client %d, request %d" % (number, turn))
        found: list[bytes] = []
        for number, client in enumerate(clients):
            await settle()
            for [frame] in drain(client):
                assert frame.startswith(b"client %d" % number)
                found.append(frame)
        assert sorted(found) == sorted(answered)
        assert len(found) == 12 * 10  # each five of the requests are answered ten times
        nursery.cancel_scope.cancel()


@jumping
async def test_proxy_hwm() -> None:
    """With an XPUB that drops nothing, what a slow subscriber has not got holds the publisher up: after as much as the
    queues between them can take, and nothing is lost.
    """
    marks: dict[str, Any] = {"send_hwm": 10, "receive_hwm": 10}
    async with opened() as ctx, trio.open_nursery() as nursery:
        pub, frontend = ctx.socket(XPub, nodrop=True, **marks), ctx.socket(XSub, **marks)
        backend, sub = ctx.socket(XPub, nodrop=True, **marks), ctx.socket(Sub, **marks)
        frontend.bind("inproc://front")
        backend.bind("inproc://back")
        pub.connect("inproc://front")
        sub.connect("inproc://back")
        sub.subscribe(b"")
        nursery.start_soon(trimq.proxy, frontend, backend)
        await pub.wait_for_subscribers()
        sent = 0
        while (more := fill(pub, bytes(50_000), cap=100)) > 0:
            sent += more
            await settle()  # the proxy hands on what it can
        assert 20 <= sent <= 40
        received = []
        while more := drain(sub):
            received += more
            await settle()
        assert len(received) == sent
        nursery.cancel_scope.cancel()


@jumping
async def test_proxy_single_socket() -> None:
    """One REP as both sides gives back what it is asked."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        rep, req = ctx.socket(Rep), ctx.socket(Req)
        req.connect(rep.bind("tcp://place:1"))
        nursery.start_soon(trimq.proxy, rep, rep)
        for message in ([b"msg1"], [b"msg22"], [b"a", b"b"]):
            await req.send(message)
            assert await req.receive() == message
        nursery.cancel_scope.cancel()


@jumping
async def test_proxy_terminate() -> None:
    """A proxy from a SUB to a PUSH behind which nobody is: it does not get stuck, and the context's end is its own."""
    ends: list[BaseException] = []
    async with opened() as ctx, trio.open_nursery() as nursery:
        pub, frontend, backend = ctx.socket(trimq.Pub), ctx.socket(Sub), ctx.socket(Push)
        pub.connect(frontend.bind("inproc://front"))
        frontend.subscribe(b"")
        backend.bind("inproc://back")

        async def hands_on() -> None:
            with pytest.raises(trimq.ContextTerminated) as caught:
                await trimq.proxy(frontend, backend)
            ends.append(caught.value)

        nursery.start_soon(hands_on)
        await pub.wait_for_subscribers()
        for _ in range(10):
            await pub.send(b"for nobody")
        await settle()
        assert not ends
        ctx.shutdown()
        await settle()
        assert len(ends) == 1
