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
one await                     push            56.4         4.5        27.3         2.0
one await                     pull            52.6         3.8        27.7         2.0
one await                     loop             0.0         0.0         2.7         0.1
one await, in memory          push            56.4         4.5        27.3         2.0
one await, in memory          pull            52.6         3.8        27.8         2.1
one await, in memory          loop             0.0         0.0         2.8         0.1
one at a time                 push           455.0        38.0        27.0         2.0
one at a time                 pull          1098.0        76.0       271.0        20.0
one at a time                 loop             0.0         0.0       675.0        33.0
many                          push            32.5         2.1         0.2         0.0
many                          pull            19.8         0.3         0.5         0.0
many                          loop             0.0         0.0         1.4         0.1
3 frames                      push           182.8        10.7        27.6         2.0
3 frames                      pull            58.6         4.1        27.9         2.1
3 frames                      loop             0.0         0.0         3.9         0.2
3 frames, many                push           151.9         7.2         0.5         0.0
3 frames, many                pull            48.1         1.1         0.8         0.1
3 frames, many                loop             0.0         0.0         3.0         0.1
1 to 5 frames of 1 to 1500 B  push           177.1        10.8        28.0         2.1
1 to 5 frames of 1 to 1500 B  pull           313.4        12.3        28.9         2.2
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         6.6         0.3
64 KiB                        push           212.9        17.8       334.8        32.2
64 KiB                        pull          1084.5        69.1       278.0        25.0
64 KiB                        loop             0.0         0.0       887.0        40.6
from 10                       push           275.0        16.2        32.6         2.4
from 10                       pull           167.6         9.7        33.1         2.5
from 10                       loop             0.0         0.0        23.6         0.8
to 10                         push           133.3         9.9        27.6         2.0
to 10                         pull            97.8         6.2        32.6         2.4
to 10                         loop             0.0         0.0        10.3         0.4
inproc                        push            48.1         3.6        27.2         2.0
inproc                        pull            48.7         3.7        27.3         2.0
inproc                        loop             0.0         0.0         1.8         0.1
inproc, many                  push            21.8         1.1         0.1         0.0
inproc, many                  pull            17.6         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1760.0       123.0       298.0        22.0
round trip                    rep           1927.0       136.0       298.0        22.0
round trip                    loop             0.0         0.0      1350.0        66.0
echo, 10 x 32                 dealer         158.5        11.4        61.5         4.6
echo, 10 x 32                 router         396.9        26.3        59.8         4.4
echo, 10 x 32                 loop             0.0         0.0        23.5         0.8
to 10 subscribers             pub            548.8        35.1        29.3         2.2
to 10 subscribers             sub            920.1        61.8       297.6        22.0
to 10 subscribers             loop             0.0         0.0        56.4         2.1
to 10 subscribers, many       pub            539.4        33.0         1.7         0.1
to 10 subscribers, many       sub            608.1        27.2        27.0         2.0
to 10 subscribers, many       loop             0.0         0.0        42.1         1.5
1000 topics                   pub            291.8        20.2        28.2         2.1
1000 topics                   sub            123.7         9.1        28.3         2.1
1000 topics                   loop             0.0         0.0         5.9         0.3
handed on                     middle         170.0        12.5        55.8         4.1
handed on, many               middle          93.4         4.9         1.2         0.1
""",
    ("3.12", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            51.9         4.5        25.2         2.0
one await                     pull            50.1         3.9        25.7         2.1
one await                     loop             0.0         0.0         2.7         0.1
one await, in memory          push            51.3         4.5        25.2         2.0
one await, in memory          pull            49.5         3.9        25.7         2.1
one await, in memory          loop             0.0         0.0         2.4         0.1
one at a time                 push           405.0        38.0        25.0         2.0
one at a time                 pull          1008.0        76.0       249.0        20.0
one at a time                 loop             0.0         0.0       628.0        33.0
many                          push            29.3         2.1         0.2         0.0
many                          pull            18.3         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           164.9        10.6        25.5         2.0
3 frames                      pull            66.5         4.4        26.0         2.1
3 frames                      loop             0.0         0.0         3.8         0.2
3 frames, many                push           137.5         7.2         0.5         0.0
3 frames, many                pull            32.2         0.8         0.8         0.1
3 frames, many                loop             0.0         0.0         2.6         0.1
1 to 5 frames of 1 to 1500 B  push           163.9        11.0        25.8         2.1
1 to 5 frames of 1 to 1500 B  pull           304.5        12.2        26.6         2.1
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         5.6         0.3
64 KiB                        push           191.5        17.6       300.6        32.2
64 KiB                        pull          1000.3        69.1       253.0        25.0
64 KiB                        loop             0.0         0.0       833.1        40.6
from 10                       push           246.4        15.7        29.7         2.4
from 10                       pull           153.0         9.5        30.2         2.4
from 10                       loop             0.0         0.0        20.6         0.8
to 10                         push           120.5         9.9        25.6         2.0
to 10                         pull            91.2         6.2        30.3         2.4
to 10                         loop             0.0         0.0        10.3         0.4
inproc                        push            43.4         3.5        25.2         2.0
inproc                        pull            43.6         3.6        25.2         2.0
inproc                        loop             0.0         0.0         1.5         0.1
inproc, many                  push            19.7         1.1         0.1         0.0
inproc, many                  pull            16.2         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1614.0       123.0       274.0        22.0
round trip                    rep           1755.0       136.0       274.0        22.0
round trip                    loop             0.0         0.0      1256.0        66.0
echo, 10 x 32                 dealer         141.3        11.2        56.9         4.6
echo, 10 x 32                 router         359.1        26.3        55.3         4.4
echo, 10 x 32                 loop             0.0         0.0        22.3         0.8
to 10 subscribers             pub            510.9        35.2        27.2         2.2
to 10 subscribers             sub            820.6        60.1       273.6        21.9
to 10 subscribers             loop             0.0         0.0        48.6         1.9
to 10 subscribers, many       pub            500.7        33.0         1.6         0.1
to 10 subscribers, many       sub            534.5        25.2        23.0         1.9
to 10 subscribers, many       loop             0.0         0.0        37.5         1.4
1000 topics                   pub            263.7        20.0        26.0         2.1
1000 topics                   sub            120.8         9.3        26.3         2.1
1000 topics                   loop             0.0         0.0         5.8         0.3
handed on                     middle         144.9        11.9        51.1         4.1
handed on, many               middle          82.7         4.9         1.1         0.1
""",
    ("3.13", "0.35.0"): """
                                             trimq       calls        trio  trio calls
one await                     push            53.0         4.5        25.3         2.0
one await                     pull            50.5         3.9        25.8         2.1
one await                     loop             0.0         0.0         3.1         0.1
one await, in memory          push            52.5         4.5        25.2         2.0
one await, in memory          pull            49.5         3.8        25.7         2.1
one await, in memory          loop             0.0         0.0         2.5         0.1
one at a time                 push           420.0        38.0        25.0         2.0
one at a time                 pull          1028.0        76.0       252.0        20.0
one at a time                 loop             0.0         0.0       646.0        33.0
many                          push            29.3         2.1         0.2         0.0
many                          pull            17.9         0.3         0.4         0.0
many                          loop             0.0         0.0         1.3         0.1
3 frames                      push           163.6        10.7        25.5         2.0
3 frames                      pull            53.6         4.0        25.8         2.1
3 frames                      loop             0.0         0.0         3.5         0.2
3 frames, many                push           134.5         7.2         0.5         0.0
3 frames, many                pull            52.3         1.4         0.8         0.1
3 frames, many                loop             0.0         0.0         2.7         0.1
1 to 5 frames of 1 to 1500 B  push           157.0        10.5        25.9         2.1
1 to 5 frames of 1 to 1500 B  pull           282.1        12.1        26.7         2.1
1 to 5 frames of 1 to 1500 B  loop             0.0         0.0         5.8         0.3
64 KiB                        push           192.8        17.6       302.6        32.2
64 KiB                        pull          1017.2        69.1       257.9        25.0
64 KiB                        loop             0.0         0.0       855.5        40.6
from 10                       push           239.0        15.2        29.3         2.3
from 10                       pull           151.8         9.4        30.2         2.4
from 10                       loop             0.0         0.0        19.5         0.7
to 10                         push           127.3         9.9        25.6         2.0
to 10                         pull            89.2         6.3        30.9         2.5
to 10                         loop             0.0         0.0        11.2         0.4
inproc                        push            44.5         3.5        25.3         2.0
inproc                        pull            43.2         3.5        25.1         2.0
inproc                        loop             0.0         0.0         1.3         0.1
inproc, many                  push            19.7         1.1         0.1         0.0
inproc, many                  pull            15.8         0.4         0.1         0.0
inproc, many                  loop             0.0         0.0         0.3         0.0
round trip                    req           1640.0       123.0       277.0        22.0
round trip                    rep           1785.0       136.0       277.0        22.0
round trip                    loop             0.0         0.0      1292.0        66.0
echo, 10 x 32                 dealer         142.9        11.2        57.0         4.6
echo, 10 x 32                 router         366.7        26.3        55.4         4.4
echo, 10 x 32                 loop             0.0         0.0        22.7         0.8
to 10 subscribers             pub            516.1        35.4        27.2         2.2
to 10 subscribers             sub            788.8        59.1       273.3        21.9
to 10 subscribers             loop             0.0         0.0        49.9         2.0
to 10 subscribers, many       pub            504.4        33.2         1.3         0.1
to 10 subscribers, many       sub            493.6        23.9        21.4         1.7
to 10 subscribers, many       loop             0.0         0.0        34.0         1.2
1000 topics                   pub            268.2        20.0        25.9         2.1
1000 topics                   sub            121.3         9.2        26.0         2.1
1000 topics                   loop             0.0         0.0         4.8         0.2
handed on                     middle         148.8        12.1        51.3         4.1
handed on, many               middle          82.2         4.9         1.1         0.1
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
