"""What help() and inspect show of values and arrays, the same on each backend."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.boards import Board
from helpers.inside import array, value
from helpers.support import WorkerStatus

#: What the backend's class does, by the class that a user has.
DECLARED = [
    pytest.param(cls, name, declared, id=f"{cls.__name__}.{name}")
    for cls, operations in (
        (IntEnumValue, value.Operations),
        (WorkerStatus, value.Operations),
        (IntEnumArray, array.Operations),
        (Board, array.Operations),
    )
    for name, declared in vars(operations).items()
    if not name.startswith("_")
]

PUBLIC = [
    pytest.param(getattr(cls, name), id=f"{cls.__name__}.{name}")
    for cls in (IntEnumValue, IntEnumArray)
    for name in dir(cls)
    if not name.startswith("_") and name != "EnumType"
]


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    """Return names, kinds and defaults of a function's parameters; self may be of either kind."""
    return [
        (parameter.name, parameter.name == "self" or parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(("cls", "name", "declared"), DECLARED)
def test_documented_as_declared(cls: type[Any], name: str, declared: Any) -> None:
    """An operation of the backend's has the docstring and the signature of its declaration."""
    operation = getattr(cls, name)
    assert inspect.getdoc(operation) == inspect.cleandoc(declared.__doc__)
    if inspect.isfunction(declared):
        assert shape(operation) == shape(declared)


@pytest.mark.parametrize("public", PUBLIC)
def test_public_names_are_documented(public: Any) -> None:
    """Each public name has a docstring, and each method a signature that says more than *args."""
    assert public.__doc__
    if callable(public):
        kinds = [each.kind for each in inspect.signature(public).parameters.values()]
        assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_help_is_whole() -> None:
    """help() shows arguments, their units, and errors, of a method that C may have written."""
    shown = inspect.getdoc(WorkerStatus.wait_for)
    assert shown is not None
    for line in ("timeout: seconds; None waits for ever, 0 looks once.", "TimeoutError:", "Args:"):
        assert line in shown


@pytest.mark.only_on("native")
def test_only_operations_are_documented_by_hand() -> None:
    """The core refuses a docstring for what it has no operation for, and keeps the first one."""
    from helpers.inside import native_binding

    core = native_binding()
    with pytest.raises(AttributeError, match="no operation unknown"):
        core.document(core.Value, "unknown", "text")
    with pytest.raises(AttributeError):
        core.document(int, "real", "text")
    before = core.Value.load.__doc__
    core.document(core.Value, "load", "another text")
    assert core.Value.load.__doc__ == before
