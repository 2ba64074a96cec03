"""How long a question and its answer take: REQ and REP, 64 bytes each way, tcp, one after the other, two processes.

The time of every round trip is taken by the asking end: p50 and p99 in microseconds, and the CPU time a round trip of
both ends. Three figures of the same runs: p50 beside a raw trio echo (the floor: a `trio.SocketStream` on each side and no
ZeroMQ at all), p99 beside pyzmq's blocking calls, CPU beside zmq-anyio on trio, which is how trio programs reach libzmq
today.

Fair: one task or thread on each side that does nothing else; the same high-water marks; the first `WARM_UP` round
trips count for nobody, nor do start and connection. pyzmq's and pyomq's I/O threads are in their CPU time.
Checked: every question is distinct, both ends compare all they got, in order, after the clock has stopped.
"""

from __future__ import annotations

import statistics
from itertools import pairwise
from time import perf_counter
from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong

WARM_UP = 200
SIZE = 64


def questions(options: dict[str, Any]) -> list[bytes]:
    """Those of the warm-up first."""
    return [b"%0*d" % (SIZE, number) for number in range(WARM_UP + options["count"])]


def asked(clock: Clock, stamps: list[float], answers: list[bytes], expected: list[bytes]) -> None:
    """Reports for the asking end: one stamp before the first round trip, and one after each."""
    figures = clock.stop()
    trips = [1e6 * (after - before) for before, after in pairwise(stamps)]
    percentiles = statistics.quantiles(trips, n=100)
    report(**figures, p50_us=percentiles[49], p99_us=percentiles[98])
    if answers != expected:
        wrong("the answers are not those to the questions, in order")


def answered(clock: Clock, received: list[bytes], expected: list[bytes]) -> None:
    """Reports for the answering end."""
    report(cpu=clock.stop()["cpu"])
    if received != expected:
        wrong("the questions did not arrive as they were sent")


def trimq_answer(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Rep."""
    import trio

    import trimq

    async def run() -> None:
        received: list[bytes] = []
        async with trimq.open_context() as context:
            rep = context.socket(trimq.Rep, send_hwm=options["hwm"], receive_hwm=options["hwm"])
            announce(rep.bind(endpoint))

            async def answer(count: int) -> None:
                for _ in range(count):
                    [question] = await rep.receive()
                    received.append(question)
                    await rep.send(question)

            await answer(WARM_UP)
            clock = Clock()
            await answer(options["count"])
            answered(clock, received, questions(options))

    trio.run(run)


def trimq_ask(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Req."""
    import trio

    import trimq

    async def run() -> None:
        to_ask = questions(options)
        answers: list[bytes] = []
        async with trimq.open_context() as context:
            req = context.socket(trimq.Req, send_hwm=options["hwm"], receive_hwm=options["hwm"])
            req.connect(endpoint)

            async def ask(batch: list[bytes]) -> list[float]:
                stamps = [perf_counter()]
                for question in batch:
                    await req.send(question)
                    answers.append((await req.receive())[0])
                    stamps.append(perf_counter())
                return stamps

            await ask(to_ask[:WARM_UP])
            clock = Clock()
            asked(clock, await ask(to_ask[WARM_UP:]), answers, to_ask)

    trio.run(run)


def raw_answer(endpoint: str, options: dict[str, Any]) -> None:
    """A trio stream that sends back what it gets."""
    import trio

    async def run() -> None:
        received: list[bytes] = []
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            announce(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
            stream = await listener.accept()
        async with stream:

            async def answer(count: int) -> None:
                for _ in range(count):
                    question = await stream.receive_some(SIZE)
                    while len(question) < SIZE:
                        question += await stream.receive_some(SIZE - len(question)) or wrong("the stream has ended")
                    received.append(bytes(question))
                    await stream.send_all(question)

            await answer(WARM_UP)
            clock = Clock()
            await answer(options["count"])
            answered(clock, received, questions(options))

    trio.run(run)


def raw_ask(endpoint: str, options: dict[str, Any]) -> None:
    """A trio stream."""
    import trio

    async def run() -> None:
        to_ask = questions(options)
        answers: list[bytes] = []
        stream = await trio.open_tcp_stream("127.0.0.1", int(endpoint.rsplit(":", 1)[1]))
        async with stream:

            async def ask(batch: list[bytes]) -> list[float]:
                stamps = [perf_counter()]
                for question in batch:
                    await stream.send_all(question)
                    answer = await stream.receive_some(SIZE)
                    while len(answer) < SIZE:
                        answer += await stream.receive_some(SIZE - len(answer)) or wrong("the stream has ended")
                    answers.append(bytes(answer))
                    stamps.append(perf_counter())
                return stamps

            await ask(to_ask[:WARM_UP])
            clock = Clock()
            asked(clock, await ask(to_ask[WARM_UP:]), answers, to_ask)

    trio.run(run)


def pyzmq_answer(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq REP, blocking calls."""
    import zmq

    received: list[bytes] = []
    with zmq.Context() as context, context.socket(zmq.REP) as rep:
        rep.hwm = options["hwm"]
        rep.bind(endpoint)
        announce(rep.last_endpoint.decode())

        def answer(count: int) -> None:
            for _ in range(count):
                question = rep.recv()
                received.append(question)
                rep.send(question)

        answer(WARM_UP)
        clock = Clock()
        answer(options["count"])
        answered(clock, received, questions(options))


def pyzmq_ask(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq REQ, blocking calls."""
    import zmq

    to_ask = questions(options)
    answers: list[bytes] = []
    with zmq.Context() as context, context.socket(zmq.REQ) as req:
        req.hwm = options["hwm"]
        req.connect(endpoint)

        def ask(batch: list[bytes]) -> list[float]:
            stamps = [perf_counter()]
            for question in batch:
                req.send(question)
                answers.append(req.recv())
                stamps.append(perf_counter())
            return stamps

        ask(to_ask[:WARM_UP])
        clock = Clock()
        asked(clock, ask(to_ask[WARM_UP:]), answers, to_ask)


def pyzmq_asyncio_answer(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq REP on asyncio."""
    import asyncio

    import zmq
    import zmq.asyncio

    async def run() -> None:
        received: list[bytes] = []
        with zmq.asyncio.Context() as context, context.socket(zmq.REP) as rep:
            rep.hwm = options["hwm"]
            rep.bind(endpoint)
            announce(rep.last_endpoint.decode())

            async def answer(count: int) -> None:
                for _ in range(count):
                    question = await rep.recv()
                    received.append(question)
                    await rep.send(question)

            await answer(WARM_UP)
            clock = Clock()
            await answer(options["count"])
            answered(clock, received, questions(options))

    asyncio.run(run())


def pyzmq_asyncio_ask(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq REQ on asyncio."""
    import asyncio

    import zmq
    import zmq.asyncio

    async def run() -> None:
        to_ask = questions(options)
        answers: list[bytes] = []
        with zmq.asyncio.Context() as context, context.socket(zmq.REQ) as req:
            req.hwm = options["hwm"]
            req.connect(endpoint)

            async def ask(batch: list[bytes]) -> list[float]:
                stamps = [perf_counter()]
                for question in batch:
                    await req.send(question)
                    answers.append(await req.recv())
                    stamps.append(perf_counter())
                return stamps

            await ask(to_ask[:WARM_UP])
            clock = Clock()
            asked(clock, await ask(to_ask[WARM_UP:]), answers, to_ask)

    asyncio.run(run())


def anyio_answer(endpoint: str, options: dict[str, Any]) -> None:
    """A REP of zmq-anyio, on trio."""
    import trio
    import zmq
    import zmq_anyio

    async def run() -> None:
        received: list[bytes] = []
        context = zmq.Context()
        async with zmq_anyio.Socket(context.socket(zmq.REP)) as rep:
            rep.hwm = options["hwm"]
            rep.bind(endpoint)
            announce(rep.last_endpoint.decode())

            async def answer(count: int) -> None:
                for _ in range(count):
                    question = await rep.arecv()
                    received.append(question)
                    await rep.asend(question)

            await answer(WARM_UP)
            clock = Clock()
            await answer(options["count"])
            answered(clock, received, questions(options))
        context.term()

    trio.run(run)


def anyio_ask(endpoint: str, options: dict[str, Any]) -> None:
    """A REQ of zmq-anyio, on trio."""
    import trio
    import zmq
    import zmq_anyio

    async def run() -> None:
        to_ask = questions(options)
        answers: list[bytes] = []
        context = zmq.Context()
        async with zmq_anyio.Socket(context.socket(zmq.REQ)) as req:
            req.hwm = options["hwm"]
            req.connect(endpoint)

            async def ask(batch: list[bytes]) -> list[float]:
                stamps = [perf_counter()]
                for question in batch:
                    await req.asend(question)
                    answers.append(await req.arecv())
                    stamps.append(perf_counter())
                return stamps

            await ask(to_ask[:WARM_UP])
            clock = Clock()
            asked(clock, await ask(to_ask[WARM_UP:]), answers, to_ask)
        context.term()

    trio.run(run)


def pyomq_answer(endpoint: str, options: dict[str, Any]) -> None:
    """A REP of pyomq, on asyncio."""
    import asyncio

    import pyomq
    import pyomq.asyncio

    async def run() -> None:
        received: list[bytes] = []
        rep = pyomq.asyncio.Context().socket(pyomq.REP)
        rep.set_hwm(options["hwm"])
        announce(rep.bind(endpoint))

        async def answer(count: int) -> None:
            for _ in range(count):
                question = await rep.recv()
                received.append(question)
                await rep.send(question)

        await answer(WARM_UP)
        clock = Clock()
        await answer(options["count"])
        answered(clock, received, questions(options))
        rep.close(linger=1000)

    asyncio.run(run())


def pyomq_ask(endpoint: str, options: dict[str, Any]) -> None:
    """A REQ of pyomq, on asyncio."""
    import asyncio

    import pyomq
    import pyomq.asyncio

    async def run() -> None:
        to_ask = questions(options)
        answers: list[bytes] = []
        req = pyomq.asyncio.Context().socket(pyomq.REQ)
        req.set_hwm(options["hwm"])
        req.connect(endpoint)

        async def ask(batch: list[bytes]) -> list[float]:
            stamps = [perf_counter()]
            for question in batch:
                await req.send(question)
                answers.append(await req.recv())
                stamps.append(perf_counter())
            return stamps

        await ask(to_ask[:WARM_UP])
        clock = Clock()
        asked(clock, await ask(to_ask[WARM_UP:]), answers, to_ask)
        req.close()

    asyncio.run(run())


CONTENDERS = [
    Contender("trimq", [trimq_answer, trimq_ask]),
    Contender("raw trio echo", [raw_answer, raw_ask]),
    Contender("pyzmq blocking", [pyzmq_answer, pyzmq_ask]),
    Contender("pyzmq asyncio", [pyzmq_asyncio_answer, pyzmq_asyncio_ask], share=0.5),
    Contender("pyomq asyncio", [pyomq_answer, pyomq_ask], share=0.5),
    Contender("zmq-anyio on trio", [anyio_answer, anyio_ask], share=0.25),
]


def scenario(name: str, figure: str, metric: str, **targets: float) -> Scenario:
    """One figure of the runs that all three share."""
    return Scenario(
        name,
        f"round trip, REQ and REP, 64 B, tcp: {figure}",
        CONTENDERS,
        count=20_000,
        metric=metric,
        unit="us",
        targets=targets,
    )


if __name__ == "__main__":
    main(
        __file__,
        [
            scenario("round_trip_p50", "p50", "p50_us", **{"raw trio echo": 1.2}),
            scenario("round_trip_p99", "p99", "p99_us", **{"pyzmq blocking": 1.0}),
            scenario("round_trip_cpu", "CPU of both ends together", "cpu_us_all", **{"zmq-anyio on trio": 1 / 3}),
        ],
    )
