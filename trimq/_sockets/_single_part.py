"""Single-part messages: what the types of RFC 41, 48, 49 and 51 share. A message of theirs is one frame, by type.

A sequence of frames is refused when it is sent. A peer's message of several is discarded whole and counted, and its
connection is kept (RFC 37).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .._limits import make_filtered_pipe
from .._message import Frame, pack_frame
from .._remote import Remote
from ._patterns import Balanced
from ._socket import Socket

__all__ = ["SinglesBalanced", "SinglesOnly"]


class SinglesOnly(Socket):
    """Takes messages of one frame."""

    def _opened(self, remote: Remote) -> None:
        remote.inbox = make_filtered_pipe(
            self.receive_hwm, self.receive_hwm_bytes, partial(_is_single, remote), partial(_singles, remote)
        )
        super()._opened(remote)


def _is_single(remote: Remote, item: Any) -> bool:
    if type(item) is list:
        remote.drop()
        return False
    return True


def _singles(remote: Remote, items: Sequence[Any]) -> Sequence[Any]:
    if list not in set(map(type, items)):
        return items
    singles = [item for item in items if type(item) is not list]
    remote.drop(len(items) - len(singles))
    return singles


class SinglesBalanced(Balanced[Frame]):
    """Sends messages of one frame, round-robin."""

    _form = "frame"
    _packs = staticmethod(pack_frame)

    def _pack(self, value: Frame) -> bytes:
        return pack_frame(value)
