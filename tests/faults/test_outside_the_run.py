"""Every public method from another thread and from a forked child: NoIOThread at once, and the run knows nothing of it.

Design 1. (tests/test_threads.py holds what messages do meanwhile, and what threads may do.)
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from faults.methods import every_use, refused

import trimq


@pytest.mark.parametrize("due", [True, False])
async def test_every_method_from_a_thread(due: bool) -> None:
    """Whether or not a call is due to yield. Nothing has changed afterwards."""
    async with trimq.open_context(linger=0.0) as context:
        uses = every_use(context)
        assert len(uses) > 100
        sockets = list(context._sockets)
        endpoints = [socket.endpoints for socket in sockets]
        context._pace.slice.due = -math.inf if due else math.inf
        wrong: dict[str, str] = {}

        def thread() -> None:
            wrong.update({name: what for name, use in uses.items() if (what := refused(use))})

        # one of no trio: trio's own threads may call into the run
        other = threading.Thread(target=thread)
        other.start()
        other.join()
        assert wrong == {}
        assert list(context._sockets) == sockets
        assert [socket.endpoints for socket in sockets] == endpoints
        assert not any(line for socket in sockets for line in socket._lines())


FORK = """
import os, sys, threading
import trio, trimq
from faults.methods import every_use, refused

async def exchange(address):
    async with trimq.open_context(linger=0.0) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(pull.bind(address))
        with trio.fail_after(10):
            for number in range(100):
                await push.send(b"%d" % number)
                assert await pull.receive() == [b"%d" % number]

def child(uses):
    wrong = {name: what for name, use in uses.items() if (what := refused(use))}
    for name, what in wrong.items():
        print(name, "in the child:", what)
    for address in ("inproc://own", "tcp://127.0.0.1:*", "ipc://*"):
        # a run of its own, which needs a thread: this one is in the middle of the parent's
        outcomes = []
        def run():
            trio.run(exchange, address)
            outcomes.append(address)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if not outcomes:
            print(address, "does not work in the child's own context")
            wrong[address] = "failed"
    sys.stdout.flush()
    os._exit(bool(wrong))

async def main():
    children = []
    async with trimq.open_context(linger=0.0) as context, trimq.open_context(checkpoints="every") as strict:
        uses = every_use(context) | {name + " (every)": use for name, use in every_use(strict).items()}
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(pull.bind("tcp://127.0.0.1:*"))
        await pull.wait_for_peers()

        async def receive():
            for number in range(20_000):
                assert await pull.receive() == [b"%d" % number]

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                for number in range(20_000):
                    await push.send(b"%d" % number)
                    if number % 8000 == 4000:  # in the middle of it
                        pid = os.fork()
                        if pid == 0:
                            child(uses)
                        children.append(pid)
            for pid in children:
                _, status = await trio.to_thread.run_sync(os.waitpid, pid, 0)
                assert os.waitstatus_to_exitcode(status) == 0
            await push.send(b"still")
            assert await pull.receive() == [b"still"]
    assert len(children) == 2

trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
def test_every_method_in_a_forked_child() -> None:
    """Forked in the middle of traffic: each is refused in the child, which can open a context of its own; the parent's
    messages all arrive, in order.
    """
    import trimq as installed

    tests, home = Path(__file__).parents[1], Path(installed.__file__).parents[1]
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(home)])}
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_what_threads_may_do_instead() -> None:
    """The message says how: trio.from_thread.run(socket.send, ...)."""
    async with trimq.open_context(linger=0.0) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(pull.bind("inproc://a"))
        await trio.to_thread.run_sync(lambda: trio.from_thread.run(push.send, b"hello"))
        assert await pull.receive() == [b"hello"]
