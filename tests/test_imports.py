"""The arrows between trimq's rooms, held over the source itself.

An import may only point to a line above in `LINES`, the list that docs/explanation/architecture.rst draws. The two
towers stand side by side and never import each other. `if TYPE_CHECKING` imports are no arrows: they
are gone at run time. Also held here: modules import leaf modules and never the package, no module
cycle, what the sans-I/O rooms may not import, a docstring on each module, and its length.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import pytest

PACKAGE = Path(__file__).parents[1] / "trimq"

LINES: tuple[tuple[str, ...], ...] = (
    # ground
    ("_errors", "_version"),
    ("_options", "_zmq_options", "_address", "_message", "_pace"),
    ("_util",),
    ("_abc",),
    ("_abc_datagrams",),
    ("_wire",),
    ("_mechanisms",),
    ("_pipe",),
    ("_flusher", "_heart"),
    ("_endpoint", "_monitor"),
    # the transport tower, then the pattern tower
    ("_link",),
    ("_transports",),
    ("_remote",),
    ("_routing",),
    ("_subscriptions",),
    ("_limits", "_statistics"),
    ("_sockets",),
    # where they meet
    ("_session", "_back_off"),
    ("_dialer", "_acceptor", "_join", "_datagrams"),
    ("_context",),
    # on top
    ("_proxy", "_auth"),
    ("_cli", "testing"),
    # public
    ("abc", "wire", "events"),
    ("__init__",),
    ("__main__",),
)

TOWERS = (
    {"_link", "_transports"},
    {"_remote", "_routing", "_subscriptions", "_limits", "_statistics", "_sockets"},
)

IO_AND_CLOCKS = {
    *("trio", "outcome", "sniffio", "asyncio", "socket", "select", "selectors", "ssl", "subprocess", "threading"),
    *("time", "datetime"),
}
NOT_IN = {
    # sans-I/O: bytes in, bytes out; now and anything random are arguments
    "_wire": IO_AND_CLOCKS | {"random", "secrets"},
    # a handshake makes its own keys and nonces, so chance is allowed here
    "_mechanisms": IO_AND_CLOCKS,
}

LONGEST = 450

ROW = {room: number for number, line in enumerate(LINES) for room in line}


@attrs.frozen
class Source:
    """A module of trimq: its name below the package (``"_wire._frames"``, ``"_wire"``, ``"__init__"``) and its text."""

    name: str
    text: str
    is_package: bool = False

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    @property
    def path(self) -> list[str]:
        return [] if self.name == "__init__" else self.name.split(".")


@attrs.frozen
class Import:
    """One imported module: ``target`` is its name outside trimq, or its name below trimq if ``inside``."""

    line: int
    target: str
    inside: bool


def read_package(folder: Path) -> list[Source]:
    sources: list[Source] = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts) or "__init__"
        sources.append(Source(name, path.read_text(encoding="utf-8"), is_package))
    return sources


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that may run: all but the bodies of ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from run_time_nodes(other)
            continue
        yield child
        yield from run_time_nodes(child)


def imports_of(source: Source, modules: Iterable[str]) -> Iterator[Import]:
    """The imports of a module at run time, those inside functions included; of trimq's, as names below the package."""
    known = set(modules)
    for node in run_time_nodes(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                inside = top == "trimq"
                yield Import(node.lineno, (rest or "__init__") if inside else alias.name, inside)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                named = (node.module or "").split(".")
                if named[0] != "trimq":
                    yield Import(node.lineno, ".".join(named), inside=False)
                    continue
                base = named[1:]
            else:
                up = node.level - 1 if source.is_package else node.level
                base = [*source.path[: len(source.path) - up], *((node.module or "").split(".") if node.module else [])]
            for alias in node.names:
                # `from ._room import _file` is an import of the file; anything else is one of what stands before
                full = ".".join([*base, alias.name])
                yield Import(node.lineno, full if full in known else ".".join(base) or "__init__", inside=True)


def absolute_imports(source: Source) -> Iterator[int]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        if any(name.split(".")[0] == "trimq" for name in names):
            yield node.lineno


def broken_arrows(source: Source, modules: Iterable[str]) -> Iterator[str]:
    """What one module's imports do that they may not, each as a line to print."""
    here = source.room
    if here not in ROW:
        yield f"{source.name}: no room of that name; give it a line in LINES and in the architecture page"
        return
    by_name = set(absolute_imports(source))
    for line in sorted(by_name):
        yield f"{source.name}:{line}: imports trimq by name; import the leaf module: from ._errors import ..."
    for found in imports_of(source, modules):
        where = f"{source.name}:{found.line}"
        there = found.target.split(".")[0]
        if found.line in by_name:
            continue  # told already
        if not found.inside:
            if there in NOT_IN.get(here, ()):
                yield f"{where}: {here} may not import {there}"
        elif there == "__init__":
            if source.name != "__init__":
                yield f"{where}: imports the package; import the leaf module"
        elif there not in ROW:
            yield f"{where}: {there} is no room"
        elif there != here:
            if any(here in one and there in other for one in TOWERS for other in TOWERS if one is not other):
                yield f"{where}: {here} and {there} stand in different towers"
            elif ROW[there] >= ROW[here]:
                yield f"{where}: {here} imports {there}, which is not above it"


def cycle_in(sources: Iterable[Source]) -> list[str]:
    """One cycle of modules that import each other at run time, or nothing."""
    by_name = {source.name: source for source in sources}
    arrows = {
        name: {found.target for found in imports_of(source, by_name) if found.inside and found.target in by_name}
        for name, source in by_name.items()
    }
    done: set[str] = set()

    def follow(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name not in done:
            for target in sorted(arrows[name]):
                if cycle := follow(target, [*trail, name]):
                    return cycle
            done.add(name)
        return []

    for name in by_name:
        if cycle := follow(name, []):
            return cycle
    return []


def faults_of_form(source: Source) -> Iterator[str]:
    length = len(source.text.splitlines())
    if length > LONGEST:
        yield f"{source.name}: {length} lines; split it along an idea"
    if not ast.get_docstring(ast.parse(source.text)):
        yield f"{source.name}: opens without a docstring that says what lives there"


# the source itself

SOURCES = read_package(PACKAGE)
MODULES = {source.name for source in SOURCES}


def test_the_walk_sees_the_package() -> None:
    assert {"_errors", "_message", "_abc", "_pipe"} <= MODULES


@pytest.mark.parametrize("source", SOURCES, ids=[source.name for source in SOURCES])
def test_imports_point_up(source: Source) -> None:
    """design.md 3: an import may only point to a line above; the two towers never import each other."""
    assert list(broken_arrows(source, MODULES)) == []


def test_no_cycle() -> None:
    """Not even inside a room: whoever reads a module can read what it stands on first."""
    assert cycle_in(SOURCES) == []


@pytest.mark.parametrize("source", SOURCES, ids=[source.name for source in SOURCES])
def test_form(source: Source) -> None:
    """Each module opens with a docstring, and can be read in one sitting."""
    assert list(faults_of_form(source)) == []


# the checker: each rule above is broken once, and must be seen

KNOWN = {"__init__", "_wire", "_wire._frames", "_wire._zmtp", "_errors", "_transports._tcp", "_sockets._push", *ROW}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (Source("_pipe", "from ._context import Context"), "_pipe imports _context, which is not above it"),
        (Source("_errors", "from ._message import Item"), "_errors imports _message, which is not above it"),
        (Source("_options", "from ._message import Item"), "_options imports _message, which is not above it"),
        (Source("_message", "from ._abc import Wire"), "_message imports _abc"),
        (Source("_abc", "from ._wire import Engine"), "_abc imports _wire"),
        (Source("_wire._frames", "from .._mechanisms import Null"), "_wire imports _mechanisms"),
        (Source("_wire", "from .._mechanisms import Null", is_package=True), "_wire:1"),
        (Source("_wire", "from .._mechanisms._null import Null", is_package=True), "imports _mechanisms"),
        (Source("_link", "from ._remote import Remote"), "different towers"),
        (Source("_sockets._push", "from .._transports._tcp import Tcp"), "different towers"),
        (
            Source("_transports._tcp", "def f():\n    from .. import _remote"),
            "_transports._tcp:2: _transports and _remote",
        ),
        (Source("_pipe", "if TYPE_CHECKING:\n    pass\nelse:\n    from ._remote import Remote"), "_pipe:4"),
        (Source("_pipe", "try:\n    from ._remote import Remote\nexcept ImportError:\n    pass"), "_pipe:2"),
        (Source("_pipe", "import trimq"), "imports trimq by name"),
        (Source("_pipe", "import trimq._errors"), "imports trimq by name"),
        (Source("_pipe", "from trimq import Pub"), "imports trimq by name"),
        (Source("_pipe", "if TYPE_CHECKING:\n    from trimq._errors import ZMQError"), "imports trimq by name"),
        (Source("_pipe", "from . import Pub"), "imports the package"),
        (Source("_sockets._push", "from .. import Pub"), "imports the package"),
        (Source("_wire._frames", "import trio"), "_wire may not import trio"),
        (Source("_wire._frames", "from trio.lowlevel import checkpoint"), "_wire may not import trio"),
        (Source("_wire._frames", "def f():\n    import time"), "_wire may not import time"),
        (Source("_wire._frames", "from random import randbytes"), "_wire may not import random"),
        (Source("_mechanisms._null", "import trio.abc"), "_mechanisms may not import trio"),
        (Source("_helpers", "import os"), "no room of that name"),
        (Source("_pipe", "from ._helpers import f"), "_helpers is no room"),
    ],
    ids=lambda value: value.text if isinstance(value, Source) else "",
)
def test_a_broken_arrow_is_seen(source: Source, complaint: str) -> None:
    [fault] = broken_arrows(source, KNOWN)
    assert complaint in fault


@pytest.mark.parametrize(
    "source",
    [
        Source("_message", "from ._errors import ZMQError"),
        Source("_pipe", "import math\nimport trio\nfrom ._message import Item"),
        Source("_pipe", "from . import _errors"),
        Source("_pipe", "if TYPE_CHECKING:\n    from ._context import Context"),
        Source("_pipe", "if typing.TYPE_CHECKING:\n    from ._context import Context"),
        Source("_wire._frames", "from ._zmtp import Engine\nfrom .._errors import ProtocolError\nimport struct"),
        Source("_wire", "from ._frames import Reader", is_package=True),
        Source("_mechanisms._curve", "import secrets"),
        Source("_dialer", "from ._link import Link\nfrom ._remote import Remote"),
        Source(
            "__init__", "from . import abc as abc\nfrom ._context import open_context as open_context", is_package=True
        ),
        Source("abc", "from ._abc import Transport as Transport"),
        Source("testing", "from ._streams import pair\nfrom .._context import Context", is_package=True),
    ],
    ids=lambda source: source.text,
)
def test_an_arrow_that_points_up_is_fine(source: Source) -> None:
    assert list(broken_arrows(source, KNOWN)) == []


def test_a_cycle_is_seen() -> None:
    def f(deferred: str) -> list[Source]:
        return [
            Source("_wire", "from ._frames import Reader", is_package=True),
            Source("_wire._frames", "from ._zmtp import Engine"),
            Source("_wire._zmtp", deferred),
        ]

    assert cycle_in(f("from ._frames import Reader")) == ["_wire._frames", "_wire._zmtp", "_wire._frames"]
    assert cycle_in(f("from . import _frames")) == ["_wire._frames", "_wire._zmtp", "_wire._frames"]
    assert cycle_in(f("from . import Reader")) == ["_wire", "_wire._frames", "_wire._zmtp", "_wire"]
    assert cycle_in(f("if TYPE_CHECKING:\n    from ._frames import Reader")) == []


def test_faults_of_form_are_seen() -> None:
    long = '"""What lives here."""\n' + "x = 1\n" * LONGEST
    assert [fault.split(";")[0] for fault in faults_of_form(Source("_pipe", long))] == ["_pipe: 451 lines"]
    assert ["docstring" in fault for fault in faults_of_form(Source("_pipe", "x = 1\n"))] == [True]
    assert list(faults_of_form(Source("_pipe", '"""What lives here."""\n'))) == []


def test_the_table_is_whole() -> None:
    """Each room has one line, and each tower's rooms are in the table."""
    assert len(ROW) == sum(len(line) for line in LINES)
    assert TOWERS[0] | TOWERS[1] <= set(ROW)
    assert not TOWERS[0] & TOWERS[1]
