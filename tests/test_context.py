"""Contexts: how they begin, who may use them, and what leaves their block (design 1 and 2, promises 2, 4 and 5)."""

from __future__ import annotations

import contextvars
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

import trimq
import trimq._dialer
from trimq.testing import MemoryTransport


class Bug(Exception):
    """What a service task raises that has a bug."""


@pytest.fixture
def buggy(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Every dialer raises `Bug` as soon as the event is set."""
    event = trio.Event()

    async def dial(self: object) -> None:
        await event.wait()
        raise Bug

    monkeypatch.setattr(trimq._dialer.Dialer, "_dial", dial)
    return event


@asynccontextmanager
async def quiet(**options: Any) -> AsyncIterator[trimq.Context]:
    async with trimq.open_context(transports=[MemoryTransport()], linger=0.0, **options) as context:
        yield context


async def error_of(call: Callable[[], Awaitable[Any]]) -> Exception:
    try:
        await call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        return error
    raise AssertionError("it should fail")


# Several of them


async def test_several_in_one_run() -> None:
    """Contexts of one run are worlds of their own: names, and ends."""
    async with quiet() as one, quiet() as other:
        for context in (one, other):
            push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
            push.connect(pull.bind("inproc://same"))
            await push.send(b"hi")
            assert await pull.receive() == [b"hi"]
        one.shutdown()
        with pytest.raises(trimq.ContextTerminated):
            one.socket(trimq.Pull)
        pull = other.socket(trimq.Pull)
        pull.bind("inproc://later")


async def test_in_several_tasks() -> None:
    """Contexts in sibling tasks end in any order; what one shares with another by a network goes on."""
    network = MemoryTransport()
    done = trio.Event()
    arrived: list[list[bytes]] = []

    async def collector(task_status: trio.TaskStatus[trimq.Endpoint]) -> None:
        async with trimq.open_context(transports=[network]) as context:
            pull = context.socket(trimq.Pull)
            task_status.started(pull.bind("tcp://here:*"))
            arrived.extend([await pull.receive() for _ in range(3)])
            done.set()

    async def worker(endpoint: trimq.Endpoint, name: bytes) -> None:
        async with trimq.open_context(transports=[network]) as context:
            push = context.socket(trimq.Push)
            push.connect(endpoint)
            await push.send(name)

    async with trio.open_nursery() as nursery:
        endpoint = await nursery.start(collector)
        for name in (b"a", b"b", b"c"):
            nursery.start_soon(worker, endpoint, name)
    assert done.is_set()
    assert sorted(arrived) == [[b"a"], [b"b"], [b"c"]]


async def test_nested() -> None:
    """A ContextTerminated ends at its own context's block, and passes every other."""
    with pytest.raises(KeyError):
        async with quiet() as outer:
            socket = outer.socket(trimq.Pull)
            async with quiet() as inner:
                pull = inner.socket(trimq.Pull)
                inner.shutdown()
                await pull.receive()
            assert not socket._terminated
            with pytest.raises(trimq.ContextTerminated):  # the outer one's passes the inner block
                async with quiet():
                    outer.shutdown()
                    await socket.receive()
            raise KeyError
    async with quiet() as outer:
        socket = outer.socket(trimq.Pull)
        async with quiet():
            outer.shutdown()
            await socket.receive()
        raise AssertionError("the outer context's ETERM ends at the outer block")


async def test_sockets_closed_early_or_left() -> None:
    """Sockets may be closed in the block, or left to the context; either way nothing of them stays."""
    network = MemoryTransport()
    async with trimq.open_context(transports=[network]) as context:
        early, left = context.socket(trimq.Pull), context.socket(trimq.Pull)
        address = str(early.bind("tcp://a:1"))
        left.bind("tcp://b:1")
        early.close()
        left_again = context.socket(trimq.Pull)
        left_again.bind(address)  # free at once
    assert network.connections == ()
    async with trimq.open_context(transports=[network]) as context:
        for name in ("a", "b"):
            context.socket(trimq.Pull).bind(f"tcp://{name}:1")


async def test_use_after_the_end() -> None:
    """Promise 2: after the end everything raises ContextTerminated, and what closes does nothing."""
    async with quiet() as context:
        push = context.socket(trimq.Push)
        endpoint = push.connect("tcp://nobody:1")
    for call in (
        lambda: context.socket(trimq.Push),
        lambda: push.bind("inproc://x"),
        lambda: push.connect("inproc://x"),
        lambda: push.disconnect("tcp://nobody:1"),
        lambda: push.send_nowait(b""),
    ):
        with pytest.raises(trimq.ContextTerminated):
            call()
    with pytest.raises(trimq.ContextTerminated):
        await push.send(b"")
    context.shutdown()
    endpoint.close()
    push.close()
    await push.aclose()
    assert "ended" in repr(context)
    with pytest.raises(trimq.SocketClosed):  # its user has closed it since
        push.send_nowait(b"")


open_context: Any = trimq.open_context  # for what a type checker refuses, too


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: trimq.open_context(linger=-1.0), ValueError, "linger"),
        (lambda: open_context(linger="1"), TypeError, "linger"),
        (lambda: open_context(lingre=1.0), TypeError, "lingre"),
        (lambda: trimq.open_context(send_hwm=0), ValueError, "math.inf"),
        (lambda: open_context(checkpoints="some"), ValueError, "amortised"),
    ],
)
def test_wrong_defaults_are_refused_at_once(make: Callable[[], Any], error: type[Exception], says: str) -> None:
    """Design 1: options are validated; no option is silently ignored."""
    with pytest.raises(error, match=says):
        make()


async def test_defaults() -> None:
    """Design 1: the context's defaults hold for its sockets; a type skips what it lacks, its own options come first."""
    async with trimq.open_context(linger=2.0, routing_id=b"me", send_hwm=7) as context:
        dealer = context.socket(trimq.Dealer, send_hwm=8)
        assert (dealer.linger, dealer.routing_id, dealer.send_hwm) == (2.0, b"me", 8)
        pull = context.socket(trimq.Pull)
        assert (pull.linger, pull.send_hwm) == (2.0, 7)
        with pytest.raises(TypeError, match="routing_id"):
            context.socket(trimq.Pull, routing_id=b"no")  # type: ignore[call-arg]  # that is the point


@pytest.mark.parametrize("kind", [object, "Push", trimq.Socket, lambda: None])
async def test_socket_takes_a_socket_type(kind: Any) -> None:
    """Design 1: context.socket takes one of the socket classes, and says so."""
    async with quiet() as context:
        with pytest.raises(TypeError, match="as trimq.Push"):
            context.socket(kind)


def test_sockets_are_made_by_contexts() -> None:
    """Design 1: open_context is the only way to a context, and context.socket to a socket."""
    with pytest.raises(TypeError, match=r"context\.socket\(trimq\.Push\)"):
        trimq.Push()


# What leaves the block


async def test_the_bodys_exception_is_the_same_object() -> None:
    """Promise 4: the body's exception leaves, the same object, not wrapped, its causes untouched."""
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with quiet() as context:
            context.socket(trimq.Push).connect("tcp://nobody:1")
            raise mine
    assert caught.value is mine
    assert (mine.__context__, mine.__cause__) == (None, None)


async def test_a_group_of_the_body_is_the_same_object() -> None:
    """Promise 4: a group without ETERM in it is left as it is."""
    mine = ExceptionGroup("mine", [KeyError(), ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with quiet():
            raise mine
    assert caught.value is mine


async def test_workers_end_in_eterm() -> None:
    """Promise 2: a nursery inside the block whose tasks all end in this context's ETERM: the block ends normally."""
    ends = 0
    async with quiet() as context:
        pull = context.socket(trimq.Pull)
        pull.bind("inproc://work")

        async def worker() -> None:
            nonlocal ends
            try:
                async for _ in pull:
                    raise AssertionError("nobody sends")
            finally:
                ends += 1

        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            for _ in range(3):
                nursery.start_soon(worker)
                inner.start_soon(worker)
            await wait_all_tasks_blocked()
            context.shutdown()
    assert ends == 6


async def test_a_bare_eterm_ends_at_its_block() -> None:
    """Promise 2: as Cancelled ends at its scope."""
    async with quiet() as context:
        pull = context.socket(trimq.Pull)
        context.shutdown()
        await pull.receive()
    assert context._terminated


async def test_eterm_mixed_with_others() -> None:
    """Promise 2: leaves of this context's ETERM are taken out of a group, the rest goes on."""
    async with quiet() as other:
        foreign = other.socket(trimq.Pull)
        other.shutdown()
        with pytest.RaisesGroup(pytest.RaisesGroup(KeyError), trimq.ContextTerminated) as caught:
            async with quiet() as context:
                pull = context.socket(trimq.Pull)
                context.shutdown()
                ours, theirs = [await error_of(socket.receive) for socket in (pull, foreign)]
                raise ExceptionGroup("outer", [ExceptionGroup("inner", [ours, KeyError()]), theirs, ours])
        assert caught.value.exceptions[1] is theirs


async def test_eterm_with_a_cancellation() -> None:
    """Promise 2: a group of ETERM and Cancelled is a cancellation."""
    with trio.CancelScope() as scope:
        async with quiet() as context:
            pull = context.socket(trimq.Pull)
            try:
                context.shutdown()
                await pull.receive()
            except trimq.ContextTerminated as error:
                scope.cancel()
                with pytest.raises(trio.Cancelled) as cancelled:
                    await trio.sleep_forever()
                raise BaseExceptionGroup("both", [error, cancelled.value]) from None
    assert scope.cancelled_caught


async def test_an_eterm_of_a_users_own_making_is_theirs() -> None:
    """Promise 2 speaks of this very context's: one that the user made passes."""
    with pytest.raises(trimq.ContextTerminated):
        async with quiet():
            raise trimq.ContextTerminated


async def test_a_cancelled_body() -> None:
    """Promise 2: cancelling a scope around the block is Cancelled there, and ETERM elsewhere once the block is left."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with quiet() as context:
                pull, other = context.socket(trimq.Pull), context.socket(trimq.Pull)

                async def outside() -> None:
                    try:
                        await other.receive()
                    except trimq.ContextTerminated:
                        log.append("ETERM outside")

                nursery.start_soon(outside)
                await wait_all_tasks_blocked()
                scope.cancel()
                try:
                    await pull.receive()
                except trio.Cancelled:
                    log.append("Cancelled inside")
                    with trio.CancelScope(shield=True):
                        await wait_all_tasks_blocked()
                    assert log == ["Cancelled inside"]  # nothing has ended yet
                    assert not context._terminated
                    raise
        assert scope.cancelled_caught
    assert log == ["Cancelled inside", "ETERM outside"]


@pytest.mark.parametrize("moment", ["before", "while"])
async def test_entering_cancelled(moment: str, autojump_clock: MockClock) -> None:
    """Entering is a cancel point, and never hangs; nothing is left of it."""
    entered = False
    with trio.CancelScope() as scope:
        if moment == "before":
            scope.cancel()
        else:
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
        async with trimq.open_context():
            entered = True
            await trio.sleep(1)
            raise AssertionError("it was cancelled")
    assert scope.cancelled_caught
    assert entered is (moment == "while")


async def test_leaving_an_empty_context_in_a_cancelled_scope() -> None:
    """Nothing to wait for: leaving gets through even where a cancellation is pending."""
    with trio.CancelScope() as scope:
        async with quiet():
            scope.cancel()


# Bugs


async def test_a_lone_bug(buggy: trio.Event) -> None:
    """Promise 4: a service task's bug leaves unwrapped, and never with the Cancelled that it caused in the body."""
    with pytest.raises(Bug) as caught:
        async with quiet() as context:
            context.socket(trimq.Push).connect("tcp://nobody:1")
            buggy.set()
            await trio.sleep_forever()
    assert type(caught.value) is Bug


async def test_a_bug_ends_the_context_elsewhere(buggy: trio.Event) -> None:
    """Promises 2 and 4: for tasks elsewhere the crash is the end of the context: ETERM."""
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        with pytest.raises(Bug):
            async with quiet() as context:
                pull = context.socket(trimq.Pull)

                async def outside() -> None:
                    nonlocal error
                    try:
                        await pull.receive()
                    except trimq.ContextTerminated as caught:
                        error = caught

                nursery.start_soon(outside)
                await wait_all_tasks_blocked()
                context.socket(trimq.Push).connect("tcp://nobody:1")
                buggy.set()
                await trio.sleep_forever()
    assert isinstance(error, trimq.ContextTerminated)
    with pytest.raises(trimq.ContextTerminated):
        await pull.receive()


async def test_a_bug_while_the_body_shields(buggy: trio.Event) -> None:
    """Promise 2: the crash itself ends the context: nobody has to wait until the body has noticed."""
    with pytest.raises(Bug):
        async with quiet() as context:
            pull = context.socket(trimq.Pull)
            context.socket(trimq.Push).connect("tcp://nobody:1")
            buggy.set()
            with trio.CancelScope(shield=True), pytest.raises(trimq.ContextTerminated):
                await pull.receive()
            await trio.sleep_forever()


async def test_several_bugs(buggy: trio.Event) -> None:
    """Promise 4: what several service tasks raise stays together."""
    with pytest.RaisesGroup(Bug, Bug):
        async with quiet() as context:
            for _ in range(2):
                context.socket(trimq.Push).connect("tcp://nobody:1")
            await wait_all_tasks_blocked()
            buggy.set()
            await trio.sleep_forever()


async def test_a_bug_and_the_bodys_error(buggy: trio.Event) -> None:
    """Promise 4: both leave, as one group, the body's being the same object."""
    mine = KeyError("mine")
    with pytest.RaisesGroup(KeyError, Bug) as caught:
        async with quiet() as context:
            context.socket(trimq.Push).connect("tcp://nobody:1")
            buggy.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise mine from None
    assert mine in caught.value.exceptions


async def test_a_bug_while_the_block_is_left(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Promises 3 and 4: a crash while leaving lingers ends the lingering, and leaves the block by itself."""

    async def dial(self: object) -> None:
        await trio.sleep(3)
        raise Bug

    monkeypatch.setattr(trimq._dialer.Dialer, "_dial", dial)
    with pytest.raises(Bug):
        async with trimq.open_context(transports=[MemoryTransport()]) as context:
            push = context.socket(trimq.Push)
            push.connect("tcp://nobody:1")
            await push.send(b"never")
    assert trio.current_time() == pytest.approx(3, abs=0.1)


async def test_a_bug_and_a_cancellation(buggy: trio.Event) -> None:
    """Promise 4: a bug is not lost in a cancellation."""
    with trio.CancelScope() as scope, pytest.raises(Bug):
        async with quiet() as context:
            context.socket(trimq.Push).connect("tcp://nobody:1")
            buggy.set()
            scope.cancel()
            await trio.sleep_forever()


@pytest.mark.parametrize("where", ["body", "receive", "leaving"])
def test_keyboard_interrupt_is_bare(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """Promise 4: KeyboardInterrupt leaves the block bare, wherever it comes: in the body, in a call, or in the exit."""

    async def main() -> None:
        async with trimq.open_context(transports=[MemoryTransport()]) as context:
            push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
            push.connect("tcp://nobody:1")
            await push.send(b"never")

            async def interrupt() -> None:
                await wait_all_tasks_blocked()
                signal.raise_signal(signal.SIGINT)

            if where == "body":
                signal.raise_signal(signal.SIGINT)
                await trio.sleep_forever()
            trio.lowlevel.spawn_system_task(interrupt)
            if where == "receive":
                await pull.receive()
            # else it comes while the message lingers

    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING, "trimq"):
        trio.run(main)
    assert "1 unsent message" in caplog.text


def test_system_exit_is_bare(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Promise 4: SystemExit too, and a bug beside it is logged rather than grouped with it."""
    event = trio.Event()

    async def dial(self: object) -> None:
        await event.wait()
        raise Bug

    monkeypatch.setattr(trimq._dialer.Dialer, "_dial", dial)

    async def main() -> None:
        async with quiet() as context:
            context.socket(trimq.Push).connect("tcp://nobody:1")
            event.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise SystemExit(3) from None

    with pytest.raises(SystemExit) as caught:
        trio.run(main)
    assert caught.value.code == 3
    assert "crashed" in caplog.text


# The services' surroundings


async def test_contextvars_of_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Design 3: services run with the contextvars captured at open_context, not with those of whoever called connect."""
    var = contextvars.ContextVar("var", default="nobody's")
    seen: list[str] = []

    class Network(MemoryTransport):
        async def connect(self, *args: Any, **options: Any) -> Any:
            seen.append(var.get())
            return await super().connect(*args, **options)

    var.set("opener's")
    async with trimq.open_context(transports=[Network()], linger=0.0) as context:

        async def somebody() -> None:
            var.set("somebody's")
            context.socket(trimq.Push).connect("tcp://nobody:1")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(somebody)
        var.set("opener's later")
        await wait_all_tasks_blocked()
    assert seen == ["opener's"]


async def test_connect_in_a_cancelled_scope_lives_on(autojump_clock: MockClock) -> None:
    """Design 1: the context owns every connection; the scope of whoever called connect has no say over it."""
    async with quiet() as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        with trio.CancelScope() as scope:
            scope.cancel()
            endpoint = push.connect("tcp://there:1")
            pull.bind("tcp://there:1")
            await trio.lowlevel.checkpoint()
        await endpoint.ready()
        await push.send(b"alive")
        assert await pull.receive() == [b"alive"]


# Checkpoints


async def test_every_call_is_a_checkpoint() -> None:
    """Promise 5: with checkpoints="every", each call that need not wait is a cancel point and a schedule point."""
    async with trimq.open_context(checkpoints="every", linger=0.0) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        pub, sub = context.socket(trimq.Pub), context.socket(trimq.Sub)
        endpoint = push.connect(pull.bind("inproc://a"))
        sub.connect(pub.bind("inproc://b"))
        sub.subscribe(b"")
        calls: list[Callable[[], Awaitable[Any]]] = [
            endpoint.ready,
            push.wait_for_peers,
            lambda: pub.wait_for_subscribers(1, b""),
            push.wait_sendable,
            lambda: push.send(b"1"),
            lambda: push.send_many([b"2", b"3", b"4"]),
            lambda: push.send_many([]),
            push.flush,
            pull.wait_receivable,
            lambda: trimq.wait_any(pull),
            pull.receive,
            lambda: pull.receive_many(1),
            pull.__anext__,
            lambda: pub.send(b"news"),
            sub.receive,
            push.aclose,
        ]
        for call in calls:
            with assert_checkpoints():
                await call()
        for call in (
            lambda: push.send(b""),
            push.wait_sendable,
            push.flush,
            lambda: push.send_many([b""]),
            push.aclose,
        ):
            with assert_checkpoints():
                try:
                    await call()
                except trimq.SocketClosed:
                    pass
