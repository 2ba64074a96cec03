"""How long other tasks wait while tight loops receive from 1, 10 and 100 full sockets, and what each loop gets.

Each PULL has a task of its own that does nothing but receive, by ``await receive()``, by ``async for`` or by
``receive_many()``; beside them a task sleeps for a millisecond, again and again. What is compared is how long such a
sleep took, at the 99th percentile.

- Inproc: all messages wait in the sockets before the loops start, so that no call ever has to wait.
- Tcp: another process keeps all sockets full, in batches; the reading of the connections is in the way, too.

Beside it the same loops on trio memory channels, where each receive is a schedule point, and the sleeping task alone.

- p50_ms, p99_ms, longest_ms: how long a sleep of one millisecond took.
- busy_p99_ms: for how much of it this process was running, at the 99th percentile: what other programs on the machine
  took is not in it.
- unfair: what the loop that got most has received, over what the one that got least has, when the first was done.
- per_s: messages a second, all loops together.

Checked: each loop got its own messages, in order, byte for byte.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong

SIZE = 64
GOALS = {1: 2, 10: 2, 100: 4}  # milliseconds, for so many sockets
HOW = {"receive": "await receive()", "iterate": "async for", "many": "receive_many()"}


def payloads(options: dict[str, Any]) -> list[bytes]:
    """What each socket is to receive."""
    return [b"%0*d" % (SIZE, number) for number in range(options["count"] // options["sockets"])]


async def sleeper(took: list[float], busy: list[float]) -> None:
    """Sleeps for a millisecond, again and again, and notes how long each took, and how long the process ran in it."""
    import trio

    while True:
        start, ran = time.perf_counter(), time.process_time()
        await trio.sleep(0.001)
        took.append(1000 * (time.perf_counter() - start))
        busy.append(1000 * (time.process_time() - ran))


def p99(values: list[float]) -> float:
    """Only one in a hundred is larger."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


async def measure(loops: Sequence[Callable[[], Awaitable[None]]], received: list[list[bytes]]) -> None:
    """Runs the loops until the first of them is done, with the sleeper beside them; reports."""
    import trio

    took: list[float] = []
    busy: list[float] = []
    # Millions of messages that wait are this benchmark's own: the collector need not go through them again and again.
    gc.collect()
    gc.freeze()
    clock = Clock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper, took, busy)

        async def first(loop: Callable[[], Awaitable[None]]) -> None:
            await loop()
            nursery.cancel_scope.cancel()

        for loop in loops:
            nursery.start_soon(first, loop)
    spent = clock.stop()
    shares = [len(mine) for mine in received] or [1]
    report(
        p99_ms=p99(took),
        p50_ms=statistics.median(took),
        longest_ms=max(took),
        busy_p99_ms=p99(busy),
        sleeps=len(took),
        unfair=max(shares) / max(1, min(shares)),
        per_s=sum(shares) / spent["wall"],
    )


def check(received: list[list[bytes]], expected: list[bytes]) -> None:
    """Order and content, of what each loop got until the first was done."""
    for mine in received:
        if mine != expected[: len(mine)]:
            wrong("a loop did not get the messages of its socket in order")
    if not any(len(mine) == len(expected) for mine in received):
        wrong("no loop has got all of its messages")


def trimq_loop(pull: Any, mine: list[bytes], how: str, count: int) -> Callable[[], Awaitable[None]]:
    """A tight loop over one socket."""

    async def receive() -> None:
        while len(mine) < count:
            mine.append((await pull.receive())[0])

    async def iterate() -> None:
        async for [body] in pull:
            mine.append(body)
            if len(mine) == count:
                break

    async def many() -> None:
        while len(mine) < count:
            mine.extend([message[0] for message in await pull.receive_many()])

    return {"receive": receive, "iterate": iterate, "many": many}[how]


def trimq_inproc(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    messages = payloads(options)
    received: list[list[bytes]] = [[] for _ in range(options["sockets"])]

    async def run() -> None:
        async with trimq.open_context(receive_hwm=math.inf) as context:
            loops = []
            for number, mine in enumerate(received):
                pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
                pull.bind(f"inproc://{number}")
                push.connect(f"inproc://{number}")
                await push.send_many(messages)
                loops.append(trimq_loop(pull, mine, options["how"], len(messages)))
            await measure(loops, received)

    trio.run(run)
    check(received, messages)


def trimq_tcp(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    messages = payloads(options)
    received: list[list[bytes]] = [[] for _ in range(options["sockets"])]

    async def run() -> None:
        async with trimq.open_context(receive_hwm=options["hwm"]) as context:
            pulls = [context.socket(trimq.Pull) for _ in received]
            announce(" ".join(str(pull.bind(endpoint)) for pull in pulls))
            for pull in pulls:
                await pull.wait_receivable()
            loops = [
                trimq_loop(pull, mine, options["how"], len(messages))
                for pull, mine in zip(pulls, received, strict=True)
            ]
            await measure(loops, received)

    trio.run(run)
    check(received, messages)


def feed_tcp(endpoints: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    messages = payloads(options)

    async def run() -> None:
        # The sockets are gone when the first of them is empty: what was for the others is dropped.
        async with trimq.open_context(linger=0, send_hwm=options["hwm"]) as context, trio.open_nursery() as nursery:
            pushes = [context.socket(trimq.Push) for _ in range(options["sockets"])]
            for push, endpoint in zip(pushes, endpoints.split(), strict=True):
                push.connect(endpoint)
                await push.wait_for_peers()
                nursery.start_soon(push.send_many, messages)
            while any(push.peers for push in pushes):
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        report(fed=len(pushes))

    trio.run(run)


def trio_channels(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    messages = payloads(options)
    received: list[list[bytes]] = [[] for _ in range(options["sockets"])]

    def loop(channel: trio.MemoryReceiveChannel[bytes], mine: list[bytes]) -> Callable[[], Awaitable[None]]:
        async def receive() -> None:
            while len(mine) < len(messages):
                mine.append(await channel.receive())

        return receive

    async def run() -> None:
        loops = []
        for mine in received:
            send_end, receive_end = trio.open_memory_channel[bytes](math.inf)
            for message in messages:
                send_end.send_nowait(message)
            loops.append(loop(receive_end, mine))
        await measure(loops, received)

    trio.run(run)
    check(received, messages)


def nothing_else(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    async def wait() -> None:
        await trio.sleep(1.0)

    trio.run(measure, [wait], [])


def scenario(transport: str, sockets: int) -> Scenario:
    """One number of sockets, all ways to receive."""
    ends = {"inproc": [trimq_inproc], "tcp": [trimq_tcp, feed_tcp]}[transport]
    rivals = [Contender("trio memory channels", [trio_channels], share=0.2), Contender("nothing else", [nothing_else])]
    return Scenario(
        name=f"fairness-{transport}-{sockets}",
        title=f"a sleep of 1 ms beside loops on {sockets} full PULL, {transport}: the 99th percentile",
        contenders=[
            *(
                Contender(f"trimq, {words}", ends, {"how": how}, 2.0 if how == "many" else 1.0)
                for how, words in HOW.items()
            ),
            *(rivals if transport == "inproc" else []),
        ],
        count=3_000_000,
        options={"sockets": sockets},
        metric="p99_ms",
        unit="ms",
        limits={(f"trimq, {words}", "p99_ms"): GOALS[sockets] for words in HOW.values()},
    )


SCENARIOS = [scenario(transport, sockets) for transport in ("inproc", "tcp") for sockets in GOALS]

if __name__ == "__main__":
    main(__file__, SCENARIOS)
