"""Sphinx's configuration: ``make docs``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from sphinx.util.inspect import stringify_signature

import atomic_intenum
from atomic_intenum import array, value

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "atomic-intenum"
author = "The atomic-intenum contributors"
version = release = atomic_intenum.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# The README and csrc/README.md are included, and begin where they like.
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_title = "atomic-intenum"
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
nitpicky = True
# Type variables, what stands for a type in a signature, and what other projects document.
nitpick_ignore_regex = [
    ("py:class", r"(atomic_intenum\.\w+\.)?[TV]"),
    ("py:obj", r"atomic_intenum\.\w+\.[TV]"),
    ("py:class", r"Self|SupportsIndex|Iterator|Callable|LockLike|Lock|RLock|ClassVar|IntEnum|Any"),
    ("py:class", r"(typing|collections|multiprocessing|enum|atomic_intenum\.given_lock)\..*"),
]

#: Where the operations that the backend makes, perhaps in C, are declared with their types.
DECLARED = {"IntEnumValue": value.Operations, "IntEnumArray": array.Operations}


def declared_signature(
    _: Sphinx,
    what: str,
    name: str,
    __: object,
    ___: object,
    shown: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Return the arguments and the result as the declaration has them, with their types."""
    cls, _dot, operation = name.rpartition("atomic_intenum.")[2].partition(".")
    declared: Any = vars(DECLARED.get(cls, object)).get(operation)
    if what != "method" or not inspect.isfunction(declared):
        return shown, returns
    written = inspect.signature(declared)
    _self, *parameters = written.parameters.values()
    whole = stringify_signature(written.replace(parameters=parameters))
    text, _arrow, result = whole.partition(" -> ")
    return text, result or None


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("autodoc-process-signature", declared_signature)
