"""Tools for testing programs that use trimq: no ports, no sleeps."""

from __future__ import annotations

from .._util import fixup_module as _fixup_module
from ._memory import MemoryStream, MemoryTransport

__all__ = ["MemoryStream", "MemoryTransport"]

_fixup_module(__name__, globals())
del _fixup_module
