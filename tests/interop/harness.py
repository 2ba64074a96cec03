"""The tests' side of a libzmq peer: `Peer` is its process, `PeerSocket` a socket in it with the verbs of a trimq socket.

A conversation can so be written once, and held by trimq in either role. Processes are kept in a `Pool` for the whole
run: starting one takes longer than most tests.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from interop.zmq_peer import fingerprint, payload

import trimq
from trimq._util import until

DEADLINE = 30.0  # seconds for a whole test
SCRIPT = Path(__file__).with_name("zmq_peer.py")

KINDS: dict[str, type[trimq.Socket]] = {
    cls.socket_type: cls
    for cls in (
        trimq.Req, trimq.Rep, trimq.Dealer, trimq.Router, trimq.Pub, trimq.Sub, trimq.XPub, trimq.XSub, trimq.Push,
        trimq.Pull, trimq.Pair, trimq.Stream,
    )
}  # fmt: skip


@asynccontextmanager
async def running(seconds: float = DEADLINE, **options: Any) -> AsyncIterator[trimq.Context]:
    """A context, and a deadline for it and all that is done in it."""
    with trio.fail_after(seconds):
        async with trimq.open_context(**options) as context:
            yield context


class PeerError(Exception):
    """A command failed in the peer."""


class Peer:
    """A process with libzmq in it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.busy = False
        self._names = itertools.count()
        assert process.stdin is not None
        assert process.stdout is not None
        # Pipes of their own for this trio run; the process outlives it.
        self._stdin = trio.lowlevel.FdStream(os.dup(process.stdin.fileno()))
        self._stdout = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        self._turn = trio.Lock()

    async def call(self, op: str, **arguments: Any) -> Any:
        """Has a command carried out; commands of several tasks take turns."""
        async with self._turn:
            self.busy = True
            await self._stdin.send_all(json.dumps({"op": op, **arguments}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                data = await self._stdout.receive_some()
                if not data:
                    raise PeerError(f"the peer's process ended during {op}")
                answer += data
            self.busy = False
        result = json.loads(answer)
        if "error" in result:
            raise PeerError(f"{op}: {result['error']}")
        return result["value"]

    async def socket(self, kind: str, **options: Any) -> PeerSocket:
        """A socket of this type; options by libzmq's names without ZMQ_, their values whole numbers or bytes."""
        name = str(next(self._names))
        texts = {option: _text(value) if isinstance(value, bytes) else value for option, value in options.items()}
        await self.call("socket", name=name, kind=kind, options=texts)
        return PeerSocket(self, name, kind)

    async def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        await trio.to_thread.run_sync(self.process.wait)

    async def release(self) -> None:
        """Gives the pipes back."""
        await self._stdin.aclose()
        await self._stdout.aclose()


def _text(data: bytes) -> str:
    return data.decode("latin-1")


class PeerSocket:
    """A socket in a peer's process. What is not said is as in trimq."""

    def __init__(self, peer: Peer, name: str, kind: str) -> None:
        self.kind = kind
        self._peer = peer
        self._call = functools.partial(peer.call, name=name)

    async def bind(self, endpoint: str) -> str:
        """Binds; returns the resolved endpoint. An address that is about to be free is waited for."""
        bound = str(await self._call("bind", endpoint=endpoint))
        # Of a service libzmq tells only the socket's own address, by which it cannot be unbound, nor be bound again.
        return endpoint if endpoint.startswith("tipc://{") else bound

    async def unbind(self, endpoint: object) -> None:
        await self._call("unbind", endpoint=str(endpoint))

    async def connect(self, endpoint: object) -> None:
        await self._call("connect", endpoint=str(endpoint))

    async def disconnect(self, endpoint: object) -> None:
        await self._call("disconnect", endpoint=str(endpoint))

    async def send(self, message: bytes | Sequence[bytes]) -> None:
        frames = [message] if isinstance(message, bytes) else message
        await self._call("send", frames=[_text(frame) for frame in frames])

    async def receive(self) -> list[bytes]:
        message = await self.receive_within(None)
        assert message is not None
        return message

    async def receive_within(self, seconds: float | None) -> list[bytes] | None:
        """Like `receive`; None if nothing comes in so many seconds."""
        frames = await self._call("receive", timeout=None if seconds is None else int(seconds * 1000))
        return None if frames is None else [frame.encode("latin-1") for frame in frames]

    async def receive_with(self, *properties: str) -> tuple[list[bytes], list[str | None]]:
        """A message, and these properties of it (zmq_msg_gets); None for one that there is not."""
        frames, values = await self._call("receive_with", properties=properties)
        return [frame.encode("latin-1") for frame in frames], values

    async def fill(self, most: int, prefix: Sequence[bytes] = ()) -> int:
        """Sends b"0", b"1", ... until there is no room; returns how many were sent, ``most`` at most."""
        return int(await self._call("fill", most=most, prefix=[_text(frame) for frame in prefix]))

    async def exchange(
        self,
        *,
        send: Sequence[Sequence[int]] = (),
        seed: object = "",
        receive: int = 0,
        prefix: Sequence[bytes] = (),
        strip: int = 0,
    ) -> list[str]:
        """Sends messages of these shapes and receives so many, at once; returns the fingerprints of those."""
        return list(
            await self._call(
                "exchange",
                shapes=send,
                seed=str(seed),
                count=receive,
                prefix=[_text(frame) for frame in prefix],
                strip=strip,
            )
        )

    async def send_numbered(self, count: int, *, burst: int) -> None:
        """Sends b"0", b"1", ...; after each burst the receiver has a moment to run dry."""
        await self._call("send_numbered", count=count, burst=burst)

    async def collect(self, last: bytes) -> list[bytes]:
        """Receives until a message begins with ``last``; returns the first frames of those before."""
        return [frame.encode("latin-1") for frame in await self._call("collect", last=_text(last))]

    async def subscribe(self, topic: bytes) -> None:
        if self.kind == "XSUB":
            await self.send(b"\1" + topic)
        else:
            await self.set("SUBSCRIBE", topic)

    async def unsubscribe(self, topic: bytes) -> None:
        if self.kind == "XSUB":
            await self.send(b"\0" + topic)
        else:
            await self.set("UNSUBSCRIBE", topic)

    async def set(self, option: str, value: int | bytes) -> None:
        await self._call("set", option=option, value=_text(value) if isinstance(value, bytes) else value)

    async def get(self, option: str) -> Any:
        value = await self._call("get", option=option)
        return value.encode("latin-1") if isinstance(value, str) else value

    async def monitor(self) -> None:
        """From now on `wait_event` hears what happens to the socket."""
        await self._call("monitor")

    async def wait_event(self, *events: str, seconds: float = DEADLINE) -> str | None:
        """Waits for one of libzmq's events (``"DISCONNECTED"``); None if there is none for so many seconds."""
        event: str | None = await self._call("wait_event", events=events, timeout=int(seconds * 1000))
        return event

    async def events(self, last: str, count: int = 1) -> list[tuple[str, int, str]]:
        """libzmq's events since those heard before, up to the ``count``-th of this name: name, value, address."""
        return [(name, value, where) for name, value, where in await self._call("events", last=last, count=count)]

    async def close_listened_to(self) -> list[tuple[str, int, str]]:
        """Closes it while it is still listened to; returns the rest of its events, up to MONITOR_STOPPED."""
        return [(name, value, where) for name, value, where in await self._call("close_listened_to")]

    async def close(self, linger: int = 0) -> None:
        """Closes; what is queued may take so many milliseconds."""
        await self._call("close", linger=linger)


class Pool:
    """Processes that wait for a test."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[bytes]] = []

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        """A peer without sockets. It goes back if it is in order afterwards."""
        process = self._idle.pop() if self._idle else self._start()
        peer = Peer(process)
        try:
            yield peer
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                if not peer.busy and process.poll() is None:
                    await peer.call("reset")
                    self._idle.append(process)
                await peer.release()
            if process not in self._idle:
                self._end(process)

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def close(self) -> None:
        """Ends those that wait."""
        while self._idle:
            self._end(self._idle.pop())


async def join(mine: trimq.Socket, theirs: PeerSocket, wildcard: str, *, trimq_binds: bool) -> None:
    """Binds one and connects the other."""
    if trimq_binds:
        await theirs.connect(mine.bind(wildcard))
    else:
        mine.connect(await theirs.bind(wildcard))


async def until_left(socket: trimq.Socket, count: int) -> None:
    """Waits until no more than ``count`` peers are connected."""
    await until(lambda: len(socket.peers) <= count, socket._peer_bell, pace=socket._pace)


async def until_quiet(sub: trimq.Sub | trimq.XSub | PeerSocket, send: Callable[[list[bytes]], Awaitable[None]]) -> None:
    """Publishes under the topic of ``send`` until the subscriber has got it, and reads what was too much."""
    for number in itertools.count():
        await send([b"probe %d" % number])
        if isinstance(sub, PeerSocket):
            received = await sub.receive_within(0.02)
        else:
            received = None
            with trio.move_on_after(0.02):
                received = await sub.receive()
        if received is not None:
            break
    assert received is not None
    await send([b"that is all"])
    while received[-1] != b"that is all":
        received = await sub.receive()


async def together(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Makes calls at once; returns what they return, in their order."""
    results = [None] * len(calls)

    async def run(index: int) -> None:
        results[index] = await calls[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(calls)):
            nursery.start_soon(run, index)
    return results


def prints(seed: object, shapes: Sequence[Sequence[int]]) -> list[str]:
    """The fingerprints of the messages that a peer sends for this seed."""
    return [fingerprint(message) for message in payload(seed, shapes)]
