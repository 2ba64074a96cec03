"""PUSH to PULL over inproc, between two tasks of one run: messages a second, one await each and in batches.

Beside it a trio memory channel between the same two tasks, which has no batches, and pyzmq's inproc between two threads
with blocking calls.

Fair: the same number of messages may wait. In ZeroMQ's inproc the two sides' high-water marks add up, so each is half
of the memory channel's buffer. The same messages are made before the clock starts; it stops when the last one has been
received.

Checked, after the clock has stopped: all messages arrived, in order, byte for byte.
"""

from __future__ import annotations

from typing import Any

from harness import Clock, Contender, Scenario, main, report, wrong

SIZE = 64


def payloads(count: int) -> list[bytes]:
    """Distinct messages of one size."""
    return [b"%0*d" % (SIZE, number) for number in range(count)]


def check(received: list[bytes], count: int) -> None:
    """Order and content; made anew, since what arrived may be the very objects that were sent."""
    if received != payloads(count):
        wrong(f"{len(received)} of {count} messages arrived, or not as they were sent")


def trimq_tasks(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    messages = payloads(options["count"])
    received: list[bytes] = []

    async def produce(push: trimq.Push) -> None:
        if options["batch"]:
            await push.send_many(messages)
        else:
            for message in messages:
                await push.send(message)

    async def consume(pull: trimq.Pull) -> None:
        if options["batch"]:
            while len(received) < len(messages):
                received.extend([message[0] for message in await pull.receive_many()])
        else:
            for _ in range(len(messages)):
                received.append((await pull.receive())[0])

    async def run() -> None:
        half = options["hwm"] // 2
        async with trimq.open_context(send_hwm=half, receive_hwm=half) as context:
            pull = context.socket(trimq.Pull)
            pull.bind(endpoint)
            push = context.socket(trimq.Push)
            push.connect(endpoint)
            await push.wait_for_peers()
            clock = Clock()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(produce, push)
                nursery.start_soon(consume, pull)
            report(**clock.stop())

    trio.run(run)
    check(received, len(messages))


def trio_channel(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    messages = payloads(options["count"])
    received: list[bytes] = []

    async def produce(channel: trio.MemorySendChannel[bytes]) -> None:
        for message in messages:
            await channel.send(message)

    async def consume(channel: trio.MemoryReceiveChannel[bytes]) -> None:
        for _ in range(len(messages)):
            received.append(await channel.receive())

    async def run() -> None:
        send_end, receive_end = trio.open_memory_channel[bytes](options["hwm"])
        clock = Clock()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce, send_end)
            nursery.start_soon(consume, receive_end)
        report(**clock.stop())

    trio.run(run)
    check(received, len(messages))


def pyzmq_threads(endpoint: str, options: dict[str, Any]) -> None:
    import threading

    import zmq

    messages = payloads(options["count"])
    received: list[bytes] = []
    half = options["hwm"] // 2

    def produce(context: zmq.Context[Any]) -> None:
        with context.socket(zmq.PUSH) as push:
            push.sndhwm = half
            push.connect(endpoint)
            for message in messages:
                push.send(message)

    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvhwm = half
        pull.bind(endpoint)
        thread = threading.Thread(target=produce, args=(context,))
        clock = Clock()
        thread.start()
        for _ in range(len(messages)):
            received.append(pull.recv())
        report(**clock.stop())
        thread.join()
    check(received, len(messages))


OPTIONS = {"bind": "inproc://bench", "batch": False}

SCENARIOS = [
    Scenario(
        name="inproc",
        title=f"PUSH -> PULL, inproc, {SIZE} B, two tasks of one run, one await a message",
        contenders=[
            Contender("trimq", [trimq_tasks]),
            Contender("trio memory channel", [trio_channel], share=0.1),
            Contender("pyzmq, two threads", [pyzmq_threads], share=0.4),
        ],
        count=2_000_000,
        options=OPTIONS,
        targets={"trio memory channel": 8.0},
    ),
    Scenario(
        name="inproc-batches",
        title=f"PUSH -> PULL, inproc, {SIZE} B, two tasks of one run, send_many and receive_many",
        contenders=[
            Contender("trimq, in batches", [trimq_tasks], {"batch": True}),
            Contender("trio memory channel", [trio_channel], share=0.05),
            Contender("pyzmq, two threads", [pyzmq_threads], share=0.2),
        ],
        count=5_000_000,
        options=OPTIONS,
        targets={"trio memory channel": 50.0},
    ),
]

if __name__ == "__main__":
    main(__file__, SCENARIOS)
