"""Runs code in other interpreters of this process, for the scripts of test_subinterpreters.py.

By the module that the version has: ``_interpreters`` from 3.13 on, ``_xxsubinterpreters`` before.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import Any

#: Interpreters of their own GIL, isolated from processes and daemon threads; and those as of old.
#: 3.12.1 itself aborts when an isolated one ends in which hashlib was imported, by whomever.
KINDS = ("isolated", "legacy") if sys.version_info >= (3, 13) else ("legacy",)


def module() -> Any:
    """Return the module that makes interpreters; ImportError where there is none."""
    try:
        return importlib.import_module("_interpreters")
    except ImportError:
        return importlib.import_module("_xxsubinterpreters")


def create(kind: str) -> Any:
    """Make an interpreter and return its id."""
    interpreters = module()
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated")


def run(interpreter: Any, source: str, **names: object) -> None:
    """Run code in it to the end; RuntimeError if it raised."""
    lines = [f"import sys; sys.path[:] = {sys.path!r}"]
    lines += [f"{name} = {value!r}" for name, value in names.items()]
    code = "\n".join([*lines, textwrap.dedent(source)])
    try:
        failed = module().run_string(interpreter, code)
    except Exception as error:  # 3.12 raises what 3.13 returns
        raise RuntimeError(str(error)) from error
    if failed is not None:
        raise RuntimeError(failed.errdisplay)


def destroy(interpreter: Any) -> None:
    """End it, with its atexit functions."""
    module().destroy(interpreter)
