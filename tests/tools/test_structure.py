"""How the sources hang together: who imports whom, what the C core includes, how long files are."""

from __future__ import annotations

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import atomic_intenum
from helpers.support import ROOT, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The rooms of the package, a step a line. A room imports what stands on the steps below its own.
LADDER = (
    ("__main__",),
    ("cli",),
    ("bench", "commands"),
    ("observe",),
    ("array",),
    ("value",),
    ("typed",),
    ("aio",),
    ("registry", "sharing", "own_lock", "on_death"),
    ("memory",),
    ("backends",),
    ("given_lock", "vocabulary"),
    ("process", "layout", "timeouts", "errors"),
)

#: What is compiled; the backends alone import it.
COMPILED = ("_native", "_cffi")

#: The longest that a file gets, and all of them together.
LONGEST_FILE = 600
ALL_LINES = 17_000

PACKAGE = ROOT / "src" / "atomic_intenum"
CORE = ROOT / "csrc"
NAME = "atomic_intenum"

pytestmark = pytest.mark.skipif(not CORE.is_dir(), reason="these tests run beside the sources")

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(module: str, path: Path) -> Iterator[str]:
    """Yield the modules of the package that a module imports, anywhere in it."""
    package = [NAME, *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (
                module_of(name.name.split(".")[1:])
                for name in node.names
                if name.name.split(".")[0] == NAME
            )
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            parts = base + (node.module.split(".") if node.module else [])
            if parts[0] == NAME:
                yield from (module_of([*parts[1:], name.name]) for name in node.names)


def module_of(parts: list[str]) -> str:
    """Return the module that a dotted name is, or is in."""
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in MODULES or name in COMPILED:
            return name
        if f"{name}.__init__" in MODULES:
            return f"{name}.__init__"
    return "__init__"


def room_of(module: str) -> str:
    """Return the room that a module is in."""
    return module.split(".", maxsplit=1)[0]


GRAPH = {name: sorted({*imports_of(name, path)} - {name}) for name, path in MODULES.items()}
STEPS = {room: step for step, rooms in enumerate(LADDER) for room in rooms}


def sources() -> list[Path]:
    """Return the files of the package and of the core that somebody reads to know what they do."""
    found = [*PACKAGE.rglob("*.py"), *CORE.rglob("*.[ch]"), *CORE.rglob("*.py")]
    return sorted(found)


def length(path: Path) -> int:
    """Return how many lines a file has."""
    return path.read_text().count("\n")


@pytest.mark.parametrize("module", GRAPH)
def test_imports_go_down(module: str) -> None:
    """A module imports what stands below its room, or in it, and never the package itself."""
    room = room_of(module)
    if room == "__init__":
        return
    assert room in STEPS, f"the ladder has no room {room}"
    for imported in GRAPH[module]:
        other = room_of(imported)
        if other in COMPILED:
            assert room == "backends", f"{module} imports {imported}"
        elif other == "__init__":
            pytest.fail(f"{module} imports the package itself")
        elif other != room:
            assert other in STEPS, f"the ladder has no room {other}"
            assert STEPS[other] > STEPS[room], f"{module} imports {imported}, which is not below it"


def test_no_module_imports_itself_in_the_end() -> None:
    """Imports make no circle, wherever in a module they stand."""
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_core_does_not_know_python() -> None:
    """The headers of the core include no Python.h; the types over them, in native/, do."""
    for path in CORE.glob("*.h"):
        assert not re.search(r"#\s*include\s*[<\"]Python\.h", path.read_text()), path


def test_names_of_headers_are_unique() -> None:
    """No two files of the core have one name, in whichever folder: a name says which is meant."""
    names = Counter(path.name for path in CORE.rglob("*") if path.is_file())
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_is_too_long() -> None:
    """Each file of the package and of the core is one that a reader can keep in mind."""
    assert {path.name: length(path) for path in sources() if length(path) > LONGEST_FILE} == {}


def test_sources_stay_small() -> None:
    """The package and the core together stay within what one reads in a day."""
    assert sum(map(length, sources())) <= ALL_LINES


# -- the tests themselves

#: The one module of the tests that knows the package's inside.
INSIDE = TESTS / "helpers" / "inside.py"

#: What anybody may import: the package's names, and its commands.
PUBLIC = {*atomic_intenum.__all__, "__main__", "observe"}
COMMANDS = ("__main__", "bench", "cli")

#: An import in a script that a test runs.
SCRIPTED = re.compile(rf"^\s*(?:from\s+{NAME}\b.*\bimport|import\s+{NAME}\b).*$", re.MULTILINE)


def private_imports(source: str) -> Iterator[str]:
    """Yield what a module, or a script in it, imports of the package that is not public."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            names = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for match in SCRIPTED.finditer(node.value):
                yield from scripted_imports(match[0])
            continue
        else:
            continue
        yield from (name for name in names if is_private(name))


def scripted_imports(line: str) -> Iterator[str]:
    """Yield what a line of a script imports that is not public; prose is no line of a script."""
    try:
        ast.parse(line.strip())
    except SyntaxError:
        return
    yield from private_imports(line.strip())


def is_private(name: str) -> bool:
    """Tell whether a dotted name is one of the package that is not public."""
    package, _, rest = name.partition(".")
    return package == NAME and bool(rest) and rest.split(".")[0] not in (*PUBLIC, *COMMANDS)


def test_one_module_of_the_tests_knows_the_inside() -> None:
    """No test imports a private module of the package, in a script neither: helpers/inside does."""
    found = {
        str(path.relative_to(TESTS)): names
        for path in sorted(TESTS.rglob("*.py"))
        if path != INSIDE and (names := sorted(set(private_imports(path.read_text()))))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from PACKAGE import IntEnumValue, segment", ["segment"]),
        ("from PACKAGE.shm import remove", ["shm.remove"]),
        ("import PACKAGE.layout as here", ["layout"]),
        ("SCRIPT = '''\nimport os\nfrom PACKAGE import shm\n'''", ["shm"]),
        ("import PACKAGE\nfrom PACKAGE.bench import run", []),
    ],
)
def test_private_imports_are_found(source: str, found: list[str]) -> None:
    """A private import is found in a module, in a script of it, and under another name."""
    written = source.replace("PACKAGE", NAME)
    assert list(private_imports(written)) == [f"{NAME}.{name}" for name in found]
