"""How long a question and its answer take with CLIENT and SERVER: 64 bytes each way, tcp, one after the other.

Beside trimq's own REQ and REP (the question of round_trip.py; CLIENT and SERVER send one frame less, and keep no order of
calls) and the npm package zeromq (libzmq 4.3.5 with drafts), since pyzmq's wheels have no CLIENT. Taken and checked as
round_trip.py does: p50 of every round trip, and the CPU time of both ends. node's event loop is in the package's figures.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from harness import Clock, Contender, Scenario, announce, main
from npm_ends import become
from round_trip import WARM_UP, answered, asked, questions, trimq_answer, trimq_ask


def trimq_server(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Server."""
    import trio

    import trimq

    async def run() -> None:
        received: list[bytes] = []
        async with trimq.open_context() as context:
            server = context.socket(trimq.Server, send_hwm=options["hwm"], receive_hwm=options["hwm"])
            announce(server.bind(endpoint))

            async def answer(count: int) -> None:
                for _ in range(count):
                    question = await server.receive()
                    received.append(question.body)
                    await server.send(question)

            await answer(WARM_UP)
            clock = Clock()
            await answer(options["count"])
            answered(clock, received, questions(options))

    trio.run(run)


def trimq_client(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Client."""
    import trio

    import trimq

    async def run() -> None:
        to_ask = questions(options)
        answers: list[bytes] = []
        async with trimq.open_context() as context:
            client = context.socket(trimq.Client, send_hwm=options["hwm"], receive_hwm=options["hwm"])
            client.connect(endpoint)

            async def ask(batch: list[bytes]) -> list[float]:
                stamps = [perf_counter()]
                for question in batch:
                    await client.send(question)
                    answers.append((await client.receive())[0])
                    stamps.append(perf_counter())
                return stamps

            await ask(to_ask[:WARM_UP])
            clock = Clock()
            asked(clock, await ask(to_ask[WARM_UP:]), answers, to_ask)

    trio.run(run)


def npm_server(endpoint: str, options: dict[str, Any]) -> None:
    """A Server of the npm package."""
    become("server", endpoint, {**options, "warm_up": WARM_UP})


def npm_client(endpoint: str, options: dict[str, Any]) -> None:
    """A Client of the npm package."""
    become("client", endpoint, {**options, "warm_up": WARM_UP})


CONTENDERS = [
    Contender("trimq", [trimq_server, trimq_client]),
    Contender("trimq, REQ and REP", [trimq_answer, trimq_ask]),
    Contender("npm zeromq", [npm_server, npm_client], share=0.5),
]


def scenario(name: str, figure: str, metric: str) -> Scenario:
    """One figure of the runs that both share."""
    return Scenario(
        name,
        f"round trip, CLIENT and SERVER, 64 B, tcp: {figure}",
        CONTENDERS,
        count=20_000,
        metric=metric,
        unit="us",
        targets={"trimq, REQ and REP": 1.0, "npm zeromq": 1.0},
    )


if __name__ == "__main__":
    main(
        __file__,
        [
            scenario("client_server_p50", "p50", "p50_us"),
            scenario("client_server_cpu", "CPU of both ends together", "cpu_us_all"),
        ],
    )
