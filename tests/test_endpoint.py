"""Endpoint: what it tells of its connector, and what `ready` makes of that (design 1)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq import Endpoint, EndpointState
from trimq._pace import Pace
from trimq.testing import MemoryTransport


def connected(**options: Any) -> Endpoint:
    return Endpoint("tcp://there:1", bound=False, pace=Pace(), **options)


def refused() -> ConnectionRefusedError:
    return ConnectionRefusedError("nobody there")


def fault() -> trimq.ProtocolError:
    return trimq.ProtocolError("no greeting")


async def outcome(endpoint: Endpoint) -> BaseException | str:
    """What ready() does now: "ready", "waits", or its error."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await wait_all_tasks_blocked()
                scope.cancel()

            nursery.start_soon(stop)
            try:
                await endpoint.ready()
            except (OSError, trio.BrokenResourceError) as error:
                nursery.cancel_scope.cancel()
                return error
            nursery.cancel_scope.cancel()
            return "ready"
    return "waits"


async def test_as_text() -> None:
    """str(endpoint) is the address to give to others; repr says more."""
    async with trimq.open_context(transports=[MemoryTransport()], linger=0.0) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        bound = pull.bind("tcp://here:*")
        assert str(bound) == f"tcp://here:{str(bound).rpartition(':')[2]}"
        assert str(bound)[-1].isdecimal()
        assert repr(bound) == f"<Endpoint {bound} (bound, ready)>"
        there = push.connect("tcp://there:1")
        assert (str(there), there.bound, bound.bound) == ("tcp://there:1", False, True)
        assert "tcp://there:1 (connected, " in repr(there)
        assert pull.endpoints == (bound,)
        assert "tcp://there:1" in repr(push)
        push.close()
        assert "closed" in repr(push)
        assert "closed" in repr(there)


async def test_ready_from_every_state() -> None:
    """ready() returns when there is a peer, raises what does not pass, and waits through the rest."""
    endpoint = connected()
    assert await outcome(endpoint) == "waits"
    for state in (EndpointState.RESOLVING, EndpointState.CONNECTING, EndpointState.HANDSHAKING):
        endpoint._enter(state)
        assert await outcome(endpoint) == "waits"
    endpoint._enter(EndpointState.READY)
    assert await outcome(endpoint) == "ready"
    endpoint._enter(EndpointState.WAITING, refused())
    assert await outcome(endpoint) == "waits"
    endpoint._enter(EndpointState.WAITING, error := fault(), fault=True)
    assert await outcome(endpoint) is error
    endpoint._enter(EndpointState.CONNECTING)
    assert await outcome(endpoint) is error  # still the latest that is known
    endpoint._enter(EndpointState.WAITING, refused())
    assert await outcome(endpoint) == "waits"
    endpoint._enter(EndpointState.LOST, last := refused())
    assert await outcome(endpoint) is last
    endpoint._enter(EndpointState.CLOSED)
    assert endpoint.state is EndpointState.LOST  # what is over stays as it ended
    assert endpoint.cause is last


@pytest.mark.parametrize("then", [EndpointState.CONNECTING, EndpointState.WAITING])
async def test_a_failure_since_the_call(then: EndpointState) -> None:
    """Design 1: a fault seen since the call is raised, though the next attempt has begun, or failed otherwise, by then."""
    endpoint = connected()
    errors: list[BaseException] = []

    async def ready() -> None:
        with pytest.raises(trimq.ProtocolError) as caught:
            await endpoint.ready()
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ready)
        nursery.start_soon(ready)
        await wait_all_tasks_blocked()
        endpoint._enter(EndpointState.WAITING, error := fault(), fault=True)
        endpoint._enter(then, refused() if then is EndpointState.WAITING else None)
    assert errors == [error, error]


async def test_a_fault_that_has_passed() -> None:
    """One that was over before the call is not raised."""
    endpoint = connected()
    endpoint._enter(EndpointState.WAITING, fault(), fault=True)
    endpoint._enter(EndpointState.READY)
    assert endpoint.cause is None
    endpoint._enter(EndpointState.WAITING, refused())
    assert await outcome(endpoint) == "waits"


async def test_the_context_ends() -> None:
    """Promise 2: ready() raises ContextTerminated from the end on, in every state but closed; it is that context's."""
    for state in (EndpointState.CONNECTING, EndpointState.READY, EndpointState.WAITING):
        endpoint = connected()
        endpoint._enter(state)
        context = object()
        endpoint._terminate(context)
        error = await outcome(endpoint)
        assert isinstance(error, trimq.ContextTerminated)
        assert error._context is context


async def test_routing_ids(autojump_clock: MockClock) -> None:
    """endpoint.routing_id: the id by which a Router or Stream reaches this endpoint's peer, once it is known."""
    async with trimq.open_context(transports=[MemoryTransport()], linger=0.0) as context:
        router = context.socket(trimq.Router)
        dealer = context.socket(trimq.Dealer, routing_id=b"dealer")
        dealer.bind("tcp://a:1")
        dealer.bind("inproc://a")
        named = router.connect("tcp://nobody:1", routing_id=b"named")
        assert named.routing_id == b"named"
        told = router.connect("tcp://a:1")
        assert told.routing_id is None
        await told.ready()
        assert told.routing_id == b"dealer"
        own = router.connect("inproc://nobody", routing_id=b"own")
        assert own.routing_id == b"own"
        push = context.socket(trimq.Push).connect("tcp://nobody:1")
        assert push.routing_id is None


async def test_a_refused_inproc_peer_is_lost() -> None:
    """inproc does not reconnect: what is refused, or goes away, ends its endpoint, with the cause."""
    async with trimq.open_context(linger=0.0) as context:
        sub, pull, push = context.socket(trimq.Sub), context.socket(trimq.Pull), context.socket(trimq.Push)
        sub.bind("inproc://sub")
        refused_there = push.connect("inproc://sub")
        assert refused_there.state is EndpointState.LOST
        assert isinstance(refused_there.cause, trimq.ProtocolError)
        pull.bind("inproc://pull")
        joined = push.connect("inproc://pull")
        assert joined.state is EndpointState.READY
        pull.close()
        assert joined.state is EndpointState.LOST
        with pytest.raises(ConnectionResetError):
            await joined.ready()
        assert push.endpoints == ()


def calls_of(function: Callable[[], object]) -> int:
    """How many calls of Python functions it makes, itself included."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("kind", [trimq.Dealer, trimq.Sub])
async def test_a_thousand_endpoints(kind: Any) -> None:
    """Whether an endpoint is connected already is found without a look at the others: so is what to disconnect."""
    async with trimq.open_context(linger=0) as context:
        socket = context.socket(kind)
        addresses = [f"inproc://{n}" for n in range(1000)]

        def connect(n: int) -> int:
            return calls_of(lambda: socket.connect(addresses[n]))

        connect(0)
        few = connect(1)
        for address in addresses[2:-1]:
            socket.connect(address)
        assert connect(-1) == few
        assert len(socket.endpoints) == 1000
        many = calls_of(lambda: socket.disconnect(addresses[-1]))
        for address in addresses[2:-1]:
            socket.disconnect(address)
        assert calls_of(lambda: socket.disconnect(addresses[1])) == many
        assert [str(endpoint) for endpoint in socket.endpoints] == addresses[:1]
