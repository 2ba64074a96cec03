"""What the tests of the checks share: which clauses a check has, by its source, and which of them nothing has broken."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Collection, Iterator


def clauses_of(functions: Collection[str], *modules: str) -> list[str]:
    """The clauses that these modules of trimq.testing state by these functions; what a clause fills in is left out."""
    return [text for module in modules for text in _stated(functions, module)]


def _stated(functions: Collection[str], module: str) -> Iterator[str]:
    tree = ast.parse(inspect.getsource(importlib.import_module(f"trimq.testing.{module}")))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in functions:
            [text] = node.args
            if isinstance(text, ast.Constant):
                yield str(text.value)
            elif isinstance(text, ast.JoinedStr):
                yield "".join(str(part.value) for part in text.values if isinstance(part, ast.Constant))


def unbroken(clauses: Collection[str], broken: Collection[str]) -> list[str]:
    """The clauses of which no text in ``broken`` is a part; each of those has to be a part of some clause."""
    strays = [text for text in broken if not any(text in clause for clause in clauses)]
    assert strays == []
    return [clause for clause in clauses if not any(text in clause for text in broken)]


def told(clause: str, detail: str) -> str:
    """A pattern for the message of a broken clause."""
    return f"{re.escape(clause)}.*{detail}"
