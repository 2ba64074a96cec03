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
one await                     push            92.0         7.1        27.2         2.0
one await                     pull            92.4         5.5        27.9         2.1
one await                     loop             0.0         0.0         3.5         0.2
one await, in memory          push            92.0         7.1        27.4         2.0
one await, in memory          pull            91.7         5.5        27.8         2.1
one await, in memory          loop             0.0         0.0         3.2         0.1
one at a time                 push           407.0        34.0        27.0         2.0
one at a time                 pull          1011.0        71.0       271.0        20.0
one at a time                 loop             0.0         0.0       675.0        33.0
many                          push            32.4         2.1         0.2         0.0
many                          pull            19.9         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           216.8        13.2        27.6         2.0
3 frames                      pull           157.1         7.9        28.2         2.1
3 frames                      loop             0.0         0.0         5.3         0.2
3 frames, many                push           150.7         7.2         0.5         0.0
3 frames, many                pull            89.4         2.5         1.0         0.1
3 frames, many                loop             0.0         0.0         3.4         0.2
1 to 5 frames of 1 to 1500 B  push           200.8        12.3        27.8         2.1
1 to 5 frames of 1 to 1500 B  pull           348.7        14.0        29.1         2.2
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         6.8         0.3
64 KiB                        push           250.2        20.4       334.8        32.2
64 KiB                        pull           996.0        64.0       278.0        25.0
64 KiB                        loop             0.0         0.0       887.0        40.6
from 10                       push           103.2         8.0        28.4         2.1
from 10                       pull           134.6         7.8        30.2         2.2
from 10                       loop             0.0         0.0        12.1         0.4
to 10                         push           118.7         9.1        27.6         2.0
to 10                         pull           142.0         8.1        33.9         2.5
to 10                         loop             0.0         0.0        13.1         0.4
inproc                        push            82.1         6.1        27.3         2.0
inproc                        pull            80.9         5.1        27.2         2.0
inproc                        loop             0.0         0.0         2.2         0.1
inproc, many                  push            21.7         1.1         0.1         0.0
inproc, many                  pull            17.6         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1675.0       118.0       298.0        22.0
round trip                    rep           1813.0       128.0       298.0        22.0
round trip                    loop             0.0         0.0      1350.0        66.0
echo, 10 x 32                 dealer         295.7        19.2        68.6         5.1
echo, 10 x 32                 router         426.2        27.6        65.2         4.8
echo, 10 x 32                 loop             0.0         0.0        42.7         1.4
to 10 subscribers             pub            569.0        37.1        28.9         2.1
to 10 subscribers             sub           1227.1        78.1       306.5        22.7
to 10 subscribers             loop             0.0         0.0        68.7         2.4
to 10 subscribers, many       pub            565.3        35.8         1.7         0.1
to 10 subscribers, many       sub            647.9        30.1        34.6         2.6
to 10 subscribers, many       loop             0.0         0.0        53.4         1.9
1000 topics                   pub            281.4        19.3        27.9         2.1
1000 topics                   sub            169.9        11.0        28.6         2.1
1000 topics                   loop             0.0         0.0         8.0         0.4
handed on                     middle         229.8        15.9        55.7         4.1
handed on, many               middle          93.3         4.9         1.3         0.1
""",
    ("3.12", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            83.1         7.1        25.3         2.0
one await                     pull            86.8         5.6        25.8         2.1
one await                     loop             0.0         0.0         3.2         0.2
one await, in memory          push            83.0         7.1        25.4         2.0
one await, in memory          pull            86.4         5.6        25.8         2.1
one await, in memory          loop             0.0         0.0         3.5         0.2
one at a time                 push           362.0        34.0        25.0         2.0
one at a time                 pull           922.0        71.0       249.0        20.0
one at a time                 loop             0.0         0.0       628.0        33.0
many                          push            29.2         2.1         0.2         0.0
many                          pull            18.6         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           195.1        13.2        25.4         2.0
3 frames                      pull           182.5         8.7        26.5         2.1
3 frames                      loop             0.0         0.0         5.1         0.2
3 frames, many                push           136.3         7.2         0.5         0.0
3 frames, many                pull            72.5         2.1         1.0         0.1
3 frames, many                loop             0.0         0.0         3.3         0.2
1 to 5 frames of 1 to 1500 B  push           181.4        12.3        25.6         2.1
1 to 5 frames of 1 to 1500 B  pull           334.0        13.7        26.7         2.2
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         6.0         0.3
64 KiB                        push           224.3        20.3       300.6        32.2
64 KiB                        pull           913.0        64.0       253.0        25.0
64 KiB                        loop             0.0         0.0       833.1        40.6
from 10                       push            88.7         7.6        26.2         2.1
from 10                       pull           114.5         7.3        26.9         2.2
from 10                       loop             0.0         0.0         9.2         0.4
to 10                         push           105.6         8.9        25.5         2.0
to 10                         pull           139.2         8.2        30.8         2.5
to 10                         loop             0.0         0.0        11.3         0.4
inproc                        push            73.5         6.0        25.2         2.0
inproc                        pull            74.5         5.1        25.2         2.0
inproc                        loop             0.0         0.0         2.2         0.1
inproc, many                  push            19.7         1.1         0.1         0.0
inproc, many                  pull            16.1         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1530.0       118.0       274.0        22.0
round trip                    rep           1646.0       128.0       274.0        22.0
round trip                    loop             0.0         0.0      1256.0        66.0
echo, 10 x 32                 dealer         259.4        18.0        60.8         4.9
echo, 10 x 32                 router         374.3        26.5        59.6         4.8
echo, 10 x 32                 loop             0.0         0.0        36.0         1.3
to 10 subscribers             pub            529.7        37.3        26.8         2.1
to 10 subscribers             sub           1214.7        80.0       285.6        22.8
to 10 subscribers             loop             0.0         0.0        70.6         2.6
to 10 subscribers, many       pub            524.8        35.8         1.6         0.1
to 10 subscribers, many       sub            604.1        29.6        32.0         2.6
to 10 subscribers, many       loop             0.0         0.0        50.8         1.9
1000 topics                   pub            255.3        19.3        25.8         2.1
1000 topics                   sub            158.4        11.0        26.5         2.1
1000 topics                   loop             0.0         0.0         6.7         0.3
handed on                     middle         210.0        15.9        51.4         4.1
handed on, many               middle          82.2         4.8         1.2         0.1
""",
    ("3.13", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            86.4         7.1        25.4         2.0
one await                     pull            85.7         5.5        25.8         2.1
one await                     loop             0.0         0.0         3.6         0.2
one await, in memory          push            86.1         7.1        25.4         2.0
one await, in memory          pull            87.0         5.6        25.8         2.1
one await, in memory          loop             0.0         0.0         3.5         0.2
one at a time                 push           373.0        34.0        25.0         2.0
one at a time                 pull           934.0        71.0       252.0        20.0
one at a time                 loop             0.0         0.0       646.0        33.0
many                          push            29.2         2.1         0.2         0.0
many                          pull            18.2         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           195.7        13.2        25.6         2.0
3 frames                      pull           155.1         8.1        26.4         2.1
3 frames                      loop             0.0         0.0         5.4         0.3
3 frames, many                push           133.3         7.2         0.5         0.0
3 frames, many                pull            52.3         1.6         0.8         0.1
3 frames, many                loop             0.0         0.0         2.9         0.1
1 to 5 frames of 1 to 1500 B  push           185.5        12.7        25.8         2.1
1 to 5 frames of 1 to 1500 B  pull           309.5        13.4        26.6         2.1
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         5.9         0.3
64 KiB                        push           227.6        20.3       302.6        32.2
64 KiB                        pull           922.0        64.0       257.9        25.0
64 KiB                        loop             0.0         0.0       855.5        40.6
from 10                       push            94.3         7.9        26.2         2.1
from 10                       pull           120.9         7.7        27.5         2.2
from 10                       loop             0.0         0.0        10.4         0.4
to 10                         push           109.9         9.0        25.5         2.0
to 10                         pull           140.3         8.5        31.7         2.5
to 10                         loop             0.0         0.0        13.1         0.5
inproc                        push            76.3         6.0        25.1         2.0
inproc                        pull            75.4         5.0        25.2         2.0
inproc                        loop             0.0         0.0         2.2         0.1
inproc, many                  push            19.7         1.1         0.1         0.0
inproc, many                  pull            15.8         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1550.0       118.0       277.0        22.0
round trip                    rep           1667.0       128.0       277.0        22.0
round trip                    loop             0.0         0.0      1292.0        66.0
echo, 10 x 32                 dealer         235.2        16.2        56.1         4.5
echo, 10 x 32                 router         333.8        24.1        56.1         4.5
echo, 10 x 32                 loop             0.0         0.0        23.5         0.9
to 10 subscribers             pub            536.1        37.3        26.8         2.1
to 10 subscribers             sub           1178.0        79.0       284.8        22.7
to 10 subscribers             loop             0.0         0.0        70.0         2.6
to 10 subscribers, many       pub            529.8        35.8         1.3         0.1
to 10 subscribers, many       sub            583.1        29.8        32.2         2.6
to 10 subscribers, many       loop             0.0         0.0        51.2         1.9
1000 topics                   pub            260.4        19.2        25.7         2.0
1000 topics                   sub            160.0        11.0        26.3         2.1
1000 topics                   loop             0.0         0.0         6.5         0.3
handed on                     middle         210.5        15.9        51.4         4.1
handed on, many               middle          82.4         4.8         1.2         0.1
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
