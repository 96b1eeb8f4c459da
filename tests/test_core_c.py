"""The C core without Python: stress.c, plain, sanitized, and with each branch of platform.h."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parent
CORE = TESTS.parent / "csrc"
CC = os.environ.get("CC", "gcc")

pytestmark = [
    pytest.mark.only_on("native"),
    pytest.mark.skipif(shutil.which(CC) is None, reason=f"no C compiler {CC}"),
    pytest.mark.skipif(sys.platform == "win32", reason="no pthreads"),
]

BREAKS, HOLDS = 1, 0


class Build(NamedTuple):
    """How stress.c is compiled, and the ways it is run then."""

    flags: tuple[str, ...]
    modes: tuple[str, ...]
    sanitizer: str = ""


ROUNDS, KILLS = 10_000, 100
THREADS = f"threads {ROUNDS}"
DEATHS = ("points", f"kills {KILLS}")

BUILDS = {
    "plain": Build(("-O2",), (THREADS, "limits", *DEATHS)),
    # The ThreadSanitizer of gcc 12 doesn't know pthread_mutex_clocklock: it would take a mutex that
    # was locked so for unlocked.  No deaths: it keeps books of its own on mutexes.
    "thread": Build(
        ("-O1", "-fsanitize=thread", "-DAIE_PRETEND_NO_CLOCKLOCK"), (THREADS, "limits"), "thread"
    ),
    "address": Build(
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        (THREADS, "limits", *DEATHS),
        "address,undefined",
    ),
    "no clocklock": Build(("-O2", "-DAIE_PRETEND_NO_CLOCKLOCK"), (THREADS, "limits", *DEATHS)),
    "no robust": Build(("-O2", "-DAIE_PRETEND_NO_ROBUST"), (THREADS, "limits")),
    "neither": Build(
        ("-O2", "-DAIE_PRETEND_NO_ROBUST", "-DAIE_PRETEND_NO_CLOCKLOCK"), (THREADS, "limits")
    ),
    "forgets consistent": Build(
        (
            "-O2",
            "-DWAIT_SECONDS=1",
            "-DSTRESS_FORGETS_CONSISTENT",
            "-Wl,--wrap=pthread_mutex_consistent",
        ),
        (),
    ),
}


def compile_c(source: Path, program: Path, *flags: str) -> None:
    """Compile against the core, without warnings."""
    warnings = ["-Wall", "-Wextra", "-Werror"]
    includes = ["-iquote", str(CORE)]
    options = ["-std=c11", "-g", "-pthread", *warnings, *includes, *flags]
    subprocess.run([CC, *options, str(source), "-o", str(program), "-ldl"], check=True)


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, and keep what was printed."""
    # Without randomised addresses: some kernels' are too random for ThreadSanitizer's shadow.
    setarch = shutil.which("setarch")
    prefix = [setarch, "-R"] if setarch else []
    return subprocess.run(
        [*prefix, program, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        # Its detector of deadlocks is full at 64 locks.
        env={**os.environ, "TSAN_OPTIONS": "detect_deadlocks=0"},
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of stress.c, once; skip where its sanitizer doesn't work."""
    folder = tmp_path_factory.mktemp("stress")
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    programs: dict[str, Path] = {}

    def program_of(name: str) -> Path:
        if name not in programs:
            build = BUILDS[name]
            if build.sanitizer:
                probe = folder / "probe"
                try:
                    compile_c(empty, probe, f"-fsanitize={build.sanitizer}")
                    run(probe).check_returncode()
                except subprocess.CalledProcessError:
                    pytest.skip(f"-fsanitize={build.sanitizer} doesn't work here")
            program = folder / name.replace(" ", "-")
            compile_c(TESTS / "c" / "stress.c", program, *build.flags)
            programs[name] = program
        return programs[name]

    return program_of


def seed() -> str:
    """Return a new seed, or the one given to see a failure again."""
    return os.environ.get("ATOMIC_INTENUM_SEED") or str(random.SystemRandom().randrange(1, 2**32))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, id=f"{name}-{mode}")
        for name, build in BUILDS.items()
        for mode in build.modes
    ],
)
def test_core_holds(name: str, mode: str, built: Callable[[str], Path]) -> None:
    """Every invariant of stress.c holds, and the sanitizers have nothing to say."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments)
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"stress {' '.join(arguments)}"


FAULTS = [
    f"{THREADS} 1 loses-updates",
    f"{THREADS} 1 ignores-locked",
    f"{THREADS} 1 no-mutex",
    f"{THREADS} 1 not-locked",
    f"{THREADS} 1 tears",
    "points 0 0 swallows-report",
    f"kills {KILLS} 1 no-mutex",
    f"kills {KILLS} 1 ignores-locked",
]


@pytest.mark.parametrize("arguments", FAULTS)
def test_stress_finds_planted_faults(arguments: str, built: Callable[[str], Path]) -> None:
    """A fault that is planted into the callers of the core breaks an invariant."""
    done = run(built("plain"), *arguments.split())
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the linker's --wrap, robust mutexes")
def test_stress_finds_a_core_that_forgets_consistent(built: Callable[[str], Path]) -> None:
    """A core that doesn't make a dead holder's mutex consistent is found at the first death."""
    done = run(built("forgets consistent"), "points")
    assert done.returncode == BREAKS
    assert "broken: acquire(all, WAIT_NS) == AIE_OK" in done.stderr


def test_thread_sanitizer_sees_the_guarded_data(built: Callable[[str], Path]) -> None:
    """ThreadSanitizer reports the data that the lock guards as soon as there is no mutex."""
    done = run(built("thread"), *f"{THREADS} 1 no-mutex".split())
    assert done.returncode != HOLDS
    assert "data race" in done.stderr
