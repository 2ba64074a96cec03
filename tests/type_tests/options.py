"""Checked by mypy and pyright, never run: an option is a keyword and an attribute, and a wrong one is a type error."""

from __future__ import annotations

import math
from typing import assert_type

import trimq


def options_are_keywords_of_the_class(ctx: trimq.Context) -> None:
    ctx.socket(trimq.Push, send_hwm=10, linger=math.inf)
    ctx.socket(trimq.Dealer, routing_id=b"worker-1")
    ctx.socket(trimq.Push, send_hmw=10)  # type: ignore[call-arg]
    ctx.socket(trimq.Push, linger="1")  # type: ignore[arg-type]
    ctx.socket(trimq.Push, routing_id=b"push has none")  # type: ignore[call-arg]


def options_are_attributes(push: trimq.Push, dealer: trimq.Dealer) -> None:
    assert_type(push.linger, float)
    push.linger = 1
    push.linger = "1"  # type: ignore[assignment]
    assert_type(dealer.routing_id, bytes)
