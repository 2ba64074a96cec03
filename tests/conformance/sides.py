"""One scenario, asked of two libraries: trimq in this process, and pyzmq's libzmq in another.

``async with either() as library:`` gives a `Library`; its sockets have the same verbs whichever it is, all of them async.
Options are called as in trimq and have its units. So what a test expects of trimq is checked against libzmq by the same
lines.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from conformance.asked import errno_name
from interop.harness import KINDS, Peer, PeerSocket, Pool, running, until_left
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq._zmq_options import SOCKET

ZMQ_NAMES = {ours: theirs for theirs, ours in SOCKET.items()}
Message = bytes | Sequence[bytes]
NUMBERS = itertools.count()
"""For names over inproc: libzmq closes its sockets in the background, so that the last test's name may still be in use."""


class Asked(Pool):
    """Processes with a libzmq that is asked."""

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("asked.py")
        return subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def as_libzmqs(option: str, value: Any) -> int | bytes:
    """An option's value as libzmq has it."""
    if isinstance(value, (bytes, str)):
        return value if isinstance(value, bytes) else value.encode()
    if option in ("send_hwm", "receive_hwm"):
        return 0 if value == math.inf else int(value)
    if option.endswith(("interval", "timeout", "ttl")) or option == "linger":
        return -1 if value == math.inf else round(1000 * value)
    return int(value)


def as_many(value: Any) -> list[Any]:
    """The values that libzmq is given one after the other, where trimq takes a collection."""
    if isinstance(value, dict):
        return [b"%s:%s" % (key.encode(), content) for key, content in value.items()]
    return list(value) if isinstance(value, (set, list)) else [value]


class Mine:
    """A socket of trimq."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def bind(self, endpoint: str) -> str:
        """Binds; returns the resolved endpoint."""
        return str(self.socket.bind(endpoint))

    async def unbind(self, endpoint: str) -> None:
        self.socket.unbind(endpoint)

    async def connect(self, endpoint: str, *, routing_id: bytes | None = None) -> None:
        self.endpoint = self.socket.connect(endpoint, **({} if routing_id is None else {"routing_id": routing_id}))

    async def disconnect(self, endpoint: str) -> None:
        self.socket.disconnect(endpoint)

    async def send(self, message: Message) -> None:
        await self.socket.send(message)

    async def offer(self, message: Message) -> bool:
        """Sends if there is room (ZMQ_DONTWAIT); whether it did."""
        try:
            self.socket.send_nowait(message)
        except trio.WouldBlock:
            return False
        return True

    async def receive(self) -> list[bytes]:
        return list(await self.socket.receive())

    async def waiting(self) -> list[bytes] | None:
        """The next message of those that have come; None if there is none. (Over inproc, what was sent has come.)"""
        await wait_all_tasks_blocked()
        try:
            return list(self.socket.receive_nowait())
        except trio.WouldBlock:
            return None

    async def receive_with(self, *properties: str) -> tuple[list[bytes], list[str | None]]:
        """A message, and what is known of its sender under these of libzmq's names (zmq_msg_gets); None for nothing."""
        message, peer = await self.socket.receive_from()
        known = {"Socket-Type": peer.socket_type, "Peer-Address": peer.address, "User-Id": peer.user_id}
        known |= {key: value.decode() for key, value in peer.metadata.items()}
        return message, [known.get(name) for name in properties]

    async def subscribe(self, topic: bytes) -> None:
        self.socket.subscribe(topic)

    async def unsubscribe(self, topic: bytes) -> None:
        self.socket.unsubscribe(topic)

    async def set(self, option: str, value: Any) -> None:
        setattr(self.socket, option, value)

    async def get(self, option: str) -> Any:
        return getattr(self.socket, option)

    async def peers(self, least: int) -> None:
        """Waits until so many peers are there."""
        await self.socket.wait_for_peers(least)

    async def left(self, most: int = 0) -> None:
        """Waits until no more than so many peers are there."""
        await until_left(self.socket, most)

    async def cut(self) -> None:
        """Waits until the connection that it made was ended by the other side, for good."""
        with contextlib.suppress(trimq.ProtocolError, OSError):
            await self.endpoint.ready()
            await self.left(0)

    async def settle(self) -> None:
        """Takes notice of what other sockets of this side did over inproc."""
        await wait_all_tasks_blocked()

    async def refuses(self, verb: str, *arguments: Any) -> str:
        """Calls something that fails; returns the name of its errno, as libzmq calls it, or nothing if it did not fail."""
        try:
            await getattr(self, verb)(*arguments)
        except (OSError, ValueError) as error:
            return errno_name(getattr(error, "errno", None) or errno.EINVAL)
        return ""

    async def close(self, linger: float = 0) -> None:
        self.socket.linger = linger
        self.socket.close()


class Theirs:
    """A socket of libzmq. What is not said is as in `Mine`."""

    def __init__(self, socket: PeerSocket) -> None:
        self.socket = socket
        self._tell = socket._call
        self._inproc = False

    async def bind(self, endpoint: str) -> str:
        self._inproc |= endpoint.startswith("inproc:")
        return await self.socket.bind(endpoint)

    async def unbind(self, endpoint: str) -> None:
        await self.socket.unbind(endpoint)

    async def connect(self, endpoint: str, *, routing_id: bytes | None = None) -> None:
        self._inproc |= endpoint.startswith("inproc:")
        if routing_id is not None:
            await self.socket.set("CONNECT_ROUTING_ID", routing_id)
        await self.socket.connect(endpoint)

    async def disconnect(self, endpoint: str) -> None:
        await self.socket.disconnect(endpoint)

    async def send(self, message: Message) -> None:
        await self._tell("look")
        await self.socket.send(message)

    async def offer(self, message: Message) -> bool:
        return bool(await self._tell("offer", frames=_texts(message)))

    async def receive(self) -> list[bytes]:
        return await self.socket.receive()

    async def waiting(self) -> list[bytes] | None:
        await self._tell("look")
        return await self.socket.receive_within(0)

    async def receive_with(self, *properties: str) -> tuple[list[bytes], list[str | None]]:
        return await self.socket.receive_with(*properties)

    async def subscribe(self, topic: bytes) -> None:
        await self.socket.subscribe(topic)

    async def unsubscribe(self, topic: bytes) -> None:
        await self.socket.unsubscribe(topic)

    async def set(self, option: str, value: Any) -> None:
        for one in as_many(value):
            await self.socket.set(ZMQ_NAMES[option], as_libzmqs(option, one))

    async def get(self, option: str) -> Any:
        return await self.socket.get(ZMQ_NAMES[option])

    async def peers(self, least: int) -> None:
        if self._inproc:  # a connect is complete when it returns, and the monitor tells nothing of it
            await self.settle()
        else:
            await self._tell("until_peers", least=least, most=1_000_000)

    async def left(self, most: int = 0) -> None:
        await self._tell("until_peers", least=0, most=most)

    async def cut(self) -> None:
        await self._tell("until_cut")

    async def settle(self) -> None:
        await self._tell("look")

    async def refuses(self, verb: str, *arguments: Any) -> str:
        call: dict[str, Any] = {"op": verb, "name": self._tell.keywords["name"]}
        if verb in ("bind", "unbind", "connect", "disconnect"):
            if verb == "bind":  # once, not until an address is free
                call["op"] = "bind_once"
            call["endpoint"] = str(arguments[0])
        elif verb == "send":
            call["frames"] = _texts(arguments[0])
        else:
            value = as_libzmqs(*arguments)
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            call |= {"option": ZMQ_NAMES[arguments[0]], "value": text}
        return str(await self.socket._peer.call("attempt", call=call))

    async def close(self, linger: float = 0) -> None:
        await self.socket.close(int(1000 * linger))


End = Mine | Theirs


def _texts(message: Message) -> list[str]:
    return [frame.decode("latin-1") for frame in ([message] if isinstance(message, bytes) else message)]


class Library:
    """trimq or libzmq, with one context."""

    def __init__(self, source: trimq.Context | Peer) -> None:
        self.is_trimq = isinstance(source, trimq.Context)
        self.source: Any = source

    async def socket(self, kind: str, **options: Any) -> End:
        """A socket of this type ("PUSH"), which does not linger unless it is told to."""
        if self.is_trimq:
            return Mine(self.source.socket(KINDS[kind], **options))
        socket = Theirs(await self.source.socket(kind))
        for option, value in options.items():
            await socket.set(option, value)
        return socket

    async def pair(self, kinds: str, endpoint: str, **options: Any) -> tuple[End, End]:
        """Two sockets ("PUSH PULL") of which the first is bound there and the second has connected to it."""
        binder, connector = [await self.socket(kind, **options) for kind in kinds.split()]
        await connector.connect(await binder.bind(endpoint))
        await binder.peers(1)
        await connector.peers(1)
        return binder, connector


Either = Callable[[], AbstractAsyncContextManager[Library]]


@asynccontextmanager
async def trimqs() -> AsyncIterator[Library]:
    """Asks trimq. Everything has to be done in 20 seconds, here as below."""
    async with running(20, linger=0, reconnect_interval=0.01) as context:
        yield Library(context)


def libzmqs(pool: Asked) -> Either:
    """Asks libzmq."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Library]:
        with trio.fail_after(20):
            async with pool.peer() as peer:
                yield Library(peer)

    return opened


# What libzmq's programs do again and again


async def bounce(server: End, client: End) -> None:
    """A message of two frames to the server, and one back."""
    for sender, receiver in ((client, server), (server, client)):
        message = [b"12345678ABCDEFGH12345678abcdefgh", b"12345678ABCDEFGH12345678ABCDEFGH"]
        await sender.send(message)
        assert await receiver.receive() == message


async def fill(sender: End, message: Message = b"", cap: int = 10_000) -> int:
    """Sends until there is no room; how many went."""
    if isinstance(sender, Theirs):
        return int(await sender._tell("offer_many", frames=_texts(message), most=cap))
    for sent in range(cap):
        if not await sender.offer(message):
            return sent
    return cap


async def drain(receiver: End) -> list[list[bytes]]:
    """All that has come."""
    found: list[list[bytes]] = []
    while (message := await receiver.waiting()) is not None:
        found.append(message)
    return found
