"""What the interoperability tests share: libzmq peers, and endpoints to bind."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from interop.harness import Peer, Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """The peers' processes, kept from test to test."""
    if find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture
async def peer(pool: Pool) -> AsyncIterator[Peer]:
    """A libzmq peer, in a process of its own."""
    async with pool.peer() as peer:
        yield peer


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[str], str]:
    """Gives an endpoint to bind, by the name of its transport."""
    numbers = itertools.count()

    def make(transport: str) -> str:
        return "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/{next(numbers)}"

    return make
