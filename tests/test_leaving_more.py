"""Leaving, the rest: late and deaf peers, options changed in between, nested contexts, nursery.start, interrupts, ruins.

`test_leaving` has the rules one by one (promise 3); here they meet each other, and what a program can do to them.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import trio
from trio._core._ki import ki_protection_enabled
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq._abc import Site
from trimq._options import Settings
from trimq._transports._inproc import InprocTransport
from trimq.testing import MemoryTransport

PEER = "tcp://peer:1"
PACKAGE = str(Path(trimq.__file__).parent)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "trimq")


def assert_free(network: MemoryTransport, address: str) -> None:
    """Nobody listens there any more."""
    network.bind(address.removeprefix("tcp://"), Settings()).close()


def dropped(caplog: pytest.LogCaptureFixture) -> int:
    """How many messages were said to be dropped or in doubt."""
    return sum(
        int(word) for text in caplog.messages if "dropped" in text or "doubt" in text for word in text.split()[1:2]
    )


# Linger, peers, and how it is left

PEERS = ("never comes", "never reads", "comes late")
WAYS = ("block", "aclose", "close", "endpoint")


async def peer(network: MemoryTransport, how: str, got: list[bytes]) -> None:
    """A Pull in a context of its own."""
    if how == "never comes":
        return
    if how == "comes late":
        await trio.sleep(20)
    async with trimq.open_context(transports=[network], linger=0.0) as context:
        pull = context.socket(trimq.Pull, receive_hwm=1)
        pull.bind(PEER)
        with trio.move_on_after(10_000):
            if how == "never reads":
                await trio.sleep_forever()
            while True:
                got += await pull.receive()


@pytest.mark.parametrize("changed", [False, True], ids=["from the start", "set in between"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("linger", [0.0, 5.0, 60.0, math.inf])
@pytest.mark.parametrize("how", PEERS)
async def test_linger(
    how: str,
    linger: float,
    way: str,
    changed: bool,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise 3: it takes as long as linger says or the peer takes; each message arrives, or is said not to."""
    network = MemoryTransport(buffer=64)
    got: list[bytes] = []
    patience = 1000.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer, network, how, got)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        with trio.move_on_after(patience) as scope:
            async with trimq.open_context(transports=[network]) as context:
                push = context.socket(trimq.Push, linger=7.0 if changed else linger)
                endpoint = push.connect(PEER)
                for n in range(10):
                    await push.send(b"%d" % n + b"-" * 100)
                if how == "never reads":
                    await push.wait_for_peers()
                    await wait_all_tasks_blocked()
                push.linger = linger  # ZMQ_LINGER counts at the close, not at the connect
                if way == "endpoint":
                    endpoint.close()
                    push.linger = math.inf  # too late for that endpoint: its time may be cut, never prolonged
                elif way == "close":
                    push.close()
                elif way == "aclose":
                    await push.aclose()
        took = trio.current_time() - start
        arrives = how == "comes late" and linger >= 60
        if arrives:
            assert 20 <= took < 30
        elif linger == math.inf:
            assert scope.cancelled_caught
            assert took == pytest.approx(patience)
        else:
            assert took == pytest.approx(linger, abs=0.1)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    if arrives:
        assert got == [b"%d" % n + b"-" * 100 for n in range(10)]
    assert len(got) + dropped(caplog) == 10


async def test_nothing_is_said_of_nothing(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """What it waits for is said after a second; if all has ended in that very moment, there is nothing to say."""
    for _ in range(20):  # who runs first in a tick is up to trio
        async with trimq.open_context(transports=[MemoryTransport()]) as context:
            push = context.socket(trimq.Push, linger=1.0)
            push.connect(PEER)
            await push.send(b"unsent")
    assert dropped(caplog) == 20
    assert "waits for 0" not in caplog.text


@pytest.mark.parametrize("end", ["cancel", "error", "interrupt"])
async def test_a_shielded_flush_that_cannot_succeed(
    end: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: a clean-up that shields keeps its own time limit; the exit after it drops at once, and says so."""
    caught: BaseException | None = None
    raised: dict[str, BaseException] = {"error": KeyError(), "interrupt": KeyboardInterrupt()}
    with trio.CancelScope() as scope:
        try:
            async with trimq.open_context(transports=[MemoryTransport()]) as context:
                push = context.socket(trimq.Push)
                push.connect(PEER)
                try:
                    if end in raised:
                        raise raised[end]
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    with trio.move_on_after(3, shield=True) as limit:
                        await push.send(b"bye")
                        await push.flush()
                    assert limit.cancelled_caught
        except (KeyError, KeyboardInterrupt) as error:
            caught = error
    assert caught is raised.get(end)
    assert trio.current_time() == pytest.approx(3)
    assert caplog.messages == [f"Push: 1 unsent messages for {PEER} were dropped"]


# Contexts in contexts


@pytest.mark.parametrize("first", ["inner", "outer shut down"])
@pytest.mark.parametrize("address", ["tcp://here:1", "ipc"])
async def test_nested_contexts_that_talk(first: str, address: str, tmp_path: Path) -> None:
    """Promise 2: each context ends by itself; what the one has queued for the other still arrives, and ETERM is its own."""
    network = MemoryTransport()
    address = f"ipc://{tmp_path}/nested" if address == "ipc" else address
    with trio.fail_after(20):
        async with trimq.open_context(transports=[network]) as outer:
            pull = outer.socket(trimq.Pull)
            pull.bind(address)
            async with trimq.open_context(transports=[network]) as inner:
                push = inner.socket(trimq.Push)
                push.connect(address)
                await push.send(b"1")
                assert await pull.receive() == [b"1"]
                if first == "inner":
                    await push.send(b"2")
                else:
                    outer.shutdown()
                    await push.send(b"2")  # the inner context knows nothing of it
                    with pytest.raises(trimq.ContextTerminated):
                        await pull.receive()
                    await push.flush()
            assert push._terminated
            if first == "inner":
                assert await pull.receive() == [b"2"]


@pytest.mark.parametrize("end", ["error", "cancelled"])
async def test_both_blocks_are_left_at_once(
    end: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promises 3 and 4: one error passes both blocks as the same object, and both drop, and say so; so does Cancelled."""
    mine = KeyError()
    caught: BaseException | None = None
    with trio.CancelScope() as scope:
        try:
            async with (
                trimq.open_context(transports=[MemoryTransport()]) as outer,
                trimq.open_context(transports=[MemoryTransport()]) as inner,
            ):
                for context in (outer, inner):
                    push = context.socket(trimq.Push)
                    push.connect(PEER)
                    await push.send(b"x")
                if end == "error":
                    raise mine
                scope.cancel()
                await trio.sleep_forever()
        except KeyError as error:
            caught = error
    assert caught is (mine if end == "error" else None)
    assert scope.cancelled_caught is (end == "cancelled")
    assert trio.current_time() == 0
    assert caplog.messages == [f"Push: 1 unsent messages for {PEER} were dropped"] * 2


@pytest.mark.parametrize("whose", ["outer", "inner"])
async def test_eterm_ends_at_its_own_block(
    whose: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promises 2 and 3: ETERM ends at its context's block, a normal exit; to another block it is an error, which drops."""
    network = MemoryTransport()
    reached = False
    async with trimq.open_context(transports=[network]) as outer:
        async with trimq.open_context(transports=[network], linger=5.0) as inner:
            push = inner.socket(trimq.Push)
            push.connect(PEER)
            await push.send(b"x")
            context = outer if whose == "outer" else inner
            pull = context.socket(trimq.Pull)
            context.shutdown()
            await pull.receive()
        reached = True
        with pytest.raises(trimq.ContextTerminated):
            await push.send(b"x")
        assert not outer._terminated
    assert reached is (whose == "inner")
    assert outer._terminated
    assert inner._terminated
    assert trio.current_time() == (5 if whose == "inner" else 0)
    assert dropped(caplog) == 1


async def test_a_context_in_the_clean_up_of_another(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: a shielded clean-up can open a context of its own, and leaving that waits for what it has sent."""
    network = MemoryTransport()
    got: list[bytes] = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trimq.open_context(transports=[network]) as context:
                lost = context.socket(trimq.Push)
                lost.connect("tcp://nobody:1")
                await lost.send(b"lost")
                try:
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    nursery.start_soon(peer, network, "comes late", got)
                    with trio.CancelScope(shield=True):
                        async with trimq.open_context(transports=[network]) as last:
                            push = last.socket(trimq.Push)
                            push.connect(PEER)
                            await push.send(b"bye")
        assert scope.cancelled_caught
        assert 20 <= trio.current_time() < 30
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [b"bye"]
    assert [text for text in caplog.messages if "dropped" in text] == [
        "Push: 1 unsent messages for tcp://nobody:1 were dropped"
    ]


# nursery.start


async def server(*, task_status: trio.TaskStatus[tuple[trimq.Context, trimq.Endpoint]]) -> None:
    """A service as users write it: it says that it is there once it is bound, and serves until it is cancelled."""
    async with trimq.open_context() as context:
        rep = context.socket(trimq.Rep)
        task_status.started((context, rep.bind("tcp://127.0.0.1:*")))
        async for [question] in rep:
            await rep.send(question.upper())


async def test_a_context_in_nursery_start() -> None:
    """Design 1: a context may be open at task_status.started; its task is cancelled from outside like any other."""
    with trio.fail_after(20):
        async with trimq.open_context() as context, trio.open_nursery() as nursery:
            theirs, endpoint = await nursery.start(server)
            req = context.socket(trimq.Req)
            req.connect(str(endpoint))
            await req.send(b"hello")
            assert await req.receive() == [b"HELLO"]
            assert not theirs._terminated
            nursery.cancel_scope.cancel()
        assert theirs._terminated
        assert theirs._sockets == {}
        async with trimq.open_context() as again:
            again.socket(trimq.Rep).bind(str(endpoint))  # the port is free


@pytest.mark.parametrize("how", ["cancelled", "error"])
async def test_a_nursery_start_that_never_starts(how: str, autojump_clock: MockClock) -> None:
    """Cancelled, or failed, before started(): the context is left as ever, and the error comes out of start by itself."""
    contexts: list[trimq.Context] = []

    async def never(*, task_status: trio.TaskStatus[None]) -> None:
        async with trimq.open_context(transports=[MemoryTransport()]) as context:
            contexts.append(context)
            push = context.socket(trimq.Push)
            push.connect(PEER)
            await push.send(b"x")
            if how == "error":
                raise KeyError("mine")
            await push.wait_for_peers()

    async with trio.open_nursery() as nursery:
        if how == "error":
            with pytest.raises(KeyError, match="mine"):
                await nursery.start(never)
        else:
            with trio.move_on_after(5) as scope:
                await nursery.start(never)
            assert scope.cancelled_caught
    assert [context._terminated for context in contexts] == [True]


async def test_contexts_in_tasks_that_are_cancelled(autojump_clock: MockClock) -> None:
    """Contexts of many tasks end with their tasks' scope, at whatever step each is; nothing of them is left."""
    network = MemoryTransport()
    contexts: list[trimq.Context] = []

    async def work(n: int) -> None:
        for _ in range(n):
            await trio.lowlevel.checkpoint()
        async with trimq.open_context(transports=[network]) as context:
            contexts.append(context)
            push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
            push.connect(pull.bind(f"tcp://{n}:1"))
            while True:
                await push.send(b"x")
                await pull.receive()

    async with trio.open_nursery() as nursery:
        for n in range(40):
            nursery.start_soon(work, n)
        for _ in range(25):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert 20 <= len(contexts) < 40
    assert all(context._terminated and not context._sockets for context in contexts)
    assert network.connections == ()
    for n in range(40):
        assert_free(network, f"{n}:1")


# KeyboardInterrupt at every point


class InterruptAt(trio.abc.Instrument):
    """Raises SIGINT at the n-th point of trio's main loop, as a Ctrl-C that comes just then."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.points = 0

    def _point(self, _: object) -> None:
        self.points += 1
        if self.points == self.target:
            signal.raise_signal(signal.SIGINT)

    before_task_step = after_task_step = before_io_wait = after_io_wait = _point


class InterruptAtLine:
    """Raises SIGINT at the n-th line of trimq where it comes out at once; a line counts once, however often it is run."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.lines: dict[tuple[CodeType, int], None] = {}

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._enter)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        line = (frame.f_code, frame.f_lineno)
        if event == "line" and line not in self.lines and not ki_protection_enabled(frame):
            self.lines[line] = None
            if len(self.lines) == self.target:
                signal.raise_signal(signal.SIGINT)
        return self._line

    @property
    def where(self) -> str:
        """The line at which it came, for messages."""
        code, line = list(self.lines)[self.target - 1]
        return f"{Path(code.co_filename).name}:{line}, in {code.co_qualname}"


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def traffic(transports: list[MemoryTransport], address: str) -> None:
    """A short program: questions and answers, sockets that are closed, and a message that lingers."""
    # No nursery of its own around it: trio's would put the KeyboardInterrupt into a group.
    async with trimq.open_context(transports=transports) as context:
        rep, req = context.socket(trimq.Rep), context.socket(trimq.Req)
        req.connect(rep.bind(address))
        for n in range(3):
            await req.send(b"%d" % n)
            assert await rep.receive() == [b"%d" % n]
            await rep.send(b"answer")
            assert await req.receive() == [b"answer"]
        async with context.socket(trimq.Push) as push, context.socket(trimq.Pull) as pull:
            push.connect(pull.bind("inproc://more"))
            await push.send(b"more")
            await pull.wait_receivable()
        await req.send(b"lingers")


ADDRESSES = {"inproc": "inproc://a", "memory": "tcp://a:1", "tcp": "tcp://127.0.0.1:*", "ipc": "ipc://"}
LEAST = {"inproc": 50, "memory": 100, "tcp": 100, "ipc": 100}  # points that the program has at least


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADDRESSES)
def test_keyboard_interrupt_at_every_point_of_the_main_loop(kind: str, tmp_path: Path) -> None:
    """Promise 4: Ctrl-C at any point: KeyboardInterrupt comes out bare, or the program had ended; nothing is left.

    SIGINT arrives before and after each step of each task, and before and after trio waits for the system. There trio is
    protected, so that it comes out at the next chance, at the latest as the run ends.
    """
    address = f"ipc://{tmp_path}/a" if kind == "ipc" else ADDRESSES[kind]
    networks: list[MemoryTransport] = []

    def run(target: int) -> tuple[int, bool]:
        instrument = InterruptAt(target)
        networks[:] = [MemoryTransport()] if kind == "memory" else []

        async def main() -> None:
            with trio.fail_after(20):
                await traffic(networks, address)

        try:
            trio.run(main, instruments=[instrument])
        except KeyboardInterrupt:
            return instrument.points, True
        return instrument.points, False

    total, interrupted = run(0)
    assert not interrupted
    assert total >= LEAST[kind]
    before = descriptors()
    interrupts = 0
    for target in range(1, total + 5):
        points, interrupted = run(target)  # nothing but KeyboardInterrupt comes out, or this fails
        assert interrupted or points < target or target > total - 20, f"the interrupt at point {target} was lost"
        interrupts += interrupted
        assert list(tmp_path.iterdir()) == [], f"point {target}"
        for network in networks:
            assert network.connections == (), f"point {target}"
            assert_free(network, address)
    assert interrupts > total // 2
    assert descriptors() == before
    assert not run(0)[1]  # and all works on


async def waits(pub: trimq.Pub, sub: trimq.Sub, address: str) -> None:
    """Calls that are not protected as a whole, since they only look; and some that are."""
    sub.subscribe(b"topic")
    await sub.connect(pub.bind(address)).ready()
    await pub.wait_for_peers()
    await pub.wait_for_subscribers(1, topic=b"topic")
    await pub.wait_sendable()
    await pub.send_many([b"topic 1", [b"topic", bytearray(b"2")], b"topic 3"])
    await pub.flush()
    await sub.wait_receivable()
    assert await trimq.wait_any(sub) == [sub]
    async for _ in sub:
        break
    await sub.receive_many(1)
    sub.unsubscribe(b"topic")
    pub.send_hwm = 5
    assert pub.peers
    assert sub.endpoints


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inproc", "memory"])
def test_keyboard_interrupt_at_every_line(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Promise 4: Ctrl-C at a line of trimq that is not protected: nobody is left waiting, and all works on.

    Lines of protected calls need not be tried: there it is as between two steps.
    """

    async def main(interrupt: InterruptAtLine) -> bool:
        caught = False
        with trio.fail_after(20):
            async with trimq.open_context(transports=[MemoryTransport()], linger=0.0) as context:
                pub, sub = context.socket(trimq.Pub), context.socket(trimq.Sub)
                try:
                    with interrupt:
                        await waits(pub, sub, ADDRESSES[kind])
                except KeyboardInterrupt:
                    caught = True
                for socket in (pub, sub):
                    assert not any(socket._lines()), interrupt.where
                    for bell in (socket._peer_bell, socket._read_bell, socket._write_bell, socket._gone_bell):
                        assert not bell._sleepers, interrupt.where
                    for endpoint in socket.endpoints:
                        assert not endpoint._bell._sleepers, interrupt.where
                pub.close()
                sub.close()
                pub, sub = context.socket(trimq.Pub), context.socket(trimq.Sub)
                await waits(pub, sub, ADDRESSES[kind])
        return caught

    def run(target: int) -> tuple[InterruptAtLine, bool]:
        interrupt = InterruptAtLine(target)
        return interrupt, trio.run(main, interrupt)

    whole, caught = run(0)
    assert not caught
    assert len(whole.lines) > 20
    for target in range(1, len(whole.lines) + 1):
        interrupt, caught = run(target)
        assert caught or len(interrupt.lines) < target, (
            interrupt.where
        )  # chance decides on some lines, as of the back-off
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


# Ruins


@pytest.mark.parametrize("address", ["inproc://a", "tcp://127.0.0.1:*", "memory"])
def test_a_run_that_ends_with_sockets_open(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """A system task, which trio cancels as the run ends, holds the context: its sockets end with the run, and it is told."""
    held: list[Any] = []

    async def holder(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trimq.open_context(transports=[MemoryTransport("memory")]) as context:
            push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
            pull.bind("memory://a:1" if address == "memory" else address)
            push.connect("memory://nobody:1")
            await push.send(b"never")
            held.extend((context, push, pull))
            await pull.receive()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(holder)
        await wait_all_tasks_blocked()

    trio.run(main)
    context, push, pull = held
    assert context._terminated
    assert caplog.messages == ["Push: 1 unsent messages for memory://nobody:1 were dropped"]
    for call in (pull.receive_nowait, lambda: push.send_nowait(b""), lambda: context.socket(trimq.Pull)):
        with pytest.raises(trimq.ContextTerminated):
            call()


async def subscribe(network: MemoryTransport, contexts: list[trimq.Context]) -> AsyncGenerator[list[bytes]]:
    """What PEP 789 warns of: a generator that yields with a context (and so a nursery) open."""
    async with trimq.open_context(transports=[network]) as context:
        contexts.append(context)
        pull = context.socket(trimq.Pull)
        pull.bind(PEER)
        async for message in pull:
            yield message


@pytest.mark.parametrize("end", ["aclose", "cancelled"])
async def test_a_generator_that_holds_a_context(end: str, autojump_clock: MockClock) -> None:
    """Closed where it was opened, a generator's context ends like any other, also while it is cancelled."""
    network, contexts = MemoryTransport(), list[trimq.Context]()
    async with trimq.open_context(transports=[network], linger=0.0) as mine:
        push = mine.socket(trimq.Push)
        push.connect(PEER)
        await push.send(b"1")
        messages = subscribe(network, contexts)
        try:
            with trio.move_on_after(5) as scope:
                assert await anext(messages) == [b"1"]
                if end == "cancelled":
                    await anext(messages)
                else:
                    await messages.aclose()
            assert scope.cancelled_caught is (end == "cancelled")
        finally:
            await messages.aclose()
    assert contexts[0]._terminated
    assert_free(network, PEER)


GARBAGE = """
import gc, sys, trio, trimq

async def messages():
    if sys.argv[1] == "context":
        async with trimq.open_context(linger=0.0) as context:
            pull = context.socket(trimq.Pull)
            pull.bind("inproc://a")
            pull.connect("tcp://127.0.0.1:9")
            yield 1
    else:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield 1

async def main():
    with trio.fail_after(10):
        assert await anext(messages()) == 1
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()

import trio.testing
trio.run(main)
"""


@pytest.mark.parametrize("what", ["context", "nursery"])
def test_a_generator_that_the_garbage_collector_closes(what: str) -> None:
    """A context holds a nursery, and a nursery cannot be closed by another task (PEP 789): trio ends the run, loudly.

    So it is with a nursery of trio's alone in which a task runs; with a context it is no worse: it does not hang.
    """
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE, what],
        cwd=Path(trimq.__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.returncode == 1
    assert "trio.TrioInternalError" in done.stderr


async def test_a_transport_that_raises_as_the_block_is_left() -> None:
    """Promise 4: a bug surfaces as itself, also one of a user's own transport, and the services end all the same."""

    class Buggy(InprocTransport):
        def release(self, address: str, site: Site) -> None:
            raise KeyError(address)

    with pytest.raises(KeyError):
        async with trimq.open_context(transports=[Buggy()], linger=0.0) as context:
            pull = context.socket(trimq.Pull)
            pull.bind("inproc://a")
