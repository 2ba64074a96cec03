"""Options, by their effects at the other end: libzmq.md 2 and 5, and issue 5's points 1 to 5, with a libzmq peer.

Where libzmq can do the same, it is asked the same question first: its answer is what trimq is held to. What other
files hold already is not repeated: verbose and welcome (test_subscriptions), correlate and relaxed
(test_request_reply), handover, mandatory and probes (test_router), sizes (test_faults), heartbeats (test_heartbeats),
time-outs (test_events).
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from interop.harness import Peer, PeerSocket, Pool, join, running, until_left

import trimq
from trimq import events
from trimq._util import until

pytestmark = pytest.mark.pyzmq

SIDES = pytest.mark.parametrize("side", ["trimq", "libzmq"])
ROLES = pytest.mark.parametrize("trimq_binds", [True, False], ids=["bound", "connected"])
TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "ipc"])
SOON: dict[str, Any] = {"reconnect_interval": 0.01, "reconnect_interval_max": 0.05}


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def nowhere(fresh: Callable[[str], str], transport: str = "tcp") -> str:
    """An endpoint at which nobody listens."""
    return fresh(transport).replace("*", str(free_port()))


async def fill(side: Any, most: int = 1000) -> int:
    """Sends numbers until there is no room; returns how many were sent."""
    if isinstance(side, PeerSocket):
        await side.get("EVENTS")  # libzmq hears of room only now and then
        return await side.fill(most)
    for number in range(most):
        try:
            side.send_nowait(b"%d" % number)
        except trio.WouldBlock:
            return number
    return most


async def make(side: str, kind: str, ctx: trimq.Context, peer: Peer, **options: Any) -> Any:
    """A socket of trimq or libzmq, its marks given by trimq's names."""
    if side == "trimq":
        return ctx.socket({"PUSH": trimq.Push, "PULL": trimq.Pull}[kind], **options)
    names = {"send_hwm": "SNDHWM", "receive_hwm": "RCVHWM"}
    return await peer.socket(kind, **{names[name]: value for name, value in options.items()})


async def verb(side: Any, name: str, *arguments: Any) -> Any:
    """A verb that is a coroutine in libzmq's process, and a plain function here."""
    result = getattr(side, name)(*arguments)
    return await result if isinstance(side, PeerSocket) else result


async def soon(test: Callable[[], bool]) -> None:
    """Waits until it is so, where nothing tells."""
    while not test():
        await trio.sleep(0.001)


async def set_mark(side: Any, name: str, value: int) -> None:
    if isinstance(side, PeerSocket):
        await side.set({"send_hwm": "SNDHWM", "receive_hwm": "RCVHWM"}[name], value)
    else:
        setattr(side, name, value)


# High-water marks (libzmq.md 5.2)


@SIDES
@pytest.mark.parametrize("order", ["bind first", "connect first"])
async def test_marks_of_both_count_over_inproc(side: str, order: str, peer: Peer) -> None:
    """As many messages as both marks together; a full queue opens after half of it was read; marks may change at any
    time.
    """
    async with running(10) as ctx:
        push = await make(side, "PUSH", ctx, peer, send_hwm=4)
        pull = await make(side, "PULL", ctx, peer, receive_hwm=5)
        steps = [(pull, "bind"), (push, "connect")]
        for end, name in steps if order == "bind first" else steps[::-1]:
            await verb(end, name, "inproc://place")
        assert await fill(push) == 9
        for _ in range(4):
            await pull.receive()
        assert await fill(push) == 0
        await pull.receive()
        assert await fill(push) == 5


@SIDES
@TRANSPORTS
async def test_marks_of_an_endpoint(side: str, transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """As many as the mark says wait for an endpoint; raising it gives room, and lowering it drops nothing."""
    address = nowhere(fresh, transport)
    async with running(10) as ctx:
        push = await make(side, "PUSH", ctx, peer, send_hwm=5)
        assert await fill(push) == 0
        await verb(push, "connect", address)
        assert await fill(push, 5) == 5
        await set_mark(push, "send_hwm", 8)
        assert await fill(push) == 3
        await set_mark(push, "send_hwm", 2)
        assert await fill(push) == 0
        pull = await make("trimq" if side == "libzmq" else "libzmq", "PULL", ctx, peer)
        await verb(pull, "bind", address)
        for number in (*range(5), *range(3)):
            assert await pull.receive() == [b"%d" % number]


@ROLES
@TRANSPORTS
async def test_no_more_than_the_mark_waits_here(
    trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A libzmq PUSH that goes on until nothing takes any more: here wait exactly as many as the mark says, and more
    once it is raised; all arrive.
    """
    async with running(10) as ctx:
        pull = ctx.socket(trimq.Pull, receive_hwm=10)
        push = await peer.socket("PUSH", SNDHWM=30)
        await join(pull, push, fresh(transport), trimq_binds=trimq_binds)
        await pull.wait_for_peers()
        sent = idle = 0
        while idle < 5:
            more = await push.fill(1000, [b"x" * 20_000])
            sent += more
            idle = 0 if more else idle + 1
            await trio.sleep(0.005)
        assert pull.statistics().waiting == 10
        pull.receive_hwm = 25  # as with reading, there is room only when the queue is no more than half full
        await soon(lambda: pull.statistics().waiting >= 25)
        assert pull.statistics().waiting == 25
        for _ in range(sent):
            await pull.receive()
        assert pull.statistics().received == sent


@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer, trimq.Router])
@pytest.mark.parametrize("immediate", [False, True])
async def test_marks_that_change_before_the_handshake(
    kind: Any, immediate: bool, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A mark that is set after ``connect`` holds for that endpoint's peer, there or not (ZMQ_SNDHWM acts at any time)."""
    address = nowhere(fresh)
    async with running(10) as ctx:
        mine = ctx.socket(kind, immediate=immediate, linger=0, **SOON)
        mine.connect(address)
        mine.send_hwm = 3
        theirs = await peer.socket({"PUSH": "PULL", "DEALER": "ROUTER", "ROUTER": "DEALER"}[kind.socket_type])
        await theirs.bind(address)
        await mine.wait_for_peers()
        [remote] = mine._remotes
        assert remote.outbox.hwm == 3


# Conflation (libzmq.md 5.3)


@pytest.mark.parametrize("kinds", [("PUSH", "PULL"), ("DEALER", "DEALER"), ("PUB", "SUB")])
@pytest.mark.parametrize("conflates", ["trimq sends", "trimq receives", "libzmq sends", "libzmq receives"])
async def test_conflate(kinds: tuple[str, str], conflates: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Of 3,000 messages with one of them asleep, the last arrives, the order holds, and some are left out; those that
    trimq leaves out are counted.
    """
    made: dict[str, Any] = {
        "PUSH": trimq.Push, "PULL": trimq.Pull, "DEALER": trimq.Dealer, "PUB": trimq.Pub, "SUB": trimq.Sub,
    }  # fmt: skip
    who = conflates.split(maxsplit=1)[0]
    trimq_sends = conflates in ("trimq sends", "libzmq receives")
    async with running(20) as ctx:
        options: dict[str, Any] = {"conflate": True} if who == "trimq" else {"send_hwm": math.inf}
        mine = ctx.socket(made[kinds[0 if trimq_sends else 1]], **options)
        theirs = await peer.socket(kinds[1 if trimq_sends else 0], **{"CONFLATE": 1} if who == "libzmq" else {})
        if kinds[1] == "SUB" and not trimq_sends:
            mine.subscribe(b"")
        await join(mine, theirs, fresh("tcp"), trimq_binds=True)
        if kinds[1] == "SUB" and trimq_sends:
            await theirs.subscribe(b"")
            await mine.wait_for_subscribers(1, b"")
        await mine.wait_for_peers()
        count, filler = 3000, b" " + bytes(2000)
        received: list[int] = []
        if trimq_sends:
            for number in range(count):
                await mine.send(
                    b"%d" % number + filler
                )  # faster than it is taken: nothing lets the writer run for long
            await mine.flush()
            while not received or received[-1] != count - 1:
                [frame] = await theirs.receive()
                received.append(int(frame.split()[0]))
        else:
            if kinds[0] == "PUB":
                await theirs.send(b"0 ")
                while await mine_within(mine, 0.02) is None:
                    await theirs.send(b"0 ")
            for number in range(0, count, 100):
                await theirs.send(b"%d " % number)
            await theirs.send(b"%d " % (count - 1))
            await soon(lambda: mine.statistics().received >= 1)
            while not received or received[-1] != count - 1:
                [frame] = await mine.receive()
                received.append(int(frame.split()[0]))
        assert received == sorted(received)
        statistics = mine.statistics()
        if conflates == "trimq sends":
            assert len(received) < count
            assert statistics.dropped + statistics.written == count
        if who == "trimq":
            assert statistics.queued + statistics.waiting == 0


async def test_a_probe_replaces_nothing(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Where only the latest message is kept, that is not the probe: a libzmq ROUTER gets what waited for it."""
    address = nowhere(fresh)
    async with running(10) as ctx:
        dealer = ctx.socket(trimq.Dealer, conflate=True, probe_router=True, routing_id=b"me", **SOON)
        dealer.connect(address)
        await dealer.send(b"waits")
        router = await peer.socket("ROUTER")
        await router.bind(address)
        assert await router.receive() == [b"me", b"waits"]
        await dealer.flush()
        assert dealer.statistics().written == 1


async def mine_within(mine: Any, seconds: float) -> Any:
    """What is received within so many seconds, or None."""
    with trio.move_on_after(seconds):
        return await mine.receive()
    return None


# Closing (libzmq.md 5.4, 1.6)


@TRANSPORTS
@pytest.mark.parametrize("linger", [0, 30.0, math.inf])
@pytest.mark.parametrize("how", ["socket", "endpoint", "disconnect"])
async def test_linger_with_nobody_there_yet(
    linger: float, how: str, transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """What is queued for an endpoint outlives the close of its socket, or of the endpoint, if it may linger: it still
    connects. With 0 it is dropped at once, and counted as unsent.
    """
    address = nowhere(fresh, transport)
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, linger=linger, **SOON)
        endpoint = push.connect(address)
        for number in range(20):
            await push.send(b"%d" % number)
        if how == "socket":
            push.close()
        elif how == "endpoint":
            endpoint.close()
        else:
            push.disconnect(address)
        assert endpoint.state is trimq.EndpointState.CLOSED
        assert push.endpoints == ()
        if not linger:
            await push.aclose()
            statistics = push.statistics()
            assert (statistics.sent, statistics.unsent, statistics.written) == (20, 20, 0)
            return
        assert push.statistics().queued == 20
        pull = await peer.socket("PULL")
        await pull.bind(address)
        for number in range(20):
            assert await pull.receive() == [b"%d" % number]
        await push.aclose()
        statistics = push.statistics()
        assert (statistics.sent, statistics.written, statistics.unsent, statistics.in_doubt) == (20, 20, 0, 0)


async def test_linger_that_runs_out(caplog: pytest.LogCaptureFixture, fresh: Callable[[str], str]) -> None:
    """``aclose`` waits no longer than ``linger``; what is left is told, in the log and in the statistics (promise 6)."""
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, linger=0.05, **SOON)
        push.connect(nowhere(fresh))
        await push.send(b"nobody will have it")
        with caplog.at_level(logging.WARNING, "trimq"):
            await push.aclose()
        assert push.statistics().unsent == 1
        assert "1 unsent messages" in caplog.text


@TRANSPORTS
@ROLES
@pytest.mark.parametrize("how", ["socket", "endpoint"])
async def test_closing_with_much_to_send(
    how: str, trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A libzmq PULL that takes its time still gets all of it after ``close``, ``unbind`` or ``disconnect``, in order;
    then the connection ends.

    Over ipc it must have room: a libzmq that stands at its mark drops what its system still holds once the other side
    has closed, also if that is libzmq.
    """
    count = 400
    async with running(20) as ctx:
        push = ctx.socket(trimq.Push, send_hwm=math.inf)
        pull = await peer.socket("PULL", RCVHWM=10 if transport == "tcp" else 1000, RECONNECT_IVL=60_000)
        await pull.monitor()
        await join(push, pull, fresh(transport), trimq_binds=trimq_binds)
        await push.wait_for_peers()
        filler = b"x" * 30_000
        for number in range(count):
            await push.send([b"%d" % number, filler])
        assert push.statistics().queued > 0
        [endpoint] = push.endpoints
        if how == "socket":
            push.close()
        else:
            endpoint.close()
            with pytest.raises(trio.WouldBlock):
                push.send_nowait(b"nothing goes there any more")
        for number in range(count):
            assert (await pull.receive())[0] == b"%d" % number
        assert await pull.wait_event("DISCONNECTED")
        await push.aclose()
        statistics = push.statistics()
        assert (statistics.written, statistics.unsent + statistics.in_doubt) == (count, 0)


@TRANSPORTS
async def test_bound_again_at_once(transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """An address is free as soon as ``close`` or ``unbind`` returns; the peers of before come to who binds it next."""
    async with running(10) as ctx:
        push = await peer.socket("PUSH", RECONNECT_IVL=10)
        pull = ctx.socket(trimq.Pull)
        address = str(pull.bind(fresh(transport)))
        await push.connect(address)
        for turn in range(6):
            await push.send(b"%d" % turn)
            assert await pull.receive() == [b"%d" % turn]
            if turn % 2:
                pull.unbind(address)
                assert str(pull.bind(address)) == address  # the same socket, in the same tick
            else:
                pull.close()
                pull = ctx.socket(trimq.Pull)
                assert str(pull.bind(address)) == address  # another, in the same tick
            await pull.wait_for_peers()


async def test_bound_again_while_its_messages_linger(peer: Peer, pool: Pool, fresh: Callable[[str], str]) -> None:
    """A closed socket still writes to its peer while another is bound to its address: who comes now is the other's."""
    async with running(20) as ctx, pool.peer() as another:
        push = ctx.socket(trimq.Push, send_hwm=math.inf)
        address = push.bind(fresh("tcp"))
        pull = await peer.socket("PULL", RCVHWM=1, RECONNECT_IVL=60_000)
        await pull.connect(address)
        await push.wait_for_peers()
        for number in range(200):
            await push.send([b"%d" % number, b"x" * 50_000])
        push.close()
        second = ctx.socket(trimq.Push)
        assert str(second.bind(str(address))) == str(address)
        newcomer = await another.socket("PULL")
        await newcomer.connect(address)
        await second.send(b"from the second")
        assert await newcomer.receive() == [b"from the second"]
        for number in range(200):
            assert (await pull.receive())[0] == b"%d" % number


# Endpoints


async def test_immediate(pool: Pool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Nothing is queued for who is not there; what was queued for a peer that is lost is dropped, and counted."""
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, immediate=True, **SOON)
        push.connect(nowhere(fresh))
        assert await fill(push) == 0
        pull = await peer.socket("PULL")
        push.connect(await pull.bind(fresh("tcp")))
        await push.wait_for_peers()
        assert await fill(push, 50) == 50
        for number in range(50):
            assert await pull.receive() == [b"%d" % number]
        await pull.close()
        await until_left(push, 0)
        assert await fill(push) == 0


async def test_without_immediate_half_goes_nowhere(peer: Peer, fresh: Callable[[str], str]) -> None:
    """The same without the option: an endpoint where nobody is has its share, as in libzmq, and keeps it."""
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, linger=0, **SOON)
        push.connect(nowhere(fresh))
        pull = await peer.socket("PULL")
        await push.connect(await pull.bind(fresh("tcp"))).ready()
        assert await fill(push, 50) == 50
        for number in range(1, 50, 2):
            assert await pull.receive() == [b"%d" % number]
        assert push.statistics().queued == 25
        waiting = [told for told in push.statistics().peers if not told.connected]
        assert [(told.sent, told.queued, told.peer) for told in waiting] == [(25, 25, None)]


async def test_reconnect_stop_refused(peer: Peer, pool: Pool, fresh: Callable[[str], str]) -> None:
    """``"refused"``: an endpoint whose libzmq peer has died gives up, and says so; another ``connect`` begins anew."""
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, reconnect_stop={"refused"}, linger=0, **SOON)
        async with pool.peer() as mortal:
            pull = await mortal.socket("PULL")
            address = await pull.bind(fresh("tcp"))
            endpoint = push.connect(address)
            await endpoint.ready()
            await mortal.kill()
        await soon(lambda: not push.endpoints)
        with pytest.raises(ConnectionRefusedError):
            await endpoint.ready()
        assert endpoint.state is trimq.EndpointState.LOST
        assert isinstance(endpoint.cause, ConnectionRefusedError)
        pull = await peer.socket("PULL")
        await pull.bind(address)
        await push.connect(address).ready()
        await push.send(b"hello again")
        assert await pull.receive() == [b"hello again"]


async def test_reconnect_stop_handshake(peer: Peer, fresh: Callable[[str], str]) -> None:
    """``"handshake"``: a libzmq peer of the wrong type is asked once only."""
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, reconnect_stop={"handshake"}, **SOON)
        rep = await peer.socket("REP")
        endpoint = push.connect(await rep.bind(fresh("tcp")))
        with pytest.raises(trimq.ProtocolError):
            await endpoint.ready()
        await until(lambda: not push.endpoints, endpoint._bell, pace=endpoint._pace)
        assert push.statistics().handshake_failures == 1


async def test_intervals_grow_and_begin_anew(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Each wait is up to twice as long as the one before, no longer than the longest, and the first one again after a
    connection: what the endpoint says is what is told.
    """
    address = nowhere(fresh)
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, reconnect_interval=0.01, reconnect_interval_max=0.04)
        async with push.events() as stream:
            endpoint = push.connect(address)
            delays: list[float] = []
            while len(delays) < 6:
                event = await stream.receive()
                if isinstance(event, events.ConnectRetried):
                    delays.append(event.delay)
            for delay, longest in zip(delays, [0.01, 0.02, 0.04, 0.04, 0.04, 0.04], strict=True):
                assert longest / 2 <= delay <= longest
            pull = await peer.socket("PULL")
            await pull.bind(address)
            await endpoint.ready()
            assert endpoint.next_attempt is None
            await pull.close()
            while True:
                event = await stream.receive()
                if isinstance(event, events.Disconnected):
                    break
            retried = await stream.receive()
            assert isinstance(retried, events.ConnectRetried)
            assert 0.005 <= retried.delay <= 0.01


# A listening socket from somebody else


@TRANSPORTS
@pytest.mark.parametrize("given", ["number", "socket"])
@pytest.mark.parametrize("listens", [True, False], ids=["listening", "bound only"])
async def test_use_fd(
    listens: bool, given: str, transport: str, peer: Peer, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    """A socket that is bound, or listens already, is taken over (ZMQ_USE_FD): libzmq connects to it, also if it came
    before.
    """
    if transport == "tcp":
        system = socket.socket()
        system.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{system.getsockname()[1]}"
    else:
        system = socket.socket(socket.AF_UNIX)
        system.bind(str(tmp_path / "given"))
        address = f"ipc://{tmp_path}/given"
    if listens:
        system.listen()
    async with running(10) as ctx:
        early = await peer.socket("PUSH", RECONNECT_IVL=10)
        await early.connect(address)
        await early.send(b"early")
        pull = ctx.socket(trimq.Pull)
        endpoint = pull.bind(address, use_fd=system if given == "socket" else system.detach())
        assert str(endpoint) == address
        assert await pull.receive() == [b"early"]
        await pull.aclose()
        if transport == "ipc":
            assert (tmp_path / "given").exists()  # whoever bound it removes it


CHILD = """
import os, sys, trio, trimq

async def main():
    async with trimq.open_context() as ctx:
        rep = ctx.socket(trimq.Rep)
        rep.bind(sys.argv[1], use_fd=int(os.environ["LISTEN_FD"]))
        while True:
            [question] = await rep.receive()
            await rep.send([b"%d" % os.getpid(), question])
            if question == b"last":
                await rep.flush()
                return

trio.run(main)
"""


async def test_a_listener_that_outlives_its_programs(peer: Peer) -> None:
    """A parent process holds the listener, as systemd does: a libzmq REQ that asks between two of its children is
    served by the second, and its connection is never refused.
    """
    with trio.fail_after(20), socket.socket() as system:
        system.bind(("127.0.0.1", 0))
        system.listen()
        address = f"tcp://127.0.0.1:{system.getsockname()[1]}"
        req = await peer.socket("REQ", RECONNECT_IVL=10, REQ_RELAXED=1)
        await req.connect(address)
        pids = set()
        for _ in range(2):
            process = await trio.lowlevel.open_process(
                [sys.executable, "-c", CHILD, address],
                pass_fds=[system.fileno()],
                env={**os.environ, "LISTEN_FD": str(system.fileno()), "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            await req.send(b"first")
            pid, question = await req.receive()
            assert (int(pid), question) == (process.pid, b"first")
            await req.send(b"last")
            assert (await req.receive())[1] == b"last"
            pids.add(await process.wait())
        assert pids == {0}


# Limits


async def test_max_connections(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Of three libzmq PUSHes two are let in; the third comes in as soon as one of them leaves."""
    async with running(10) as ctx:
        pull = ctx.socket(trimq.Pull, max_connections=2)
        address = pull.bind(fresh("tcp"))
        pushes = []
        for _ in range(3):
            push = await peer.socket("PUSH", RECONNECT_IVL=10)
            await push.monitor()
            await push.connect(address)
            pushes.append(push)
            if len(pushes) < 3:
                await pull.wait_for_peers(len(pushes))
        third = pushes[2]
        assert await third.wait_event("DISCONNECTED")
        assert len(pull.peers) == 2
        assert pull.statistics().refused >= 1
        await pushes[0].close()
        await third.send(b"from the third")
        assert await pull.receive() == [b"from the third"]


async def test_max_handshakes(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Silent strangers take all handshakes: a libzmq peer has to wait, and is served when one of them is over."""
    async with running(10) as ctx:
        pull = ctx.socket(trimq.Pull, max_handshakes=2)
        port = int(str(pull.bind(fresh("tcp"))).rsplit(":", 1)[1])
        strangers = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        for stranger in strangers:
            assert await stranger.receive_some(1)  # our greeting: it has been accepted
        push = await peer.socket("PUSH")
        await push.monitor()
        await push.connect(f"tcp://127.0.0.1:{port}")
        await push.send(b"patience")
        assert await push.wait_event("CONNECTED")  # by the system
        assert await push.wait_event("HANDSHAKE_SUCCEEDED", seconds=0.1) is None
        await strangers.pop().aclose()
        assert await pull.receive() == [b"patience"]
        await strangers.pop().aclose()


# Peers


@ROLES
@TRANSPORTS
async def test_metadata_both_ways(trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """What is announced in ``metadata`` is a property of libzmq's messages, and its ZMQ_METADATA is in the PeerInfo;
    with the other properties of zmq_msg_gets.
    """
    async with running(10) as ctx:
        dealer = ctx.socket(trimq.Dealer, routing_id=b"me", metadata={"X-Name": b"trimq", "X-Other": b"1 2"})
        theirs = await peer.socket("DEALER", METADATA=b"X-Theirs:libzmq", ROUTING_ID=b"you")
        await join(dealer, theirs, fresh(transport), trimq_binds=trimq_binds)
        await dealer.send([b"hello", b"world"])
        message, found = await theirs.receive_with("X-Name", "X-Other", "X-None", "Socket-Type", "Identity")
        assert message == [b"hello", b"world"]
        assert found == ["trimq", "1 2", None, "DEALER", "me"]
        await theirs.send(b"answer")
        answer, info = await dealer.receive_from()
        assert answer == [b"answer"]
        assert info is dealer.peers[0]
        assert (info.metadata["X-Theirs"], info.identity, info.socket_type) == (b"libzmq", b"you", "DEALER")
        assert (info.mechanism, info.user_id) == ("NULL", None)
        if transport == "ipc":
            assert (info.pid, info.uid, info.gid) == (peer.process.pid, os.getuid(), os.getgid())
        else:
            assert (info.address, info.pid) == ("127.0.0.1", None)


async def test_disconnect_peer(peer: Peer, fresh: Callable[[str], str]) -> None:
    """One libzmq peer is sent away, what is queued for it still arrives; it may come again, and is another one then."""
    async with running(10) as ctx:
        router = ctx.socket(trimq.Router)
        dealer = await peer.socket("DEALER", ROUTING_ID=b"guest", RECONNECT_IVL=10)
        await dealer.monitor()
        await dealer.connect(router.bind(fresh("tcp")))
        await dealer.send(b"knock")
        message, info = await router.receive_from()
        assert message == [b"guest", b"knock"]
        await router.send([b"guest", b"goodbye"])
        router.disconnect_peer(info)
        assert await dealer.receive() == [b"goodbye"]
        assert await dealer.wait_event("DISCONNECTED")
        await soon(lambda: all(remote.info is not info for remote in router._remotes))
        with pytest.raises(trimq.HostUnreachable):
            router.disconnect_peer(info)
        await dealer.send(b"again")
        message, other = await router.receive_from()
        assert message == [b"guest", b"again"]
        assert other is not info


# Requests


async def test_request_outlives_its_server(pool: Pool, fresh: Callable[[str], str]) -> None:
    """A libzmq REP dies with a request, and comes back: the request is asked again, and answered; a late answer to
    the first is none (issue 5, "Requests that cannot lock up").
    """
    async with running(20) as ctx:
        req = ctx.socket(trimq.Req, **SOON)
        replies: list[list[bytes]] = []

        async def ask() -> None:
            replies.append(await req.request(b"question", retries=3, retry_after=60.0))

        async with trio.open_nursery() as nursery:
            async with pool.peer() as old:
                rep = await old.socket("REP")
                address = await rep.bind(fresh("tcp"))
                req.connect(address)
                nursery.start_soon(ask)
                assert await rep.receive() == [b"question"]
                await old.kill()
            async with pool.peer() as new:
                rep = await new.socket("REP")
                await rep.bind(address)
                assert await rep.receive() == [b"question"]
                await rep.send([b"answer", b"of the second"])
                await until(lambda: bool(replies), req._write_bell, pace=req._pace)
        assert replies == [[b"answer", b"of the second"]]


async def test_request_to_a_server_that_is_slow(peer: Peer, fresh: Callable[[str], str]) -> None:
    """It is asked twice, and answers twice: the first answer, which comes late, is not taken for one of the next
    request.
    """
    async with running(20) as ctx:
        req = ctx.socket(trimq.Req)
        router = await peer.socket("ROUTER")
        req.connect(await router.bind(fresh("tcp")))
        replies: list[list[bytes]] = []

        async def ask(question: bytes, **how: Any) -> None:
            replies.append(await req.request(question, **how))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ask(b"one", retries=1, retry_after=0.02))
            first, second = await router.receive(), await router.receive()
            assert first[-1] == second[-1] == b"one"
            assert first[1] != second[1]  # the number
            await router.send([*first[:-1], b"too late"])
            await router.send([*second[:-1], b"in time"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ask(b"two"))
            third = await router.receive()
            await router.send([*second[:-1], b"once more"])
            await router.send([*third[:-1], b"the second's"])
        assert replies == [[b"in time"], [b"the second's"]]


async def test_a_cancelled_request(peer: Peer, fresh: Callable[[str], str]) -> None:
    """The caller's scope ends it; the socket can ask again at once, also in the plain way, and the old answer is
    dropped.
    """
    async with running(10) as ctx:
        req = ctx.socket(trimq.Req)
        rep = await peer.socket("REP")
        req.connect(await rep.bind(fresh("tcp")))
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                await req.request(b"never mind")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            assert await rep.receive() == [b"never mind"]
            scope.cancel()
        assert scope.cancelled_caught
        await req.send(b"plain")
        await rep.send(b"to never mind")
        assert await rep.receive() == [b"plain"]
        await rep.send(b"to plain")
        assert await req.receive() == [b"to plain"]


# Publishing


async def two_subscribers(xpub: Any, address: Any, peer: Peer, topics: list[bytes]) -> list[PeerSocket]:
    """libzmq SUBs, connected one after the other; each subscription is received at the XPUB before the next is made."""
    subs = []
    for topic in topics:
        sub = await peer.socket("SUB")
        await sub.connect(address)
        await sub.subscribe(topic)
        subs.append(sub)
        assert await xpub.receive() == [b"\1" + topic]
        if isinstance(xpub, PeerSocket):
            await xpub.set("SUBSCRIBE", topic)
        else:
            xpub.subscribe(topic)
    return subs


@SIDES
async def test_manual_last_value(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """What is sent after a subscription goes to that subscriber alone, once (ZMQ_XPUB_MANUAL_LAST_VALUE)."""
    async with running(10) as ctx:
        xpub: Any = (
            ctx.socket(trimq.XPub, manual=True, manual_last_value=True)
            if side == "trimq"
            else await peer.socket("XPUB", XPUB_MANUAL_LAST_VALUE=1)
        )
        first, second = await two_subscribers(xpub, await verb(xpub, "bind", fresh("tcp")), peer, [b"t", b"t"])
        await xpub.send(b"t cached")
        await xpub.send(b"t for all")
        assert await second.receive() == [b"t cached"]
        assert await second.receive() == [b"t for all"]
        assert await first.receive() == [b"t for all"]


@SIDES
async def test_manual_last_value_of_who_has_left(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """If the last message came from a peer that is gone, what is sent next goes to all."""
    async with running(10) as ctx:
        xpub: Any = (
            ctx.socket(trimq.XPub, manual=True, manual_last_value=True)
            if side == "trimq"
            else await peer.socket("XPUB", XPUB_MANUAL_LAST_VALUE=1)
        )
        first, second = await two_subscribers(xpub, await verb(xpub, "bind", fresh("tcp")), peer, [b"t", b"t"])
        await xpub.send(b"t cached")
        assert await second.receive() == [b"t cached"]
        await second.close()
        assert await xpub.receive() == [b"\0t"]
        await xpub.send(b"t for all")
        assert await first.receive() == [b"t for all"]


@SIDES
async def test_manual_when_all_leave(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """By hand: each peer's subscription ends with a message of its own when it leaves, of the topic that it asked for."""
    async with running(10) as ctx:
        xpub: Any = ctx.socket(trimq.XPub, manual=True) if side == "trimq" else await peer.socket("XPUB", XPUB_MANUAL=1)
        subs = await two_subscribers(xpub, await verb(xpub, "bind", fresh("tcp")), peer, [b"t", b"t"])
        for sub in subs:
            await sub.close()
            assert await xpub.receive() == [b"\0t"]


@SIDES
async def test_only_first_subscribe(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Of a message with several frames, only the first may be a subscription: the others arrive as they are
    (ZMQ_ONLY_FIRST_SUBSCRIBE, at both ends).
    """
    async with running(10) as ctx:
        if side == "trimq":
            xpub: Any = ctx.socket(trimq.XPub, only_first_subscribe=True, verboser=True)
            xsub: Any = await peer.socket("XSUB", ONLY_FIRST_SUBSCRIBE=1)
        else:
            xpub = await peer.socket("XPUB", ONLY_FIRST_SUBSCRIBE=1, XPUB_VERBOSER=1)
            xsub = ctx.socket(trimq.XSub, only_first_subscribe=True)
        await verb(xsub, "connect", await verb(xpub, "bind", fresh("tcp")))
        await xsub.send(b"\1there")
        assert await xpub.receive() == [b"\1there"]
        for message in ([b"ABC", b"\0BC"], [b"ABC", b"\1BC"], [b"", b"\1q"], [b"\2user", b"more"]):
            await xsub.send(message)
            assert await xpub.receive() == message
        for message in ([b"\1BC", b"\1CD"], [b"\0BC", b"\0CD"]):
            await xsub.send(message)
            assert await xpub.receive() == message[:1]
            assert await xpub.receive() == message[1:]
        await xsub.send([b"\1x", b"y", b"z"])
        assert await xpub.receive() == [b"\1x"]
        assert await xpub.receive() == [b"y", b"z"]


@ROLES
@pytest.mark.parametrize("trimq_publishes", [True, False], ids=["publishes", "subscribes"])
async def test_invert_matching(
    trimq_publishes: bool, trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A subscriber gets what it did not subscribe to (ZMQ_INVERT_MATCHING, at both ends)."""
    async with running(10) as ctx:
        mine: Any = ctx.socket(trimq.XPub if trimq_publishes else trimq.Sub, invert_matching=True)
        theirs: Any = await peer.socket("SUB" if trimq_publishes else "XPUB", INVERT_MATCHING=1)
        pub, sub = (mine, theirs) if trimq_publishes else (theirs, mine)
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await verb(sub, "subscribe", b"not this")
        assert await pub.receive() == [b"\1not this"]
        for message in (b"not this", b"but that", b"not this one", b"not that"):
            await pub.send(message)
        assert await sub.receive() == [b"but that"]
        assert await sub.receive() == [b"not that"]


@SIDES
async def test_invert_matching_of_what_waits(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """It may be set at any time, and holds for what waits (ZMQ_INVERT_MATCHING)."""
    async with running(10) as ctx:
        pub = ctx.socket(trimq.Pub)
        address = pub.bind(fresh("tcp"))
        sub: Any = ctx.socket(trimq.Sub) if side == "trimq" else await peer.socket("SUB")
        await verb(sub, "connect", address)
        for topic in (b"first", b"last", b"wanted"):
            await verb(sub, "subscribe", topic)
        await pub.wait_for_subscribers(1, b"wanted")
        await pub.send(b"first")
        assert await sub.receive() == [b"first"]
        await pub.send(b"wanted until now")
        await pub.flush()
        if side == "trimq":
            await sub.wait_receivable()
            sub.invert_matching = True
            with pytest.raises(trio.WouldBlock):
                sub.receive_nowait()
            sub.invert_matching = False
        else:
            await sub.set("INVERT_MATCHING", 1)
            assert await sub.receive_within(0.1) is None
            await sub.set("INVERT_MATCHING", 0)
        await pub.send(b"last")
        assert await sub.receive() == [b"last"]


async def test_verbose_unsubscribe(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Every cancellation reaches a libzmq XPUB, also of what was never subscribed to (ZMQ_XSUB_VERBOSE_UNSUBSCRIBE);
    without the option, only the last of as many as there were.
    """
    async with running(10) as ctx:
        xpub = await peer.socket("XPUB", XPUB_VERBOSER=1)
        xsub = ctx.socket(trimq.XSub)
        await xsub.connect(await xpub.bind(fresh("tcp"))).ready()
        for message in (b"\1t", b"\1t", b"\0t", b"\0t", b"\1end"):
            await xsub.send(message)
        assert [(await xpub.receive())[0] for _ in range(4)] == [b"\1t", b"\1t", b"\0t", b"\1end"]
        xsub.verbose_unsubscribe = True
        for message in (b"\1t", b"\1t", b"\0t", b"\0t", b"\0t", b"\1end"):
            await xsub.send(message)
        heard = [(await xpub.receive())[0] for _ in range(6)]
        assert heard == [b"\1t", b"\1t", b"\0t", b"\0t", b"\0t", b"\1end"]


async def test_wait_for_subscribers(peer: Peer, fresh: Callable[[str], str]) -> None:
    """True at return: what is published then reaches the libzmq subscribers that were waited for, at once, none of it
    lost.
    """
    async with running(10) as ctx:
        pub = ctx.socket(trimq.Pub)
        address = pub.bind(fresh("tcp"))
        subs = [await peer.socket(kind) for kind in ("SUB", "XSUB", "SUB")]
        for sub, topic in zip(subs, (b"a", b"", b"ab"), strict=True):
            await sub.connect(address)
            await sub.subscribe(topic)
        await pub.wait_for_subscribers(3)
        await pub.wait_for_subscribers(3, b"abc")
        await pub.wait_for_subscribers(2, b"a")
        assert len(pub.peers) == 3
        with trio.move_on_after(0.02) as scope:
            await pub.wait_for_subscribers(3, b"a")  # "a" is no message that a subscriber of "ab" would get
        assert scope.cancelled_caught
        await pub.send(b"abc")
        for sub in subs:
            assert await sub.receive() == [b"abc"]


@pytest.mark.parametrize("kind", ["PUB", "XPUB"])
async def test_wait_subscribed(kind: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A libzmq publisher (4.3: ZMTP 3.1) says that it has read the subscriptions; without a peer there is nobody to
    ask.
    """
    async with running(10) as ctx:
        sub = ctx.socket(trimq.Sub)
        sub.subscribe(b"t")
        assert await sub.wait_subscribed()  # nobody is there, and nobody was left out
        pub = await peer.socket(kind)
        sub.connect(await pub.bind(fresh("tcp")))
        await sub.wait_for_peers()
        assert await sub.wait_subscribed()
        if kind == "XPUB":
            assert await pub.receive() == [b"\1t"]
        while await mine_within(sub, 0.02) is None:  # its program's next call applies them
            await pub.send(b"t")
        sub.subscribe(b"more")
        assert await sub.wait_subscribed()


# Full queues


@pytest.mark.parametrize("mute", ["drop_new", "drop_old"])
async def test_mute(mute: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A Push that may drop: of 10 messages for 4 places, the first or the last arrive at a libzmq PULL; 6 are counted."""
    address = nowhere(fresh)
    async with running(10) as ctx:
        push = ctx.socket(trimq.Push, mute=mute, send_hwm=4, **SOON)
        push.connect(address)
        for number in range(10):
            await push.send(b"%d" % number)
        assert push.statistics().dropped == push.statistics().peers[0].dropped == 6
        pull = await peer.socket("PULL")
        await pull.bind(address)
        for number in range(4) if mute == "drop_new" else range(6, 10):
            assert await pull.receive() == [b"%d" % number]
        await push.flush()
        assert push.statistics().written == 4


@ROLES
async def test_byte_limits(trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """``receive_hwm_bytes``: a libzmq PUSH of large messages is held back with few of them here; all arrive."""
    async with running(20) as ctx:
        pull = ctx.socket(trimq.Pull, receive_hwm_bytes=1_000_000)
        push = await peer.socket("PUSH", SNDHWM=1)
        await join(pull, push, fresh("tcp"), trimq_binds=trimq_binds)
        await pull.wait_for_peers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: push.exchange(send=[[200_000]] * 100))
            await soon(lambda: pull.statistics().waiting >= 5)
            for _ in range(100):
                assert pull.statistics().waiting <= 6
                [frame] = await pull.receive()
                assert len(frame) == 200_000


async def test_in_doubt_and_unsent(pool: Pool, fresh: Callable[[str], str]) -> None:
    """After a close the statistics say what became of every message, also if the libzmq peer was killed in the middle."""
    async with running(20) as ctx:
        push = ctx.socket(trimq.Push, send_hwm=math.inf, linger=0.05, **SOON)
        async with pool.peer() as mortal:
            pull = await mortal.socket("PULL", RCVHWM=1)
            endpoint = push.connect(await pull.bind(fresh("tcp")))
            await endpoint.ready()
            for number in range(300):
                await push.send([b"%d" % number, b"x" * 50_000])
            await mortal.kill()
        await until_left(push, 0)
        await push.aclose()
        after = push.statistics()
        assert after.sent == 300 == after.written + after.in_doubt + after.unsent
        assert (after.queued, after.losses) == (0, 1)
        assert after.unsent > 0
        assert after.written > 0
        assert ctx.statistics().sent == 300
        assert ctx.statistics().unsent == after.unsent
