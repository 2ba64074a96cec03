"""What each message costs, in instructions and calls: a gate that does not depend on how fast the machine is.

`TABLE` is how it stands. A change may cost a little more, and less; beyond that it is to be seen in the table's diff, be
it a loss to be thought about or a gain that must not be lost again unseen:

    python tests/cost.py --write      with each Python that has a table, once the change is as it should be

What is counted, and how, is in tests/cost.py.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

import pytest
import trio
from cost import COLUMNS, LOOP, SCENARIOS, VERSION, Table, format_table, measure, parse_table

# What a row may be off by, as factors, and beside that in instructions or calls where there are few. When tasks take
# turns shifts a little with every change; trio's part is little else.
OWN = (1.05, 0.85, 0.5)
TRIOS = (1.15, 0.6, 3.0)

# For each Python, with the trio that was there: other versions of trio have other instructions, and only trimq's own are
# held to the table then.
TABLE = {
    ("3.11", ""): """

""",
    ("3.12", ""): """

""",
    ("3.13", ""): """

""",
}


def expected() -> tuple[str, Table]:
    """The version of trio, and the table, for this Python."""
    for (version, trios), text in TABLE.items():
        if version == VERSION and platform.python_implementation() == "CPython":
            return trios, parse_table(text)
    pytest.skip(f"platform: there is no table for {platform.python_implementation()} {VERSION}")


def complaints(found: Table, table: Table, *, same_trio: bool) -> Iterator[str]:
    """What is not as it stands in the table, a line for each number."""
    for key in [*table, *(found.keys() - table.keys())]:
        if key not in found or key not in table:
            yield f"{key} is {'not measured any more' if key in table else 'not in the table'}"
            continue
        for column, number, row in zip(COLUMNS, found[key], table[key], strict=True):
            trios = column.startswith("trio")
            if trios and not same_trio:
                continue
            more, less, slack = TRIOS if trios else OWN
            if number > more * row + slack:
                yield f"{key}, {column}: {number} per message, more than the {row} of the table"
            elif number < less * row - slack:
                yield f"{key}, {column}: {number} per message, so few that the table's {row} is to be replaced"


@pytest.fixture(scope="module")
def found() -> Table:
    expected()  # skips before a long measurement
    return measure()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_message_costs_what_the_table_says(found: Table, name: str) -> None:
    """Issue 3: counts per message for the main scenarios, with a margin, whatever the machine."""
    trios, table = expected()
    found, table = ({key: row for key, row in rows.items() if key[0] == name} for rows in (found, table))
    wrong = [*complaints(found, table, same_trio=trios == trio.__version__)]
    assert not wrong, "\n".join(
        [*wrong, "now:", format_table(found), "in the table:", format_table(table), "see the top of this file"]
    )


def test_the_table_has_no_other_scenarios() -> None:
    _, table = expected()
    assert {name for name, _ in table} == SCENARIOS.keys()


def test_a_count_does_not_depend_on_what_ran_before_or_on_hash_seeds(found: Table) -> None:
    """Else the gate would be a matter of luck: to the last digit, alone, in another order, with other hashes."""
    names = ["1000 topics", "to 10", "round trip", "one await"]
    other = measure(names, PYTHONHASHSEED="1")
    assert other == {key: row for key, row in found.items() if key[0] in names}
    assert measure(["to 10"], PYTHONHASHSEED="2").items() <= other.items()


@pytest.mark.parametrize(
    ("number", "same_trio", "wrong"),
    [
        ((104.0, 10.0, 50.0, 5.0), True, []),
        ((86.0, 10.0, 50.0, 5.0), True, []),
        ((106.0, 10.0, 50.0, 5.0), True, ["trimq: 106.0 per message, more"]),
        ((84.0, 10.0, 50.0, 5.0), True, ["trimq: 84.0 per message, so few"]),
        ((100.0, 11.1, 50.0, 5.0), True, ["calls: 11.1 per message, more"]),
        ((100.0, 10.0, 61.0, 1.0), True, ["trio: 61.0 per message, more"]),
        ((100.0, 10.0, 61.0, 9.0), False, []),
    ],
)
def test_what_is_too_much_and_too_little(number: tuple[float, ...], same_trio: bool, wrong: list[str]) -> None:
    """The gate shuts: a few per cent more, or many less, and so does a side that appears or is gone."""
    row = (100.0, 10.0, 50.0, 5.0)
    said = [*complaints({("a", "push"): number}, {("a", "push"): row}, same_trio=same_trio)]
    assert len(said) == len(wrong)
    assert all(text in line for text, line in zip(wrong, said, strict=True))
    assert [*complaints({("a", LOOP): row}, {}, same_trio=same_trio)]
    assert [*complaints({}, {("a", LOOP): row}, same_trio=same_trio)]


def test_what_is_printed_can_be_read() -> None:
    """The table is rewritten by the command, and read back by the gate."""
    table: Table = {
        ("1 to 5 frames of 1 to 1500 B", "push"): (1.0, 2.5, 12345.6, 0.0),
        ("a", LOOP): (0.0, 0.0, 1.0, 0.1),
    }
    assert parse_table(format_table(table)) == table
