"""Threads, runs and processes: who may use a context, and how (design 1, issue 2 points 3 and 4)."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from operator import length_hint
from typing import Any

import pytest
import trio

import trimq

EMTHREAD = 156384712 + 54


@pytest.mark.parametrize("address", ["inproc://work", "tcp://127.0.0.1:*", "ipc://*"])
async def test_worker_threads_send_and_receive(address: str) -> None:
    """trio.from_thread.run(socket.send, ...) and .receive serve worker threads, inproc included; none lost, none twice."""
    total = 40
    with trio.fail_after(30):
        async with trimq.open_context() as context:
            push, pull = context.socket(trimq.Push, send_hwm=3), context.socket(trimq.Pull, receive_hwm=3)
            push.connect(pull.bind(address))
            got: list[bytes] = []

            def sender(name: int) -> None:
                for n in range(total):
                    trio.from_thread.run(push.send, b"%d.%d" % (name, n))

            def receiver() -> None:
                for _ in range(total):
                    [frame] = trio.from_thread.run(pull.receive)
                    got.append(frame)

            async with trio.open_nursery() as nursery:
                for name in range(2):
                    nursery.start_soon(trio.to_thread.run_sync, sender, name)
                    nursery.start_soon(trio.to_thread.run_sync, receiver)
    assert sorted(got) == sorted(b"%d.%d" % (name, n) for name in range(2) for n in range(total))


@pytest.mark.parametrize("address", ["inproc://ask", "tcp://127.0.0.1:*", "ipc://*"])
async def test_thread_safe(address: str) -> None:
    """test_thread_safe: two threads send on one CLIENT, others answer by one SERVER; each message once.

    libzmq makes these two types safe for threads; here all of them are, by way of the trio run that they belong to.
    """
    total = 300
    with trio.fail_after(60):
        async with trimq.open_context() as context:
            client, server = context.socket(trimq.Client, send_hwm=3), context.socket(trimq.Server, receive_hwm=3)
            client.connect(server.bind(address))
            asked: list[bytes] = []
            answers: list[bytes] = []

            def asks(name: int) -> None:
                for n in range(total):
                    trio.from_thread.run(client.send, b"%d.%d" % (name, n))

            def serves() -> None:
                for _ in range(total):
                    question = trio.from_thread.run(server.receive)
                    asked.append(question.body)
                    trio.from_thread.run(server.send, trimq.RoutedMessage(question.routing_id, question.body[::-1]))

            def hears() -> None:
                for _ in range(total):
                    [answer] = trio.from_thread.run(client.receive)
                    answers.append(answer[::-1])

            async with trio.open_nursery() as nursery:
                for name in range(2):
                    nursery.start_soon(trio.to_thread.run_sync, asks, name)
                    nursery.start_soon(trio.to_thread.run_sync, serves)
                    nursery.start_soon(trio.to_thread.run_sync, hears)
    expected = sorted(b"%d.%d" % (name, n) for name in range(2) for n in range(total))
    assert sorted(asked) == sorted(answers) == expected


async def test_the_end_reaches_threads() -> None:
    """Promise 2: a receive on behalf of a thread ends in ContextTerminated, in the thread."""
    ends: list[type[BaseException]] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, trimq.open_context() as context:
            pull = context.socket(trimq.Pull)
            pull.bind("inproc://a")

            def receiver() -> None:
                try:
                    trio.from_thread.run(pull.receive)
                except trimq.ContextTerminated as error:
                    ends.append(type(error))

            nursery.start_soon(trio.to_thread.run_sync, receiver)
            nursery.start_soon(trio.to_thread.run_sync, receiver)
            while len(pull._receivers) < 2:
                await trio.lowlevel.checkpoint()
    assert ends == [trimq.ContextTerminated] * 2


USES: dict[str, Callable[[trimq.Context, trimq.Push, trimq.Pull], Any]] = {
    "context.socket": lambda context, push, pull: context.socket(trimq.Push),
    "context.shutdown": lambda context, push, pull: context.shutdown(),
    "bind": lambda context, push, pull: push.bind("inproc://b"),
    "connect": lambda context, push, pull: push.connect("inproc://b"),
    "send_nowait": lambda context, push, pull: push.send_nowait(b"x"),
    "receive_nowait": lambda context, push, pull: pull.receive_nowait(),
    "send": lambda context, push, pull: trio.run(push.send, b"x"),
    "send_many": lambda context, push, pull: trio.run(push.send_many, [b"x"]),
    "receive": lambda context, push, pull: trio.run(pull.receive),
    "receive_many": lambda context, push, pull: trio.run(pull.receive_many),
    "wait_receivable": lambda context, push, pull: trio.run(pull.wait_receivable),
    "wait_sendable": lambda context, push, pull: trio.run(push.wait_sendable),
    "wait_any": lambda context, push, pull: trio.run(trimq.wait_any, pull),
    "wait_for_peers": lambda context, push, pull: trio.run(push.wait_for_peers),
    "flush": lambda context, push, pull: trio.run(push.flush),
    "ready": lambda context, push, pull: trio.run(push.endpoints[0].ready),
}


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
@pytest.mark.parametrize("something", [0, 1, 60])
@pytest.mark.parametrize("due", [True, False])
async def test_a_foreign_thread(use: Callable[..., Any], something: int, due: bool) -> None:
    """Design 1: use from another thread, or another run, is NoIOThread (EMTHREAD, a RuntimeError), and changes nothing."""
    async with trimq.open_context(linger=0.0) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(pull.bind("inproc://a"))
        context._pace.slice.due, context._pace.ahead = math.inf, 1.0
        for _ in range(something):
            await push.send(b"mine")
        for _ in range(something // 2):
            await pull.receive()
        if something > 1:  # the run's own next calls would not ask
            assert length_hint(push._credit.puts)
            assert length_hint(pull._credit.takes)

        def thread() -> trimq.NoIOThread:
            with pytest.raises(trimq.NoIOThread, match=r"trio\.from_thread\.run") as caught:
                use(context, push, pull)
            return caught.value

        # Whether or not a call is due to yield.
        context._pace.slice.due = -math.inf if due else math.inf
        error = await trio.to_thread.run_sync(thread)
        assert error.errno == EMTHREAD
        assert isinstance(error, RuntimeError)
        await push.send(b"last")
        assert [await pull.receive() for _ in range(1 + something - something // 2)][-1] == [b"last"]
        assert not push._senders
        assert not pull._receivers


def test_a_later_run() -> None:
    """A context ends with its block: what is kept of it says so in a later run of the same thread."""
    kept: list[Any] = []

    async def first() -> None:
        async with trimq.open_context() as context:
            kept.extend([context, context.socket(trimq.Pull)])

    async def later() -> None:
        context, pull = kept
        with pytest.raises(trimq.ContextTerminated):
            context.socket(trimq.Pull)
        with pytest.raises(trimq.ContextTerminated):
            await pull.receive()
        async with trimq.open_context():
            pass

    trio.run(first)
    trio.run(later)


FORK = """
import os, sys
from operator import length_hint
import trio, trimq

async def main():
    async with trimq.open_context() as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        push.connect(pull.bind("inproc://a"))
        context._pace.slice.due, context._pace.ahead = float("inf"), 1.0  # calls need not ask, but in the child
        for _ in range(61):
            await push.send(b"x")
        for _ in range(30):
            await pull.receive()
        assert length_hint(push._credit.puts) and length_hint(pull._credit.takes)
        uses = {
            "socket": lambda: context.socket(trimq.Pull),
            "bind": lambda: pull.bind("inproc://b"),
            "connect": lambda: push.connect("inproc://b"),
            "tcp": lambda: pull.bind("tcp://127.0.0.1:*"),
            "send_nowait": lambda: push.send_nowait(b"y"),
            "receive_nowait": lambda: pull.receive_nowait(),
            "close": lambda: push.close(),
            "send": lambda: push.send(b"y").send(None),
            "receive": lambda: pull.receive().send(None),
            "receive_many": lambda: pull.receive_many().send(None),
            "send_many": lambda: push.send_many([b"y"]).send(None),
            "flush": lambda: push.flush().send(None),
            "option": lambda: setattr(push, "send_hwm", 5),
        }
        child = os.fork()
        if child == 0:
            wrong = 0
            for name, use in uses.items():
                try:
                    use()
                except trimq.NoIOThread as error:
                    if "forked" not in str(error):
                        print(name, "does not say why:", error)
                        wrong += 1
                else:
                    print(name, "was not refused")
                    wrong += 1
            sys.stdout.flush()
            os._exit(wrong)
        _, status = os.waitpid(child, 0)
        assert [await pull.receive() for _ in range(31)] == [[b"x"]] * 31
        return os.waitstatus_to_exitcode(status)

sys.exit(trio.run(main))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
def test_a_forked_child() -> None:
    """Design 1: a forked child is refused, and told to open a context of its own; the parent goes on."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
