"""The demo's files: which ones, what is in them, and the count in one process that the workers' is checked against."""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from ._words import find_words

__all__ = ["DemoError", "choose_files", "count_alone", "read_blocks"]

_BLOCK = 1 << 20  # bytes


class DemoError(Exception):
    """What a user is told in one line: bad input, or a worker that died."""


def choose_files(named: Sequence[Path]) -> list[Path]:
    """The files named, or else the .py files of the standard library, without what was installed beside it.

    Raises:
      DemoError: one of the files cannot be read, or there are none.
    """
    if named:
        for path in named:
            _check(path)
        return list(named)
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        path
        for path in library.rglob("*.py")
        if path.is_file() and not {"site-packages", "dist-packages"} & set(path.relative_to(library).parts)
    )
    if not files:
        raise DemoError(f"the standard library has no .py files in {library}: name some files to count")
    return files


def _check(path: Path) -> None:
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
            raise DemoError(f"{path} is not a file" + " but a directory: name the files in it" * path.is_dir())
        path.open("rb").close()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DemoError:
    return DemoError(f"cannot read {path}: {error.strerror or error}")


def read_blocks(path: Path) -> Iterator[list[bytes]]:
    """A file's lines, in blocks of about a megabyte.

    Raises:
      DemoError: it cannot be read (any more).
    """
    try:
        with path.open("rb") as file:
            while lines := file.readlines(_BLOCK):
                yield lines
    except OSError as error:
        raise _unreadable(path, error) from error


def count_alone(files: Sequence[Path]) -> Counter[str]:
    """Counts all words right here. For a worker thread of trio's, whose cancellation ends it between two files.

    Raises:
      DemoError: a file cannot be read any more.
    """
    words: Counter[str] = Counter()
    for path in files:
        trio.from_thread.check_cancelled()
        for lines in read_blocks(path):
            words.update(find_words(b"".join(lines)))
    return words
