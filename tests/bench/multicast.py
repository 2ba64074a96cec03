"""PUB to 1 and 4 SUB over epgm on loopback, 1 KiB messages, at 1,000,000 kbit/s: deliveries a second, none of them lost.

Publisher and subscribers are each a process of their own: whom multicast is for are several machines. What is counted is
deliveries: messages times subscribers, from the first to the last at the subscribers. The rate and the recovery interval,
0.5 s, are the same on both sides.

Fair: each side has the same high-water marks, and waits for room instead of dropping (trimq ``nodrop``, libzmq
ZMQ_XPUB_NODROP, which there is for XPUB). libzmq's receivers have the largest buffer that the system gives for the asking:
with its default they do not come to an end here. trimq's take theirs by themselves, as the rate and the interval say. The
rival is Debian's libzmq (package python3-zmq), which has OpenPGM, under Debian's own Python; it is left out where there is
none.

Checked, after the clock has stopped: each subscriber got every message, in order, byte for byte. libzmq may lose some, as it
does now and then: those do not count.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong

SIZE = 1024
DELIVERIES = 200_000
WIDTHS = (1, 4)
RATE, RECOVERY, BUFFER = 1_000_000, 0.5, 4_000_000
DEBIAN = "/usr/bin/python3"
HELLO, WARM_UP = b"hello", 1.0


def payloads(options: dict[str, Any]) -> list[bytes]:
    """What is published: distinct messages of one size."""
    return [b"%0*d" % (SIZE, number) for number in range(options["count"] // options["width"])]


Receive = Callable[[str, "dict[str, Any]", Callable[[], object]], "dict[str, Any]"]
"""Subscribes, calls the third when it listens, and returns the messages, when the first and the last came, and more."""


def subscribe(endpoint: str, options: dict[str, Any], receive: Receive) -> None:
    """All subscribers; the publisher stays, for repairs, until they have all."""
    process = os.getpid()
    endpoint = f"{endpoint};239.192.{process >> 8 & 255}.{process & 255}:5557"  # nobody else's
    context = multiprocessing.get_context("fork")
    ours: list[Any] = []
    for _ in range(options["width"]):
        mine, its = context.Pipe()
        ours.append(mine)
        context.Process(target=in_a_process, args=(its, endpoint, options, receive), daemon=True).start()
        its.close()
    for pipe in ours:
        pipe.recv()
    listener = socket.create_server(("127.0.0.1", 0))
    announce(f"{endpoint} {listener.getsockname()[1]}")
    publisher = listener.accept()[0]
    seen: list[dict[str, Any]] = []
    for number, pipe in enumerate(ours):
        try:
            seen.append(pipe.recv())
        except EOFError:
            wrong(f"subscriber {number} of {len(ours)} failed")
    publisher.close()
    lost = sum(one["lost"] for one in seen)
    wall = max(one["last"] for one in seen) - min(one["first"] for one in seen)
    # What was lost does not count.
    report(wall=wall * options["count"] / (options["count"] - lost), cpu=sum(one["cpu"] for one in seen), lost=lost)


def in_a_process(pipe: Any, endpoint: str, options: dict[str, Any], receive: Receive) -> None:
    """One subscriber."""
    found = receive(endpoint, options, lambda: pipe.send("ready"))
    messages, expected = found.pop("messages"), payloads(options)
    pipe.send(found)
    if found["lost"]:
        there = set(messages)
        expected = [message for message in expected if message in there]
    if messages != expected:
        sys.stderr.write(f"a subscriber got {len(messages)} of {len(expected)}, or not as they were sent\n")
        os._exit(1)


def trimq_receive(endpoint: str, options: dict[str, Any], ready: Callable[[], object]) -> dict[str, Any]:
    import trio

    import trimq

    messages: list[bytes] = []
    count = options["count"] // options["width"]

    async def run() -> dict[str, Any]:
        async with trimq.open_context() as context:
            sub = context.socket(trimq.Sub, receive_hwm=options["hwm"])
            sub.rate, sub.recovery_interval = RATE, RECOVERY
            sub.subscribe(b"")
            sub.connect(endpoint)
            ready()
            with trio.fail_after(60):
                while (first := (await sub.receive())[0]) == HELLO:
                    pass
                messages.append(first)
                clock = Clock()
                if options["batch"]:
                    while len(messages) < count:
                        messages.extend([message[0] for message in await sub.receive_many()])
                else:
                    while len(messages) < count:
                        messages.append((await sub.receive())[0])
            figures = clock.stop()
            return {"first": clock.wall, "last": clock.wall + figures["wall"], "cpu": figures["cpu"], "lost": 0}

    found = trio.run(run)
    return {"messages": messages, **found}


def trimq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    subscribe(endpoint, options, trimq_receive)


def trimq_publish(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    endpoint, port = endpoint.split()

    async def run() -> None:
        messages = payloads(options)
        async with trimq.open_context() as context:
            pub = context.socket(
                trimq.Pub, send_hwm=options["hwm"], nodrop=True, rate=RATE, recovery_interval=RECOVERY, linger=0.0
            )
            pub.connect(endpoint)
            over = await trio.open_tcp_stream("127.0.0.1", int(port))
            with trio.move_on_after(WARM_UP):
                while True:
                    await pub.send(HELLO)
                    await trio.sleep(0.02)
            clock = Clock()
            if options["batch"]:
                await pub.send_many(messages)
            else:
                for message in messages:
                    await pub.send(message)
            await pub.flush()
            figures = clock.stop()
            await over.receive_some()
            report(cpu=figures["cpu"])

    trio.run(run)


def as_debian() -> None:
    """Goes on as Debian's Python, from the beginning."""
    if sys.executable != DEBIAN:
        quiet = {**os.environ, "PGM_MIN_LOG_LEVEL": "FATAL"}  # it warns of lo, on standard output
        os.execve(DEBIAN, [DEBIAN, *sys.argv], quiet)


def libzmq(pattern: int) -> Any:
    """A socket of Debian's libzmq, set as trimq's."""
    import zmq

    made = zmq.Context().socket(pattern)
    made.rate, made.recovery_ivl = RATE, round(1000 * RECOVERY)
    return made


def pyzmq_receive(endpoint: str, options: dict[str, Any], ready: Callable[[], object]) -> dict[str, Any]:
    import zmq

    messages: list[bytes] = []
    count = options["count"] // options["width"]
    sub = libzmq(zmq.SUB)
    sub.rcvhwm, sub.rcvbuf, sub.rcvtimeo = options["hwm"], BUFFER, 5_000
    sub.subscribe(b"")
    sub.connect(endpoint)
    ready()
    while (first := sub.recv()) == HELLO:
        pass
    messages.append(first)
    clock = Clock()
    silence = 0.0
    try:
        while len(messages) < count:
            messages.append(sub.recv())
    except zmq.Again:
        silence = sub.rcvtimeo / 1000
    figures = clock.stop()
    return {
        "messages": messages,
        "first": clock.wall,
        "last": clock.wall + figures["wall"] - silence,
        "cpu": figures["cpu"],
        "lost": count - len(messages),
    }


def pyzmq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    as_debian()
    subscribe(endpoint, options, pyzmq_receive)


def pyzmq_publish(endpoint: str, options: dict[str, Any]) -> None:
    as_debian()
    import zmq

    endpoint, port = endpoint.split()
    messages = payloads(options)
    pub = libzmq(zmq.XPUB)
    pub.sndhwm = options["hwm"]
    pub.setsockopt(zmq.XPUB_NODROP, 1)
    pub.connect(endpoint)
    with socket.create_connection(("127.0.0.1", int(port))) as over:
        until = time.monotonic() + WARM_UP
        while time.monotonic() < until:
            pub.send(HELLO)
            time.sleep(0.02)
        clock = Clock()
        for message in messages:
            pub.send(message)
        over.recv(1)
        figures = clock.stop()
    report(cpu=figures["cpu"])
    sys.stdout.flush()
    os._exit(0)


def there_is_a_rival() -> bool:
    """Whether Debian's libzmq is installed, and has OpenPGM."""
    has = "import sys, zmq; sys.exit(not zmq.has('pgm'))"
    return os.path.exists(DEBIAN) and not subprocess.call([DEBIAN, "-c", has], stderr=subprocess.DEVNULL)


SCENARIOS = [
    Scenario(
        name=f"multicast-{width}",
        title=f"PUB to {width} SUB over epgm, {SIZE} bytes, at 1 Gbit/s",
        count=DELIVERIES,
        options={"width": width, "batch": False, "bind": "epgm://127.0.0.1"},
        contenders=[
            Contender("trimq", [trimq_subscribe, trimq_publish]),
            Contender("trimq in batches", [trimq_subscribe, trimq_publish], {"batch": True}),
            *([Contender("libzmq", [pyzmq_subscribe, pyzmq_publish])] if there_is_a_rival() else []),
        ],
        targets={"libzmq": 1.0} if there_is_a_rival() else {},
    )
    for width in WIDTHS
]

if __name__ == "__main__":
    main(__file__, SCENARIOS)
