"""Processes that take any function, lambdas and those inside of others, where nothing forks.

pickle takes functions by their names alone.  Here those that have none go by their code and by
what they refer to.  Importable without pytest.
"""

from __future__ import annotations

import contextlib
import importlib
import marshal
import multiprocessing
import pickle
import types
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from helpers.lacking import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkContext


def _make(code: bytes, module: str, cells: int) -> types.FunctionType:
    names = vars(importlib.import_module(module))
    closure = tuple(types.CellType() for _ in range(cells))
    return types.FunctionType(marshal.loads(code), names, closure=closure)


def _fill(function: Any, state: tuple[Any, ...]) -> None:
    name, defaults, keywords, contents = state
    function.__qualname__, function.__defaults__, function.__kwdefaults__ = name, defaults, keywords
    for cell, content in zip(function.__closure__ or (), contents, strict=True):
        cell.cell_contents = content


def _reduce(_: Any, function: Any) -> Any:
    if type(function) is not types.FunctionType or "<" not in function.__qualname__:
        return NotImplemented
    cells = function.__closure__ or ()
    state = (
        function.__qualname__,
        function.__defaults__,
        function.__kwdefaults__,
        [cell.cell_contents for cell in cells],
    )
    made = marshal.dumps(function.__code__), function.__module__, len(cells)
    return _make, made, state, None, None, _fill


@contextlib.contextmanager
def _by_value() -> Iterator[None]:
    pickler: Any = ForkingPickler
    pickler.reducer_override = _reduce
    try:
        yield
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        # What cannot be sent at all is a child's by fork alone; the package raises RuntimeError.
        if "pickle" in str(error) or "local object" in str(error):
            needs(f"fork: {error}")
        raise
    finally:
        del pickler.reducer_override


class _Process(SpawnProcess):
    def start(self) -> None:
        with _by_value():
            super().start()


class _Context(SpawnContext):
    Process = _Process


#: How the tests start a process: by fork, where there is one, which takes a tenth of the time.
CONTEXT: SpawnContext | ForkContext = (
    multiprocessing.get_context("fork")
    if "fork" in multiprocessing.get_all_start_methods()
    else _Context()
)
