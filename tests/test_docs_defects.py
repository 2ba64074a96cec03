"""docs/explanation/defects.rst: each defect has its cause, its fix, and a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs/explanation/defects.rst"
ROWS = [
    [cell.strip() for cell in re.split(r"^     - ", row, flags=re.MULTILINE)]
    for row in re.split(r"^   \* - ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    if not row.startswith("What a user saw")
]


def test_the_page_is_read() -> None:
    """A page that is written in another way would pass unread."""
    assert len(ROWS) >= 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_row_names_its_tests(row: list[str]) -> None:
    """They exist, and the parameters that are named are among what their file says."""
    assert len(row) == 4
    assert all(row)
    held_by = re.findall(r"``tests/([\w/]+\.py)::(test_\w+)(?:\[(.+?)\])?``", row[3].partition("\n\n")[0])
    assert held_by
    for path, name, parameter in held_by:
        text = (TESTS / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path}: {name}"
        assert parameter in text
