"""Tools for testing programs that use trimq. What is here only re-exports."""

from ._memory import MemoryStream as MemoryStream, MemoryTransport as MemoryTransport

__all__ = ["MemoryStream", "MemoryTransport"]
