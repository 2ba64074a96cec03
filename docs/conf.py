"""How Sphinx builds trimq's docs: offline, and with every reference resolved or named here."""

from __future__ import annotations

import builtins
import re
import sys
from typing import TYPE_CHECKING

import trimq

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "trimq"
author = "the trimq contributors"
copyright = "the trimq contributors, MIT or Apache-2.0"
version = release = trimq.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # Google-style docstrings
    "sphinxcontrib_trio",  # says which functions are async
]
exclude_patterns = ["_build", "newsfragments"]
default_role = "py:obj"  # `Pub` in a docstring links to the class, and fails where there is none

html_theme = "furo"
html_title = f"trimq {version}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_numpy_docstring = False

# Other projects' names are not linked: that would take their inventories, and the network, at each build.
# Only whole names of these packages pass; a wrong reference to trimq itself still fails.
_foreign = "|".join(sorted(map(re.escape, {*sys.stdlib_module_names, "trio", "attr", "attrs", "typing_extensions"})))
_builtin = "|".join(name for name in dir(builtins) if not name.startswith("_"))
nitpick_ignore_regex = [
    (r"py:class", r"system\.socket"),  # the standard library's, where `socket` is one of ours
    (r"py:.*", rf"({_foreign})\..+"),
    (r"py:(class|exc|func|data|obj)", rf"({_builtin})"),
]


def _find_public(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """Links a name as its own file sees it (in docstrings, in annotations) to the public module that has it."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    parts = target.removeprefix("trimq.").split(".")
    while parts and parts[0].startswith("_"):
        del parts[0]
    domain = env.domains["py"]
    for module in ("trimq", "trimq.abc", "trimq.wire", "trimq.events", "trimq.testing"):
        public = ".".join([module, *parts])
        if public in domain.objects:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, text)
    return None


def _name_messages(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """Says what a type's messages are, where its verbs are generic."""
    kind = getattr(trimq, name.split(".")[1], None) if name.count(".") > 1 else None
    if not isinstance(kind, type) or not issubclass(kind, trimq.Socket):
        return None

    def named(text: str | None) -> str | None:
        if text is not None:
            for place, variable in enumerate(("Received_co", "Sent_contra")):
                text = re.sub(rf"\b{variable}\b", _MESSAGES.get(kind._form, _MESSAGES["frames"])[place], text)
        return text

    return named(signature), named(returned)


_MESSAGES = {
    "frames": ("Message", "MessageLike"),
    "frame": ("Message", "Frame"),
    "routed": ("RoutedMessage", "RoutedMessage"),
    "group": ("GroupMessage", "GroupMessage"),
}


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("missing-reference", _find_public)
    app.connect("autodoc-process-signature", _name_messages)
