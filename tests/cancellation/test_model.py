"""Ten thousand random steps of senders and receivers that are cancelled at random moments, against a model: every message
whose send returned comes out once, none that was cancelled does, and each sender's order is kept (promise 1).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from cancellation.scenes import scene_context
from trio.testing import MockClock

import trimq

STEPS = 10_000


class Model:
    """Who sent what, and who got it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.steps = 0
        self.cancelled = 0
        self.sent: Counter[tuple[int, int]] = Counter()
        self.got: Counter[tuple[int, int]] = Counter()
        self.out_of_order: list[tuple[int, int, int]] = []

    def receiver(self) -> Callable[[list[bytes]], None]:
        """Takes down what one receiving task got, in its order."""
        last: dict[int, int] = {}

        def note(message: list[bytes]) -> None:
            sender, number = map(int, message[-1].split(b"."))
            self.got[sender, number] += 1
            if number <= last.get(sender, -1):
                self.out_of_order.append((sender, last[sender], number))
            last[sender] = number

        return note

    async def try_to(self, call: Callable[[], Any]) -> Any:
        """Calls, and cancels every other call, at some tick; returns (whether it returned, what)."""
        self.steps += 1
        if self.rng.random() < 0.5:
            return True, await call()
        result = None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_later, scope, self.rng.randrange(4))
                result = (await call(),)  # a tuple, since None may be what it returns
                nursery.cancel_scope.cancel()
        if result is None:
            self.cancelled += 1
            return False, None
        return True, result[0]

    async def idle(self) -> None:
        """Now and then a task is slow, so that others have to wait."""
        if self.rng.random() < 0.05:
            for _ in range(self.rng.randrange(40)):
                await trio.lowlevel.checkpoint()

    async def _cancel_later(self, scope: trio.CancelScope, ticks: int) -> None:
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        scope.cancel()


async def send(model: Model, socket: Any, name: int, steps: int, prefix: list[bytes]) -> None:
    number = 0
    taken = 0

    def values(n: int) -> Iterator[Any]:
        nonlocal taken
        for _ in range(n):
            taken += 1
            yield b"%d.%d" % (name, number + taken - 1)

    for _ in range(steps):
        await model.idle()
        kind = model.rng.random()
        message = [*prefix, b"%d.%d" % (name, number)]
        if kind < 0.2:
            model.steps += 1
            try:
                socket.send_nowait(message)
            except trio.WouldBlock:
                await trio.lowlevel.checkpoint()
                continue
            model.sent[name, number] += 1
            number += 1
        elif kind < 0.4 and hasattr(socket, "send_many"):
            taken = 0
            many = values(model.rng.randrange(8))
            await model.try_to(partial(socket.send_many, many))
            for _ in range(taken):
                model.sent[name, number] += 1
                number += 1
        else:
            returned, _ = await model.try_to(partial(socket.send, message))
            if returned:
                model.sent[name, number] += 1
            number += 1  # a cancelled one leaves a gap
        if model.rng.random() < 0.02:
            await model.try_to(socket.wait_sendable)


async def receive(model: Model, socket: Any) -> None:
    note = model.receiver()
    while True:
        await model.idle()
        kind = model.rng.random()
        if kind < 0.1:
            model.steps += 1
            try:
                note(socket.receive_nowait())
            except trio.WouldBlock:
                await trio.lowlevel.checkpoint()
        elif kind < 0.4:
            most = model.rng.randrange(1, 6)
            returned, messages = await model.try_to(partial(socket.receive_many, most))
            if returned:
                for message in messages:
                    note(message)
        elif kind < 0.45:
            await model.try_to(socket.wait_receivable)
        elif kind < 0.5:
            await model.try_to(partial(trimq.wait_any, socket))
        else:
            returned, message = await model.try_to(socket.__anext__ if kind < 0.7 else socket.receive)
            if returned:
                note(message)


@pytest.mark.parametrize("address", ["inproc://a", "tcp://a:{}"])
@pytest.mark.parametrize(
    ("kind", "peer_kind", "seed"),
    [
        (trimq.Push, trimq.Pull, 1),
        (trimq.Push, trimq.Pull, 2),
        (trimq.Dealer, trimq.Dealer, 3),
        (trimq.Pair, trimq.Pair, 4),
        (trimq.Router, trimq.Dealer, 5),
        (trimq.Dealer, trimq.Router, 6),
    ],
)
async def test_none_lost_none_twice(
    kind: Any, peer_kind: Any, seed: int, address: str, autojump_clock: MockClock
) -> None:
    """Promise 1, for many tasks on few sockets, small queues, and cancellations everywhere."""
    model = Model(random.Random(seed))
    async with scene_context(send_hwm=3, receive_hwm=3) as context:
        pairs = 1 if kind is trimq.Pair else 2
        senders, receivers = [], []
        for _ in range(pairs):
            senders.append(context.socket(kind))
            receivers.append(context.socket(peer_kind))
            if kind is trimq.Router:
                senders[-1].mandatory = True
        for n, receiver in enumerate(receivers):
            endpoint = receiver.bind(address.format(n + 1) if "{}" in address else f"{address}{n}")
            for sender in senders if kind is not trimq.Router else senders[n : n + 1]:
                if kind is trimq.Router:
                    sender.connect(endpoint, routing_id=b"them")
                else:
                    sender.connect(endpoint)
        prefix = [b"them"] if kind is trimq.Router else []
        async with trio.open_nursery() as nursery:
            for receiver in receivers:
                for _ in range(3):
                    nursery.start_soon(receive, model, receiver)
            async with trio.open_nursery() as sending:
                for name in range(6):
                    sending.start_soon(send, model, senders[name % pairs], name, STEPS // 12, prefix)
            with trio.move_on_after(10_000):  # whatever is still on its way arrives
                while model.got.total() < model.sent.total():
                    await trio.sleep(1)  # of the clock that jumps
            nursery.cancel_scope.cancel()
    lost = model.sent - model.got
    assert not lost
    assert not model.got - model.sent  # nor twice, nor any that was cancelled
    assert not model.out_of_order
    assert model.steps >= STEPS * 0.9
    assert model.cancelled > STEPS // 40
    assert model.got.total() > STEPS // 4
