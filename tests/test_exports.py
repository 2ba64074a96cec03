"""The public face: five modules that only re-export, each public name in exactly one of them.

What is public is what stands in ``__all__`` of trimq, trimq.abc, trimq.wire, trimq.events or trimq.testing; code lives in
files whose names begin with an underscore.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "trimq"

PUBLIC = {
    "trimq": PACKAGE / "__init__.py",
    "trimq.abc": PACKAGE / "abc.py",
    "trimq.wire": PACKAGE / "wire.py",
    "trimq.testing": PACKAGE / "testing" / "__init__.py",
    "trimq.events": PACKAGE / "events.py",
}
SUBMODULES = {name.rpartition(".")[2] for name in PUBLIC}

each_public_module = pytest.mark.parametrize("name", PUBLIC)


# over the source


def bound_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def stated_all(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def order(name: str) -> tuple[int, str]:
    """The order of ``__all__``, as ruff's RUF022 has it: CONSTANTS, then Classes, then the rest."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


def faults_of_source(text: str) -> Iterator[str]:
    """What a public module's text does beside re-exporting, and what is wrong with its ``__all__``."""
    tree = ast.parse(text)
    exported: list[str] = []
    for number, node in enumerate(tree.body):
        match node:
            case ast.Expr(ast.Constant(str())) if number == 0:
                pass
            case ast.ImportFrom(level=0, module="__future__"):
                pass
            case ast.ImportFrom(level=level) if level > 0:
                exported += bound_by(node)
            case ast.Assign(targets=[ast.Name("__all__")], value=ast.List()):
                pass
            # names are given the public module they are reached by, and the tool for that is taken away again
            case ast.Expr(ast.Call(ast.Name(tool))) if tool in exported and tool.startswith("_"):
                pass
            case ast.Delete(targets=targets) if all(ast.unparse(target).startswith("_") for target in targets):
                pass
            case _:
                yield f"line {node.lineno}: more than a re-export: {ast.unparse(node).splitlines()[0]}"
    names = stated_all(tree)
    if names != sorted(names, key=order):
        yield f"__all__ is not sorted: {sorted(names, key=order)}"
    for name, times in Counter(names).items():
        if times > 1:
            yield f"__all__ has {name} twice"
    public = {name for name in exported if not name.startswith("_")} - SUBMODULES
    for name in sorted(public - set(names)):
        yield f"{name} is imported and not in __all__"
    for name in sorted(set(names) - set(exported)):
        yield f"{name} is in __all__ and not imported"


@each_public_module
def test_public_modules_only_re_export(name: str) -> None:
    assert list(faults_of_source(PUBLIC[name].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('__all__ = ["A"]\nfrom ._a import A\ndef f(): ...', "more than a re-export: def f():"),
        ('__all__ = ["A"]\nfrom ._a import A\nA = A', "more than a re-export: A = A"),
        ('__all__ = ["A"]\nfrom ._a import A\nprint(A)', "more than a re-export: print(A)"),
        ('__all__ = ["A"]\nfrom ._a import A\nif A:\n    pass', "more than a re-export: if A:"),
        ('import os\n__all__ = ["A"]\nfrom ._a import A', "more than a re-export: import os"),
        ('__all__ = ["A"]\nfrom ._a import A, B', "B is imported and not in __all__"),
        ('__all__ = ["A", "B"]\nfrom ._a import A', "B is in __all__ and not imported"),
        ('__all__ = ["b", "A"]\nfrom ._a import A, b', "not sorted"),
        ('__all__ = ["A", "A"]\nfrom ._a import A', "A twice"),
    ],
)
def test_a_fault_of_source_is_seen(text: str, complaint: str) -> None:
    [fault] = faults_of_source(text)
    assert complaint in fault


def test_a_re_exporting_module_is_fine() -> None:
    text = '''"""What is here."""

from __future__ import annotations

from . import abc as abc, wire as wire
from ._context import Context as Context, open_context as open_context
from ._errors import ETERM as ETERM
from ._util import fixup as _fixup
from ._version import __version__

__all__ = ["ETERM", "Context", "__version__", "open_context"]

_fixup(__name__, globals())
del _fixup
'''
    assert list(faults_of_source(text)) == []


# over what is there at run time


def exports(name: str) -> dict[str, object]:
    module = importlib.import_module(name)
    return {public: getattr(module, public) for public in module.__all__}


def shared_names(modules: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Names that two modules have, and classes or functions that go by two names."""
    found: list[str] = []
    names = Counter(name for exported in modules.values() for name in exported)
    found += [f"{name} is exported {times} times" for name, times in names.items() if times > 1]
    objects: dict[int, list[str]] = {}
    for module, exported in modules.items():
        for name, value in exported.items():
            if isinstance(value, type | types.FunctionType):
                objects.setdefault(id(value), []).append(f"{module}.{name}")
    found += [" and ".join(several) + " are the same" for several in objects.values() if len(several) > 1]
    return found


def test_each_name_is_exported_once() -> None:
    assert shared_names({name: exports(name) for name in PUBLIC}) == []


def without_docstring(name: str, value: object) -> Iterator[str]:
    """The public class or function, and a class's public methods and properties, that say nothing to a user."""
    if isinstance(value, types.FunctionType) and not inspect.getdoc(value):
        yield name
    if not isinstance(value, type):
        return
    # a class's own: what it inherits says nothing about it
    if not vars(value).get("__doc__"):
        yield name
    for owner in value.__mro__:
        if not owner.__module__.startswith("trimq"):
            continue
        for attribute, member in vars(owner).items():
            is_one = isinstance(member, types.FunctionType | property | classmethod | staticmethod)
            if is_one and not attribute.startswith("_") and not inspect.getdoc(getattr(value, attribute)):
                yield f"{name}.{attribute}"


@each_public_module
def test_public_names_have_docstrings(name: str) -> None:
    exported = exports(name)
    assert exported
    assert [fault for public, value in exported.items() for fault in without_docstring(public, value)] == []


def foreign_names(module: str, exported: Mapping[str, object]) -> list[str]:
    """Classes and functions that are not trimq's; or, if some say where they are public, those that do not."""
    homes = {
        public: value.__module__ for public, value in exported.items() if isinstance(value, type | types.FunctionType)
    }
    foreign = [public for public, home in homes.items() if home.partition(".")[0] != "trimq"]
    private = [public for public, home in homes.items() if home != module]
    return foreign or (private if len(private) < len(homes) else [])


@each_public_module
def test_names_say_where_they_are_public(name: str) -> None:
    """A repr or a traceback names the module that users import from: all of a module's names do, or none."""
    assert foreign_names(name, exports(name)) == []


def make(name: str, module: str, **members: object) -> type:
    return type(name, (), {"__module__": module, **members})


def undocumented() -> None: ...


def documented() -> None:
    """Does nothing."""


def test_faults_at_run_time_are_seen() -> None:
    thing = make("Thing", "trimq._things", __doc__="A thing.")
    assert shared_names({"trimq": {"Thing": thing}, "trimq.abc": {"Thing": 1}}) == ["Thing is exported 2 times"]
    assert shared_names({"trimq": {"A": thing, "B": thing}}) == ["trimq.A and trimq.B are the same"]
    assert shared_names({"trimq": {"A": thing}, "trimq.abc": {"B": 1}}) == []

    assert list(without_docstring("f", undocumented)) == ["f"]
    assert list(without_docstring("f", documented)) == []
    bare = make("Bare", "trimq._things", f=undocumented, g=documented, p=property(lambda _: 1), _h=undocumented)
    assert list(without_docstring("Bare", bare)) == ["Bare", "Bare.f", "Bare.p"]

    other = make("Other", "trio", __doc__="Not ours.")
    public = make("Public", "trimq", __doc__="A thing that says where it is public.")
    assert foreign_names("trimq", {"Other": other, "Thing": thing}) == ["Other"]
    assert foreign_names("trimq", {"Public": public, "Thing": thing}) == ["Thing"]
    assert foreign_names("trimq", {"Thing": thing, "ETERM": 1}) == []


def ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=order)


def test_order_is_that_of_the_linter() -> None:
    assert ordered(["send", "Pub", "__version__", "XPub", "ETERM", "open_context", "AddressInUse", "EFSM"]) == [
        *("EFSM", "ETERM"),
        *("AddressInUse", "Pub", "XPub"),
        *("__version__", "open_context", "send"),
    ]
