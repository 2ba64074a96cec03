"""What the tests in the guest share. Everywhere else they are skipped: ``nox -s guest`` boots it (boot.py) and runs them."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from interop import conftest as with_libzmq
from interop.harness import Peer, PeerSocket

NUMBERS = itertools.count(6000)
HERE = Path(__file__).parent

pool, peer = with_libzmq.pool, with_libzmq.peer  # fixtures: libzmq in processes of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("TRIMQ_GUEST") != "1":
        outside = pytest.mark.skip(reason="runs in a guest that has vsock and tipc: nox -s guest")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(outside)


@pytest.fixture
def nothing_leaks() -> Iterator[None]:
    """Whatever the test does, no descriptor is left open, and no thread that closes one."""

    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    yield
    for thread in threading.enumerate():
        if thread.name == "trimq closes a tipc socket":
            thread.join(20)
    assert open_files() == before


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Gives an endpoint to bind, by the name of its transport; none was bound before, and each can be bound again."""

    def make(transport: str) -> str:
        number = next(NUMBERS)
        return f"tipc://{{{number},0}}" if transport == "tipc" else f"{transport}://local:{number}"

    return make


class Relayed:
    """A libzmq peer for vmci, which is not in any libzmq that one can get: it has tcp, and socat passes the bytes on."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.relays: list[subprocess.Popen[bytes]] = []

    async def socket(self, kind: str, **options: object) -> PeerSocket:
        plain = await self._peer.socket(kind, **options)
        return RelayedSocket(plain, self)

    def relay(self, source: str, target: str) -> None:
        """Passes on what comes. Whoever connects too early tries again, so nobody waits for socat to listen."""
        self.relays.append(subprocess.Popen(["socat", source, target], start_new_session=True))

    def end(self) -> None:
        for relay in self.relays:
            os.killpg(relay.pid, signal.SIGKILL)
            relay.wait()


class RelayedSocket(PeerSocket):
    """Its vmci endpoints are tcp ones behind a relay."""

    def __init__(self, plain: PeerSocket, relayed: Relayed) -> None:
        super().__init__(plain._peer, plain._call.keywords["name"], plain.kind)
        self._relayed = relayed

    async def bind(self, endpoint: str) -> str:
        port = endpoint.rpartition(":")[2]
        behind = (await super().bind("tcp://127.0.0.1:*")).rpartition(":")[2]
        self._relayed.relay(f"VSOCK-LISTEN:{port},fork", f"TCP:127.0.0.1:{behind}")
        return endpoint

    async def connect(self, endpoint: object) -> None:
        port = str(endpoint).rpartition(":")[2]
        before = next(NUMBERS)
        self._relayed.relay(f"TCP-LISTEN:{before},bind=127.0.0.1,fork", f"VSOCK-CONNECT:1:{port}")
        await super().connect(f"tcp://127.0.0.1:{before}")


@pytest.fixture
async def relayed(peer: Peer) -> AsyncIterator[Relayed]:
    """The same libzmq peer, behind socat: see `Relayed`."""
    relayed = Relayed(peer)
    yield relayed
    relayed.end()
