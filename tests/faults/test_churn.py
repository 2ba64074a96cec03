"""1,000 reconnects and 10,000 connections, in six rounds: memory, tasks and descriptors are back at the start (churn.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import environment

PROGRAM = Path(__file__).with_name("churn.py")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="platform: needs /proc")
@pytest.mark.parametrize(
    ("what", "each", "address"),
    [
        ("reconnects", 170, "tcp://127.0.0.1:*"),
        ("reconnects", 60, "ipc://*"),
        ("connections", 1700, "tcp://127.0.0.1:*"),
        ("connections", 200, "ipc://*"),
    ],
)
def test_nothing_is_left(what: str, each: int, address: str) -> None:
    """Tasks and descriptors are those of the start; between the first rounds and the last no memory is kept.

    What is kept of the first are tables of the size of a crowd, trio's and trimq's, and what was imported late. What is kept
    for a while are some dozens of deadlines that are over.
    """
    tests, surroundings = str(PROGRAM.parents[1]), environment()
    surroundings["PYTHONPATH"] = os.pathsep.join([surroundings["PYTHONPATH"], tests])
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), what, str(each), address],
        capture_output=True,
        text=True,
        env=surroundings,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    start, *rounds = ([int(word) for word in line.split()] for line in done.stdout.splitlines())
    assert [connections for *_, connections in rounds] == [each] * 6
    for tasks, descriptors, *_ in rounds:
        assert [tasks, descriptors] == start[:2], done.stdout
    memory = [size for *_, size, _ in rounds]
    grown = min(memory[3:]) - min(memory[:3])
    assert grown < 32_000 + 4 * 3 * each, done.stdout
