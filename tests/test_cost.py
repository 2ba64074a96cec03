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
    ("3.11", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            56.5         4.5        27.3         2.0
one await                     pull            54.4         4.0        27.9         2.1
one await                     loop             0.0         0.0         3.3         0.2
one await, in memory          push            57.8         4.6        27.5         2.1
one await, in memory          pull            51.2         3.8        27.6         2.1
one await, in memory          loop             0.0         0.0         2.4         0.1
one at a time                 push           455.0        38.0        27.0         2.0
one at a time                 pull          1112.0        78.0       275.0        21.0
one at a time                 loop             0.0         0.0       675.0        33.0
many                          push            32.5         2.1         0.2         0.0
many                          pull            19.9         0.3         0.5         0.0
many                          loop             0.0         0.0         1.4         0.1
3 frames                      push           187.3        11.0        27.9         2.1
3 frames                      pull            28.8         3.3        28.1         2.1
3 frames                      loop             0.0         0.0         4.4         0.2
3 frames, many                push           152.1         7.2         0.6         0.0
3 frames, many                pull            58.1         1.4         0.9         0.1
3 frames, many                loop             0.0         0.0         2.9         0.1
1 to 5 frames of 1 to 1500 B  push           198.6        11.5        29.2         2.2
1 to 5 frames of 1 to 1500 B  pull           305.2        11.6        28.9         2.2
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         7.4         0.3
64 KiB                        push           212.9        17.8       334.8        32.2
64 KiB                        pull          1111.5        72.1       282.0        26.0
64 KiB                        loop             0.0         0.0       887.0        40.6
from 10                       push           102.6         7.2        28.9         2.2
from 10                       pull           150.6         9.0        31.0         2.3
from 10                       loop             0.0         0.0         9.0         0.3
to 10                         push           128.9         9.5        27.5         2.0
to 10                         pull            71.9         4.8        30.0         2.2
to 10                         loop             0.0         0.0         5.6         0.2
inproc                        push            48.4         3.6        27.3         2.0
inproc                        pull            49.1         3.7        27.3         2.0
inproc                        loop             0.0         0.0         1.8         0.1
inproc, many                  push            21.8         1.1         0.1         0.0
inproc, many                  pull            17.7         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1774.0       125.0       302.0        23.0
round trip                    rep           1941.0       138.0       302.0        23.0
round trip                    loop             0.0         0.0      1350.0        66.0
echo, 10 x 32                 dealer         163.0        11.7        63.7         4.7
echo, 10 x 32                 router         397.3        26.5        59.5         4.4
echo, 10 x 32                 loop             0.0         0.0        25.5         0.9
to 10 subscribers             pub            541.5        34.6        29.0         2.2
to 10 subscribers             sub            776.3        55.2       289.0        21.5
to 10 subscribers             loop             0.0         0.0        35.1         1.3
to 10 subscribers, many       pub            543.7        33.4         1.8         0.2
to 10 subscribers, many       sub            424.3        17.9        14.9         1.1
to 10 subscribers, many       loop             0.0         0.0        25.3         0.9
1000 topics                   pub            293.0        20.2        28.2         2.1
1000 topics                   sub            126.2         9.1        28.0         2.1
1000 topics                   loop             0.0         0.0         5.5         0.2
handed on                     middle         164.9        12.2        55.4         4.1
handed on, many               middle          94.2         5.0         1.3         0.1
""",
    ("3.12", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            52.0         4.5        25.3         2.0
one await                     pull            47.9         3.8        25.6         2.1
one await                     loop             0.0         0.0         2.3         0.1
one await, in memory          push            53.5         4.6        25.6         2.1
one await, in memory          pull            49.6         3.9        25.8         2.1
one await, in memory          loop             0.0         0.0         2.9         0.1
one at a time                 push           405.0        38.0        25.0         2.0
one at a time                 pull          1019.0        78.0       253.0        21.0
one at a time                 loop             0.0         0.0       628.0        33.0
many                          push            29.3         2.1         0.2         0.0
many                          pull            18.5         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           166.8        10.8        25.6         2.1
3 frames                      pull            41.3         3.9        26.0         2.1
3 frames                      loop             0.0         0.0         3.9         0.2
3 frames, many                push           137.5         7.2         0.5         0.0
3 frames, many                pull            55.0         1.3         0.7         0.1
3 frames, many                loop             0.0         0.0         2.2         0.1
1 to 5 frames of 1 to 1500 B  push           158.7        10.7        26.0         2.1
1 to 5 frames of 1 to 1500 B  pull           291.8        11.3        26.4         2.1
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         4.1         0.2
64 KiB                        push           191.5        17.6       300.6        32.2
64 KiB                        pull          1024.3        72.1       257.0        26.0
64 KiB                        loop             0.0         0.0       833.1        40.6
from 10                       push           126.2         8.9        27.1         2.2
from 10                       pull           140.4         8.8        28.5         2.3
from 10                       loop             0.0         0.0         9.2         0.3
to 10                         push           119.8         9.8        25.5         2.0
to 10                         pull            63.7         4.7        27.5         2.2
to 10                         loop             0.0         0.0         5.0         0.2
inproc                        push            43.7         3.5        25.3         2.0
inproc                        pull            43.9         3.6        25.3         2.0
inproc                        loop             0.0         0.0         1.5         0.1
inproc, many                  push            19.7         1.1         0.1         0.0
inproc, many                  pull            16.2         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1625.0       125.0       278.0        23.0
round trip                    rep           1766.0       138.0       278.0        23.0
round trip                    loop             0.0         0.0      1256.0        66.0
echo, 10 x 32                 dealer         149.9        11.7        58.3         4.7
echo, 10 x 32                 router         361.9        26.6        55.3         4.5
echo, 10 x 32                 loop             0.0         0.0        24.1         0.9
to 10 subscribers             pub            509.8        35.0        27.4         2.2
to 10 subscribers             sub            710.0        54.5       266.2        21.3
to 10 subscribers             loop             0.0         0.0        32.6         1.3
to 10 subscribers, many       pub            501.4        33.1         1.7         0.2
to 10 subscribers, many       sub            385.2        16.9        11.1         0.9
to 10 subscribers, many       loop             0.0         0.0        20.1         0.8
1000 topics                   pub            265.2        20.1        26.0         2.1
1000 topics                   sub            117.1         9.1        26.1         2.1
1000 topics                   loop             0.0         0.0         4.5         0.2
handed on                     middle         145.6        11.9        51.2         4.1
handed on, many               middle          82.9         4.9         1.1         0.1
""",
    ("3.13", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            52.6         4.5        25.3         2.0
one await                     pull            49.2         3.8        25.6         2.1
one await                     loop             0.0         0.0         2.3         0.1
one await, in memory          push            54.7         4.6        25.6         2.1
one await, in memory          pull            51.3         3.9        25.8         2.1
one await, in memory          loop             0.0         0.0         3.0         0.1
one at a time                 push           420.0        38.0        25.0         2.0
one at a time                 pull          1041.0        78.0       256.0        21.0
one at a time                 loop             0.0         0.0       646.0        33.0
many                          push            29.3         2.1         0.2         0.0
many                          pull            18.1         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           165.1        10.8        25.6         2.1
3 frames                      pull            48.6         4.1        26.2         2.1
3 frames                      loop             0.0         0.0         4.5         0.2
3 frames, many                push           135.0         7.3         0.5         0.0
3 frames, many                pull            36.0         1.0         0.8         0.1
3 frames, many                loop             0.0         0.0         2.7         0.1
1 to 5 frames of 1 to 1500 B  push           156.6        10.8        26.0         2.1
1 to 5 frames of 1 to 1500 B  pull           271.3        11.3        26.4         2.1
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         4.2         0.2
64 KiB                        push           192.8        17.6       302.6        32.2
64 KiB                        pull          1044.2        72.1       261.9        26.0
64 KiB                        loop             0.0         0.0       855.5        40.6
from 10                       push            64.3         5.4        25.9         2.1
from 10                       pull           132.1         8.5        27.9         2.2
from 10                       loop             0.0         0.0         6.4         0.2
to 10                         push           125.2         9.7        25.5         2.0
to 10                         pull            68.0         5.0        28.3         2.3
to 10                         loop             0.0         0.0         6.1         0.2
inproc                        push            44.7         3.5        25.3         2.0
inproc                        pull            43.4         3.5        25.1         2.0
inproc                        loop             0.0         0.0         1.3         0.1
inproc, many                  push            19.7         1.1         0.1         0.0
inproc, many                  pull            15.8         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1653.0       125.0       281.0        23.0
round trip                    rep           1798.0       138.0       281.0        23.0
round trip                    loop             0.0         0.0      1292.0        66.0
echo, 10 x 32                 dealer         150.8        11.7        58.4         4.7
echo, 10 x 32                 router         369.4        26.6        55.4         4.5
echo, 10 x 32                 loop             0.0         0.0        24.6         0.9
to 10 subscribers             pub            513.2        35.1        27.4         2.2
to 10 subscribers             sub            706.8        54.5       266.3        21.3
to 10 subscribers             loop             0.0         0.0        33.3         1.3
to 10 subscribers, many       pub            503.5        33.1         1.5         0.1
to 10 subscribers, many       sub            371.7        16.9        11.2         0.9
to 10 subscribers, many       loop             0.0         0.0        19.9         0.8
1000 topics                   pub            268.8        20.1        26.0         2.1
1000 topics                   sub            121.7         9.2        26.2         2.1
1000 topics                   loop             0.0         0.0         4.7         0.2
handed on                     middle         148.3        12.0        51.2         4.1
handed on, many               middle          82.6         4.9         1.1         0.1
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
