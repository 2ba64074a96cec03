"""PUSH and PULL ends of every library, and the traffic they carry: what the pipeline scenarios share. No scenario here.

A PULL end binds and is a contender's first, a PUSH end connects. What is sent follows from a scenario's options alone,
so that both ends know it:

- ``size``, ``frames``: bytes in a frame, frames in a message (64 and 1).
- ``mixed``: ``"even"`` or ``"low"``: sizes from 1 to ``size`` and counts from 1 to ``frames``, all equally often, or with
  each size's logarithm equally often (about as many frames of 1 to 4 bytes as of 375 to 1,500).
- ``drop``: for traffic that nobody could hold: a receiver looks at a message when it comes, and lets it go.

Every frame holds its number and a piece of noise that starts elsewhere for each number, so that nothing that is lost,
doubled, cut, swapped or shifted goes unseen (frames too short for a number hold the beginning of it). Frames are made
before a sender's clock starts. Receivers append to a list and compare all of it after their clock has stopped; with
``drop`` they compare the number, the size and a byte of each page on arrival, and the first and last message whole. It is
the same work for each contender.

A receiver's clock runs from its first message to its last; a sender reports CPU time only, up to when its library has
written everything and is closed. Messages of one frame are given and taken as bare bytes, all others as lists.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from itertools import islice
from operator import eq
from typing import Any

from harness import Clock, announce, report, wrong

__all__ = [
    "Arrivals",
    "Traffic",
    "pyomq_asyncio_receive",
    "pyomq_asyncio_send",
    "pyomq_receive",
    "pyomq_send",
    "pyzmq_asyncio_receive",
    "pyzmq_asyncio_send",
    "pyzmq_receive",
    "pyzmq_send",
    "trimq_receive",
    "trimq_receive_many",
    "trimq_send",
    "trimq_send_many",
    "trio_receive",
    "trio_send",
    "zmq_anyio_receive",
    "zmq_anyio_send",
]

_SHIFTS = 997  # places where a frame's noise may start
_PAGE = 4099  # bytes from one that is looked at to the next
_PIECE = 65536  # bytes compared at a time
_READ = 262144  # bytes asked of a raw stream at once, as trimq does


class Traffic:
    """What is sent: the same on both ends."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.count: int = options["count"]
        self.size: int = options.get("size", 64)
        self.frames: int = options.get("frames", 1)
        self.mixed: str | None = options.get("mixed")
        self.bare = self.frames == 1
        # not from a generator of numbers, which would need, and leave behind, as much memory again
        self.noise = memoryview(hashlib.shake_128(b"trimq").digest(self.size + _SHIFTS))

    def frame(self, number: int, size: int) -> bytes:
        """The frame of this number: in one copy, since a large one costs memory."""
        start = number % _SHIFTS
        return b"".join((number.to_bytes(8, "little")[:size], self.noise[start : start + max(size - 8, 0)]))

    def _sizes(self) -> Iterator[list[int]]:
        if self.mixed is None:
            sizes = [self.size] * self.frames
            yield from (sizes for _ in range(self.count))
            return
        chance = random.Random(1)
        most = math.log(self.size + 1)
        for _ in range(self.count):
            if self.mixed == "even":
                yield [chance.randint(1, self.size) for _ in range(chance.randint(1, self.frames))]
            else:
                yield [int(math.exp(chance.uniform(0, most))) for _ in range(chance.randint(1, self.frames))]

    def messages(self) -> Iterator[Any]:
        """Every message, made as it is asked for."""
        number = 0
        for sizes in self._sizes():
            frames = [self.frame(number + nth, size) for nth, size in enumerate(sizes)]
            number += len(frames)
            yield frames[0] if self.bare else frames

    def whole(self, number: int, frame: object) -> bool:
        """Whether this is the frame of that number, of full size; needs little memory however large it is."""
        view, start = memoryview(frame), number % _SHIFTS  # type: ignore[arg-type]
        body, noise = view[8:], self.noise[start : start + self.size - 8]
        return (
            len(view) == self.size
            and view[:8].tobytes() == number.to_bytes(8, "little")
            and all(
                body[piece : piece + _PIECE].tobytes() == noise[piece : piece + _PIECE].tobytes()
                for piece in range(0, self.size, _PIECE)
            )
        )


class Arrivals:
    """What has come: kept, and compared at the end, or looked at and let go. ``take`` takes one message."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.traffic = Traffic(options)
        self.kept: list[Any] = []
        self.seen = 0
        self.drops: bool = options.get("drop", False)
        self.take: Callable[[Any], object] = self._look if self.drops else self.kept.append
        assert not self.drops or (self.traffic.bare and not self.traffic.mixed), (
            "only messages of one size are looked at"
        )

    def _look(self, frame: object) -> None:
        traffic, number = self.traffic, self.seen
        view, start = memoryview(frame), number % _SHIFTS  # type: ignore[arg-type]
        if (
            len(view) != traffic.size
            or view[:8].tobytes() != number.to_bytes(8, "little")
            or view[8::_PAGE].tobytes() != traffic.noise[start : start + traffic.size - 8 : _PAGE].tobytes()
            or (number in (0, traffic.count - 1) and not traffic.whole(number, frame))
        ):
            wrong(f"message {number} is not what was sent")
        self.seen = number + 1

    def check(self) -> None:
        """After the clock has stopped: all of it, in order, nothing else."""
        traffic = self.traffic
        came = self.seen if self.drops else len(self.kept)
        if came != traffic.count:
            wrong(f"{came} of {traffic.count} messages")
        if not self.drops and not all(map(eq, self.kept, traffic.messages())):
            wrong("the messages did not arrive as they were sent")


# trimq


def trimq_send(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message."""
    import trio

    import trimq

    async def main() -> None:
        messages = list(Traffic(options).messages())
        async with trimq.open_context() as context:
            push = context.socket(trimq.Push, send_hwm=options["hwm"])
            push.connect(endpoint)
            clock = Clock()
            for message in messages:
                await push.send(message)
        report(cpu=clock.stop()["cpu"])

    trio.run(main)


def trimq_send_many(endpoint: str, options: dict[str, Any]) -> None:
    """One call for all messages."""
    import trio

    import trimq

    async def main() -> None:
        messages = list(Traffic(options).messages())
        async with trimq.open_context() as context:
            push = context.socket(trimq.Push, send_hwm=options["hwm"])
            push.connect(endpoint)
            clock = Clock()
            await push.send_many(messages)
        report(cpu=clock.stop()["cpu"])

    trio.run(main)


def trimq_receive(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message."""
    import trio

    import trimq

    async def main() -> None:
        arrivals = Arrivals(options)
        take, rest = arrivals.take, range(options["count"] - 1)
        async with trimq.open_context() as context:
            pull = context.socket(trimq.Pull, receive_hwm=options["hwm"])
            announce(pull.bind(endpoint))
            if arrivals.traffic.bare:
                take((await pull.receive())[0])
                clock = Clock()
                for _ in rest:
                    take((await pull.receive())[0])
            else:
                take(await pull.receive())
                clock = Clock()
                for _ in rest:
                    take(await pull.receive())
            figures = clock.stop()
        arrivals.check()
        report(**figures)

    trio.run(main)


def trimq_receive_many(endpoint: str, options: dict[str, Any]) -> None:
    """As many messages at once as are there; not with ``drop``."""
    import trio

    import trimq

    async def main() -> None:
        arrivals = Arrivals(options)
        kept, count = arrivals.kept, options["count"]
        async with trimq.open_context() as context:
            pull = context.socket(trimq.Pull, receive_hwm=options["hwm"])
            announce(pull.bind(endpoint))
            if arrivals.traffic.bare:
                kept.append((await pull.receive())[0])
                clock = Clock()
                while len(kept) < count:
                    kept.extend([frame for [frame] in await pull.receive_many()])
            else:
                kept.append(await pull.receive())
                clock = Clock()
                while len(kept) < count:
                    kept.extend(await pull.receive_many())
            figures = clock.stop()
        arrivals.check()
        report(**figures)

    trio.run(main)


# pyzmq


def pyzmq_send(endpoint: str, options: dict[str, Any]) -> None:
    """Blocking calls; ``copy`` is pyzmq's."""
    import zmq

    traffic, copy = Traffic(options), options.get("copy", True)
    messages = list(traffic.messages())
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.sndhwm = options["hwm"]
        push.connect(endpoint)
        clock = Clock()
        if not traffic.bare:
            for message in messages:
                push.send_multipart(message)
        elif copy:
            for message in messages:
                push.send(message)
        else:
            for message in messages:
                push.send(message, copy=False)
    report(cpu=clock.stop()["cpu"])


def pyzmq_receive(endpoint: str, options: dict[str, Any]) -> None:
    """Blocking calls; ``copy`` is pyzmq's (False gives its Frame objects in the place of bytes)."""
    import zmq

    arrivals, copy = Arrivals(options), options.get("copy", True)
    take, rest = arrivals.take, range(options["count"] - 1)
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvhwm = options["hwm"]
        pull.bind(endpoint)
        announce(pull.last_endpoint.decode())
        receive = pull.recv if arrivals.traffic.bare else pull.recv_multipart
        take(receive())
        clock = Clock()
        if copy:
            for _ in rest:
                take(receive())
        else:
            for _ in rest:
                take(receive(copy=False))
        figures = clock.stop()
    arrivals.check()
    report(**figures)


def pyzmq_asyncio_send(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message, asyncio's own loop."""
    import asyncio

    import zmq
    import zmq.asyncio

    async def main() -> None:
        traffic = Traffic(options)
        messages = list(traffic.messages())
        with zmq.asyncio.Context() as context, context.socket(zmq.PUSH) as push:
            push.sndhwm = options["hwm"]
            push.connect(endpoint)
            send = push.send if traffic.bare else push.send_multipart
            clock = Clock()
            for message in messages:
                await send(message)
        report(cpu=clock.stop()["cpu"])

    asyncio.run(main())


def pyzmq_asyncio_receive(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message, asyncio's own loop."""
    import asyncio

    import zmq
    import zmq.asyncio

    async def main() -> None:
        arrivals = Arrivals(options)
        take, rest = arrivals.take, range(options["count"] - 1)
        with zmq.asyncio.Context() as context, context.socket(zmq.PULL) as pull:
            pull.rcvhwm = options["hwm"]
            pull.bind(endpoint)
            announce(pull.last_endpoint.decode())
            receive = pull.recv if arrivals.traffic.bare else pull.recv_multipart
            take(await receive())
            clock = Clock()
            for _ in rest:
                take(await receive())
            figures = clock.stop()
        arrivals.check()
        report(**figures)

    asyncio.run(main())


# zmq-anyio, on trio


def zmq_anyio_send(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message, on trio."""
    import trio
    import zmq
    import zmq_anyio

    async def main() -> None:
        traffic = Traffic(options)
        messages = list(traffic.messages())
        with zmq.Context() as context:
            async with zmq_anyio.Socket(context, zmq.PUSH) as push:
                push.sndhwm = options["hwm"]
                push.connect(endpoint)
                send = push.asend if traffic.bare else push.asend_multipart
                clock = Clock()
                for message in messages:
                    await send(message)
        report(cpu=clock.stop()["cpu"])

    trio.run(main)


def zmq_anyio_receive(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message, on trio."""
    import trio
    import zmq
    import zmq_anyio

    async def main() -> None:
        arrivals = Arrivals(options)
        take, rest = arrivals.take, range(options["count"] - 1)
        with zmq.Context() as context:
            async with zmq_anyio.Socket(context, zmq.PULL) as pull:
                pull.rcvhwm = options["hwm"]
                pull.bind(endpoint)
                announce(pull.last_endpoint.decode())
                receive = pull.arecv if arrivals.traffic.bare else pull.arecv_multipart
                take(await receive())
                clock = Clock()
                for _ in rest:
                    take(await receive())
                figures = clock.stop()
        arrivals.check()
        report(**figures)

    trio.run(main)


# pyomq


def pyomq_send(endpoint: str, options: dict[str, Any]) -> None:
    """Blocking calls."""
    import pyomq

    traffic = Traffic(options)
    messages = list(traffic.messages())
    context = pyomq.Context()
    push = context.socket(pyomq.PUSH)
    push.sndhwm = options["hwm"]
    push.linger = -1  # its default drops what is queued
    push.connect(endpoint)
    send = push.send if traffic.bare else push.send_multipart
    clock = Clock()
    for message in messages:
        send(message)
    push.close()
    context.term()
    report(cpu=clock.stop()["cpu"])


def pyomq_receive(endpoint: str, options: dict[str, Any]) -> None:
    """Blocking calls."""
    import pyomq

    arrivals = Arrivals(options)
    take, rest = arrivals.take, range(options["count"] - 1)
    context = pyomq.Context()
    pull = context.socket(pyomq.PULL)
    pull.rcvhwm = options["hwm"]
    pull.bind(endpoint)
    announce(pull.last_endpoint.decode())
    receive = pull.recv if arrivals.traffic.bare else pull.recv_multipart
    take(receive())
    clock = Clock()
    for _ in rest:
        take(receive())
    figures = clock.stop()
    pull.close()
    context.term()
    arrivals.check()
    report(**figures)


def pyomq_asyncio_send(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message, asyncio's own loop."""
    import asyncio

    import pyomq
    import pyomq.asyncio

    async def main() -> None:
        traffic = Traffic(options)
        messages = list(traffic.messages())
        context = pyomq.asyncio.Context()
        push = context.socket(pyomq.PUSH)
        push.sndhwm = options["hwm"]
        push.linger = -1  # its default drops what is queued
        push.connect(endpoint)
        send = push.send if traffic.bare else push.send_multipart
        clock = Clock()
        for message in messages:
            await send(message)
        push.close()
        context.term()
        report(cpu=clock.stop()["cpu"])

    asyncio.run(main())


def pyomq_asyncio_receive(endpoint: str, options: dict[str, Any]) -> None:
    """One await a message, asyncio's own loop."""
    import asyncio

    import pyomq
    import pyomq.asyncio

    async def main() -> None:
        arrivals = Arrivals(options)
        take, rest = arrivals.take, range(options["count"] - 1)
        context = pyomq.asyncio.Context()
        pull = context.socket(pyomq.PULL)
        pull.rcvhwm = options["hwm"]
        pull.bind(endpoint)
        announce(pull.last_endpoint.decode())
        receive = pull.recv if arrivals.traffic.bare else pull.recv_multipart
        take(await receive())
        clock = Clock()
        for _ in rest:
            take(await receive())
        figures = clock.stop()
        pull.close()
        context.term()
        arrivals.check()
        report(**figures)

    asyncio.run(main())


# the floor: trio's own stream, with nothing that tells where a message ends


def trio_send(endpoint: str, options: dict[str, Any]) -> None:
    """Bytes without frames over tcp: small messages joined by the thousand, large ones each by itself."""
    import trio

    async def main() -> None:
        traffic = Traffic(options)
        messages = traffic.messages()
        # without the framing nothing is left of a message but its bytes
        bodies = list(messages) if traffic.bare else [b"".join(frames) for frames in messages]
        async with await trio.open_tcp_stream("127.0.0.1", int(endpoint)) as stream:
            clock = Clock()
            if options.get("drop"):
                for body in bodies:
                    await stream.send_all(body)
            else:
                rest = iter(bodies)
                while block := b"".join(islice(rest, 1000)):
                    await stream.send_all(block)
        report(cpu=clock.stop()["cpu"])

    trio.run(main)


def trio_receive(endpoint: str, options: dict[str, Any]) -> None:
    """Bytes without frames over tcp: as they come, or put together to messages of the one size that large ones have."""
    import trio

    async def main() -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        announce(listener.socket.getsockname()[1])
        async with await listener.accept() as stream:
            await (messages if options.get("drop") else blocks)(stream)

    async def blocks(stream: trio.SocketStream) -> None:
        kept = [await stream.receive_some(_READ)]
        clock = Clock()
        async for block in stream:
            kept.append(block)
        figures = clock.stop()
        whole = b"".join(kept)
        del kept
        place = 0
        for message in Traffic(options).messages():
            body = message if isinstance(message, bytes) else b"".join(message)
            if not whole.startswith(body, place):
                wrong("the bytes did not arrive as they were sent")
            place += len(body)
        if place != len(whole):
            wrong("more bytes than were sent")
        report(**figures)

    async def messages(stream: trio.SocketStream) -> None:
        arrivals = Arrivals(options)
        clock = None
        for _ in range(options["count"]):
            pieces, missing = [], arrivals.traffic.size
            while missing:
                pieces.append(await stream.receive_some(min(missing, _READ)))
                missing -= len(pieces[-1])
            arrivals.take(b"".join(pieces))
            clock = clock or Clock()
        assert clock is not None
        figures = clock.stop()
        arrivals.check()
        report(**figures)

    trio.run(main)
