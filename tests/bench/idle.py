"""10,000 idle connections to one socket: the memory of each, the storm of their coming, and a message to each.

Two scenarios. In the first a ROUTER is bound and 10,000 peers come at once; in the second a PUSH connects 10,000 times.
What is measured is the process that has the socket; its peers, in the other process, are plain TCP sockets that speak
just enough ZMTP 3.0 for a NULL handshake and short messages, so that they cost little and favour nobody.

- KiB: how much the resident memory of the socket's process has grown from before the first connection to when all are
  there and nothing moves, divided by their number. Memory of the kernel is not in it.
- storm_s: from the first attempt to connect until all handshakes are complete, seen from the end that connects.
- message_s: one message to each peer, from the first send until the last of them has it.

Checked: as many connections as were wanted (where the limit for open files allows no more, fewer: see ``peers``), each
peer got its one message and no other, and nothing was logged as a warning or worse.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong

PEERS = 10_000
SPARE = 200  # open files for other things
PATIENCE = 120  # seconds, for all peers together
SETTLE = 0.5  # seconds until nothing moves any more
BACKLOG = 4096  # what a server that expects a crowd asks for, on both sides

GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL".ljust(64, b"\0")  # RFC 23


def ready(socket_type: bytes, identity: bytes) -> bytes:
    """READY with its frame (RFC 23)."""
    body = b"\x05READY\x0bSocket-Type" + len(socket_type).to_bytes(4, "big") + socket_type
    if identity:
        body += b"\x08Identity" + len(identity).to_bytes(4, "big") + identity
    return bytes((4, len(body))) + body


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Short frames as (flags, body)."""
    found = []
    while len(data) >= 2 and len(data) >= 2 + data[1]:
        found.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return found


def allowed(count: int) -> int:
    """How many of these connections this process may have; raises its limit for open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count + SPARE:
        soft = count + SPARE if hard == resource.RLIM_INFINITY else min(count + SPARE, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return count if soft == resource.RLIM_INFINITY else min(count, soft - SPARE)


def resident() -> int:
    """Bytes of memory of this process that are resident, garbage left out."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def identity(number: int) -> bytes:
    """What peer ``number`` calls itself."""
    return b"peer-%06d" % number


def payload(number: int, sent_at: float) -> bytes:
    """What peer ``number`` is sent, with when the first of them was: the clock is the machine's, not the process's."""
    return b"message-%06d " % number + struct.pack("d", sent_at)


def check(received: list[bytes]) -> float:
    """Each got the message that was for it; returns how long that took."""
    (sent_at,) = struct.unpack("d", received[0][-8:])
    for number, body in enumerate(received):
        if body != payload(number, sent_at):
            wrong(f"peer {number} got {body!r}")
    return time.perf_counter() - sent_at


class Crowd:
    """Many peers, each a TCP socket with what it has received, on one epoll."""

    def __init__(self, count: int, socket_type: bytes) -> None:
        self.count = count
        self._socket_type = socket_type
        self._poll = select.epoll()
        self._deadline = time.perf_counter() + PATIENCE
        self._listener: socket.socket | None = None
        self._peers: dict[int, tuple[int, socket.socket]] = {}  # by descriptor: its number and its socket
        self._data: dict[int, bytes] = {}

    def connect(self, endpoint: str) -> None:
        """All at once, as a crowd does when its server comes back."""
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        for _ in range(self.count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((host, int(port)))
            self._add(sock)

    def listen(self) -> str:
        """Lets them be connected to; returns where."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.EPOLLIN)
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def _add(self, sock: socket.socket) -> None:
        self._peers[sock.fileno()] = len(self._peers), sock
        self._data[sock.fileno()] = b""
        self._poll.register(sock, select.EPOLLOUT)

    def _ready(self) -> Iterator[tuple[int, int]]:
        """Descriptors of peers at which something has happened, with what."""
        events = self._poll.poll(max(0, self._deadline - time.perf_counter()))
        if not events:
            wrong(f"nothing comes any more; {len(self._peers)} of {self.count} peers are there")
        for descriptor, event in events:
            if descriptor in self._peers:
                yield descriptor, event
                continue
            assert self._listener is not None
            try:
                while True:
                    sock, _ = self._listener.accept()
                    sock.setblocking(False)
                    self._add(sock)
            except BlockingIOError:
                pass

    def _read(self, descriptor: int) -> None:
        number, sock = self._peers[descriptor]
        data = sock.recv(4096)
        if not data:
            self._poll.unregister(descriptor)
            if not frames(self._data[descriptor]):
                wrong(f"peer {number} was hung up on")
        self._data[descriptor] += data

    def greet(self, hello: bytes = b"") -> None:
        """Completes all handshakes; each peer says hello then, if it is to say anything."""
        done = 0
        while done < self.count:
            for descriptor, event in self._ready():
                number, sock = self._peers[descriptor]
                if event & select.EPOLLOUT:
                    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if error:
                        wrong(f"peer {number} could not connect: {os.strerror(error)}")
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.send(GREETING)
                    self._poll.modify(descriptor, select.EPOLLIN)
                    continue
                before = len(self._data[descriptor])
                self._read(descriptor)
                data = self._data[descriptor]
                if before < len(GREETING) <= len(data):
                    sock.send(ready(self._socket_type, identity(number) if self._socket_type == b"DEALER" else b""))
                if found := frames(data[len(GREETING) :]):
                    flags, body = found[0]
                    if flags != 4 or not body.startswith(b"\x05READY"):
                        wrong(f"peer {number} got {body!r} for a READY")
                    self._data[descriptor] = data[len(GREETING) + 2 + len(body) :]
                    done += 1
                    if hello:
                        sock.send(bytes((0, len(hello))) + hello)

    def receive(self) -> list[bytes]:
        """The message of each peer, in the order of their numbers. Waits for the last of them."""
        left = set(self._data)
        while left:
            for descriptor, _ in self._ready():
                self._read(descriptor)
                if frames(self._data[descriptor]):
                    left.discard(descriptor)
        received = [b""] * self.count
        for descriptor, (number, _) in self._peers.items():
            found = frames(self._data[descriptor])
            if len(found) != 1 or found[0][0]:
                wrong(f"peer {number} got {found!r}, not one message")
            received[number] = found[0][1]
        return received

    def close(self) -> None:
        """Ends all of them."""
        for _, sock in self._peers.values():
            sock.close()


# A ROUTER is bound, and its peers come at once

HELLO = b"hello"


class Strict(logging.Handler):
    """Whatever is logged as a warning or worse is wrong."""

    def emit(self, record: logging.LogRecord) -> None:
        wrong(f"logged: {record.getMessage()}")


def trimq_router(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    strict = Strict(logging.WARNING)
    logging.getLogger().addHandler(strict)
    count = allowed(options["count"])

    async def run() -> None:
        async with trimq.open_context() as context:
            router = context.socket(trimq.Router, mandatory=True, backlog=BACKLOG)
            bound = router.bind(endpoint)
            before, clock = resident(), Clock()
            announce(bound)
            came = [await router.receive() for _ in range(count)]
            if sorted(came) != [[identity(number), HELLO] for number in range(count)]:
                wrong("not every peer has come and said hello")
            del came
            await trio.sleep(SETTLE)
            kib = (resident() - before) / 1024 / count
            sent_at = time.perf_counter()
            for number in range(count):
                await router.send([identity(number), payload(number, sent_at)])
            await router.flush()
            report(kib=kib, cpu=clock.stop()["cpu"])
            logging.getLogger().removeHandler(strict)

    trio.run(run)


def pyzmq_router(endpoint: str, options: dict[str, Any]) -> None:
    import zmq

    count = allowed(options["count"])
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.router_mandatory = True
        router.backlog = BACKLOG
        router.bind(endpoint)
        before, clock = resident(), Clock()
        announce(router.last_endpoint.decode())
        came = [router.recv_multipart() for _ in range(count)]
        if sorted(came) != [[identity(number), HELLO] for number in range(count)]:
            wrong("not every peer has come and said hello")
        del came
        time.sleep(SETTLE)
        kib = (resident() - before) / 1024 / count
        sent_at = time.perf_counter()
        for number in range(count):
            router.send_multipart([identity(number), payload(number, sent_at)])
        router.close()
        context.term()  # once all is written, as flush in trimq
        report(kib=kib, cpu=clock.stop()["cpu"])


def peers_connect(endpoint: str, options: dict[str, Any]) -> None:
    crowd = Crowd(allowed(options["count"]), b"DEALER")
    start = time.perf_counter()
    crowd.connect(endpoint)
    crowd.greet(HELLO)
    storm = time.perf_counter() - start
    report(storm_s=storm, message_s=check(crowd.receive()), peers=crowd.count)
    crowd.close()


# A PUSH connects as many times


def trimq_push(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    strict = Strict(logging.WARNING)
    logging.getLogger().addHandler(strict)
    count = allowed(options["count"])

    async def run() -> None:
        async with trimq.open_context() as context:
            push = context.socket(trimq.Push)
            before, clock = resident(), Clock()
            for _ in range(count):
                push.connect(endpoint)
            await push.wait_for_peers(count)
            storm = clock.stop()["wall"]
            await trio.sleep(SETTLE)
            kib = (resident() - before) / 1024 / count
            sent_at = time.perf_counter()
            for number in range(count):
                await push.send(payload(number, sent_at))
            await push.flush()
            report(kib=kib, storm_s=storm, cpu=clock.stop()["cpu"])
            logging.getLogger().removeHandler(strict)

    trio.run(run)


def pyzmq_push(endpoint: str, options: dict[str, Any]) -> None:
    import zmq

    count = allowed(options["count"])
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        monitor = push.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        before, clock = resident(), Clock()
        for _ in range(count):
            push.connect(endpoint)
        for _ in range(count):
            monitor.recv_multipart()
        push.disable_monitor()
        monitor.close()
        storm = clock.stop()["wall"]
        time.sleep(SETTLE)
        kib = (resident() - before) / 1024 / count
        sent_at = time.perf_counter()
        for number in range(count):
            push.send(payload(number, sent_at))
        push.close()
        context.term()
        report(kib=kib, storm_s=storm, cpu=clock.stop()["cpu"])


def peers_listen(endpoint: str, options: dict[str, Any]) -> None:
    crowd = Crowd(allowed(options["count"]), b"PULL")
    announce(crowd.listen())
    crowd.greet()
    # Which of them is first in line is the PUSH's business.
    report(message_s=check(sorted(crowd.receive())), peers=crowd.count)
    crowd.close()


SCENARIOS = [
    Scenario(
        name="idle-accepted",
        title="10,000 idle peers of a bound ROUTER, tcp: memory of each",
        contenders=[
            Contender("trimq", [trimq_router, peers_connect]),
            Contender("pyzmq", [pyzmq_router, peers_connect]),
        ],
        count=PEERS,
        metric="kib",
        unit="KiB",
        limits={"kib": 20, "message_s": 2},
    ),
    Scenario(
        name="idle-connected",
        title="10,000 idle connections that one PUSH has made, tcp: memory of each",
        contenders=[Contender("trimq", [peers_listen, trimq_push]), Contender("pyzmq", [peers_listen, pyzmq_push])],
        count=PEERS,
        metric="kib",
        unit="KiB",
    ),
]

if __name__ == "__main__":
    main(__file__, SCENARIOS)
