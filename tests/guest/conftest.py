"""What the tests in the guest share. Everywhere else they are skipped: ``nox -s guest`` boots it (boot.py) and runs them."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from interop.harness import Peer, Pool

NUMBERS = itertools.count(6000)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("TRIMQ_GUEST") != "1":
        outside = pytest.mark.skip(reason="runs in a guest that has vsock and tipc: nox -s guest")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(outside)


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """The peers' processes, kept from test to test."""
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture
async def peer(pool: Pool) -> AsyncIterator[Peer]:
    """A libzmq peer, in a process of its own."""
    async with pool.peer() as peer:
        yield peer


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Gives an endpoint to bind, by the name of its transport; none was bound before, and each can be bound again."""

    def make(transport: str) -> str:
        number = next(NUMBERS)
        return f"tipc://{{{number},0}}" if transport == "tipc" else f"{transport}://local:{number}"

    return make
