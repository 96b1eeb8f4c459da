"""The C core's arrays without Python: board.c, plain, sanitized, and without a futex."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.core import (
    BREAKS,
    CC,
    HOLDS,
    NO_LOOK_AGAIN,
    PORTABLE,
    STAND_INS,
    TROUBLED,
    Build,
    Fault,
    builder,
    linux_only,
    misplaced,
    plant,
    run,
    seed,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.only_on("native"),
    pytest.mark.skipif(shutil.which(CC) is None, reason=f"no C compiler {CC}"),
    pytest.mark.skipif(sys.platform == "win32", reason="no pthreads"),
]

CLAIM, WATCH = "claim 10", "watch 100"
#: Each step yields, and then waits for whatever else the machine does: full sizes are soak's.
THREADS, FULL_THREADS = "threads 2000", "threads 20000"

#: So that each word is somebody's often, and the boundaries are met.
FEW = "-DWORDS=20"

BUILDS = {
    "plain": Build(("-O2",), (THREADS, CLAIM, "watch-points 0")),
    "few": Build(("-O2", FEW, NO_LOOK_AGAIN), (THREADS, CLAIM, WATCH)),
    "watch": Build(("-O2", NO_LOOK_AGAIN), (WATCH,)),
    "no futex": Build(("-O2", NO_LOOK_AGAIN, "-DAIE_PRETEND_NO_FUTEX"), (WATCH,)),
    "no futex, looks again": Build(("-O2", "-DAIE_PRETEND_NO_FUTEX"), ("watch-points 0",)),
    "portable": Build(("-O2", FEW, NO_LOOK_AGAIN, *PORTABLE), (THREADS, WATCH)),
    **linux_only(
        {name: Build(("-O2", NO_LOOK_AGAIN, *flags), (WATCH,)) for name, flags in STAND_INS.items()}
    ),
    **linux_only(
        {
            f"{name}, troubled": Build(("-O2", TROUBLED, *flags), (WATCH, "watch-points 0"))
            for name, flags in STAND_INS.items()
        }
    ),
    "impatient": Build(("-O2", NO_LOOK_AGAIN, "-DWAIT_NS=AIE_NS_PER_S"), ()),
    "thread": Build(
        ("-O1", FEW, "-fsanitize=thread", "-DAIE_PRETEND_NO_CLOCKLOCK", NO_LOOK_AGAIN),
        (THREADS,),
        "thread",
    ),
    "address": Build(
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        (THREADS, CLAIM, WATCH, "watch-points 0"),
        "address,undefined",
    ),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of board.c, once."""
    return builder(tmp_path_factory, "board.c", BUILDS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, id=f"{name}-{mode}")
        for name, build in BUILDS.items()
        for mode in build.modes
    ],
)
def test_board_holds(name: str, mode: str, built: Callable[[str], Path]) -> None:
    """Every invariant of board.c holds, and the sanitizers have nothing to say."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments)
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"board {' '.join(arguments)}"


@pytest.mark.parametrize(
    "arguments",
    [
        f"{FULL_THREADS} 1 claims-twice",
        f"{CLAIM} 1 claims-twice",
        f"{CLAIM} 1 stops-at-the-end",
        f"{WATCH} 1 forgets-event",
    ],
)
def test_board_finds_planted_faults(arguments: str, built: Callable[[str], Path]) -> None:
    """A fault that is planted into the callers of the core breaks an invariant."""
    done = run(built("impatient"), *arguments.split())
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr


def test_thread_sanitizer_sees_who_owns_a_word(built: Callable[[str], Path]) -> None:
    """ThreadSanitizer reports a word's data as soon as two may claim it."""
    done = run(built("thread"), *("threads", "2000", "1", "claims-twice"))
    assert done.returncode != HOLDS
    assert "data race" in done.stderr


@pytest.mark.soak
@pytest.mark.timeout(2800)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("watch", "watch 10000"),
        ("few", "watch 10000"),
        ("plain", "claim 1000"),
        *((name, FULL_THREADS) for name in ("plain", "few", "portable", "address")),
    ],
)
def test_board_holds_at_full_size(name: str, mode: str, built: Callable[[str], Path]) -> None:
    """10,000 rounds of watchers, 1,000 boards whose claimers are killed, 20,000 steps a thread."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments, patience=2700)
    print(name, *arguments, done.stdout)  # shown with -rP
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"board {' '.join(arguments)}"


CORE_FAULTS = {
    "a writer that tells nobody": Fault(
        "word.h", "aie_event_signal(event, AIE_ARMED);", "(void)event;", WATCH
    ),
    "a writer that advances and wakes nobody": Fault("event.h", "aie_wake_all(event);", ";", WATCH),
    "a writer that wakes and does not advance": Fault(
        "event.h", "next = (seen | AIE_ARMED | AIE_BELL) + 1;", "next = seen;", "watch-points 0"
    ),
    "a watcher that looks before it arms": Fault(
        "array.h",
        "    if (aie_watch_met(array, watch)) {\n        return AIE_OK;\n    }\n",
        "",
        "watch 2000",
        also=(
            "    uint32_t armed =",
            (
                "    if (aie_watch_met(array, watch)) {\n        return AIE_OK;\n    }\n"
                "    struct timespec gap = aie_timespec(100000); nanosleep(&gap, NULL);\n"
                "    uint32_t armed ="
            ),
        ),
    ),
    "a watcher that loads the event word after its look": Fault(
        "array.h",
        "aie_result result = aie_wait(array->event, armed,",
        "sched_yield(); armed = *array->event; aie_result result = aie_wait(array->event, armed,",
        "watch 5000",
    ),
    "a claim that loads and then stores": Fault(
        "array.h",
        "result = kept ? AIE_LOCKED : aie_word_change(word, array->event, change);",
        "change->compare = false;"
        " result = kept ? AIE_LOCKED : aie_word_change(word, array->event, change);",
        "claim 100",
    ),
}


def test_faults_can_be_planted() -> None:
    """What each fault replaces is in the core, once."""
    assert not misplaced(CORE_FAULTS)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="futex")
@pytest.mark.parametrize("name", CORE_FAULTS)
def test_board_finds_faults_of_the_core(name: str, tmp_path: Path) -> None:
    """Each step of claiming and watching that is taken out of the core is missed."""
    fault = CORE_FAULTS[name]
    program = plant(fault, "board.c", tmp_path, *BUILDS["impatient"].flags)
    done = run(program, *fault.mode.split(), "1")
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr
