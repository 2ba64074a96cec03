"""The fuzzer's corpus and the seeds it grew from, replayed on every Python without the fuzzer.

Promise 4 and the rule of `trimq._wire`: whatever a peer sends is what the reference reads, or ProtocolError. A file here
is an input that once reached something new, or once failed.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from fuzz.targets import NAMES

CORPUS = Path(__file__).parent / "corpus"


def test_every_target_is_replayed() -> None:
    """A target without a name in `NAMES`, or without a corpus, would be forgotten."""
    files = {path.stem for path in (Path(__file__).parent / "targets").glob("*.py")} - {"__init__"}
    assert files == set(NAMES) == {path.name for path in CORPUS.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    """Each file in one go; a failure names the file."""
    target = importlib.import_module(f"fuzz.targets.{name}").target
    files = sorted((CORPUS / name).iterdir())
    assert len(files) >= 10
    for path in files:
        try:
            target(path.read_bytes())
        except BaseException as error:
            error.add_note(f"input: tests/fuzz/corpus/{name}/{path.name}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    """The malformed inputs of wire.md section 9, and honest ones, by hand."""
    module = importlib.import_module(f"fuzz.targets.{name}")
    for number, data in enumerate(module.seeds()):
        try:
            module.target(data)
        except BaseException as error:
            error.add_note(f"seed {number}: {data!r}")
            raise
