"""A publisher or a subscriber over multicast: ``python peer.py zmq|trimq KIND ENDPOINT OPTIONS``; KIND is Pub, XSub, ...

Debian's Python runs it for libzmq, for its libzmq has OpenPGM. OPTIONS is a dict in JSON: ``name``, that of the publisher;
``gaps``, whether a subscriber may miss messages; and the rest is the socket's, as trimq calls it.

A publisher says its name and b"hello" until a line comes on its standard input. Then, and at each line more, it says all
that `expected` has; trimq's prints ``said`` when that is on its way. A subscriber prints ``heard NAME`` at the first that it
hears of each publisher, also in its midst; ``half NAME`` before the largest message, ``whole NAME 1`` when it has had all of
it, or the rest, ``whole NAME 2`` ...; and ``wrong``, with what it was, and ends. ``lost COUNT TOTAL`` is an event, and what
``statistics()`` has then.

Both go on until their standard input ends: libzmq, for one, repairs nothing at its end.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

SIZES = [1, 2, 3, 100, 253, 254, 255, 256, 257, 1000, *range(1405, 1440), 1500, 2850, 2860, 5000, 65535, 65536, 100000]
LARGEST = 1000000
HELLO = 0.02  # seconds between


def expected(name: bytes) -> Iterator[list[bytes]]:
    """All messages of a publisher, in order, each of its own content, and each begins with the name."""
    for number, size in enumerate([*SIZES, *[10] * 200, LARGEST, *[1000] * 50, *SIZES]):
        mark = b"%s%d:" % (name, number)
        body = (mark * (size // len(mark) + 1))[:size]
        yield [mark, body, b""] if number % 5 == 4 else [body]
    yield [name + b"end"]


class Judge:
    """Compares what comes with what is expected, publisher by publisher."""

    def __init__(self, *, gaps: bool) -> None:
        self.gaps = gaps
        self.left: dict[bytes, list[list[bytes]]] = {}
        self.count: Counter[bytes] = Counter()

    def hear(self, message: list[bytes]) -> None:
        """Says what this message changes."""
        name = message[0][:1]
        new = name not in self.left
        if message == [name + b"hello"]:
            if new:
                self.begin(name)
            return
        if new or self.gaps:
            if len(message[0]) <= 3:
                return  # there are several such messages: what is missing before it is not known
            if new:
                self.begin(name)
            left = self.left[name]
            if message in left:
                del left[: left.index(message)]
        left = self.left[name]
        if message != left[0]:
            sizes = [len(part) for part in message], [len(part) for part in left[0]]
            print(
                f"wrong: a message of {name!r} has the sizes {sizes[0]}, not {sizes[1]}; {len(left)} are left",
                flush=True,
            )
            os._exit(1)
        del left[0]
        if left and len(left[0][0]) == LARGEST:
            print("half", name.decode(), flush=True)
        if not left:
            self.left[name] = list(expected(name))
            self.count[name] += 1
            print("whole", name.decode(), self.count[name], flush=True)

    def begin(self, name: bytes) -> None:
        """A publisher is there."""
        self.left[name] = list(expected(name))
        print("heard", name.decode(), flush=True)


def zmq_main(kind: str, endpoint: str, name: bytes, options: dict[str, Any]) -> None:
    """libzmq's part."""
    import zmq

    socket = zmq.Context().socket(getattr(zmq, kind.upper()))
    socket.rate, socket.recovery_ivl = options.pop("rate"), int(1000 * options.pop("recovery_interval"))
    socket.sndhwm = socket.rcvhwm = 0
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen).start()
    if kind == "Sub":
        socket.subscribe(b"")
    socket.connect(endpoint)
    if kind == "XSub":
        socket.send(b"\x01")
    judge = Judge(gaps=False)
    while kind.endswith("Sub"):
        judge.hear(socket.recv_multipart())
    while True:
        try:
            lines.get(timeout=HELLO)
        except Empty:
            socket.send(name + b"hello")
        else:
            break
    while True:
        for message in expected(name):
            socket.send_multipart(message)
        lines.get()


async def subscribe(context: Any, kind: str, endpoint: str, options: dict[str, Any]) -> None:
    """trimq's part, of a subscriber."""
    import trio

    import trimq

    judge = Judge(gaps=options.pop("gaps", False))
    sub = context.socket(getattr(trimq, kind), receive_hwm=math.inf, **options)

    async def hear() -> None:
        async for message in sub:
            judge.hear([message] if isinstance(message, bytes) else message)

    async def losses(events: Any) -> None:
        async for event in events:
            if isinstance(event, trimq.events.Lost):
                print("lost", event.count, sub.statistics().lost, flush=True)

    async with sub.events() as events, trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        nursery.start_soon(losses, events)
        if kind == "Sub":
            sub.subscribe(b"")
        sub.connect(endpoint)
        if kind == "XSub":
            await sub.send(b"\x01")
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def publish(context: Any, kind: str, endpoint: str, name: bytes, options: dict[str, Any]) -> None:
    """trimq's part, of a publisher."""
    import trio

    import trimq

    pub = context.socket(getattr(trimq, kind), send_hwm=math.inf, **options)
    pub.bind(endpoint)
    lines, said = trio.open_memory_channel[str](math.inf)

    async def listen() -> None:
        async with lines:
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                await lines.send(line)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        line = ""
        while not line:
            await pub.send(name + b"hello")
            with trio.move_on_after(HELLO), suppress(trio.EndOfChannel):
                line = await said.receive()
        while line:
            for message in expected(name):
                await pub.send(message)
            while pub.statistics().queued:
                await trio.sleep(HELLO)
            print("said", flush=True)
            line = ""
            with suppress(trio.EndOfChannel):
                line = await said.receive()


async def trimq_main(kind: str, endpoint: str, name: bytes, options: dict[str, Any]) -> None:
    """trimq's part."""
    import trimq

    async with trimq.open_context() as context:
        if kind.endswith("Sub"):
            await subscribe(context, kind, endpoint, options)
        else:
            await publish(context, kind, endpoint, name, options)


def main() -> None:
    """Plays the part."""
    implementation, kind, endpoint, text = sys.argv[1:]
    options = {"rate": 50000, "recovery_interval": 10, **json.loads(text)}
    name = options.pop("name", "a").encode()
    if implementation == "zmq":
        zmq_main(kind, endpoint, name, options)
    else:
        import trio

        trio.run(trimq_main, kind, endpoint, name, options)


main()
