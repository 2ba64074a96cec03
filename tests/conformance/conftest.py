"""What the tests of libzmq's behaviour share: the two implementations that a scenario runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio
from conformance.both import Side
from conformance.sides import NUMBERS, Asked, Either, libzmqs, trimqs
from conformance.watching import Watching
from interop.harness import Pool, running


@pytest.fixture(scope="session")
def asked() -> Iterator[Asked]:
    """The processes with libzmq in them, kept from test to test."""
    pool = Asked()
    yield pool
    pool.close()


@pytest.fixture(params=["trimq", pytest.param("libzmq", marks=pytest.mark.pyzmq)])
def either(request: pytest.FixtureRequest, asked: Asked) -> Either:
    """Opens the library that is asked: see sides.py."""
    if request.param == "trimq":
        return trimqs
    if find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    return libzmqs(asked)


@pytest.fixture
async def side(either: Either, tmp_path: Path) -> AsyncIterator[Side]:
    """The same as `either`, opened, with more helpers: see both.py."""
    async with either() as library:
        yield Side(library.source, tmp_path)


@pytest.fixture(scope="session")
def plain() -> Iterator[Pool]:
    """The processes with libzmq in them that `watched` uses."""
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture(params=["trimq", pytest.param("libzmq", marks=pytest.mark.pyzmq)])
async def watched(request: pytest.FixtureRequest, plain: Pool) -> AsyncIterator[Watching]:
    """Sockets of trimq or of libzmq whose events are listened to: see watching.py."""
    if request.param == "trimq":
        async with running(20, linger=0) as context:
            yield Watching(context)
        return
    if find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    with trio.fail_after(20):
        async with plain.peer() as peer:
            yield Watching(peer)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[str], str]:
    """Gives an endpoint to bind, by the name of its transport."""

    def make(transport: str) -> str:
        number = next(NUMBERS)
        return {
            "tcp": "tcp://127.0.0.1:*",
            "ipc": f"ipc://{tmp_path}/{number}",
            "inproc": f"inproc://{number}",
        }[transport]

    return make
