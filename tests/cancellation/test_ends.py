"""Every pending call against every end: the context's, the socket's, and cancellation (promises 1 and 2)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
import trio
from cancellation.scenes import LEVEL, MINE, RECEIVE, SEND, Make, Scene, cases, scene_context
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq

ETERM = 156384712 + 53

ALL = cases(RECEIVE, SEND, LEVEL)
every_call = pytest.mark.parametrize(("make", "address"), ALL.values(), ids=list(ALL))


class Caller:
    """Runs a scene's call in a scope of its own, and keeps how it ended."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.scope = trio.CancelScope()
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False

    async def run(self) -> None:
        try:
            with self.scope:
                try:
                    self.result = await self.scene.call()
                except trimq.ZMQError as error:
                    self.error = error
        finally:
            self.ended = True

    @property
    def cancelled(self) -> bool:
        return self.scope.cancelled_caught


async def pending(nursery: trio.Nursery, scene: Scene) -> Caller:
    """The call, made and waiting."""
    caller = Caller(scene)
    nursery.start_soon(caller.run)
    await wait_all_tasks_blocked()
    assert not caller.ended, "the scene's call should wait"
    return caller


@every_call
async def test_shutdown_wakes(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Promise 2: shutdown() wakes every pending call with ContextTerminated (ETERM); made later it raises that at once."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        caller = await pending(nursery, await make(context, address))
        context.shutdown()
        await wait_all_tasks_blocked()
        assert type(caller.error) is trimq.ContextTerminated
        assert caller.error.errno == ETERM
        assert isinstance(caller.error, trio.ClosedResourceError)
        with pytest.raises(trimq.ContextTerminated):
            await caller.scene.call()
        context.shutdown()  # idempotent


@every_call
async def test_leaving_wakes_outsiders(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Promise 2: the block's exit wakes a call in a task outside of it with ContextTerminated, and later calls too."""
    async with trio.open_nursery() as nursery, scene_context() as context:
        caller = await pending(nursery, await make(context, address))
    assert type(caller.error) is trimq.ContextTerminated
    with pytest.raises(trimq.ContextTerminated):
        await caller.scene.call()


@every_call
async def test_leaving_by_an_error_wakes_outsiders(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Promise 2: the context ends for whatever reason its block is left."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(KeyError) as caught:
            async with scene_context() as context:
                caller = await pending(nursery, await make(context, address))
                raise (mine := KeyError("body"))
        assert caught.value is mine
    assert type(caller.error) is trimq.ContextTerminated


@every_call
async def test_close_wakes(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Design 1: close() in another task raises SocketClosed (ENOTSOCK) in pending calls, and in later ones at once."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        caller = await pending(nursery, await make(context, address))
        caller.scene.socket.close()
        await wait_all_tasks_blocked()
        assert type(caller.error) is trimq.SocketClosed
        assert caller.error.errno == errno.ENOTSOCK
        with pytest.raises(trimq.SocketClosed):
            await caller.scene.call()


def _socket_close(context: trimq.Context, scene: Scene) -> None:
    scene.socket.close()


def _shutdown(context: trimq.Context, scene: Scene) -> None:
    context.shutdown()


@every_call
@pytest.mark.parametrize("end", [_shutdown, _socket_close])
@pytest.mark.parametrize("cancel_first", [True, False])
async def test_cancelled_wins(
    make: Make,
    address: str,
    end: Callable[[trimq.Context, Scene], None],
    cancel_first: bool,
    autojump_clock: MockClock,
) -> None:
    """Promise 2: an end and a cancellation in one tick are Cancelled, in either order."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        caller = await pending(nursery, await make(context, address))
        if cancel_first:
            caller.scope.cancel()
        end(context, caller.scene)
        caller.scope.cancel()
        await wait_all_tasks_blocked()
        assert caller.cancelled
        assert caller.error is None


@every_call
@pytest.mark.parametrize("end", [None, _shutdown, _socket_close])
async def test_cancelled_before_the_call(
    make: Make, address: str, end: Callable[[trimq.Context, Scene], None] | None, autojump_clock: MockClock
) -> None:
    """Promises 2 and 5: every call is a cancel point before anything else, also on a socket that has ended."""
    async with scene_context() as context:
        scene = await make(context, address)
        if end is not None:
            end(context, scene)
        with trio.CancelScope() as scope:
            scope.cancel()
            await scene.call()
        assert scope.cancelled_caught


@every_call
async def test_a_cancelled_call_is_as_if_never_made(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Promise 1: a cancelled receive took nothing, a cancelled send queued nothing; the next call finds all as it was."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        scene = await make(context, address)
        caller = await pending(nursery, scene)
        caller.scope.cancel()
        await wait_all_tasks_blocked()
        assert caller.cancelled
        if scene.sends:
            await scene.unblock()
            assert MINE not in scene.got
            await scene.call()
            await scene.unblock()
            assert scene.got.count(MINE) == 1
        else:
            again = await pending(nursery, scene)
            await scene.unblock()
            await wait_all_tasks_blocked()
            assert again.ended
            assert again.error is None
            if again.result is not None:
                assert again.result[-1] == MINE


@every_call
async def test_a_cancelled_waiter_strands_nobody(make: Make, address: str, autojump_clock: MockClock) -> None:
    """Promise 1: whoever waits behind a call that is cancelled is served in its stead."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        scene = await make(context, address)
        if isinstance(scene.socket, (trimq.Req, trimq.Rep)) and not scene.sends:
            return  # one receive at a time: see test_one_at_a_time
        first = await pending(nursery, scene)
        second = await pending(nursery, scene)
        third = await pending(nursery, scene)
        first.scope.cancel()
        await scene.unblock()
        if not scene.sends:  # a message for each that is left
            await wait_all_tasks_blocked()
            await scene.unblock()
        await wait_all_tasks_blocked()
        assert first.cancelled
        if isinstance(scene.socket, trimq.Req):
            assert second.error is None
            assert isinstance(third.error, trimq.StateError)  # a Req asks one thing at a time
            return
        assert (second.ended, second.error) == (True, None)
        assert (third.ended, third.error) == (True, None)
        if scene.sends:
            assert b"".join(scene.got).count(MINE) == 2


async def test_wait_any_of_no_sockets() -> None:
    """A wait that could never end is refused."""
    with pytest.raises(ValueError, match="at least one"):
        await trimq.wait_any()


async def test_wait_any_needs_all_open(autojump_clock: MockClock) -> None:
    """wait_any ends as soon as one of its sockets has ended, though the others go on."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        one, other = context.socket(trimq.Pull), context.socket(trimq.Pull)
        caller = await pending(nursery, Scene(one, lambda: trimq.wait_any(one, other), other.flush))
        other.close()
        await wait_all_tasks_blocked()
        assert isinstance(caller.error, trimq.SocketClosed)


async def test_an_endpoint_closed(autojump_clock: MockClock) -> None:
    """Design 1: ready() raises SocketClosed when its endpoint is closed, the socket goes on."""
    async with scene_context() as context, trio.open_nursery() as nursery:
        push = context.socket(trimq.Push)
        endpoint = push.connect("tcp://nobody:1")
        caller = await pending(nursery, Scene(push, endpoint.ready, push.flush))
        endpoint.close()
        await wait_all_tasks_blocked()
        assert isinstance(caller.error, trimq.SocketClosed)
        assert endpoint.state is trimq.EndpointState.CLOSED
        assert push.endpoints == ()
        with pytest.raises(trimq.SocketClosed):
            await endpoint.ready()
        push.connect("tcp://somebody:1")
