"""Clauses of a contract: whatever goes wrong in one becomes an AssertionError that says which was broken."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import trio

from .._errors import without

__all__ = ["CLAUSE_SECONDS", "clause", "expect_raises", "plain_clause", "raises"]

CLAUSE_SECONDS = 10.0
"""How long a clause may take by trio's clock; what takes longer hangs."""


@contextmanager
def plain_clause(text: str) -> Generator[None, None, None]:
    """One clause, without trio. Errors of the block, but for those that are no `Exception`, become AssertionErrors.

    Raises:
      AssertionError: the clause is broken; ``text`` comes first in its message.
    """
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{text}: {_told(error)}") from error


@contextmanager
def clause(text: str) -> Generator[None, None, None]:
    """One clause that may wait, though not for longer than `CLAUSE_SECONDS`.

    Raises:
      AssertionError: the clause is broken; ``text`` comes first in its message.
    """
    with plain_clause(text):
        try:
            with trio.fail_after(CLAUSE_SECONDS):
                yield
        except trio.TooSlowError as error:
            raise AssertionError(f"it still waits after {CLAUSE_SECONDS:g} s") from error


@contextmanager
def raises(*kinds: type[Exception]) -> Generator[None, None, None]:
    """What the block does raises one of these.

    Raises:
      AssertionError: it raises something else, or nothing.
    """
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except kinds:
        return
    except Exception as error:
        raise AssertionError(f"{names} was expected, not {_told(error)}") from error
    raise AssertionError(f"{names} was expected, and nothing was raised")


async def expect_raises(call: Callable[[], Awaitable[object]], *kinds: type[Exception]) -> None:
    """Awaits a call that raises one of these; see `raises`."""
    with raises(*kinds):
        await call()


def _told(error: BaseException) -> str:
    """An error in a line, and those in a group one after the other."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        rest = without(group, lambda one: isinstance(one, trio.Cancelled))
        leaves: tuple[Any, ...] = getattr(rest, "exceptions", (rest,))
        return "; ".join(_told(one) for one in leaves if one is not None)
    if isinstance(error, AssertionError):
        lines = traceback.extract_tb(error.__traceback__, -1)  # of the innermost frame
        return str(error) or (lines[0].line if lines else "") or "an assertion failed"
    return f"{type(error).__name__}: {error}"
