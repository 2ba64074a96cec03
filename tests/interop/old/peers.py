"""Where old and other peers are, what each of them cannot do, and a process of each."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from interop.harness import Peer, Pool

PLACE = "TRIMQ_OLD_PEERS"
"""The environment variable that names the file that install.py writes."""


class Limit(enum.Enum):
    """What a peer cannot do, which is no matter of trimq's; docs/reference/interoperability.rst has the same list."""

    NO_TYPE = "its protocol does not tell a socket's type"
    NO_SUBSCRIPTIONS = "subscriptions are not sent: a subscriber chooses from all that there is"
    XPUB_IS_DEAF = "an XPUB's program receives nothing"
    NO_UPSTREAM = "an XSUB sends nothing but subscriptions"
    NO_UPSTREAM_SEEN = "an XPUB's program receives nothing but subscriptions"
    ONE_TOPIC = "a PUB looks at the first subscription of each peer only"
    LAST_EMPTY_FRAME = "a REP takes the last empty frame of a request for the end of the envelope, not the first"


LIMITS: dict[str, set[Limit]] = {
    # ZMTP 1.0
    "libzmq-2.2": {
        Limit.NO_TYPE,
        Limit.NO_SUBSCRIPTIONS,
        Limit.XPUB_IS_DEAF,
        Limit.NO_UPSTREAM,
        Limit.NO_UPSTREAM_SEEN,
    },
    # ZMTP 2.0
    "libzmq-3.2": {Limit.NO_UPSTREAM, Limit.NO_UPSTREAM_SEEN},
    "jeromq": {Limit.NO_UPSTREAM},
    # ZMTP 3
    "libzmq-4.1": set(),
    "azmq": {Limit.NO_UPSTREAM, Limit.NO_UPSTREAM_SEEN, Limit.ONE_TOPIC},
    "pyomq": {Limit.NO_UPSTREAM, Limit.LAST_EMPTY_FRAME},
}

NAMES = list(LIMITS)

NEWEST = "libzmq-4.3"
"""The libzmq of the pyzmq that is installed here."""
OWN = {"command": [sys.executable, str(Path(__file__).with_name("python_peer.py")), "zmq"]}


class OldPool(Pool):
    """Processes of one of them."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        super().__init__()
        self._command = command
        # An old Python is not to look where this one does.
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._environment.update(environment)

    def _start(self) -> subprocess.Popen[bytes]:  # type: ignore[override]
        return subprocess.Popen(self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class Found:
    """What install.py found, and a pool for each."""

    def __init__(self) -> None:
        place = os.environ.get(PLACE)
        self._starts: dict[str, Any] | None = json.loads(Path(place).read_text("utf-8")) if place else None
        self._pools: dict[str, OldPool] = {}

    def why_not(self, name: str) -> str | None:
        """Why it cannot be had; None if it can."""
        if name == NEWEST:
            return None if find_spec("zmq") is not None else "pyzmq is not installed"
        # "platform:" is what tests/conftest.py lets pass where CI=true: it depends on the machine and its registries.
        if self._starts is None:
            return "platform: old peers are not here; `nox -s old_peers` gets them"
        missing = self._starts[name].get("missing")
        return None if missing is None else f"platform: `nox -s old_peers` could not get {name}: {missing}"

    def enter(self, name: str) -> AbstractAsyncContextManager[Peer]:
        """A process of it, which must be here."""
        if name not in self._pools:
            start = OWN if name == NEWEST else (self._starts or {})[name]
            self._pools[name] = OldPool(start["command"], start.get("environment", {}))
        return self._pools[name].peer()

    def close(self) -> None:
        """Ends all processes that wait."""
        for pool in self._pools.values():
            pool.close()
