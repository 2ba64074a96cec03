"""The demo over vmci and tipc: processes of their own, and libzmq among them over tipc."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run


@pytest.mark.parametrize("arguments", ["vmci", "tipc", "tipc --with-pyzmq"])
def test_demo(arguments: str, tmp_path: Path) -> None:
    """The words are counted right, by each worker its part."""
    (tmp_path / "words").write_bytes(b"one two three two\n" * 5000)
    done = run(
        ["-m", "trimq", "demo", "--workers", "2", "--transport", *arguments.split(), str(tmp_path / "words")],
    )
    assert done.returncode == 0, done.stderr
    assert "10,000  two" in done.stdout
    assert "OK  one process counts 20,000 words" in done.stdout
    assert done.stdout.count("by worker") == 2
