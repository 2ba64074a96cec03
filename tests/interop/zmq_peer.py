"""A libzmq peer that does as it is told: run as a script, it drives pyzmq by commands, one JSON object a line.

libzmq can abort its process, so it never runs in the tests' own. The test's side is harness.py, which also imports
from here what both sides share: how payloads come from a seed, and how a message is reduced to a fingerprint, so that
large ones need not pass through the pipe. Nothing but the standard library and pyzmq is used here, and pyzmq only
when it runs as a script.

Commands are ``{"op": name, ...}``, answers ``{"value": ...}`` or ``{"error": "..."}``. Bytes travel as latin-1 strings.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

PATIENCE = 20_000  # milliseconds that a command waits before it fails
NOTICE = 0.01  # seconds between two looks of an idle peer at its sockets


def payload(seed: object, shapes: Iterable[Iterable[int]]) -> Iterator[list[bytes]]:
    """Messages, the same on both sides for the same seed.

    Args:
      shapes: of each message the sizes of its frames.
    """
    source = random.Random(str(seed))
    for shape in shapes:
        yield [source.randbytes(size) for size in shape]


def fingerprint(frames: list[bytes]) -> str:
    """What tells one message from another: content, and where its frames end."""
    hashed = hashlib.blake2b(digest_size=8)
    for frame in frames:
        hashed.update(b"%d:" % len(frame))
        hashed.update(frame)
    return hashed.hexdigest()


class Driver:
    """Holds the sockets and carries out commands."""

    def __init__(self) -> None:
        import zmq
        from zmq.utils.monitor import recv_monitor_message

        self.zmq = zmq
        self.read_event = recv_monitor_message
        self.context = zmq.Context()
        self.sockets: dict[str, zmq.Socket[bytes]] = {}
        self.monitors: dict[str, zmq.Socket[bytes]] = {}

    def run(self) -> None:
        """Until the input ends."""
        rest = b""
        while True:
            # An application that is alive: libzmq carries out some of its work only when it is called.
            while not select.select([0], [], [], NOTICE if self.sockets else None)[0]:
                for socket in self.sockets.values():
                    socket.get(self.zmq.EVENTS)
            data = os.read(0, 1 << 20)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                command = json.loads(line)
                try:
                    answer = {"value": getattr(self, "do_" + command.pop("op"))(**command)}
                except Exception as error:  # noqa: BLE001
                    answer = {"error": f"{type(error).__name__}: {error}"}
                print(json.dumps(answer), flush=True)

    def do_version(self) -> list[str]:
        return [self.zmq.__version__, self.zmq.zmq_version()]

    def do_socket(self, name: str, kind: str, options: dict[str, Any]) -> None:
        socket = self.context.socket(getattr(self.zmq, kind))
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = PATIENCE
        self.sockets[name] = socket
        for option, value in options.items():
            self.do_set(name, option, value)

    def do_set(self, name: str, option: str, value: Any) -> None:
        value = value.encode("latin-1") if isinstance(value, str) else value
        self.sockets[name].set(getattr(self.zmq, option), value)

    def do_get(self, name: str, option: str) -> Any:
        value = self.sockets[name].get(getattr(self.zmq, option))
        return value.decode("latin-1") if isinstance(value, bytes) else value

    def do_bind(self, name: str, endpoint: str) -> str:
        socket = self.sockets[name]
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                socket.bind(endpoint)
                break
            except self.zmq.ZMQError as error:
                # closing a socket is done in the background: its address may still be taken
                if error.errno != self.zmq.EADDRINUSE or time.monotonic() > deadline:
                    raise
        return str(socket.get_string(self.zmq.LAST_ENDPOINT)).rstrip("\0")

    def do_try_bind(self, name: str, endpoint: str) -> int:
        """Binds where that fails; returns the errno."""
        try:
            self.sockets[name].bind(endpoint)
        except self.zmq.ZMQError as error:
            return int(error.errno or 0)
        return 0

    def do_unbind(self, name: str, endpoint: str) -> None:
        self.sockets[name].unbind(endpoint)

    def do_connect(self, name: str, endpoint: str) -> None:
        self.sockets[name].connect(endpoint)

    def do_disconnect(self, name: str, endpoint: str) -> None:
        self.sockets[name].disconnect(endpoint)

    def do_send(self, name: str, frames: list[str]) -> None:
        self.sockets[name].send_multipart([frame.encode("latin-1") for frame in frames])

    def do_receive(self, name: str, timeout: int | None) -> list[str] | None:
        """A message; with a timeout in milliseconds, None where none has come."""
        socket = self.sockets[name]
        if timeout is not None and not socket.poll(timeout):
            return None
        return [frame.decode("latin-1") for frame in socket.recv_multipart()]

    def do_receive_with(self, name: str, properties: list[str]) -> list[Any]:
        """A message, and its first frame's properties (zmq_msg_gets); None for one that there is not."""
        frames = self.sockets[name].recv_multipart(copy=False)
        values: list[str | None] = []
        for key in properties:
            try:
                values.append(str(frames[0].get(key)))
            except self.zmq.ZMQError:
                values.append(None)
        return [[frame.bytes.decode("latin-1") for frame in frames], values]

    def do_fill(self, name: str, most: int, prefix: list[str]) -> int:
        """Sends numbers until there is no room, or ``most`` are sent; returns how many were."""
        head = [frame.encode("latin-1") for frame in prefix]
        for number in range(most):
            try:
                self.sockets[name].send_multipart([*head, b"%d" % number], self.zmq.DONTWAIT)
            except self.zmq.Again:
                return number
        return most

    def do_exchange(
        self, name: str, seed: str, shapes: list[list[int]], count: int, prefix: list[str], strip: int
    ) -> list[str]:
        """Sends messages and receives ``count``, both at once.

        Returns:
          the fingerprints of those received, without the first ``strip`` frames.
        """
        socket, zmq = self.sockets[name], self.zmq
        head = [frame.encode("latin-1") for frame in prefix]
        outgoing = payload(seed, shapes)
        message = next(outgoing, None)
        received: list[str] = []
        while message is not None or len(received) < count:
            wanted = zmq.POLLOUT * (message is not None) | zmq.POLLIN * (len(received) < count)
            ready = socket.poll(PATIENCE, wanted)
            if not ready:
                raise TimeoutError(
                    f"{len(received)} of {count} messages came, {'not ' * (message is not None)}all sent"
                )
            if ready & zmq.POLLIN:
                received.append(fingerprint(socket.recv_multipart()[strip:]))
            if ready & zmq.POLLOUT:
                assert message is not None
                socket.send_multipart(head + message)
                message = next(outgoing, None)
        return received

    def do_send_numbered(self, name: str, count: int, burst: int) -> None:
        """Sends numbers; between bursts the receiver has a moment to run dry."""
        for number in range(count):
            self.sockets[name].send(b"%d" % number)
            if number % burst == burst - 1:
                time.sleep(0.002)  # in libzmq's process: that pause is what the test is about

    def do_collect(self, name: str, last: str) -> list[str]:
        """Receives until a message's first frame is ``last``; returns the first frames before it."""
        socket = self.sockets[name]
        received: list[str] = []
        while (frame := socket.recv_multipart()[0].decode("latin-1")) != last:
            received.append(frame)
        return received

    def do_monitor(self, name: str) -> None:
        """Listens to the socket's events from now on."""
        self.monitors[name] = self.sockets[name].get_monitor_socket()

    def do_wait_event(self, name: str, events: list[str], timeout: int) -> str | None:
        """Waits for one of these events; None after so many milliseconds without one."""
        wanted = {int(getattr(self.zmq, "EVENT_" + event)): event for event in events}
        monitor = self.monitors[name]
        deadline = time.monotonic() + timeout / 1000
        while (left := deadline - time.monotonic()) > 0:
            if monitor.poll(int(left * 1000) + 1):
                event = self.read_event(monitor)["event"]
                if event in wanted:
                    return wanted[event]
            self.sockets[name].get(self.zmq.EVENTS)
        return None

    def do_events(self, name: str, last: str, count: int) -> list[list[Any]]:
        """The events up to the one that is the ``count``-th of this name: names, values, addresses."""
        names = {
            int(getattr(self.zmq, key)): key.removeprefix("EVENT_")
            for key in dir(self.zmq)
            if key.startswith("EVENT_") and "ALL" not in key
        }
        monitor = self.monitors[name]
        found: list[list[Any]] = []
        deadline = time.monotonic() + PATIENCE / 1000
        while sum(event[0] == last for event in found) < count:
            if monitor.poll(10):
                event = self.read_event(monitor)
                found.append([names[event["event"]], event["value"], event["endpoint"].decode()])
            elif time.monotonic() > deadline:
                raise TimeoutError(f"no {last} after {found}")
            elif name in self.sockets:
                self.sockets[name].get(self.zmq.EVENTS)
        return found

    def do_close_listened_to(self, name: str) -> list[list[Any]]:
        """Closes the socket first, and gives the events up to the last one."""
        self.sockets.pop(name).close(linger=0)
        try:
            return self.do_events(name, "MONITOR_STOPPED", 1)
        finally:
            self.monitors.pop(name).close(linger=0)

    def do_close(self, name: str, linger: int) -> None:
        monitor = self.monitors.pop(name, None)
        if monitor is not None:
            self.sockets[name].disable_monitor()  # before the monitor goes, or it waits for ever
            monitor.close(linger=0)
        self.sockets.pop(name).close(linger=linger)

    def do_reset(self) -> None:
        """Closes everything; the next test finds a peer like new."""
        for name in list(self.sockets):
            self.do_close(name, 0)


if __name__ == "__main__":
    # The folder of this script is on sys.path, and nothing in it is to be imported.
    sys.path.pop(0)
    Driver().run()
