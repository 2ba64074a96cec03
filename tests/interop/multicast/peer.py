"""A publisher or a subscriber over multicast: ``python peer.py zmq|trimq KIND ENDPOINT OPTIONS``; KIND is Pub, XSub, ...

Debian's Python runs it for libzmq, for its libzmq has OpenPGM. OPTIONS is a dict in JSON: ``name``, that of the publisher,
and the rest is the socket's, as trimq calls it.

A publisher says its name and b"hello" until a line comes on its standard input, and then all that `expected` has. A
subscriber prints ``heard NAME`` at the first that it hears of each publisher, ``whole NAME`` when it has had all of one, and
``wrong``, with what it was, and ends. ``lost COUNT TOTAL`` is an event, and what ``statistics()`` has then.

Both go on until their standard input ends: libzmq, for one, repairs nothing at its end.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

SIZES = [1, 2, 3, 100, 253, 254, 255, 256, 257, 1000, *range(1405, 1440), 1500, 2850, 2860, 5000, 65535, 65536, 100000]
HELLO = 0.02  # seconds between


def expected(name: bytes) -> Iterator[list[bytes]]:
    """All messages of a publisher, in order, each of its own content, and each begins with the name."""
    for number, size in enumerate([*SIZES, *[10] * 200, 1000000, *[1000] * 50, *SIZES]):
        mark = b"%s%d:" % (name, number)
        body = (mark * (size // len(mark) + 1))[:size]
        yield [mark, body, b""] if number % 5 == 4 else [body]
    yield [name + b"end"]


class Judge:
    """Compares what comes with what is expected, publisher by publisher."""

    def __init__(self) -> None:
        self.left: dict[bytes, list[list[bytes]]] = {}

    def hear(self, message: list[bytes]) -> None:
        """Says what this message changes."""
        name = message[0][:1]
        if name not in self.left:
            self.left[name] = list(expected(name))
            print("heard", name.decode(), flush=True)
        if message == [name + b"hello"]:
            return
        left = self.left[name]
        if message != left[0]:
            sizes = [len(part) for part in message], [len(part) for part in left[0]]
            print(f"wrong: a message has the sizes {sizes[0]}, not {sizes[1]}; {len(left)} are left", flush=True)
            sys.exit(1)
        del left[0]
        if not left:
            self.left[name] = list(expected(name))
            print("whole", name.decode(), flush=True)


def zmq_main(kind: str, endpoint: str, name: bytes, options: dict[str, Any]) -> None:
    """libzmq's part."""
    import zmq

    context = zmq.Context()
    socket = context.socket(getattr(zmq, kind.upper()))
    socket.rate, socket.recovery_ivl = options.pop("rate"), int(1000 * options.pop("recovery_interval"))
    socket.sndhwm = socket.rcvhwm = 0
    if kind.endswith("Sub"):
        if kind == "Sub":
            socket.subscribe(b"")
        socket.connect(endpoint)
        if kind == "XSub":
            socket.send(b"\x01")
        threading.Thread(target=lambda: (sys.stdin.readline(), os._exit(0))).start()
        judge = Judge()
        while True:
            judge.hear(socket.recv_multipart())
    socket.connect(endpoint)
    go = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), go.set())).start()
    while not go.wait(HELLO):
        socket.send(name + b"hello")
    for message in expected(name):
        socket.send_multipart(message)
    sys.stdin.readline()


async def trimq_main(kind: str, endpoint: str, name: bytes, options: dict[str, Any]) -> None:
    """trimq's."""
    import trio

    import trimq

    async with trimq.open_context() as context:
        if kind.endswith("Sub"):
            sub: Any = context.socket(getattr(trimq, kind), receive_hwm=math.inf, **options)
            async with trio.open_nursery() as nursery:

                async def losses() -> None:
                    async for event in events:
                        if isinstance(event, trimq.events.Lost):
                            print("lost", event.count, sub.statistics().lost, flush=True)

                async def hear() -> None:
                    judge = Judge()
                    async for message in sub:
                        judge.hear([message] if isinstance(message, bytes) else message)

                async with sub.events() as events:
                    nursery.start_soon(losses)
                    nursery.start_soon(hear)
                    await (sub.send(b"\x01") if kind == "XSub" else trio.lowlevel.checkpoint())
                    if kind == "Sub":
                        sub.subscribe(b"")
                    sub.connect(endpoint)
                    await trio.to_thread.run_sync(sys.stdin.readline)
                    nursery.cancel_scope.cancel()
            return
        pub: Any = context.socket(getattr(trimq, kind), send_hwm=math.inf, **options)
        pub.bind(endpoint)
        go = trio.Event()
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                await trio.to_thread.run_sync(sys.stdin.readline)
                go.set()

            nursery.start_soon(listen)
            while not go.is_set():
                await pub.send(name + b"hello")
                with trio.move_on_after(HELLO):
                    await go.wait()
        for message in expected(name):
            await pub.send(message)
        await trio.to_thread.run_sync(sys.stdin.readline)


def main() -> None:
    """Plays the part."""
    implementation, kind, endpoint, text = sys.argv[1:]
    options = {"rate": 20000, "recovery_interval": 10, **json.loads(text)}
    name = options.pop("name", "a").encode()
    if implementation == "zmq":
        zmq_main(kind, endpoint, name, options)
    else:
        import trio

        trio.run(trimq_main, kind, endpoint, name, options)


main()
