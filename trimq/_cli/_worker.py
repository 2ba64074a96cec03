"""A worker process of the demo, with trimq: takes jobs, counts their words, tells what it counted.

    python -m trimq._cli._worker NAME JOBS RESULTS

Exit code 0 means that everything it had to say is on its way. Its standard input is a pipe from the demo: where
that ends, the demo has ended, and so does the worker.
"""

from __future__ import annotations

import os
import sys

import trio

from .._context import open_context
from .._sockets._pipeline import Pull, Push
from ._words import END, Count, parse_worker_arguments


async def work(name: str, jobs_at: str, results_at: str) -> None:
    """Does jobs until there will be no more."""
    count = Count(name)
    async with open_context() as context:
        jobs = context.socket(Pull)
        jobs.connect(jobs_at)
        results = context.socket(Push)
        results.connect(results_at)
        while (some := await jobs.receive_many(100)) != [[END]]:
            await results.send(count.do(some))
        await results.send_many(count.totals())


async def cancel_at_end_of_input(scope: trio.CancelScope) -> None:
    """Cancels when whoever started this process has gone."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        await stdin.receive_some(1)
    scope.cancel()


async def main() -> int:
    """Works, and returns the exit code."""
    arguments = parse_worker_arguments()
    done = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at_end_of_input, nursery.cancel_scope)
        await work(arguments.name, arguments.jobs, arguments.results)
        done = True
        nursery.cancel_scope.cancel()
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))
