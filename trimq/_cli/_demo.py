"""The demo's own process: it starts the workers, feeds them jobs, and collects what they counted.

    feed --PUSH--> PULL workers PUSH--> PULL collect        tcp or another, to processes of their own
      |                                        |
      +---PUB----> SUB show SUB <------PUB-----+            one SUB, connected to inproc and tcp at once

Read `count_with_workers` first. What a worker process does is in `_worker`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import attrs
import trio

from .._context import Context, open_context
from .._errors import ProtocolNotSupported
from .._sockets._pipeline import Pull, Push
from .._sockets._publishers import Pub
from .._sockets._subscribers import Sub
from ._files import DemoError, choose_files, count_alone, read_blocks
from ._report import ProgressLine, Tally, print_check, print_tally
from ._words import END, SENT, make_jobs

__all__ = ["ANYWHERE", "available_cores", "demo"]

ANYWHERE = {"tcp": "tcp://127.0.0.1:*", "ipc": "ipc://*", "vmci": "vmci://local:*", "tipc": "tipc://<*>"}

# What the progress reports are about; `END` instead of numbers ends them.
FED = b"fed"
COUNTED = b"counted"


class Interrupted(Exception):
    """Ctrl-C."""


@attrs.frozen
class Worker:
    """A worker process to be: its name, and its kind, which is the library it uses."""

    name: str
    kind: str

    def command(self, jobs_at: str, results_at: str) -> list[str]:
        """How to start it, with the endpoints where there are jobs and where results are awaited."""
        module = {"trimq": "_worker", "pyzmq": "_pyzmq_worker"}[self.kind]
        path = ["-P"] if sys.flags.safe_path else []  # it must find the same trimq
        return [sys.executable, *path, "-m", f"{__package__}.{module}", self.name, jobs_at, results_at]


@attrs.frozen
class Plan:
    """What is to be done."""

    files: Sequence[Path]
    workers: Sequence[Worker]
    transport: str


# The command


def demo(files: Sequence[Path], *, workers: int, transport: str, with_pyzmq: bool) -> int:
    """Counts, prints and checks; tells in one line what went wrong. Returns the exit code (see `trimq._cli.main`)."""
    code = 2
    try:
        if with_pyzmq and transport == "vmci":
            raise DemoError(
                "the libzmq that pyzmq brings has no vmci: leave out --with-pyzmq, or use another transport"
            )
        plan = Plan(choose_files(files), hire(workers, with_pyzmq=with_pyzmq), transport)
        code = 1
        code = trio.run(until_interrupt, partial(run, plan))
    except* DemoError as group:
        for error in leaves(group):
            print(f"trimq demo: {error}", file=sys.stderr)
    except* (Interrupted, KeyboardInterrupt):
        print("trimq demo: interrupted", file=sys.stderr)
        code = 130
    except* BrokenPipeError:
        # Whoever read our output has enough (`| head`); at exit there must be nothing to write to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hire(workers: int, *, with_pyzmq: bool) -> list[Worker]:
    """So many workers; every second one, beginning with the first, is pyzmq's if that is wanted.

    Raises:
      DemoError: pyzmq is wanted and not installed.
    """
    if with_pyzmq and importlib.util.find_spec("zmq") is None:
        raise DemoError("--with-pyzmq needs pyzmq, which is not installed: pip install pyzmq")
    kinds = ["pyzmq", "trimq"] if with_pyzmq else ["trimq"]
    return [Worker(f"worker {number + 1}", kinds[number % len(kinds)]) for number in range(workers)]


def leaves(group: BaseExceptionGroup[DemoError]) -> Iterator[DemoError]:
    """The exceptions in a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def until_interrupt(work: Callable[[], Awaitable[int]]) -> int:
    """Returns what the work returns, or cancels it and raises Interrupted at Ctrl-C."""
    code = 1
    async with trio.open_nursery() as nursery:
        await nursery.start(raise_at_interrupt)
        code = await work()
        nursery.cancel_scope.cancel()
    return code


async def raise_at_interrupt(task_status: trio.TaskStatus[None]) -> None:
    """Waits for Ctrl-C."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            raise Interrupted


async def run(plan: Plan) -> int:
    """Counts with workers, then alone, and prints both; returns the exit code."""
    tally = await count_with_workers(plan)
    kinds = {worker.name: worker.kind for worker in plan.workers}
    print_tally(tally, files=len(plan.files), kinds=kinds, transport=plan.transport, out=sys.stdout)
    start = perf_counter()
    expected = await trio.to_thread.run_sync(count_alone, plan.files)
    return 0 if print_check(tally.words, expected, perf_counter() - start, out=sys.stdout) else 1


# The count


async def count_with_workers(plan: Plan) -> Tally:
    """Has worker processes count the words of the plan's files.

    Raises:
      DemoError: a worker died, a file cannot be read, or this machine has no such transport; alone, or in a group.
    """
    tally = Tally()
    async with open_context() as context, trio.open_nursery() as nursery:
        jobs = context.socket(Push)
        try:
            jobs_at = jobs.bind(ANYWHERE[plan.transport])
        except ProtocolNotSupported as error:
            raise DemoError(str(error)) from error
        results = context.socket(Pull)
        results_at = results.bind(ANYWHERE[plan.transport])
        for worker in plan.workers:
            await nursery.start(watch_worker, worker, worker.command(str(jobs_at), str(results_at)))
        await jobs.wait_for_peers(len(plan.workers))

        progress = context.socket(Sub)
        progress.subscribe(b"")
        fed = await publish_to(progress, context, "inproc://fed")
        counted = await publish_to(progress, context, "tcp://127.0.0.1:*")
        nursery.start_soon(show, progress, len(plan.files))

        results.bind("inproc://results")
        sent = context.socket(Push)
        sent.connect("inproc://results")
        start = perf_counter()
        nursery.start_soon(feed, plan.files, jobs, sent, fed)
        await collect(results, tally, counted)
        await dismiss(len(plan.workers), jobs, results, tally)
        tally.seconds = perf_counter() - start
    return tally


async def watch_worker(worker: Worker, command: Sequence[str], task_status: trio.TaskStatus[None]) -> None:
    """Runs a worker process to its end. Cancelled, it ends the process.

    Raises:
      DemoError: the worker ended otherwise than by having done its work.
    """
    async with trio.open_nursery() as nursery:
        # The pipe to its standard input tells it when this process has gone; in a session of its own, it is spared a
        # terminal's Ctrl-C, which is for us to deal with.
        start = partial(trio.run_process, command, stdin=subprocess.PIPE, start_new_session=True, check=False)
        process: trio.Process = await nursery.start(start)
        assert process.stdin is not None
        async with process.stdin:
            print(f"{worker.name}: {worker.kind}, process {process.pid}", file=sys.stderr, flush=True)
            task_status.started()
            code = await process.wait()
    if code:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise DemoError(f"{worker.name} ({worker.kind}, process {process.pid}) {how}: what it had to count is lost")


async def publish_to(subscriber: Sub, context: Context, endpoint: str) -> Pub:
    """A publisher at an endpoint to which the subscriber is now connected. It waits rather than drop anything."""
    publisher = context.socket(Pub, nodrop=True)
    subscriber.connect(publisher.bind(endpoint))
    await publisher.wait_for_subscribers()
    return publisher


async def feed(files: Sequence[Path], jobs: Push, sent: Push, progress: Pub) -> None:
    """Sends the files' lines as jobs, and then how many jobs that were."""
    count = 0
    for number, path in enumerate(files, 1):
        first = 1
        blocks = read_blocks(path)
        while lines := await trio.to_thread.run_sync(next, blocks, None):
            batch = make_jobs(str(path), lines, first)
            await jobs.send_many(batch)
            count += len(batch)
            first += len(lines)
        await progress.send([FED, b"%d" % number])
    await progress.send([FED, END])
    await sent.send([SENT, b"%d" % count])


async def collect(results: Pull, tally: Tally, progress: Pub) -> None:
    """Collects reports until every job that was sent is reported."""
    while tally.total.jobs != tally.sent:
        tally.add(await results.receive())
        await progress.send([COUNTED, b"%d" % tally.total.jobs, b"%d" % tally.total.words])
    await progress.send([COUNTED, END])


async def dismiss(workers: int, jobs: Push, results: Pull, tally: Tally) -> None:
    """Sends the workers home, and collects their totals."""
    for _ in range(workers):
        await jobs.send(END)  # nothing is queued for anybody, so that taking turns gives each worker one
    while tally.ended < workers:
        tally.add(await results.receive())


async def show(progress: Sub, files: int) -> None:
    """Shows what the publishers say, until both have ended."""
    fed = jobs = words = ended = 0
    with ProgressLine(sys.stderr) as line:
        while ended < 2:
            topic, *numbers = await progress.receive()
            if numbers == [END]:
                ended += 1
            elif topic == FED:
                [fed] = map(int, numbers)
            else:
                jobs, words = map(int, numbers)
            line.show(f"{fed:,} of {files:,} files sent, {jobs:,} messages and {words:,} words counted", fed / files)
