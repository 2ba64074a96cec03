"""Those who wait in line, one of them cancelled at every moment: nobody overtakes, nobody is stranded (promise 1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from cancellation.everywhere import (
    END,
    RECEIVERS,
    SENDERS,
    TAKES,
    Reading,
    body,
    every,
    everywhere,
    later,
    make,
    message,
    number,
    numbers,
    schemes_of,
    two,
)
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq.testing import Trial

every_place = pytest.mark.parametrize("place", range(3), ids=["first", "second", "third"])


async def line_up(
    trial: Trial, call: Callable[[int], Awaitable[None]], place: int, then: Callable[[], Awaitable[None]]
) -> None:
    """Three tasks make the call, one after the other; the one at this place is cancelled. When all wait, ``then`` runs."""
    nursery: trio.Nursery

    async def arrange(names: range) -> None:
        for name in names:
            nursery.start_soon(call, name)
            await wait_all_tasks_blocked()

    async def rest() -> None:
        await wait_all_tasks_blocked()
        await arrange(range(place + 1, 3))
        await then()

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            await arrange(range(place))
            nursery.start_soon(rest)
            with trial.cancelling():
                await call(place)


@every_place
@every(*RECEIVERS)
def test_receivers_in_line(kind: Any, place: int) -> None:
    """They are served in order, whichever call they wait in; what the cancelled one did not take is left for the next."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, hwm=10)
        served: dict[int, list[list[bytes]]] = {}

        async def receive(name: int) -> None:
            take = TAKES[(name + RECEIVERS.index(kind)) % len(TAKES)]
            served[name] = await take(pair.socket)

        async def send() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.socket.wait_receivable)  # there is more than those in line take
                await wait_all_tasks_blocked()
                for n in range(5):
                    await pair.peer.send(pair.back(n))

        await line_up(trial, receive, place, send)
        assert {0, 1, 2} - {place} <= set(served)
        reading = Reading(pair.socket)
        got = [n for name in sorted(served) for received in served[name] for n in reading.numbers(received)]
        with trio.fail_after(10):
            while len(got) < 5:
                got.extend(reading.numbers(await pair.socket.receive()))
        assert got == [0, 1, 2, 3, 4]

    everywhere(scenario, schemes=schemes_of(kind), pace="every")


async def fill(socket: Any, value: Callable[[int], list[bytes]]) -> list[int]:
    """Sends until there is no room left, in the queues and on the way."""
    sent: list[int] = []
    settled = False
    while True:
        try:
            socket.send_nowait(value(10 + len(sent)))
        except trio.WouldBlock:
            if settled:
                return sent
            settled = True
            await wait_all_tasks_blocked()
        else:
            settled = False
            sent.append(10 + len(sent))


@every_place
@every(*(kind for kind in SENDERS if kind is not trimq.XSub))  # which never waits
def test_senders_in_line(kind: Any, place: int) -> None:
    """Their messages go in order, a send_many's among them; room that the cancelled one did not take is the next one's."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        full = await fill(pair.socket, pair.there)
        sent: set[int] = set()

        def value(name: int) -> Iterator[list[bytes]]:
            sent.add(name)
            yield pair.there(name)

        async def send(name: int) -> None:
            if name == 1 and hasattr(pair.socket, "send_many"):
                await pair.socket.send_many(value(name))
            else:
                await pair.socket.send(pair.there(name))
                sent.add(name)

        async with numbers(pair.peer) as all_of_them:
            await line_up(trial, send, place, pair.socket.wait_sendable)
            assert {0, 1, 2} - {place} <= sent
            await pair.socket.send(pair.there(END))
            assert await all_of_them() == [*full, *sorted(sent), END]

    everywhere(scenario, schemes=schemes_of(kind), pace="every")


@every(trimq.Pub, trimq.XPub)
def test_publishers_in_line(kind: Any) -> None:
    """Who waits behind one that is cancelled goes on, though the subscriber that it waited for still has no room."""

    async def scenario(trial: Trial, address: str) -> None:
        context = trial.context
        socket = make(context, kind, hwm=1)
        endpoint = socket.bind(address)
        stuck, free = make(context, trimq.Sub, hwm=1), make(context, trimq.Sub, hwm=1)
        for subscriber, topic in ((stuck, b"1"), (free, b"2")):
            subscriber.connect(endpoint)
            subscriber.subscribe(topic)
            await socket.wait_for_subscribers(1, topic)
        full = await fill(socket, lambda n: [body(n)])  # from 10 on
        sent: set[int] = set()
        went_on = trio.Event()

        async def send(n: int) -> None:
            await socket.send([body(n)])
            sent.add(n)

        async def behind() -> None:
            await wait_all_tasks_blocked()
            await send(20)
            went_on.set()

        got: list[int] = []

        async def read(count: int) -> None:
            while len(got) < count:
                [received] = await stuck.receive()
                got.append(int(received.partition(b":")[0]))
                assert received == body(got[-1])

        async def read_at_last() -> None:
            await later(5)
            await read(len(full))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(behind)
            nursery.start_soon(read_at_last)
            with trial.cancelling() as scope:
                await send(100)
            if scope.cancelled_caught:
                with trio.fail_after(1):
                    await went_on.wait()
        assert number(await free.receive()) == 20
        await read(len(full) + (100 in sent))
        assert got == [*full, *sent - {20}]

    everywhere(scenario, pace="every")


@every_place
def test_reqs_in_line(place: int) -> None:
    """A Req asks one thing at a time: who is first is sent, the others are told so, and none of them hangs."""

    async def scenario(trial: Trial, address: str) -> None:
        req, rep = make(trial.context, trimq.Req, hwm=1), make(trial.context, trimq.Rep, hwm=1)
        endpoint = req.bind(address)
        sent: dict[int, bool] = {}

        async def ask(name: int) -> None:
            try:
                await req.send(message(name))
                sent[name] = True
            except trimq.StateError:
                sent[name] = False

        async def come() -> None:
            rep.connect(endpoint)

        await line_up(trial, ask, place, come)
        assert {0, 1, 2} - {place} <= set(sent)
        first = min(sent)
        assert sent == {name: name == first for name in sent}
        assert number(await rep.receive()) == first
        await rep.send(message(END))
        assert number(await req.receive()) == END

    everywhere(scenario, pace="every")


LEVELS = ("wait_sendable", "wait_receivable", "wait_any", "wait_for_peers", "wait_for_subscribers", "ready", "flush")


@pytest.mark.parametrize("level", LEVELS)
def test_levels_in_line(level: str) -> None:
    """Who waits for a level is woken with all others that wait for it."""

    async def scenario(trial: Trial, address: str) -> None:
        context, topics = trial.context, level == "wait_for_subscribers"
        push = make(context, trimq.Pub if topics else trimq.Push, hwm=1)
        pull = make(context, trimq.Sub if topics else trimq.Pull, hwm=1)
        endpoint = push.connect(address)
        await push.send(message(0))  # a Pub's goes nowhere
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "wait_sendable": push.wait_sendable,
            "wait_receivable": pull.wait_receivable,
            "wait_any": lambda: trimq.wait_any(pull, pull),
            "wait_for_peers": push.wait_for_peers,
            "wait_for_subscribers": lambda: push.wait_for_subscribers(1, b"topic"),
            "ready": endpoint.ready,
            "flush": push.flush,
        }
        ended: set[int] = set()

        async def wait(name: int) -> None:
            await calls[level]()
            ended.add(name)

        async def come() -> None:
            pull.bind(address)
            if topics:
                pull.subscribe(b"t")

        await line_up(trial, wait, 1, come)
        assert {0, 2} <= ended
        if not topics:
            assert number(await pull.receive()) == 0

    everywhere(scenario, pace="every")


def test_wait_any_looks_at_all() -> None:
    """Three wait for either of two sockets: the message of whichever it is wakes those that are left."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, trimq.Pull, address)
        other = await two(trial.context, trimq.Dealer, address.replace("a", "b"))
        found: dict[int, list[Any]] = {}

        async def wait(name: int) -> None:
            found[name] = await trimq.wait_any(pair.socket, other.socket)

        async def send() -> None:
            await other.peer.send(other.back(0))

        await line_up(trial, wait, 1, send)
        assert {0, 2} <= set(found)
        assert all(sockets == [other.socket] for sockets in found.values())
        assert number(await other.socket.receive()) == 0

    everywhere(scenario, pace="every")
