"""What the docs say is so: programs run and print what is shown, tables match the code, nothing public is left out.

A code block in a page is marked by its class:

- ``runnable``: a complete program; it is run, and if the next block has the class ``output`` it prints that;
- ``runnable pyzmq``: the same in a process of its own, since it loads libzmq;
- ``right`` or ``wrong``, with ``bind``, ``connect`` or both: endpoints, one a line, what follows is a comment.

Every other Python block is a fragment: it compiles, and names only what there is.
"""

from __future__ import annotations

import ast
import importlib
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

import trimq
from trimq._address import check_scheme, split
from trimq._context import _own_transports
from trimq._message import MAX_SENT
from trimq._options import AnyOptions, Option
from trimq._sockets import ALL_TYPES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.rst") if "newsfragments" not in path.parts)
MODULES = ("trimq", "trimq.abc", "trimq.wire", "trimq.testing")


class Block(NamedTuple):
    """One ``code-block`` of a page."""

    page: str
    line: int
    language: str
    classes: frozenset[str]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks: list[Block] = []
    i = 0
    while i < len(lines):
        start = re.fullmatch(r"( *)\.\. code-block:: (\w+)", lines[i])
        i += 1
        if start is None:
            continue
        line, indent, body, classes = i, len(start[1]), list[str](), frozenset[str]()
        while i < len(lines) and (not lines[i].strip() or len(lines[i]) - len(lines[i].lstrip()) > indent):
            option = re.fullmatch(r" +:(\w+): (.*)", lines[i])
            if option is None or any(body):
                body.append(lines[i])
            elif option[1] == "class":
                classes = frozenset(option[2].split())
            i += 1
        smallest = min(len(text) - len(text.lstrip()) for text in body if text.strip())
        text = "\n".join(text[smallest:] for text in body).strip("\n") + "\n"
        blocks.append(Block(path.relative_to(DOCS).as_posix(), line, start[2], classes, text))
    return blocks


BLOCKS = {path: read_blocks(path) for path in PAGES}
PROGRAMS = [
    pytest.param(
        block,
        following[0].text if following and "output" in following[0].classes else None,
        id=block.where,
        marks=[pytest.mark.pyzmq] if "pyzmq" in block.classes else [],
    )
    for blocks in BLOCKS.values()
    for n, block in enumerate(blocks)
    for following in [blocks[n + 1 : n + 2]]
    if "runnable" in block.classes
]
FRAGMENTS = [
    pytest.param(block, id=block.where)
    for blocks in BLOCKS.values()
    for block in blocks
    if block.language == "python" and "runnable" not in block.classes
]


# Programs


@pytest.mark.parametrize(("block", "output"), PROGRAMS)
def test_programs_print_what_is_shown(
    block: Block, output: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each program of the docs runs, ends by itself, and prints what its page shows."""
    if "pyzmq" in block.classes:
        pytest.importorskip("zmq")
        done = subprocess.run(
            [sys.executable, "-c", block.text],
            cwd=Path(trimq.__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    else:
        real_run = trio.run

        def run(main: Any, *args: Any, **options: Any) -> Any:
            async def guarded() -> Any:
                with trio.fail_after(86400 if "clock" in options else 20):  # a mock clock jumps
                    return await main(*args)

            return real_run(guarded, **options)

        monkeypatch.setattr(trio, "run", run)
        code = compile("\n" * block.line + block.text, block.page, "exec")
        exec(code, {"__name__": "__main__"})
        printed = capsys.readouterr().out
    assert output is None or printed == output


def test_the_tutorial_is_runnable() -> None:
    """Every Python block of the tutorial is a complete program with its output."""
    tutorial = {path.name: blocks for path, blocks in BLOCKS.items() if path.parent.name == "tutorial"}
    assert len(tutorial) == 6  # the index and five pages
    for name, blocks in tutorial.items():
        python = [block for block in blocks if block.language == "python"]
        assert all("runnable" in block.classes for block in python), name
        assert len(python) == sum("output" in block.classes for block in blocks), name
        assert python or name == "index.rst", name


@pytest.mark.parametrize("block", FRAGMENTS)
def test_fragments_are_python(block: Block) -> None:
    """What is no complete program is at least Python, and uses what there is."""
    compile(block.text, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trimq":
            assert hasattr(trimq, node.attr), node.attr


# Tables


def rows(path: Path) -> list[list[str]]:
    """The rows of all list-tables of a page, each as its cells' first lines' text, joined."""
    found: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("   * - "):
            found.append([line[7:].strip()])
        elif found and re.match(r"     -( |$)", line):
            found[-1].append(line[7:].strip())
        elif found and line.startswith("       "):
            found[-1][-1] += " " + line.strip()
    return found


def section(path: Path, title: str) -> str:
    """The text below a heading, up to the next one."""
    match = re.search(
        rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert match is not None, title
    return match[1]


def test_each_test_of_zmq_connect_is_in_the_table() -> None:
    """docs/reference/zmq_connect.rst names each test of tests/test_zmq_connect.py, and no test that is not there."""
    tree = ast.parse((ROOT / "tests/test_zmq_connect.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    tests = {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("test_")}
    named = set(re.findall(r"``(test_\w+)``", (DOCS / "reference/zmq_connect.rst").read_text(encoding="utf-8")))
    assert named == set(tests)
    assert [name for name, docstring in tests.items() if "'" not in docstring] == []  # each quotes the page


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in rows(DOCS / "reference/zmq_connect.rst")[1:]])
def test_each_sentence_of_zmq_connect_has_a_test(row: list[str]) -> None:
    """'A table in the docs: every sentence of zmq_connect(3) with the test that holds it.'."""
    sentence, answer, test = row
    assert sentence
    assert answer
    assert re.search(r"``test_\w+``", test)


def test_options_are_those_of_the_code() -> None:
    """Each option is in the table with its default, and no other is."""
    page = DOCS / "reference/options.rst"
    table = {row[0].strip("`"): row for row in rows(page) if len(row) == 5}
    del table["Name"]
    assert set(table) == set(AnyOptions.__annotations__) | {name for kind in ALL_TYPES for name in kind._option_names()}
    for name, (_, unit, default, zmq_name, text) in table.items():
        kinds = [kind for kind in ALL_TYPES if name in kind._option_names()]
        option: Option[Any] = getattr(kinds[0], name)
        value = math.inf if default == "inf" else ast.literal_eval(default)
        assert value == option.default, name
        assert f"({zmq_name}" in str(option.__doc__) or zmq_name in str(option.__doc__), name
        assert (unit == "bool") == isinstance(option.default, bool), name
        if len(kinds) < len(ALL_TYPES):
            assert text.partition(":")[0].split(", ") == [kind.__name__ for kind in kinds], name


def test_socket_types_are_those_of_the_code() -> None:
    """Each type's section says its peers and its own options as the code has them, and the table the same."""
    page = DOCS / "reference/sockets.rst"
    table = {row[0].strip("`"): row for row in rows(page)}
    names = {kind.socket_type: kind.__name__ for kind in ALL_TYPES}
    everywhere = set(trimq.Socket._option_names())
    for kind in ALL_TYPES:
        text = section(page, kind.__name__)
        fields = dict(re.findall(r"^:([\w ]+): (.*)$", text, re.MULTILINE))
        assert table[kind.__name__][2] == fields["Peers"]
        if kind._accepts:
            assert set(fields["Peers"].split(", ")) == {names[peer] for peer in kind._accepts}
        assert set(re.findall(r"``(\w+)``", fields["Options"])) == set(kind._option_names()) - everywhere
        verbs = set(re.findall(r"\w+", fields["Verbs"])) & {
            "send", "send_many", "receive", "subscribe", "unsubscribe",
        }  # fmt: skip
        has = {verb for verb in ("send", "send_many", "receive", "subscribe", "unsubscribe") if hasattr(kind, verb)}
        assert verbs == has


def test_errors_are_those_of_the_code() -> None:
    """Each error is in the table, with its number and what else it is."""
    table = {row[0].strip("`"): row for row in rows(DOCS / "reference/errors.rst")}
    del table["Class"]
    errors = {
        name: value
        for name in trimq.__all__
        if isinstance(value := getattr(trimq, name), type) and issubclass(value, trimq.ZMQError)
    }
    assert set(table) == set(errors) - {"ZMQError"}
    numbers = vars(importlib.import_module("errno")) | vars(importlib.import_module("trimq._errors"))
    for name, (_, number, also, when) in table.items():
        assert errors[name]("").errno == numbers[number], name
        bases = [base for base in errors[name].__bases__ if base is not trimq.ZMQError]
        assert also.removeprefix("trio.") == "".join(base.__name__ for base in bases), name
        assert when


ENDPOINTS = [
    pytest.param(verdict, verb, re.split(r"  +", line)[0], id=f"{verdict}-{verb}-{line.split('  ')[0]}")
    for block in BLOCKS[DOCS / "reference/endpoints.rst"]
    for verdict in ("right", "wrong")
    for verb in ("bind", "connect")
    for line in block.text.splitlines()
    if {verdict, verb} <= block.classes
]


@pytest.mark.parametrize(("verdict", "verb", "endpoint"), ENDPOINTS)
def test_example_endpoints(verdict: str, verb: str, endpoint: str) -> None:
    """Each example of the endpoints page is as right, or as wrong, as it says."""
    transports = {transport.scheme: transport for transport in _own_transports()}

    def check() -> None:
        scheme, address = split(endpoint)
        kind = {"udp": "RADIO", "pgm": "PUB", "epgm": "PUB"}.get(scheme, "DEALER")
        check_scheme(scheme, kind, transports)
        transports[scheme].check(address, bind=verb == "bind")

    if verdict == "right":
        check()
    else:
        with pytest.raises(trimq.InvalidEndpoint):
            check()


def test_unbuilt_transports_are_named() -> None:
    """The endpoints page names the transports that are known and not built, and no others."""
    text = section(DOCS / "reference/endpoints.rst", "Others")
    first = text.partition(" are known but not built yet")[0]
    for scheme in re.findall(r"``(\w+)``", first):
        with pytest.raises(trimq.ProtocolNotSupported, match="known but not built"):
            check_scheme(scheme, "PUB", ())
        assert not trimq.has(scheme)


def test_the_most_frames_are_those_of_the_code() -> None:
    """The limit on frames is written on three pages."""
    for page in ("reference/messages.rst", "reference/errors.rst", "explanation/differences.rst"):
        found = re.findall(r"([\d,]+) frames", (DOCS / page).read_text(encoding="utf-8"))
        assert found == [f"{MAX_SENT:,}"], page


# Completeness


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """Whoever looks a public name up finds it."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.rst"))
    documented = set(re.findall(rf"\.\. (?:auto|py:)\w+:: {re.escape(module)}\.(\w+)\b(?!\.)", text))
    missing = set(importlib.import_module(module).__all__) - documented
    assert missing == set()


def test_peer_info_is_complete() -> None:
    """PeerInfo's fields and the endpoint's states are written out by hand: none is missing, none is invented."""
    text = (DOCS / "reference/endpoints.rst").read_text(encoding="utf-8")
    by_hand = set(re.findall(r"py:attribute:: (\w+)", text))
    fields = {field.name for field in trimq.PeerInfo.__attrs_attrs__}  # type: ignore[attr-defined]
    assert by_hand == fields | {state.name for state in trimq.EndpointState}


def test_the_drawing_has_every_room() -> None:
    """The architecture page names every room of the package, and every file of the rooms it opens."""
    text = (DOCS / "explanation/architecture.rst").read_text(encoding="utf-8")
    package = Path(trimq.__file__).parent
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    inner = {path.stem for folder in ("_sockets", "_transports") for path in (package / folder).glob("_[a-z]*.py")}
    missing = [
        room for room in sorted((rooms | inner) - {"__init__", "__main__"}) if not re.search(rf"\b{room}\b", text)
    ]
    assert missing == []
