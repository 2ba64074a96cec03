"""proxy: zmq_proxy and zmq_proxy_steerable, and what a cancellation leaves (libzmq.md 5.6 and its tests of the proxy)."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
import trio
from sockets.helpers import jumping, opened
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq import ProxyHandle, ProxyTraffic

PLACE = "inproc://{}"


async def pipeline(context: trimq.Context, **marks: Any) -> tuple[trimq.Push, trimq.Pull, trimq.Push, trimq.Pull]:
    """A sender, the two sides of a proxy, and a receiver."""
    sender, frontend = context.socket(trimq.Push, **marks), context.socket(trimq.Pull, **marks)
    backend, receiver = context.socket(trimq.Push, **marks), context.socket(trimq.Pull, **marks)
    sender.connect(frontend.bind("tcp://front:1"))
    backend.connect(receiver.bind("tcp://back:1"))
    await sender.wait_for_peers()
    await receiver.wait_for_peers()
    return sender, frontend, backend, receiver


@jumping
async def test_clients_and_workers() -> None:
    """test_proxy: clients, ROUTER | proxy | DEALER, workers that answer several times; each answer finds its client."""
    async with opened() as context, trio.open_nursery() as nursery:
        frontend, backend = context.socket(trimq.Router), context.socket(trimq.Dealer)
        frontend.bind("tcp://front:1")
        backend.bind("inproc://back")

        async def work(number: int) -> None:
            worker = context.socket(trimq.Dealer)
            worker.connect("inproc://back")
            async for [client, request] in worker:
                for turn in range(number):
                    await worker.send([client, request + b"/%d" % turn])

        async def ask(number: int) -> None:
            client = context.socket(trimq.Dealer)
            client.connect("tcp://front:1")
            for turn in range(20):
                await client.send(b"%d:%d" % (number, turn))
            received = [await client.receive() for _ in range(20)]
            assert sorted(received) == sorted([b"%d:%d/0" % (number, turn)] for turn in range(20))

        for _ in range(5):
            nursery.start_soon(work, 1)
        nursery.start_soon(trimq.proxy, frontend, backend)
        async with trio.open_nursery() as clients:
            for number in range(3):
                clients.start_soon(ask, number)
        nursery.cancel_scope.cancel()


@jumping
async def test_subscriptions_go_the_other_way() -> None:
    """XSUB | proxy | XPUB: what subscribers want reaches the publisher, and only that comes."""
    async with opened() as context, trio.open_nursery() as nursery:
        frontend, backend = context.socket(trimq.XSub), context.socket(trimq.XPub)
        pub, sub = context.socket(trimq.Pub), context.socket(trimq.Sub)
        frontend.connect(pub.bind("tcp://pub:1"))
        sub.connect(backend.bind("tcp://back:1"))
        sub.subscribe(b"a")
        handle: ProxyHandle = await nursery.start(trimq.proxy, frontend, backend)
        await pub.wait_for_subscribers(1, b"a")
        for topic in (b"b", b"a1", b"c", b"a2"):
            await pub.send(topic)
        assert [await sub.receive() for _ in range(2)] == [[b"a1"], [b"a2"]]
        assert handle.statistics().frontend.received == 2
        nursery.cancel_scope.cancel()


@jumping
async def test_a_socket_that_is_both_sides() -> None:
    """test_proxy_single_socket: a Rep gets its own requests back; so does a Dealer's peer."""
    async with opened() as context, trio.open_nursery() as nursery:
        rep, req = context.socket(trimq.Rep), context.socket(trimq.Req)
        req.connect(rep.bind("inproc://rep"))
        handle: ProxyHandle = await nursery.start(trimq.proxy, rep, rep)
        for message in (b"msg1", [b"msg", b"22"]):
            await req.send(message)
            assert await req.receive() == ([message] if isinstance(message, bytes) else message)
        assert handle.statistics().frontend == ProxyTraffic(2, 9, 2, 9)
        assert handle.statistics().backend == ProxyTraffic()
        nursery.cancel_scope.cancel()


@jumping
@pytest.mark.parametrize("seed", range(20))
async def test_a_cancellation_loses_nothing(seed: int) -> None:
    """Started and cancelled at any time, also over queues that are full: every message once and in order."""
    chance = random.Random(seed)
    count = 300
    async with opened() as context:
        sender, frontend, backend, receiver = await pipeline(context, send_hwm=7, receive_hwm=5)
        received: list[bytes] = []

        async def receive() -> None:
            async for [body] in receiver:
                received.append(body)
                if chance.random() < 0.2:
                    await trio.sleep(chance.random())

        async def send() -> None:
            for number in range(count):
                await sender.send(b"%d" % number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(receive)
            while len(received) < count:
                with trio.move_on_after(chance.random()):
                    for _ in range(chance.randrange(5)):
                        await trio.lowlevel.checkpoint()
                    await trimq.proxy(frontend, backend)
            nursery.cancel_scope.cancel()
        assert received == [b"%d" % number for number in range(count)]


@jumping
async def test_room_first() -> None:
    """While the other side has no room, messages wait in the queues of this one, where the marks count them."""
    async with opened() as context, trio.open_nursery() as nursery:
        sender, frontend, backend, receiver = await pipeline(context, send_hwm=3, receive_hwm=3)
        receiver.close()
        await wait_all_tasks_blocked()
        nursery.start_soon(trimq.proxy, frontend, backend)
        sent = 0
        with trio.move_on_after(60):
            while True:
                await sender.send(b"%d" % sent)
                sent += 1
        assert sent < 30_000  # the marks, and what fits on the way
        assert len(next(iter(backend._remotes)).outbox) == 3
        nursery.cancel_scope.cancel()


@jumping
async def test_capture() -> None:
    """A copy of each message goes to capture, of both directions, and nothing is handed on while it has no room."""
    async with opened() as context, trio.open_nursery() as nursery:
        frontend, backend = context.socket(trimq.Router), context.socket(trimq.Dealer)
        client, worker = context.socket(trimq.Dealer), context.socket(trimq.Dealer)
        capture, log = context.socket(trimq.Push, send_hwm=1), context.socket(trimq.Pull, receive_hwm=1)
        client.connect(frontend.bind(PLACE.format("front")))
        worker.connect(backend.bind(PLACE.format("back")))
        capture.connect(log.bind(PLACE.format("log")))
        nursery.start_soon(lambda: trimq.proxy(frontend, backend, capture=capture))
        await client.send([b"there", b"x"])
        received = await worker.receive()
        assert received[1:] == [b"there", b"x"]
        received.append(b"mine")  # a list of its own
        await worker.send([received[0], b"back"])
        assert await client.receive() == [b"back"]
        await client.send(b"third")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            worker.receive_nowait()  # the queue to log holds two
        assert (await log.receive())[1:] == [b"there", b"x"]
        assert (await worker.receive())[1:] == [b"third"]
        assert (await log.receive())[1:] == [b"back"]
        nursery.cancel_scope.cancel()


@jumping
@pytest.mark.parametrize("kind", [trimq.Pair, trimq.Rep, trimq.Pull])
async def test_steered_by_messages(kind: Any) -> None:
    """zmq_proxy_steerable: the four commands, eight counters, and who is answered."""
    peers = {trimq.Pair: trimq.Pair, trimq.Rep: trimq.Req, trimq.Pull: trimq.Push}
    async with opened() as context, trio.open_nursery() as nursery:
        sender, frontend, backend, receiver = await pipeline(context)
        control: Any = context.socket(kind)
        hand: Any = context.socket(peers[kind])
        hand.connect(control.bind("inproc://control"))
        done = trio.Event()

        async def run() -> None:
            await trimq.proxy(frontend, backend, control=control)
            done.set()

        async def say(command: bytes) -> Any:
            await hand.send(command)
            if kind is trimq.Rep or (kind is trimq.Pair and command == b"STATISTICS"):
                return await hand.receive()
            await wait_all_tasks_blocked()
            return None

        def counters(answer: Any) -> list[int]:
            assert [len(frame) for frame in answer] == [8] * 8
            return [struct.unpack("=Q", frame)[0] for frame in answer]

        nursery.start_soon(run)
        if kind is not trimq.Pull:
            assert counters(await say(b"STATISTICS")) == [0] * 8
        await sender.send([b"12", b"345"])
        await receiver.receive()
        if kind is not trimq.Pull:
            assert counters(await say(b"STATISTICS")) == [1, 5, 0, 0, 0, 0, 1, 5]
        assert await say(b"PAUSE") in (None, [b""])
        await sender.send(b"later")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            receiver.receive_nowait()
        assert await say(b"no such command") in (None, [b""])
        assert await say(b"RESUME") in (None, [b""])
        assert await receiver.receive() == [b"later"]
        assert await say(b"TERMINATE") in (None, [b""])
        await done.wait()
        await sender.send(b"waits")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            receiver.receive_nowait()


@jumping
async def test_steered_by_the_handle() -> None:
    """pause and resume, idempotent, and the level; messages wait meanwhile."""
    async with opened() as context, trio.open_nursery() as nursery:
        sender, frontend, backend, receiver = await pipeline(context)
        handle: ProxyHandle = await nursery.start(trimq.proxy, frontend, backend)
        assert not handle.paused
        handle.pause()
        handle.pause()
        assert handle.paused
        await sender.send(b"later")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            receiver.receive_nowait()
        handle.resume()
        handle.resume()
        assert await receiver.receive() == [b"later"]
        assert handle.statistics().backend == ProxyTraffic(sent=1, sent_bytes=5)
        nursery.cancel_scope.cancel()


@jumping
@pytest.mark.parametrize("end", ["shutdown", "close frontend", "close backend", "close capture", "close control"])
async def test_its_ends(end: str) -> None:
    """Promise 2: ETERM, or SocketClosed for whichever of its sockets was closed; one error, in no group."""
    async with opened() as context:
        frontend, backend = context.socket(trimq.Pull), context.socket(trimq.Push)
        capture, control = context.socket(trimq.Pub), context.socket(trimq.Pair)
        sockets = {"frontend": frontend, "backend": backend, "capture": capture, "control": control}
        error = trimq.ContextTerminated if end == "shutdown" else trimq.SocketClosed

        async def run() -> None:
            with pytest.raises(error):
                await trimq.proxy(frontend, backend, capture=capture, control=control)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            if end == "shutdown":
                context.shutdown()
            else:
                sockets[end.split()[1]].close()


@jumping
async def test_a_router_with_mandatory_behind_it() -> None:
    """No peer may be full, since the next message may be for it; an unknown one is HostUnreachable."""
    async with opened() as context, trio.open_nursery() as nursery:
        frontend = context.socket(trimq.Pull)
        backend = context.socket(trimq.Router, mandatory=True, send_hwm=1)
        sender, receiver = context.socket(trimq.Push), context.socket(trimq.Dealer, routing_id=b"r", receive_hwm=1)
        sender.connect(frontend.bind("inproc://front"))
        receiver.connect(backend.bind("inproc://back"))
        failed = trio.Event()

        async def run() -> None:
            with pytest.raises(trimq.HostUnreachable):
                await trimq.proxy(frontend, backend)
            failed.set()

        nursery.start_soon(run)
        for number in range(10):
            await sender.send([b"r", b"%d" % number])
        assert [await receiver.receive() for _ in range(10)] == [[b"%d" % number] for number in range(10)]
        await sender.send([b"nobody", b"x"])
        await failed.wait()


@pytest.mark.parametrize(
    ("frontend", "backend"), [(trimq.Push, trimq.Push), (trimq.Pull, trimq.Pull), (trimq.Pull, trimq.Sub)]
)
async def test_what_cannot_pass(frontend: Any, backend: Any) -> None:
    """A TypeError at once names the two types; so it does for a capture that cannot send, a control that cannot receive."""
    async with trimq.open_context() as context:
        with pytest.raises(TypeError, match=f"{frontend.__name__} and a {backend.__name__}"):
            await trimq.proxy(context.socket(frontend), context.socket(backend))
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        with pytest.raises(TypeError, match="capture is a socket that sends, not a Pull"):
            await trimq.proxy(pull, push, capture=context.socket(trimq.Pull))
        with pytest.raises(TypeError, match="control is a socket that receives, not a Push"):
            await trimq.proxy(pull, push, control=context.socket(trimq.Push))


@jumping
async def test_an_id_alone_does_not_end_a_broker() -> None:
    """A worker's single frame has nowhere to go: it is dropped and counted, as in libzmq; the proxy goes on (promise 4)."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        front, back = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer)
        client, worker = ctx.socket(trimq.Dealer, routing_id=b"c"), ctx.socket(trimq.Dealer)
        front.bind("inproc://front")
        back.bind("inproc://back")
        client.connect("inproc://front")
        worker.connect("inproc://back")
        nursery.start_soon(trimq.proxy, front, back)
        await worker.send(b"c")
        await client.send(b"question")
        assert await worker.receive() == [b"c", b"question"]
        await worker.send([b"c", b"answer"])
        assert await client.receive() == [b"answer"]
        assert front.statistics().unroutable == 1
        nursery.cancel_scope.cancel()
