"""Every call that sends or receives, of every socket type, cancelled at every moment (promise 1).

docs/explanation/cancellation.rst has a row for each, with the test that proves it. What each holds: a message whose call
returned was taken, or queued, and none else; all arrive once, whole and in order; no task is left; the sockets work on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from cancellation.everywhere import (
    END,
    RECEIVERS,
    SENDERS,
    Reading,
    Take,
    by_iteration,
    every,
    every_take,
    everywhere,
    later,
    make,
    message,
    number,
    numbers,
    one,
    schemes_of,
    several,
    two,
    with_its_peer,
)
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq.testing import Trial

# Sending


@every(*SENDERS)
def test_send(kind: Any) -> None:
    """A send that returned has queued its message; one that was cancelled has not. It waits for room, too."""

    async def scenario(trial: Trial, address: str) -> None:
        # an XSub's send does not wait: what finds no room is dropped (RFC 29)
        pair = await two(trial.context, kind, address, hwm=100 if kind is trimq.XSub else 1)
        sent: list[int] = []
        async with numbers(pair.peer) as all_of_them:
            with trial.cancelling():
                for n in range(5):
                    await pair.socket.send(pair.there(n))
                    sent.append(n)
            await pair.socket.send(pair.there(END))
            assert await all_of_them() == [*sent, END]

    everywhere(scenario, schemes=schemes_of(kind))


@every(trimq.Push, trimq.Dealer, trimq.Pair, trimq.Req)
def test_send_without_peers(kind: Any) -> None:
    """A socket that is bound and has no peer has no room: a send waits for one, and cancelled, has queued nothing for it."""

    async def scenario(trial: Trial, address: str) -> None:
        peer_kind = {trimq.Push: trimq.Pull, trimq.Req: trimq.Router}.get(kind, kind)
        socket, peer = make(trial.context, kind, hwm=1), make(trial.context, peer_kind, hwm=1)
        endpoint = socket.bind(address)
        sent: list[int] = []

        async def come() -> None:
            await later()
            peer.connect(endpoint)

        async with numbers(peer) as all_of_them, trio.open_nursery() as nursery:
            nursery.start_soon(come)
            with trial.cancelling():
                await socket.send(message(0))
                sent.append(0)
            if kind is trimq.Req and sent:
                socket.relaxed = True  # else it would be its turn to receive
            await socket.send(message(END))
            assert await all_of_them() == [*sent, END]

    everywhere(scenario)


@every(
    trimq.Push, trimq.Dealer, trimq.Pair, trimq.Pub, trimq.XPub, trimq.Radio, trimq.Client, trimq.Scatter, trimq.Channel
)
def test_send_many(kind: Any) -> None:
    """It has taken from its iterator exactly what it has queued."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        taken: list[int] = []

        def values() -> Iterator[list[bytes]]:
            for n in range(5):
                taken.append(n)
                yield pair.there(n)

        async with numbers(pair.peer) as all_of_them:
            with trial.cancelling():
                await pair.socket.send_many(values())
            await pair.socket.send(pair.there(END))
            assert await all_of_them() == [*taken, END]

    everywhere(scenario)


@every(*SENDERS)
def test_wait_sendable(kind: Any) -> None:
    """It queues nothing, and takes no room: what is sent next is sent as if it had not been."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, hwm=100 if kind in (trimq.XSub, trimq.Stream) else 1)
        sent = 0
        async with numbers(pair.peer) as all_of_them:
            for _ in range(2):
                await pair.socket.send(pair.there(sent))
                sent += 1
            with trial.cancelling():
                await pair.socket.wait_sendable()
                pair.socket.send_nowait(pair.there(sent))
                sent += 1
            await pair.socket.send(pair.there(END))
            assert await all_of_them() == [*range(sent), END]

    everywhere(scenario, schemes=schemes_of(kind))


@every(trimq.Req, trimq.Rep)
def test_wait_for_a_turn(kind: Any) -> None:
    """wait_sendable of a Req waits for its reply, and of a Rep for a request, to be received; it changes neither."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)

        async def converse() -> None:
            await later()
            if kind is trimq.Req:
                await pair.peer.receive()
                await pair.peer.send(message(0))
                await later()
            else:
                await pair.peer.send(message(0))
            assert number(await pair.socket.receive()) == 0

        if kind is trimq.Req:
            await pair.socket.send(message(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(converse)
            with trial.cancelling():
                await pair.socket.wait_sendable()
        await pair.socket.send(message(END))
        assert number(await pair.peer.receive()) == END

    everywhere(scenario)


# Receiving


def _receives(kind: Any, take: Take) -> None:
    """Some messages are there, others come while they are waited for."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, hwm=100 if kind is trimq.XPub else 2)
        sent = range(6)
        got: list[int] = []
        reading = Reading(pair.socket)  # a Stream's pieces are as the network cuts them

        async def receive() -> None:
            for received in await take(pair.socket):
                got.extend(reading.numbers(received))

        async def send() -> None:
            for n in sent:
                if n >= 3:
                    await later()
                await pair.peer.send(pair.back(n))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            with trial.cancelling():
                while len(got) < 5:
                    await receive()
            with trio.fail_after(100):
                while len(got) < len(sent):
                    await receive()
        assert got == [*sent]
        await pair.peer.send(pair.back(END))
        while END not in got:
            await receive()
        assert got == [*sent, END]

    everywhere(scenario, schemes=schemes_of(kind))


@every(*RECEIVERS)
def test_receive(kind: Any) -> None:
    """A receive that returned has taken its message; one that was cancelled has taken none."""
    _receives(kind, one)


@every(*RECEIVERS)
def test_receive_many(kind: Any) -> None:
    """It has taken what it returned; cancelled, nothing."""
    _receives(kind, several)


@every(*RECEIVERS)
def test_async_for(kind: Any) -> None:
    """The loop's body runs for each message that was taken."""
    _receives(kind, by_iteration)


@every(*RECEIVERS)
def test_receive_from(kind: Any) -> None:
    """It has taken its message, and knows whom it came from; cancelled, it has taken none."""
    _receives(kind, with_its_peer)


@every(*RECEIVERS, trimq.Req, trimq.Rep)
def test_wait_receivable(kind: Any) -> None:
    """It takes nothing: whatever comes of it, the message is there to be received."""
    _waits_for_a_message(kind, lambda socket, other: socket.wait_receivable())


@every(*RECEIVERS, trimq.Req, trimq.Rep)
def test_wait_any(kind: Any) -> None:
    """The same over several sockets."""

    async def wait(socket: Any, other: Any) -> None:
        assert await trimq.wait_any(other, socket) == [socket]

    _waits_for_a_message(kind, wait)


def _waits_for_a_message(kind: Any, wait: Callable[[Any, Any], Awaitable[None]]) -> None:
    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        other = trial.context.socket(trimq.Pull)
        if kind is trimq.Req:
            await pair.socket.send(message(1))
            await pair.peer.receive()

        async def send() -> None:
            await later()
            await pair.peer.send(pair.back(0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with trial.cancelling():
                await wait(pair.socket, other)
        reading = Reading(pair.socket)
        got: list[int] = []
        with trio.fail_after(100):
            await wait(pair.socket, other)
            while not got:
                got.extend(reading.numbers(await pair.socket.receive()))
        assert got == [0]

    everywhere(scenario, schemes=schemes_of(kind))


# Taking turns


@every_take
@every(trimq.Req)
def test_req(kind: Any, take: Take) -> None:
    """Each question whose send returned was asked once; its reply can still be received; then the next is asked."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        asked: list[int] = []
        answered: list[int] = []
        got: list[int] = []

        async def answer() -> None:
            while True:
                n = number(await pair.peer.receive())
                answered.append(n)
                await later()
                await pair.peer.send(message(n))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trial.cancelling():
                for n in range(3):
                    await pair.socket.send(message(n))
                    asked.append(n)
                    got += map(number, await take(pair.socket))
            if len(got) < len(asked):
                got += map(number, await take(pair.socket))
            await pair.socket.send(message(END))
            assert list(map(number, await take(pair.socket))) == [END]
            nursery.cancel_scope.cancel()
        assert got == asked
        assert answered == [*asked, END]

    everywhere(scenario)


@every(trimq.Req)
def test_request(kind: Any) -> None:
    """Cancelled, it awaits no reply: the next request goes out at once, and gets its own. None is asked twice."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address, hwm=10)  # a Rep drops a reply for which there is no room
        asked: list[int] = []
        got: list[int] = []

        async def answer() -> None:
            while True:
                asked.append(number(await pair.peer.receive()))
                await later()
                await pair.peer.send(message(asked[-1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trial.cancelling():
                for n in range(2):
                    got.append(number(await pair.socket.request(message(n))))
            if len(got) % 2:  # the same with the next that is not a request
                await pair.socket.send(message(END))
                assert number(await pair.socket.receive()) == END
            else:
                assert number(await pair.socket.request(message(END))) == END
            nursery.cancel_scope.cancel()
        assert got == [0, 1][: len(got)]
        assert asked in ([*got, END], [*got, len(got), END])

    everywhere(scenario)


@every(trimq.Req)
def test_request_is_taken_back(kind: Any) -> None:
    """Cancelled before anybody could read it, the request is never asked."""

    async def scenario(trial: Trial, address: str) -> None:
        req, rep = make(trial.context, kind, hwm=10), make(trial.context, trimq.Rep, hwm=10)
        req.connect(address)
        asked: list[int] = []

        async def answer() -> None:
            await later()
            rep.bind(address)
            while True:
                asked.append(number(await rep.receive()))
                await rep.send(message(asked[-1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trial.cancelling():
                await req.request(message(0))
            in_time = bool(req.peers)
            assert number(await req.request(message(END))) == END
            nursery.cancel_scope.cancel()
        assert asked in ([[END], [0, END]] if in_time else [[END]])

    everywhere(scenario)


@every(trimq.Req)
def test_request_that_is_retried(kind: Any) -> None:
    """Cancelled while it waits, sends again, or waits again: the next request gets its own reply."""

    async def scenario(trial: Trial, address: str) -> None:
        router = trial.context.socket(trimq.Router)
        req = trial.context.socket(kind)
        req.connect(router.bind(address))
        asked: list[int] = []

        async def answer() -> None:
            while True:
                question = await router.receive()
                asked.append(number(question))
                if asked != [0]:
                    await later()
                    await router.send(question)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trial.cancelling():
                assert number(await req.request(message(0), retries=1, retry_after=2.0)) == 0
            with trio.fail_after(20):
                assert number(await req.request(message(END), retries=1, retry_after=5.0)) == END
            nursery.cancel_scope.cancel()
        assert asked in ([END], [0, END], [0, 0, END])

    everywhere(scenario)


@every(trimq.Req)
def test_relaxed_req(kind: Any) -> None:
    """A second question gives up the first one's reply only if it was sent."""

    async def scenario(trial: Trial, address: str) -> None:
        router = trial.context.socket(trimq.Router)
        req = trial.context.socket(kind, relaxed=True, correlate=True)
        req.connect(router.bind(address))
        await req.send(message(0))
        questions = [await router.receive()]
        asked = [0]

        async def answer() -> None:
            for question in questions:
                await router.send(question)

        with trial.cancelling():
            await req.send(message(1))
            asked.append(1)
        if len(asked) == 2:
            questions.append(await router.receive())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trio.fail_after(10):
                assert number(await req.receive()) == asked[-1]
        with pytest.raises(trimq.StateError):
            await req.receive()

    everywhere(scenario)


@every_take
@every(trimq.Rep)
def test_rep(kind: Any, take: Take) -> None:
    """A request that was received is answered, by whichever send returns first; one that was not is still there."""

    async def scenario(trial: Trial, address: str) -> None:
        pair = await two(trial.context, kind, address)
        received: list[int] = []
        replied: list[int] = []
        replies: list[int] = []
        ended = trio.Event()

        async def ask() -> None:
            for n in range(4):
                await later()
                await pair.peer.send(message(n))
                replies.append(number(await pair.peer.receive()))
            ended.set()

        async def serve() -> None:
            if len(received) == len(replied):
                received.extend(map(number, await take(pair.socket)))
            await pair.socket.send(message(received[-1]))
            replied.append(received[-1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with trial.cancelling():
                for _ in range(3):
                    await serve()
            while len(replied) < 4:
                await serve()
            with trio.fail_after(100):
                await ended.wait()
        assert received == replied == replies == [0, 1, 2, 3]

    everywhere(scenario)


# Handing on


def _proxies(
    trial: Trial, frontend: Any, backend: Any, **others: Any
) -> tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]:
    """What is cancelled, and what hands on the rest afterwards."""

    async def for_a_while() -> None:
        with trio.move_on_after(20):
            await trimq.proxy(frontend, backend, **others)

    async def for_ever() -> None:
        await trimq.proxy(frontend, backend, **others)

    return for_a_while, for_ever


@pytest.mark.slow
def test_proxy_of_pull_and_push() -> None:
    """What passes is at one side or the other, and captured as often as it was handed on."""

    async def scenario(trial: Trial, address: str) -> None:
        context = trial.context
        pull, push, capture = (make(context, kind, hwm=1) for kind in (trimq.Pull, trimq.Push, trimq.Push))
        sender, receiver, witness = (make(context, kind, hwm=1) for kind in (trimq.Push, trimq.Pull, trimq.Pull))
        sender.connect(pull.bind(address))
        receiver.connect(push.bind(address.replace("a", "b")))
        for_a_while, for_ever = _proxies(trial, pull, push, capture=capture)
        seen: list[int] = []

        async def watch() -> None:
            witness.connect(capture.bind(address.replace("a", "c")))
            while True:
                seen.append(number(await witness.receive()))

        async def send() -> None:
            for n in [*range(3), END]:
                await sender.send(message(n))

        async with numbers(receiver) as all_of_them, trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(send)
            with trial.cancelling():
                await for_a_while()
            nursery.start_soon(for_ever)
            assert await all_of_them() == [0, 1, 2, END]
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert seen == [0, 1, 2, END]

    everywhere(scenario)


@pytest.mark.slow
def test_proxy_of_router_and_dealer() -> None:
    """Questions and answers, both ways: each is asked once, and answered once."""

    async def scenario(trial: Trial, address: str) -> None:
        context = trial.context
        router, dealer = make(context, trimq.Router, hwm=1), context.socket(trimq.Dealer, send_hwm=1, receive_hwm=1)
        req, rep = make(context, trimq.Req, hwm=1), make(context, trimq.Rep, hwm=1)
        req.connect(router.bind(address))
        rep.connect(dealer.bind(address.replace("a", "b")))
        for_a_while, for_ever = _proxies(trial, router, dealer)
        asked: list[int] = []
        answered: list[int] = []
        done = trio.Event()

        async def ask() -> None:
            for n in range(2):
                await later()
                await req.send(message(n))
                assert number(await req.receive()) == n
                answered.append(n)
            done.set()

        async def serve() -> None:
            while True:
                asked.append(number(await rep.receive()))
                await rep.send(message(asked[-1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(serve)
            with trial.cancelling():
                await for_a_while()
            nursery.start_soon(for_ever)
            with trio.fail_after(10):
                await done.wait()
            nursery.cancel_scope.cancel()
        assert asked == answered == [0, 1]

    everywhere(scenario)


@pytest.mark.slow
def test_proxy_of_xsub_and_xpub() -> None:
    """The subscription passes one way, and what is published the other."""

    async def scenario(trial: Trial, address: str) -> None:
        context = trial.context
        xsub, xpub = make(context, trimq.XSub, hwm=1), make(context, trimq.XPub, hwm=1)
        pub, sub = make(context, trimq.Pub, hwm=1), make(context, trimq.Sub, hwm=1)
        pub.connect(xsub.bind(address))
        sub.connect(xpub.bind(address.replace("a", "b")))
        for_a_while, for_ever = _proxies(trial, xsub, xpub)

        async def publish() -> None:
            await later()
            sub.subscribe(b"")
            await pub.wait_for_subscribers(1, b"")
            for n in [*range(2), END]:
                await pub.send(message(n))

        async with numbers(sub) as all_of_them, trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            with trial.cancelling():
                await for_a_while()
            nursery.start_soon(for_ever)
            assert await all_of_them() == [0, 1, END]
            nursery.cancel_scope.cancel()

    everywhere(scenario)


@pytest.mark.slow
def test_proxy_with_control() -> None:
    """A command is obeyed once, or is still there: TERMINATE ends this proxy or the next."""

    async def scenario(trial: Trial, address: str) -> None:
        context = trial.context
        pull, push, control = (make(context, kind, hwm=1) for kind in (trimq.Pull, trimq.Push, trimq.Pull))
        steering, sender, receiver = (make(context, kind, hwm=1) for kind in (trimq.Push, trimq.Push, trimq.Pull))
        steering.connect(control.bind(address))
        sender.connect(pull.bind(address.replace("a", "b")))
        receiver.connect(push.bind(address.replace("a", "c")))
        await sender.send(message(0))
        returned = 0

        async def command() -> None:
            for text in (b"PAUSE", b"RESUME", b"TERMINATE"):
                await later()
                await steering.send(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(command)
            with trial.cancelling():
                await trimq.proxy(pull, push, control=control)
                returned += 1
            if not returned:
                with trio.fail_after(10):
                    await trimq.proxy(pull, push, control=control)
        with pytest.raises(trio.WouldBlock):
            control.receive_nowait()
        with trio.move_on_after(10):
            await trimq.proxy(pull, push)
        assert number(await receiver.receive()) == 0

    everywhere(scenario)
