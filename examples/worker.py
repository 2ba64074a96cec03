"""Does tasks: takes numbers from the ventilator, factors them, and pushes what it finds to the sink.

    python examples/worker.py [TASKS [RESULTS [COUNT]]]

Does COUNT tasks, or goes on until Ctrl-C. Start as many workers as you like, before or after the others.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio

import trimq


def factor(number: int) -> list[int]:
    """The prime factors, in order."""
    factors: list[int] = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors + [number] * (number > 1)


async def main(tasks: str = "tcp://127.0.0.1:5557", results: str = "tcp://127.0.0.1:5558", count: str = "inf") -> None:
    async with trimq.open_context() as ctx:
        pull = ctx.socket(trimq.Pull)
        pull.connect(tasks)
        push = ctx.socket(trimq.Push)
        push.connect(results)
        done = 0
        while done < float(count):
            [number] = await pull.receive()
            factors = factor(int(number))
            await push.send([number, *(b"%d" % one for one in factors)])
            done += 1
    print(f"did {done} tasks")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
