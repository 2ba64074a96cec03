"""A process of an old or other peer for each test; `nox -s old_peers` gets them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from interop.harness import Peer
from interop.old.peers import Found


@pytest.fixture(scope="session")
def found() -> Iterator[Found]:
    """The peers that there are."""
    found = Found()
    yield found
    found.close()


@pytest.fixture
def here(found: Found, name: str) -> None:
    """Skips the test where the peer of this name is not to be had."""
    # not in an async fixture: pytest-trio would lose the reason
    reason = found.why_not(name)
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
async def old(found: Found, name: str, here: None) -> AsyncIterator[Peer]:
    """The peer of this name, in a process of its own."""
    async with found.enter(name) as peer:
        yield peer
