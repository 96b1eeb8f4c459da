"""Compiles the C core's own programs, and runs them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from helpers.support import ROOT, TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = TESTS / "core_c"
CORE = ROOT / "csrc"
CC = os.environ.get("CC", "gcc")

BREAKS, HOLDS = 1, 0

#: A sleeper that does not look again by itself: a lost wake-up is then a wait in vain.
NO_LOOK_AGAIN = "-DAIE_LOOK_AGAIN=(3600*AIE_NS_PER_S)"

#: As on macOS: every branch that Linux does not take.
PORTABLE = ("-DAIE_PRETEND_NO_ROBUST", "-DAIE_PRETEND_NO_CLOCKLOCK", "-DAIE_PRETEND_NO_FUTEX")

#: The same of macOS 14.4 and of FreeBSD, whose calls a stand-in makes by Linux's futex.
STAND_INS = {
    "macos": (
        *("-DAIE_PRETEND_NO_ROBUST", "-DAIE_PRETEND_NO_CLOCKLOCK", "-DAIE_PRETEND_MACOS_PARK"),
        *("-include", str(PROGRAMS / "os_sync.h"), "-rdynamic"),
    ),
    "freebsd": (
        *("-DAIE_PRETEND_NO_CLOCKLOCK", "-DAIE_PRETEND_FREEBSD_PARK"),
        *("-include", str(PROGRAMS / "umtx.h")),
    ),
}
#: macOS before 14.4: what is looked up is not there.
OLDER_MACOS = "-DAIE_PRETEND_MACOS_PARK"
#: Each fifth call of a stand-in fails.
TROUBLED = "-DTROUBLED"


class Build(NamedTuple):
    """How stress.c is compiled, and the ways it is run then."""

    flags: tuple[str, ...]
    modes: tuple[str, ...]
    sanitizer: str = ""


def compile_c(source: Path, program: Path, *flags: str, core: Path = CORE) -> None:
    """Compile against the core, or a copy of it, without warnings."""
    warnings = ["-Wall", "-Wextra", "-Werror"]
    includes = ["-iquote", str(core)]
    # Lines for the reports of sanitizers; the programs' own name theirs.
    lines = ["-g"] if any(flag.startswith("-fsanitize") for flag in flags) else []
    options = ["-std=c11", "-pthread", *warnings, *includes, *lines, *flags]
    subprocess.run([CC, *options, str(source), "-o", str(program), "-ldl"], check=True)


def run(program: Path, *arguments: str, patience: float = 50) -> subprocess.CompletedProcess[str]:
    """Run to the end, and keep what was printed."""
    # Without randomised addresses: some kernels' are too random for ThreadSanitizer's shadow.
    setarch = shutil.which("setarch")
    prefix = [setarch, "-R"] if setarch else []
    return subprocess.run(
        [*prefix, program, *arguments],
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
        # Its detector of deadlocks is full at 64 locks.
        env={**os.environ, "TSAN_OPTIONS": "detect_deadlocks=0"},
    )


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep out the other processes that run tests meanwhile."""
    import fcntl

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def linux_only(builds: dict[str, Build]) -> dict[str, Build]:
    """Return what is built by Linux's own futex; nothing elsewhere."""
    return builds if sys.platform == "linux" else {}


def builder(
    factory: pytest.TempPathFactory, source: str, builds: dict[str, Build]
) -> Callable[[str], Path]:
    """Give a function that compiles a build, once; it skips where its sanitizer doesn't work.

    Where several processes share out the tests, they share the builds.
    """
    mine = factory.mktemp("probes")
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= f"built-{Path(source).stem}"
    folder.mkdir(exist_ok=True)
    empty = mine / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    programs: dict[str, Path] = {}

    def program_of(name: str) -> Path:
        if name not in programs:
            build = builds[name]
            if build.sanitizer:
                probe = mine / "probe"
                try:
                    compile_c(empty, probe, f"-fsanitize={build.sanitizer}")
                    run(probe).check_returncode()
                except subprocess.CalledProcessError:
                    pytest.skip(f"-fsanitize={build.sanitizer} doesn't work here")
            program = folder / name.replace(",", "").replace(" ", "-")
            with alone(folder / f"{program.name}.lock"):
                if not program.exists():
                    made = folder / f"{program.name}.new"
                    compile_c(PROGRAMS / source, made, *build.flags)
                    made.rename(program)
            programs[name] = program
        return programs[name]

    return program_of


class Fault(NamedTuple):
    """A change to a copy of the core, and what notices it."""

    file: str
    right: str
    wrong: str
    mode: str
    #: Something else of that file, and what replaces it.
    also: tuple[str, str] | None = None


def changes_of(fault: Fault) -> list[tuple[str, str]]:
    """Return what a fault replaces, and by what."""
    return [(fault.right, fault.wrong), *([fault.also] if fault.also else [])]


def misplaced(*tables: dict[str, Fault]) -> list[str]:
    """Return the faults whose place is not in the core, or more than once."""
    found = []
    for table in tables:
        for name, fault in table.items():
            text = (CORE / fault.file).read_text()
            if any(text.count(right) != 1 for right, _ in changes_of(fault)):
                found.append(name)
    return found


def plant(fault: Fault, source: str, folder: Path, *flags: str) -> Path:
    """Compile a program against a copy of the core that has the fault."""
    core = folder / "csrc"
    shutil.copytree(CORE, core)
    header = core / fault.file
    text = header.read_text()
    for right, wrong in changes_of(fault):
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    header.write_text(text)
    program = folder / Path(source).stem
    compile_c(PROGRAMS / source, program, *flags, core=core)
    return program


def seed() -> str:
    """Return a new seed, or the one given to see a failure again."""
    return os.environ.get("ATOMIC_INTENUM_SEED") or str(random.SystemRandom().randrange(1, 2**32))
