"""libzmq's tests of tipc, vmci and vsock (libzmq.md 7), asked of trimq, and over tipc of libzmq itself, too.

Most of them are its tests of tcp over another transport: so are these.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from conformance import (
    conftest,
    test_endpoints,
    test_queues,
    test_reconnecting,
    test_requests,
    test_routers,
    test_sockets,
    test_xpubs,
)
from conformance.both import Side
from conformance.sides import Asked, Either, bounce, libzmqs, trimqs

import trimq

Fresh = Callable[[str], str]
asked = conftest.asked  # a fixture: the processes with libzmq in them
each_virtual = pytest.mark.parametrize("scheme", ["vmci", "vsock"])


@pytest.fixture(params=["trimq", "libzmq"])
def either(request: pytest.FixtureRequest, asked: Asked) -> Either:
    """Opens the library that is asked."""
    return trimqs if request.param == "trimq" else libzmqs(asked)


class Tipc(Side):
    """Every place is one of tipc."""

    def set_places(self, fresh: Fresh) -> None:
        self.place = lambda _: fresh("tipc")  # type: ignore[method-assign]


@pytest.fixture
async def side(either: Either, tmp_path: Path, fresh: Fresh) -> AsyncIterator[Side]:
    async with either() as library:
        side = Tipc(library.source, tmp_path)
        side.set_places(fresh)
        yield side


@pytest.fixture
def over_tipc(fresh: Fresh) -> Fresh:
    return lambda _: fresh("tipc")


async def test_address_tipc(either: Either) -> None:
    """A service's address, with and without a domain; a socket's own; those that are wrong."""
    async with either() as library:
        rep, req = await library.socket("REP"), await library.socket("REQ")
        await rep.bind("tipc://{5560,0,0}")
        await req.connect("tipc://{5560,0}@0.0.0")
        await bounce(rep, req)
        rep, req = await library.socket("REP"), await library.socket("REQ")
        own = await rep.bind("tipc://<*>")
        found = re.fullmatch(r"tipc://<\d+\.\d+\.\d+:(\d+)>", own)
        assert found
        assert int(found[1])
        await req.connect(own)
        await bounce(rep, req)
        assert await rep.refuses("bind", "tipc://<1.2.3:123123>") == "EINVAL"
        assert await req.refuses("connect", "tipc://<*>") == "EINVAL"


async def test_connect_delay_tipc(either: Either, over_tipc: Fresh) -> None:
    """Of a dead endpoint and a live one: each its share, or with ``immediate`` all for the live one; and after a loss."""
    await test_queues.test_immediate_off(either, over_tipc)
    await test_queues.test_immediate_on(either, over_tipc)
    await test_queues.test_immediate_after_a_loss(either, over_tipc)


async def test_pair_tipc(either: Either, over_tipc: Fresh) -> None:
    """Both ways."""
    await test_endpoints.test_pair_ipc(either, over_tipc)


@each_virtual
async def test_pair_vmci_and_vsock(scheme: str, fresh: Fresh) -> None:
    """Both ways."""
    async with trimqs() as library:
        await bounce(*await library.pair("PAIR PAIR", fresh(scheme)))


async def test_reqrep_device_tipc(side: Side) -> None:
    """Through a device made by hand."""
    await test_requests.test_reqrep_device(side, "tipc")


async def test_reqrep_tipc(side: Side) -> None:
    """There and back."""
    await test_requests.test_reqrep_ipc(side)
    await test_requests.test_reqrep_ipc_without_the_asker(side)


@each_virtual
@pytest.mark.parametrize("kinds", ["DEALER DEALER", "REP REQ"])
async def test_reqrep_vmci_and_vsock(kinds: str, scheme: str, fresh: Fresh) -> None:
    """There and back."""
    async with trimqs() as library:
        await bounce(*await library.pair(kinds, fresh(scheme)))


async def test_router_mandatory_tipc(side: Side) -> None:
    """A message for nobody vanishes, or is refused."""
    await test_routers.test_router_mandatory(side)


async def test_shutdown_stress_tipc(over_tipc: Fresh) -> None:
    """A hundred sockets at once, each connecting and closed at once."""
    await test_sockets.come_and_go(over_tipc("tipc"))


async def test_sub_forward_tipc(side: Side) -> None:
    """A device made by hand."""
    await test_xpubs.test_sub_forward(side)


async def test_term_endpoint_tipc(side: Side) -> None:
    """After an unbind, or a disconnect, nothing can be sent any more."""
    await test_reconnecting.test_term_endpoint(side, "tipc")


@pytest.mark.parametrize("transport", ["vmci", "vsock", "tipc"])
async def test_capabilities(transport: str, fresh: Fresh) -> None:
    """What ``has`` says is what can be bound, and connected to."""
    assert trimq.has(transport)
    async with trimqs() as library:
        pull, push = await library.pair("PULL PUSH", fresh(transport))
        with trio.fail_after(5):
            await push.send(b"it has")
            assert await pull.receive() == [b"it has"]
