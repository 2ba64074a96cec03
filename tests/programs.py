"""Programs in processes of their own, for tests: a command line, an example, a peer.

They import the trimq that the tests import, installed or not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

import trimq

PATIENCE = 60  # seconds, on a busy machine; a test that needs them has failed


class Program:
    """A program that runs: its output line by line, and its end."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self._stdout: trio.abc.ReceiveStream = process.stdout
        self._read = b""

    async def line(self) -> str:
        """Its next line of output, without the line end; AssertionError if it has ended."""
        while b"\n" not in self._read:
            some = await self._stdout.receive_some()
            assert some, f"the program has ended; at the end it said {self._read!r}"
            self._read += some
        line, self._read = self._read.split(b"\n", 1)
        return line.decode()

    async def rest(self) -> list[str]:
        """The lines that are left, when it has ended with exit code 0."""
        assert await self.end() == 0
        return self.left

    @property
    def left(self) -> list[str]:
        """The lines that were not asked for, when it has ended."""
        return self._read.decode().splitlines()

    async def end(self) -> int:
        """Waits until it has ended; returns its exit code."""
        async for some in self._stdout:
            self._read += some
        return await self.process.wait()


@asynccontextmanager
async def running(*arguments: str, stderr: int | None = None) -> AsyncIterator[Program]:
    """A Python that runs with these arguments, for as long as the block; killed if it has not ended by then."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            command = partial(
                trio.run_process,
                [sys.executable, "-P", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(),
                check=False,
            )
            process: trio.Process = await nursery.start(command)
            async with process.stdout:
                yield Program(process)
            nursery.cancel_scope.cancel()


def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a Python with these arguments to its end."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )


def environment() -> dict[str, str]:
    """This process's environment, with a Python that finds the trimq of the tests."""
    here = str(Path(trimq.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
