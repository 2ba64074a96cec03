"""Gives out tasks: a Push, which distributes its messages among all who are connected.

    python examples/ventilator.py [ENDPOINT [COUNT [WORKERS]]]

Waits for WORKERS workers (1 if not told), so that the first does not get everything, and gives out COUNT tasks, 100 if
not told: numbers to factor. Workers are python examples/worker.py; python examples/sink.py prints what they find.
"""

from __future__ import annotations

import sys
from functools import partial

import trio

import trimq


async def main(endpoint: str = "tcp://127.0.0.1:5557", count: str = "100", workers: str = "1") -> None:
    async with trimq.open_context() as ctx:
        push = ctx.socket(trimq.Push)
        print(f"tasks at {push.bind(endpoint)}", flush=True)
        await push.wait_for_peers(int(workers))
        await push.send_many(b"%d" % (10**9 + number) for number in range(int(count)))
        print(f"gave out {count} tasks")


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
