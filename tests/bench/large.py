"""PUSH to PULL over tcp on loopback: messages of 64 KiB, 1 MiB and 16 MiB, and how much memory the large ones take.

The rates: one await a message at both ends, two processes, beside pyzmq blocking (with its defaults, which copy, and
with ``copy=False``, where a receiver gets Frame objects in the place of bytes) and beside a trio stream with the same
bytes, which puts messages of a known size together. A sender has made all its messages, each with noise of its own,
before its clock starts; a receiver looks at the number, the size and a byte of each page of what it gets, at the first
and the last message whole, and lets them go (pipeline.py). High-water marks are equal: 1000 for 64 KiB, 64 for 1 MiB, 4
for 16 MiB.

The memory: 16 MiB, high-water mark 4, a sender that makes each message just before it sends it, and a receiver slow
enough that both queues stand full; neither program keeps a message. The figure is the growth of a process's peak resident
memory over the start, in frames. What stands against it as a rival is the bound: the 4 frames of the queue and 2 more, and
1 MiB for what else a process comes to touch.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from harness import Contender, Scenario, announce, main, report
from pipeline import Arrivals, Traffic, pyzmq_receive, pyzmq_send, trimq_receive, trimq_send, trio_receive, trio_send

KIB, MIB = 1024, 1024 * 1024
QUEUE = 4  # messages: the high-water mark for the largest
PAUSE = 0.04  # seconds that the slow receiver takes for a message


def _peak() -> int:
    """The most resident memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):  # getrusage's begins with that of the process that started this one
                return int(line.split()[1]) * KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def _tell(end: str, start: int, size: int) -> None:
    growth = _peak() - start
    report(**{f"{end}_frames": round(growth / size, 2), f"{end}_MiB": round(growth / MIB, 1)})


def trimq_send_lazily(endpoint: str, options: dict[str, Any]) -> None:
    """Makes a message, sends it."""
    import trio

    import trimq

    async def run() -> None:
        traffic = Traffic(options)
        async with trimq.open_context() as context:
            push = context.socket(trimq.Push, send_hwm=options["hwm"])
            push.connect(endpoint)
            start = _peak()
            for number in range(traffic.count):
                await push.send(traffic.frame(number, traffic.size))
        _tell("sender", start, traffic.size)

    trio.run(run)


def trimq_receive_slowly(endpoint: str, options: dict[str, Any]) -> None:
    """Takes its time over each message."""
    import trio

    import trimq

    async def run() -> None:
        arrivals = Arrivals(options)
        async with trimq.open_context() as context:
            pull = context.socket(trimq.Pull, receive_hwm=options["hwm"])
            start = _peak()
            announce(pull.bind(endpoint))
            for _ in range(options["count"]):
                arrivals.take((await pull.receive())[0])
                await trio.sleep(PAUSE)
        arrivals.check()
        _tell("receiver", start, options["size"])

    trio.run(run)


def pyzmq_send_lazily(endpoint: str, options: dict[str, Any]) -> None:
    """Makes a message, sends it."""
    import zmq

    traffic = Traffic(options)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.sndhwm = options["hwm"]
        push.connect(endpoint)
        start = _peak()
        for number in range(traffic.count):
            push.send(traffic.frame(number, traffic.size))
    _tell("sender", start, traffic.size)


def pyzmq_receive_slowly(endpoint: str, options: dict[str, Any]) -> None:
    """Takes its time over each message."""
    import zmq

    arrivals = Arrivals(options)
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvhwm = options["hwm"]
        start = _peak()
        pull.bind(endpoint)
        announce(pull.last_endpoint.decode())
        for _ in range(options["count"]):
            arrivals.take(pull.recv())
            time.sleep(PAUSE)
    arrivals.check()
    _tell("receiver", start, options["size"])


def bound(endpoint: str, options: dict[str, Any]) -> None:
    """No end: how much it may be."""
    frames = options["hwm"] + 2 + MIB / options["size"]
    report(sender_frames=frames, receiver_frames=frames)


def rate(name: str, size: int, hwm: int, count: int, target: float) -> Scenario:
    """How fast messages of this size go."""
    contenders = [
        Contender("trimq", (trimq_receive, trimq_send)),
        Contender("pyzmq blocking", (pyzmq_receive, pyzmq_send)),
        Contender("pyzmq blocking, copy=False", (pyzmq_receive, pyzmq_send), {"copy": False}),
        Contender("trio stream, unframed", (trio_receive, trio_send)),
    ]
    title = f"PUSH -> PULL, tcp, {name.replace('-', ' ')}, high-water mark {hwm}, one await a message"
    options = {"size": size, "hwm": hwm, "drop": True}
    return Scenario(name, title, contenders, count, options=options, targets={"pyzmq blocking": target})


def memory(end: str) -> Scenario:
    """The peak of one of the two ends; the other's is told beside it."""
    return Scenario(
        f"memory-{end}",
        f"Peak memory of the {end} above the start, in frames of 16 MiB, high-water mark {QUEUE}",
        [
            Contender("trimq", (trimq_receive_slowly, trimq_send_lazily)),
            Contender("queue + 2 frames", (bound,)),
            Contender("pyzmq blocking", (pyzmq_receive_slowly, pyzmq_send_lazily)),
        ],
        count=200,
        options={"size": 16 * MIB, "hwm": QUEUE, "drop": True},
        metric=f"{end}_frames",
        unit="frames",
        targets={"queue + 2 frames": 1.0},
    )


if __name__ == "__main__":
    main(
        __file__,
        [
            rate("64-KiB", 64 * KIB, 1000, 24_000, 1.5),
            rate("1-MiB", MIB, 64, 1500, 1.2),
            rate("16-MiB", 16 * MIB, QUEUE, 96, 1.3),
            memory("sender"),
            memory("receiver"),
        ],
    )
