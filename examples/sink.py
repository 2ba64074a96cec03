"""Collects results: a Pull, which takes messages from all who push to it, from each in turn.

    python examples/sink.py [ENDPOINT [COUNT]]

Prints COUNT results, 100 if not told, and how long they took. See ventilator.py and worker.py.
"""

from __future__ import annotations

import sys
import time
from functools import partial

import trio

import trimq


async def main(endpoint: str = "tcp://127.0.0.1:5558", count: str = "100") -> None:
    async with trimq.open_context() as ctx:
        pull = ctx.socket(trimq.Pull)
        print(f"results at {pull.bind(endpoint)}", flush=True)
        await pull.wait_receivable()
        start = time.perf_counter()
        for _ in range(int(count)):
            number, *factors = await pull.receive()
            print(f"{number.decode()} = {b' * '.join(factors).decode()}")
        print(f"{count} results in {time.perf_counter() - start:.3f} seconds")


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
