"""PUB to 1 and 4 SUB over epgm on loopback, 1 KiB messages, at 1,000,000 kbit/s: deliveries a second, none of them lost.

The publisher is one process, all its subscribers are another. What is counted is deliveries: messages times subscribers,
from the first to the last at the subscribers. The rate and the recovery interval, 0.5 s, are the same on both sides.

Fair: each side has the same high-water marks, and waits for room instead of dropping (trimq ``nodrop``, libzmq
ZMQ_XPUB_NODROP, which there is for XPUB), and receivers the same buffer in the system (without that, the system's is so small
that libzmq does not come to an end here). libzmq's subscribers are a blocking thread each; trimq's are a task each. The
rival is Debian's libzmq (package python3-zmq), which has OpenPGM, under Debian's own Python; the scenarios are left out
where that is not installed.

Checked, after the clock has stopped: each subscriber got every message, in order, byte for byte.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
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


def check(received: list[list[bytes]], options: dict[str, Any]) -> None:
    """Order and content, at each subscriber."""
    expected = payloads(options)
    for number, mine in enumerate(received):
        if mine != expected:
            wrong(
                f"subscriber {number} of {len(received)} got {len(mine)} of {len(expected)}, or not as they were sent"
            )


def gate(endpoint: str) -> socket.socket:
    """Tells the publisher where to come, and waits until it is there: it stays, for repairs, until this is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    announce(f"{endpoint} {listener.getsockname()[1]}")
    return listener.accept()[0]


def trimq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    received: list[list[bytes]] = [[] for _ in range(options["width"])]
    clocks: list[Clock] = []
    count = options["count"] // options["width"]

    async def take(sub: trimq.Sub, mine: list[bytes]) -> None:
        while (first := (await sub.receive())[0]) == HELLO:
            pass
        if not clocks:
            clocks.append(Clock())
        mine.append(first)
        while len(mine) < count:
            mine.append((await sub.receive())[0])

    async def take_many(sub: trimq.Sub, mine: list[bytes]) -> None:
        while len(mine) < count:
            some = [message[0] for message in await sub.receive_many() if message[0] != HELLO]
            if some and not clocks:
                clocks.append(Clock())
            mine += some

    async def run() -> None:
        async with trimq.open_context() as context:
            subs = [
                context.socket(
                    trimq.Sub,
                    receive_hwm=options["hwm"],
                    receive_buffer=BUFFER,
                    rate=RATE,
                    recovery_interval=RECOVERY,
                )
                for _ in received
            ]
            for sub in subs:
                sub.subscribe(b"")
                sub.connect(endpoint)
            publisher = await trio.to_thread.run_sync(gate, endpoint)
            async with trio.open_nursery() as nursery:
                with trio.fail_after(60):
                    for sub, mine in zip(subs, received, strict=True):
                        nursery.start_soon(take_many if options["batch"] else take, sub, mine)
            figures = clocks[0].stop()
            publisher.close()
            report(lost=sum(sub.statistics().lost for sub in subs), **figures)

    trio.run(run)
    check(received, options)


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


def pyzmq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    as_debian()
    import zmq

    received: list[list[bytes]] = [[] for _ in range(options["width"])]
    clocks: list[Clock] = []
    count = options["count"] // options["width"]

    def take(sub: Any, mine: list[bytes]) -> None:
        while (first := sub.recv()) == HELLO:
            pass
        if not clocks:
            clocks.append(Clock())
        mine.append(first)
        while len(mine) < count:
            mine.append(sub.recv())

    threads = []
    for mine in received:
        sub = libzmq(zmq.SUB)
        sub.rcvhwm = options["hwm"]
        sub.rcvbuf = BUFFER
        sub.rcvtimeo = 20_000
        sub.subscribe(b"")
        sub.connect(endpoint)
        threads.append(threading.Thread(target=take, args=(sub, mine)))
    publisher = gate(endpoint)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = clocks[0].stop()
    publisher.close()
    report(**figures)
    check(received, options)
    sys.stdout.flush()
    os._exit(0)


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
    return os.path.exists(DEBIAN) and not subprocess.run([DEBIAN, "-c", has], stderr=subprocess.DEVNULL).returncode


SCENARIOS = [
    Scenario(
        name=f"multicast-{width}",
        title=f"PUB to {width} SUB over epgm, {SIZE} bytes, at 1 Gbit/s",
        count=DELIVERIES,
        options={"width": width, "batch": False, "bind": f"epgm://127.0.0.1;239.192.7.{width}:5557"},
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
