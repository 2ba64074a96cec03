"""The verbs and the levels that all types share, and who may talk to whom (design 1 and 2; libzmq.md 1.1)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from sockets.helpers import (
    PLACES,
    RawPeer,
    all_of,
    both,
    drain,
    fill,
    joined,
    joins,
    jumping,
    level,
    opened,
    raw_connect,
    reaches,
    settle,
    zmtp_command,
)

import trimq
from trimq import (
    Channel,
    Client,
    Dealer,
    Dgram,
    Dish,
    EndpointState,
    Gather,
    GroupMessage,
    IncompatibleProtocol,
    Pair,
    Peer,
    ProtocolError,
    Pub,
    Pull,
    Push,
    Radio,
    Rep,
    Req,
    RoutedMessage,
    Router,
    Scatter,
    Server,
    Stream,
    Sub,
    XPub,
    XSub,
)
from trimq._sockets import ALL_TYPES
from trimq.testing import MemoryTransport

# Who talks to whom

COMPATIBLE = {
    Req: {Rep, Router},
    Rep: {Req, Dealer},
    Dealer: {Rep, Dealer, Router},
    Router: {Req, Dealer, Router},
    Pub: {Sub, XSub},
    Sub: {Pub, XPub},
    XPub: {Sub, XSub},
    XSub: {Pub, XPub},
    Push: {Pull},
    Pull: {Push},
    Pair: {Pair},
    Stream: {Stream},
    Client: {Server},
    Server: {Client},
    Scatter: {Gather},
    Gather: {Scatter},
    Channel: {Channel},
    Peer: {Peer},
    Radio: {Dish},
    Dish: {Radio},
}
"""RFC 37, Socket-Type; libzmq.md 1.1. Stream speaks no ZMTP: it talks to its like, and fails with all others."""

TYPES = [kind for kind in ALL_TYPES if kind is not Dgram]  # which talks in datagrams only
PAIRS = [(binder, connector) for binder in TYPES for connector in TYPES]
FITTING = [(a, b) for a, b in PAIRS if b in COMPATIBLE[a] and a is not Stream]  # for Stream see test_stream.py
MISFITS = [(a, b) for a, b in PAIRS if b not in COMPATIBLE[a] and Stream not in (a, b)]


def name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def test_the_table_is_whole() -> None:
    """400 pairs, each in one list, and the relation is symmetric."""
    assert len(PAIRS) == 400
    assert len(FITTING) + len(MISFITS) + 39 == 400  # 39 with a Stream
    assert all(a in COMPATIBLE[b] for a, b in FITTING)
    for kind in TYPES:
        assert kind._accepts == {other.socket_type for other in COMPATIBLE[kind] if other is not Stream}


async def talk(here: Any, there: Any) -> None:
    """One message from here to there, as the two types can; and its reply, if there is one."""
    if isinstance(there, (Sub, XSub)):
        there.subscribe(b"")
        await here.wait_for_subscribers()
    if isinstance(there, Dish):
        there.join(b"group")
        await here.wait_for_members()
    if not isinstance(here, trimq._sockets._flow.Sending) or not isinstance(there, trimq._sockets._flow.Receiving):
        return
    if isinstance(here, Rep):
        return  # speaks only when asked
    if type(here) in (Client, Server, Scatter, Channel, Peer, Radio):  # their messages have one frame
        text = b"hello"
        if isinstance(here, Radio):
            await here.send(GroupMessage(b"group", text))
        elif isinstance(here, (Server, Peer)):
            [number] = here._by_id.remotes
            await here.send(RoutedMessage(number, text))
        else:
            await here.send(text)
        received = await there.receive()
        assert (b"".join(received) if isinstance(received, list) else received.body) == text
        return
    body = [b"hello", b"there"]
    message = body
    if isinstance(here, Router):
        [peer] = here._by_id.remotes
        message = [peer, b"", *body]
    elif isinstance(here, Dealer):
        message = [b"", *body]
    if isinstance(there, Req):
        await there.send(b"q")
    await here.send(message)
    assert (await there.receive())[-2:] == body
    if isinstance(there, Rep):
        await there.send(body)
        if isinstance(here, trimq._sockets._flow.Receiving):
            assert (await here.receive())[-2:] == body


@jumping
@pytest.mark.parametrize("place", PLACES, ids=["inproc", "memory"])
@pytest.mark.parametrize(("binder", "connector"), FITTING, ids=name)
async def test_compatible_types_talk(binder: Any, connector: Any, place: str) -> None:
    """Each compatible pair, either one bound, in each direction that its pattern has; each knows the other's type."""
    for turned in (False, True):
        async with opened() as ctx:
            one, other = ctx.socket(binder), ctx.socket(connector)
            one.bind(place)
            await joins(other, place)
            await one.wait_for_peers()
            assert [peer.socket_type for peer in one.peers] == [connector.socket_type]
            assert [peer.socket_type for peer in other.peers] == [binder.socket_type]
            await (talk(other, one) if turned else talk(one, other))


@jumping
@pytest.mark.parametrize("place", PLACES, ids=["inproc", "memory"])
@pytest.mark.parametrize(("binder", "connector"), MISFITS, ids=name)
async def test_others_are_refused(binder: Any, connector: Any, place: str) -> None:
    """A ProtocolError that names both types (libzmq: silence, and no check at all for inproc); nothing else breaks."""
    async with opened() as ctx:
        one, other, right = ctx.socket(binder), ctx.socket(connector), ctx.socket(next(iter(COMPATIBLE[binder])))
        one.bind(place)
        endpoint = other.connect(place)
        with pytest.raises(ProtocolError) as caught:
            await endpoint.ready()
        message = str(caught.value)
        assert binder.socket_type in message
        assert connector.socket_type in message
        assert endpoint.cause is not None
        assert one.peers == other.peers == ()
        if place.startswith("inproc"):
            assert endpoint.state is EndpointState.LOST
        else:
            await reaches(endpoint, EndpointState.WAITING)  # it goes on, with the cause told (design 2)
        other.close()
        await joins(right, place)
        await one.wait_for_peers()


@jumping
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind is not Stream], ids=name)
async def test_refused_before_the_binder_is_there(kind: Any) -> None:
    """inproc, connected first: the bind succeeds, and the connector learns it; what it had queued is dropped, and told."""
    async with opened() as ctx:
        wrong = next(other for other in TYPES if other not in COMPATIBLE[kind] and other is not Stream)
        one, other = ctx.socket(kind), ctx.socket(wrong)
        endpoint = other.connect("inproc://place")
        one.bind("inproc://place")
        with pytest.raises(ProtocolError, match="socket types do not match"):
            await endpoint.ready()
        assert one.peers == other.peers == ()


@jumping
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind is not Stream], ids=name)
async def test_stream_is_no_zmtp_peer(kind: Any) -> None:
    """A Stream says nothing by itself: no other type takes it for a peer, bound or connected; inproc does not carry it."""
    async with opened(handshake_timeout=1) as ctx:
        for binder, connector in ((Stream, kind), (kind, Stream)):
            one, other = ctx.socket(binder), ctx.socket(connector)
            one.bind(f"tcp://{name(binder)}:1")
            endpoint = other.connect(f"tcp://{name(binder)}:1")
            if connector is kind:
                await reaches(endpoint, EndpointState.WAITING)
                assert isinstance(endpoint.cause, TimeoutError)
                assert other.peers == ()
            else:
                await trio.sleep(10)  # of the clock that jumps
                assert one.peers == ()
            one.close()
            other.close()
        with pytest.raises(IncompatibleProtocol):
            ctx.socket(Stream).connect("inproc://place")


@jumping
async def test_the_refused_peer_is_told() -> None:
    """RFC 37: an ERROR command with the reason, then the connection closes (libzmq closes without a word)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        ctx.socket(Pull).bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"SUB")
        reason = b"SUB cannot talk to PULL"
        expected = zmtp_command(b"ERROR", bytes([len(reason)]) + reason)
        assert await peer.exactly(len(expected)) == expected
        assert await peer.ended()


# Lines: first come, first served


@jumping
@both
async def test_receivers_are_served_in_order(place: str) -> None:
    """Any number of tasks may receive; nobody overtakes (promise 1)."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        served: list[tuple[int, trimq.Message]] = []

        async def receive(n: int) -> None:
            served.append((n, await pull.receive()))

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(receive, n)
                await settle()
            await push.send_many(b"%d" % n for n in range(10))
        assert sorted(served) == [(n, [b"%d" % n]) for n in range(10)]


@jumping
async def test_senders_are_served_in_order() -> None:
    """Whoever waits first sends first; send_many takes its turn, and others may come between its messages."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        assert fill(push, b"full") == 2
        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(push.send, b"%d" % n)
                await settle()
            nursery.start_soon(push.send_many, [b"many%d" % n for n in range(4)])
            await settle()
            nursery.start_soon(push.send, b"last")
            await settle()
            received = [await pull.receive() for _ in range(11)]
        assert received[:7] == [[b"full"], [b"full"], [b"0"], [b"1"], [b"2"], [b"3"], [b"many0"]]
        assert sorted(received[7:]) == [[b"last"], [b"many1"], [b"many2"], [b"many3"]]


@jumping
async def test_nowait_does_not_overtake() -> None:
    """send_nowait raises while others wait, room or not."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        assert fill(push) == 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send, b"waits")
            await settle()
            pull.receive_nowait()  # room for one, but a full queue opens only when half of it was read
            with pytest.raises(trio.WouldBlock):
                push.send_nowait(b"pushes in")
            assert not await level(push.wait_sendable)
            pull.receive_nowait()
        assert drain(pull)[-1] == [b"waits"]


@jumping
@pytest.mark.parametrize("verb", ["send", "send_many", "wait_sendable"])
async def test_a_cancelled_sender_lets_the_next_go_on(verb: str) -> None:
    """The line closes behind who gives up; nothing of theirs is queued (promise 1)."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        fill(push, b"full")
        given: list[bytes] = []

        def values() -> Iterator[bytes]:
            given.append(b"given")
            yield b"given up"

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def gives_up() -> None:
                with scope:
                    match verb:
                        case "send":
                            await push.send(b"given up")
                        case "send_many":
                            await push.send_many(values())
                        case _:
                            await push.wait_sendable()

            nursery.start_soon(gives_up)
            await settle()
            nursery.start_soon(push.send, b"next")
            nursery.start_soon(push.wait_sendable)
            await settle()
            scope.cancel()
            await settle()
            drain(pull)
        assert given == []
        assert fill(push) in (1, 2)
        assert [b"given up"] not in drain(pull)


# receive_many, send_many


@jumping
@both
async def test_receive_many(place: str) -> None:
    """Waits for the first, then takes what is there, in order, no more than max; whole messages, lists of their own."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        async with trio.open_nursery() as nursery:
            batches: list[list[trimq.Message]] = []

            async def receive() -> None:
                batches.append(await pull.receive_many())

            nursery.start_soon(receive)
            await settle()
            assert not batches
            await push.send(b"first")
        assert batches == [[[b"first"]]]
        sent: list[Any] = [b"%d" % n if n % 3 else [b"%d" % n, b""] for n in range(10)]
        await push.send_many(sent)
        await settle()
        expected = [[message] if isinstance(message, bytes) else message for message in sent]
        assert await pull.receive_many(4) == expected[:4]
        assert await pull.receive_many(max=1) == expected[4:5]
        assert await pull.receive_many() == expected[5:]
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="max"):
                await pull.receive_many(wrong)


@jumping
async def test_receive_many_takes_of_each() -> None:
    """From several peers in turn; and by default at most 1,000."""
    async with opened() as ctx:
        pull, one, other = ctx.socket(Pull), ctx.socket(Push), ctx.socket(Push)
        await joined(ctx, pull, one, other, place="inproc://place")
        await one.send_many([b"1"] * 1000)
        await other.send_many([b"2"] * 1000)
        batch = await pull.receive_many()
        assert len(batch) == 1000
        assert batch.count([b"1"]) == batch.count([b"2"]) == 500
        assert len(await pull.receive_many(2000)) == 1000


@jumping
async def test_waiting_receive_many_and_receive_share() -> None:
    """In one line: whoever is first takes what is there, up to its max; what is left goes to the next."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        got: dict[str, Any] = {}

        async def many() -> None:
            got["many"] = await pull.receive_many(2)

        async def one() -> None:
            got["one"] = await pull.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(many)
            await settle()
            nursery.start_soon(one)
            await settle()
            await push.send_many([b"1", b"2", b"3", b"4"])
        # send_many brings its messages at once
        assert got == {"many": [[b"1"], [b"2"]], "one": [b"3"]}
        assert drain(pull) == [[b"4"]]


@jumping
@pytest.mark.parametrize("kind", [Push, Dealer, Pair, Pub, XPub], ids=name)
async def test_send_many_room_first(kind: Any) -> None:
    """Room first, then next(): a cancelled send_many has taken from its iterator exactly what it queued (promise 1)."""
    async with opened(send_hwm=3, receive_hwm=3) as ctx:
        socket = ctx.socket(kind)
        other: Any = ctx.socket({Push: Pull, Pub: Sub, XPub: Sub}.get(kind, kind))
        if kind in (Pub, XPub):
            socket.nodrop = True
            other.subscribe(b"")
        await joined(ctx, other, socket, place="inproc://place")
        taken = 0

        def values() -> Iterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield b"%d" % taken

        assert not await level(lambda: socket.send_many(values()))
        assert taken == 6
        assert drain(other) == [[b"%d" % n] for n in range(1, 7)]
        for n in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(socket.send_many, values())
                    for _ in range(n):
                        await other.receive()
                    scope.cancel()
            drain(other)
        before = taken
        await socket.send_many([b"x"])
        assert (taken, drain(other)) == (before, [[b"x"]])


@jumping
async def test_send_many_of_nothing_and_of_much() -> None:
    """An empty iterable returns at once, room or not when it must know; a long one goes past any mark."""
    async with opened(send_hwm=7, receive_hwm=7) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        await push.send_many([])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send_many, (b"%d" % n for n in range(5000)))
            assert [await pull.receive() for _ in range(5000)] == [[b"%d" % n] for n in range(5000)]


@jumping
async def test_send_many_whose_iterator_reads() -> None:
    """What the iterator does with the socket's peer (inproc) changes nothing of what is sent."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        received: list[trimq.Message] = []

        def values() -> Iterator[bytes]:
            for n in range(5000):
                received.extend(drain(pull))
                yield b"%d" % n

        await push.send_many(values())
        received.extend(drain(pull))
        assert received == [[b"%d" % n] for n in range(5000)]


# Levels


@jumping
@both
async def test_levels_take_nothing(place: str) -> None:
    """wait_receivable and wait_sendable are level-triggered, and take nothing; several may wait for the same."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pull.wait_receivable)
            await settle()
            await push.send(b"1")
        assert await level(pull.wait_receivable)
        assert await level(pull.wait_receivable)
        assert pull.receive_nowait() == [b"1"]
        assert not await level(pull.wait_receivable)


@jumping
async def test_sendable_when_somebody_is_through() -> None:
    """wait_sendable returns when a send_many that had its turn leaves room behind; each level is looked at anew."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push, send_hwm=1), ctx.socket(Pull, receive_hwm=3)
        await joined(ctx, pull, push, place="inproc://place")
        assert fill(push) == 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send_many, [b"1"])
            await settle()
            push._pace.woken()  # so that wait_sendable looks before the send_many has had its turn
            drain(pull)
            with pytest.raises(trio.WouldBlock):
                push.send_nowait(b"pushes in")
            with trio.fail_after(100):
                await push.wait_sendable()
            push.send_nowait(b"2")
        assert drain(pull) == [[b"1"], [b"2"]]


@jumping
async def test_send_many_does_not_overtake() -> None:
    """Neither who waits already, nor who has just been called to his turn."""
    async with opened(send_hwm=1, receive_hwm=9) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        assert fill(push) == 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send_many, [b"1", b"2"])
            await settle()
            push._pace.woken()
            drain(pull)
            await push.send_many([b"3", b"4"])
        assert drain(pull) == [[b"1"], [b"2"], [b"3"], [b"4"]]


@jumping
@pytest.mark.parametrize("seed", range(25))
async def test_true_means_that_nowait_works(seed: int) -> None:
    """wait_sendable and wait_receivable return only if send_nowait and receive_nowait work then; and they always return
    if these would have worked: whatever else sends, receives, joins, leaves and is cancelled.
    """
    chance = random.Random(seed)
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        dealers = [ctx.socket(Dealer) for _ in range(2)]
        others: list[Dealer] = []
        for n, dealer in enumerate(dealers):
            dealer.bind(f"inproc://{n}")
        async with trio.open_nursery() as nursery:
            scopes: list[trio.CancelScope] = []

            async def cancellable(call: Any) -> None:
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    await call()

            for _ in range(60):
                dealer = chance.choice(dealers)
                match chance.randrange(8):
                    case 0 if len(others) < 4:
                        others.append(ctx.socket(Dealer))
                        others[-1].connect(f"inproc://{chance.randrange(2)}")
                    case 1 if others:
                        others.pop(chance.randrange(len(others))).close()
                    case 2:
                        nursery.start_soon(cancellable, lambda d=dealer: d.send(b"waits"))
                    case 3:
                        nursery.start_soon(cancellable, lambda d=dealer: d.send_many([b"m"] * 3))
                    case 4 if scopes:
                        scopes.pop(chance.randrange(len(scopes))).cancel()
                    case 5 if others:
                        drain(chance.choice(others))
                    case 6 if others:
                        fill(chance.choice(others), cap=2)
                    case 7:
                        nursery.start_soon(cancellable, lambda d=dealer: d.receive())
                await settle()
                for dealer in dealers:
                    sendable = await level(dealer.wait_sendable, seconds=1)
                    receivable = await level(dealer.wait_receivable, seconds=1)
                    assert (fill(dealer, cap=1) == 1) is sendable
                    if receivable:
                        dealer.receive_nowait()
                    else:
                        with pytest.raises(trio.WouldBlock):
                            dealer.receive_nowait()
            nursery.cancel_scope.cancel()


# wait_any


@jumping
@both
async def test_wait_any(place: str) -> None:
    """Those that have a message, in the order given; it takes nothing, and waits for the first that has one."""
    async with opened() as ctx:
        pulls, pushes = [ctx.socket(Pull) for _ in range(3)], [ctx.socket(Push) for _ in range(3)]
        for n in range(3):
            await joined(ctx, pulls[n], pushes[n], place=f"{place}{n}")
        found: list[Any] = []

        async def wait() -> None:
            found.append(await trimq.wait_any(*pulls))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await settle()
            assert not found
            await pushes[1].send(b"1")
        assert found == [[pulls[1]]] * 2
        await pushes[0].send(b"0")
        await settle()
        assert await trimq.wait_any(*pulls) == [pulls[0], pulls[1]]
        assert await trimq.wait_any(*reversed(pulls)) == [pulls[1], pulls[0]]
        drain(pulls[0])
        drain(pulls[1])
        assert not await level(lambda: wait_none(*pulls))
        with pytest.raises(ValueError, match="at least one"):
            await trimq.wait_any()
        pulls[2].close()
        with pytest.raises(trimq.SocketClosed):
            await trimq.wait_any(*pulls)


async def wait_none(*pulls: Pull) -> None:
    await trimq.wait_any(*pulls)


@jumping
async def test_wait_any_of_many_types() -> None:
    """Of all that receive, mixed; one of them closing wakes it."""
    async with opened() as ctx:
        sockets: list[Any] = [ctx.socket(kind) for kind in ALL_TYPES if kind not in (Pub, Push, Req, Scatter, Radio)]
        assert not await level(lambda: wait_none(*sockets))
        push = ctx.socket(Push)
        pull = next(socket for socket in sockets if isinstance(socket, Pull))
        await joined(ctx, pull, push, place="inproc://place")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_none, *sockets)
            await settle()
            await push.send(b"")
        assert await trimq.wait_any(*sockets) == [pull]
        drain(pull)
        errors: list[Exception] = []

        async def wait() -> None:
            try:
                await trimq.wait_any(*sockets)
            except trimq.SocketClosed as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            pull.close()
        assert len(errors) == 1


# What they are


@jumping
async def test_which_types_have_which_verbs() -> None:
    """What a pattern cannot do, its class does not have (design 1); which are trio's channels."""
    receiving = {"receive", "receive_nowait", "receive_many", "wait_receivable", "__aiter__", "__anext__"}
    sending = {"send", "send_nowait", "wait_sendable"}
    many = {"send_many"}
    subscribing = {"subscribe", "unsubscribe"}
    verbs = {
        Req: receiving | sending,
        Rep: receiving | sending,
        Dealer: receiving | sending | many,
        Router: receiving | sending,
        Pub: sending | many | {"wait_for_subscribers"},
        Sub: receiving | subscribing,
        XPub: receiving | sending | many | subscribing | {"wait_for_subscribers"},
        XSub: receiving | sending | subscribing,
        Push: sending | many,
        Pull: receiving,
        Pair: receiving | sending | many,
        Stream: receiving | sending,
        Client: receiving | sending | many,
        Server: receiving | sending,
        Scatter: sending | many,
        Gather: receiving,
        Channel: receiving | sending | many,
        Peer: receiving | sending,
        Radio: sending | many,
        Dish: receiving,
        Dgram: receiving | sending | many,
    }
    every = receiving | sending | many | subscribing | {"wait_for_subscribers"}
    async with opened() as ctx:
        for kind in ALL_TYPES:
            socket: Any = ctx.socket(kind)
            assert {verb for verb in every if hasattr(socket, verb)} == verbs[kind], kind
            assert isinstance(socket, trio.abc.AsyncResource)
        assert isinstance(ctx.socket(Push), trio.abc.SendChannel)
        assert isinstance(ctx.socket(Pub), trio.abc.SendChannel)
        assert isinstance(ctx.socket(Pull), trio.abc.ReceiveChannel)
        assert isinstance(ctx.socket(Sub), trio.abc.ReceiveChannel)
        assert isinstance(ctx.socket(Pair), trio.abc.Channel)
        assert isinstance(ctx.socket(Scatter), trio.abc.SendChannel)
        assert isinstance(ctx.socket(Gather), trio.abc.ReceiveChannel)
        assert isinstance(ctx.socket(Channel), trio.abc.Channel)


@jumping
@both
@pytest.mark.parametrize("checkpoints", ["amortised", "every"])
async def test_every_call_is_a_cancel_point(place: str, checkpoints: Any) -> None:
    """Promise 5, ready or not; and what was cancelled did not happen (promise 1)."""
    async with opened(checkpoints=checkpoints) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        await push.send(b"1")
        await settle()
        calls: list[Any] = [
            lambda: push.send(b"never"),
            lambda: push.send_many([b"never"]),
            push.wait_sendable,
            push.flush,
            push.wait_for_peers,
            pull.receive,
            pull.receive_many,
            pull.wait_receivable,
            lambda: trimq.wait_any(pull),
            push.endpoints[0].ready,
        ]
        for call in calls:
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        assert await all_of(pull) == [[b"1"]]


@jumping
@pytest.mark.parametrize("kind", [list, tuple])
async def test_send_many_of_what_fits_returns(kind: Any) -> None:
    """Of a list it is known that nothing follows: no room is waited for (a generator has to be asked, room first)."""
    async with opened(send_hwm=2) as ctx:
        push = ctx.socket(Push)
        push.connect("inproc://nobody")
        assert await level(lambda: push.send_many(kind([b"1", b"2"])))
        assert not await level(lambda: push.send_many(iter([b"3"])))


@pytest.mark.parametrize("kind", ALL_TYPES)
async def test_only_plain_verbs_go_ahead(kind: type[trimq.Socket]) -> None:
    """A type that does more with a message than to queue or take it is asked each time: it must not lend."""
    async with trimq.open_context() as context:
        socket: Any = context.socket(kind)
        lends = getattr(getattr(socket, "_balancer", None), "_ahead", None) is not None
        assert lends is (kind in {Push, Dealer, Pair, Channel, Client, Scatter})
        takes = getattr(getattr(socket, "_fair", None), "_ahead", None) is not None
        assert takes is (kind in {Pull, Dealer, Pair, Channel, Client, Gather, Sub, XSub, Dgram})
