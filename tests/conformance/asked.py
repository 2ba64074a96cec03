"""The libzmq that the conformance tests ask: interop/zmq_peer.py, with the few commands more that scenarios need.

Nothing but the standard library and pyzmq is used here; the tests' side is sides.py.
"""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The folder of this script is on sys.path, and nothing in it is to be imported; what is beside it is.
    sys.path[0] = str(Path(__file__).parents[1])

from interop.zmq_peer import PATIENCE, Driver

_OWN = {156384712 + 51: "EFSM", 156384712 + 52: "ENOCOMPATPROTO", 156384712 + 53: "ETERM", 156384712 + 54: "EMTHREAD"}


def errno_name(number: int) -> str:
    """What an error number is called, libzmq's own included."""
    return errno.errorcode.get(number) or _OWN.get(number, str(number))


class Asked(Driver):
    """Knows at any time how many peers a socket has, and how a call failed."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: dict[str, int] = {}

    def do_socket(self, name: str, kind: str, options: dict[str, Any]) -> None:
        super().do_socket(name, kind, options)
        watched = self.zmq.EVENT_HANDSHAKE_SUCCEEDED | self.zmq.EVENT_DISCONNECTED
        self.monitors[name] = self.sockets[name].get_monitor_socket(watched)
        self.peers[name] = 0

    def do_attempt(self, call: dict[str, Any]) -> str:
        """Carries out a command that may fail; the name of its errno, or nothing."""
        try:
            getattr(self, "do_" + call.pop("op"))(**call)
        except self.zmq.ZMQError as error:
            return errno_name(error.errno or 0)
        return ""

    def do_look(self, name: str) -> None:
        """Has the socket take notice of all that other sockets of this process did to it."""
        self.sockets[name].get(self.zmq.EVENTS)

    def look_at_all(self) -> None:
        """The same for all of them: what one waits for may be up to another, which works only when it is called."""
        for name in self.sockets:
            self.do_look(name)

    def do_offer(self, name: str, frames: list[str]) -> bool:
        """Sends if there is room."""
        self.do_look(name)
        try:
            self.sockets[name].send_multipart([frame.encode("latin-1") for frame in frames], self.zmq.DONTWAIT)
        except self.zmq.Again:
            return False
        return True

    def do_offer_many(self, name: str, frames: list[str], most: int) -> int:
        """Sends the same until there is no room; returns how many were sent."""
        for sent in range(most):
            if not self.do_offer(name, frames):
                return sent
        return most

    def do_bind_once(self, name: str, endpoint: str) -> None:
        self.sockets[name].bind(endpoint)

    def do_until_cut(self, name: str) -> None:
        """Waits until a connection has ended."""
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            self.look_at_all()
            if (
                self.monitors[name].poll(10)
                and self.read_event(self.monitors[name])["event"] == self.zmq.EVENT_DISCONNECTED
            ):
                return
        raise TimeoutError("no connection has ended")

    def do_until_peers(self, name: str, least: int, most: int) -> int:
        """Waits until so many connections have their handshakes behind them."""
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            while self.monitors[name].poll(0):
                event = self.read_event(self.monitors[name])["event"]
                self.peers[name] += 1 if event == self.zmq.EVENT_HANDSHAKE_SUCCEEDED else -1
            self.look_at_all()
            if least <= self.peers[name] <= most:
                return self.peers[name]
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.peers[name]} peers")
            self.monitors[name].poll(10)


if __name__ == "__main__":
    Asked().run()
