"""docs/explanation/cancellation.rst: a row for each socket type and async method, linked to tests that are shown as well."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path
from typing import Any

import pytest
from cancellation import (
    test_everywhere,
    test_everywhere_datagrams,
    test_everywhere_ends,
    test_everywhere_lines,
    test_everywhere_multicast,
)

import trimq
import trimq.events
from trimq._sockets import ALL_TYPES

PAGE = Path(__file__).parent.parent / "docs/explanation/cancellation.rst"
SHOWN = PAGE.with_name("cancellation-proofs.rst").read_text(encoding="utf-8")
PROOFS = {
    name: (module, test)
    for module in (
        test_everywhere,
        test_everywhere_ends,
        test_everywhere_lines,
        test_everywhere_datagrams,
        test_everywhere_multicast,
    )
    for name, test in vars(module).items()
    if name.startswith("test_")
}
SPELLED = {"__anext__": "async for", "__aexit__": "async with"}
PLAIN = {"__aenter__"}  # the other half of async with


def rows() -> list[list[str]]:
    """The cells of each row of the page's tables."""
    found: list[list[str]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("   * - "):
            found.append([line[7:].strip()])
        elif found and line.startswith("     - "):
            found[-1].append(line[7:].strip())
        elif found and line.startswith("       "):
            found[-1][-1] += " " + line.strip()
    return [row for row in found if row[0] != "Call"]


ROWS = rows()


def async_methods(kind: type) -> set[str]:
    """The public coroutine methods of a class, and what makes it work with async for and async with."""
    found: set[str] = set()
    for name in dir(kind):
        member: Any = inspect.getattr_static(kind, name)
        if not isinstance(member, types.FunctionType) or name in PLAIN:
            continue
        if name in SPELLED:
            found.add(SPELLED[name])
        elif not name.startswith("_") and inspect.iscoroutinefunction(member):
            found.add(name)
    return found


def calls_of_the_code() -> set[str]:
    """Everything public of trimq that is awaited, iterated or entered asynchronously."""
    found = {f"{kind.__name__}.{name}" for kind in ALL_TYPES for name in async_methods(kind)}
    for value in [getattr(module, name) for module in (trimq, trimq.events) for name in module.__all__]:
        if inspect.iscoroutinefunction(value):
            found.add(value.__name__)
        elif isinstance(value, type) and not issubclass(value, (trimq.Socket, BaseException)):
            found |= {f"{value.__name__}.{method}" for method in async_methods(value)}
    return found | {"open_context"}


def ids_of(test: Any) -> set[str]:
    """The ids of a test's parameters, as pytest shows them."""
    ids = [""]
    for mark in getattr(test, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        _, values = mark.args
        own = mark.kwargs.get("ids") or [str(value) for value in values]
        ids = [f"{before}-{one}" if before else one for before in ids for one in own]
    return {f"[{one}]" if one else "" for one in ids}


def test_each_call_has_a_row() -> None:
    """No async method of any socket type, no other async method or function, is missing; none is invented."""
    named = [row[0].strip("`") for row in ROWS]
    assert len(named) == len(set(named))
    assert set(named) == calls_of_the_code()


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0].strip("`")) for row in ROWS])
def test_each_row_names_its_proof(row: list[str]) -> None:
    """The tests named exist, parameters included, and are about this very type."""
    call, left, proof = row
    assert left
    tests = re.findall(r":ref:`(test_\w+)(\[[^\]]+\])? <proof-(\w+)>`", proof)
    assert tests
    assert len(tests) == proof.count("test_") / 2
    kind = call.strip("`").partition(".")[0]
    for name, parameters, label in tests:
        assert label == name
        assert parameters in ids_of(PROOFS[name][1]), f"{name}{parameters}"
        if kind in {one.__name__ for one in ALL_TYPES}:
            assert kind in parameters


@pytest.mark.parametrize("name", PROOFS)
def test_each_proof_is_shown(name: str) -> None:
    """Each test is on the page of proofs, under the label that rows link to, from the file where it stands."""
    file = Path(str(PROOFS[name][0].__file__)).name
    [section] = re.findall(rf"^\.\. _proof-{name}:\n(.*?)(?=^\.\. _proof|\Z)", SHOWN, re.DOTALL | re.MULTILINE)
    assert f".. literalinclude:: ../../tests/cancellation/{file}\n   :pyobject: {name}\n" in section
    assert f"<proof-{name}>" in PAGE.read_text(encoding="utf-8"), "no row and no sentence needs it"


def test_what_is_missing_would_be_seen() -> None:
    """The look at the code finds what is there: a few of each sort."""
    calls = calls_of_the_code()
    assert {"Push.send", "Push.send_many", "Pull.async for", "Rep.async with", "Pub.wait_for_subscribers"} <= calls
    assert {"Endpoint.ready", "open_context", "wait_any", "Stream.aclose", "XSub.wait_sendable", "Req.flush"} <= calls
    assert not {"Push.receive", "Pub.async for", "Push.close", "Sub.wait_for_subscribers"} & calls
    assert "[Req-receive]" in ids_of(test_everywhere.test_req)
