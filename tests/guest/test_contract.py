"""What every StreamTransport and Listener promises, held by vmci, vsock and tipc; nothing leaks, whatever happens."""

from __future__ import annotations

import pytest

from trimq._options import Settings
from trimq._transports._tipc import TipcTransport
from trimq._transports._vmci import VmciTransport
from trimq.testing import check_transport

pytestmark = pytest.mark.usefixtures("nothing_leaks")


@pytest.mark.parametrize("address", ["local:*", "*:*", "-1:-1", "any:*", "@:*"])
async def test_vmci(address: str) -> None:
    """vmci, however its wildcards are written; the guest's own CID is that of loopback."""
    await check_transport(VmciTransport, address, wrong_address="local:port")


async def test_vsock() -> None:
    """The other spelling."""
    await check_transport(lambda: VmciTransport("vsock"), "local:*", wrong_address="local:port")


async def test_vmci_with_small_buffers() -> None:
    """Every write is cut, then."""
    settings = Settings(vmci_buffer_size=4096, vmci_buffer_max_size=4096)
    await check_transport(VmciTransport, "local:*", settings=settings)


@pytest.mark.parametrize("address", ["{5560,0}", "{5560,3,9}", "{4294967295,4294967295}"])
async def test_tipc(address: str) -> None:
    """tipc, by services' addresses."""
    await check_transport(TipcTransport, address, wrong_address="{5560}", shared=True)
