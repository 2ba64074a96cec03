"""What docs/explanation/demands.rst and differences.rst say in tables: tests are there, defaults are the code's."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import Any

import pytest

import trimq
from trimq._context import _LIBZMQ
from trimq._options import Option
from trimq._sockets import ALL_TYPES

TESTS = Path(__file__).parent
EXPLANATION = TESTS.parent / "docs/explanation"

# Those that issue 5 names.
DEMANDS = [*range(3, 10), 11, 13, 14, *range(17, 21), 22, *range(28, 31), 35, 39, 40, 42, 44, 45]


def tables(page: str) -> list[list[list[str]]]:
    """The rows of each list-table of a page, without their heads, as their cells' texts in one line."""
    text = (EXPLANATION / page).read_text(encoding="utf-8")
    found: list[list[list[str]]] = []
    for table in text.split(".. list-table::")[1:]:
        body = re.split(r"\n(?=\S)", table, maxsplit=1)[0]  # up to what is not indented
        rows = re.split(r"^   \* - ", body, flags=re.MULTILINE)[2:]
        found.append(
            [[" ".join(cell.split()) for cell in re.split(r"^     - ", row, flags=re.MULTILINE)] for row in rows]
        )
    return found


[ASKED] = tables("demands.rst")
DEFAULTS, SWITCHED = tables("differences.rst")


def named_in(cell: str) -> list[tuple[str, str]]:
    """The tests that a cell names, which must be all that is in it."""
    named = re.findall(r"``tests/([\w/]+\.py)::(test_\w+)``", cell)
    assert cell == ", ".join(f"``tests/{path}::{name}``" for path, name in named)
    return named


def test_each_demand_has_a_row() -> None:
    """Issue 5: 'a row each: the call that answers it and the test, or why not'. None is missing, none is twice."""
    assert [int(row[0]) for row in ASKED] == DEMANDS
    assert all(len(row) == 4 and all(row) for row in ASKED)


@pytest.mark.parametrize("cell", [pytest.param(row[-1], id=row[0]) for row in ASKED + SWITCHED])
def test_each_row_names_tests_that_there_are(cell: str) -> None:
    """The file is there, and the test is in it."""
    named = named_in(cell)
    assert named
    for path, name in named:
        text = (TESTS / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path}: {name}"


def test_options_that_a_row_names_are_there() -> None:
    """``name=`` and ``name`` in the answers: options, arguments and methods of some socket type."""
    known = {name for kind in ALL_TYPES for name in dir(kind)}
    known |= (
        {"linger", "use_fd", "control", "metadata", "retries"}
        | set(dir(trimq.SocketStatistics))
        | set(dir(trimq.Endpoint))
    )
    for row in ASKED:
        for word in re.findall(r"``([a-z_]+)(?:=[\w\"]+|=|\(\))?``", row[2]):
            assert word in known | {"trimq"}, f"{row[0]}: {word}"


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0].strip("`")) for row in DEFAULTS])
async def test_defaults_are_those_of_the_code(row: list[str]) -> None:
    """The default, and what the profile makes of it, in the table and in a socket. An option that is given still holds."""
    name = row[0].strip("`")
    option: Option[Any] = getattr(trimq.Dealer, name)
    ours, theirs = (math.inf if cell == "inf" else ast.literal_eval(cell) for cell in (row[1], row[3]))
    assert ours == option.default != theirs
    assert theirs == _LIBZMQ[name]
    async with trimq.open_context(profile="libzmq") as ctx:
        for kind in ALL_TYPES:
            assert getattr(ctx.socket(kind), name) == theirs
    given: Any = {name: ours}
    async with trimq.open_context(profile="libzmq", **given) as ctx:
        assert getattr(ctx.socket(trimq.Dealer), name) == ours
    async with trimq.open_context() as ctx:
        assert getattr(ctx.socket(trimq.Dealer), name) == ours


def test_the_profile_has_no_other_defaults() -> None:
    """What the profile sets is in the table, all of it."""
    assert {row[0].strip("`") for row in DEFAULTS} == set(_LIBZMQ)
    assert all(len(row) == 5 and all(row) for row in DEFAULTS)
