"""The thread that watches for event loops, without Python: watch.c, by each of its ladders."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.core import (
    BREAKS,
    CC,
    HOLDS,
    PORTABLE,
    STAND_INS,
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

STORM, FULL_STORM = "storm 1000", "storm 20000"
TURNS, FULL_TURNS = "turns 300", "turns 5000"
FORKS, FULL_FORKS = "forks 20", "forks 5000"
OWNERS, FULL_OWNERS = "owners 4", "owners 100"
ALL = ("cases", "bits", "points", FORKS, OWNERS, "pace", STORM, TURNS)

TWO = "-DLOOPS=2"
#: What a fault is planted into.
IMPATIENT = ("-O2", "-DWAIT_NS=AIE_NS_PER_S", TWO)

BUILDS = {
    "plain": Build(("-O2",), ALL),
    "no waitv": Build(
        ("-O2", "-DAIE_PRETEND_NO_WAITV", "-DAIE_PRETEND_NO_EVENTFD"), (STORM, TURNS)
    ),
    # More than one call can sleep on.
    "many segments": Build(("-O2", "-DSEGMENTS=150"), (STORM, TURNS)),
    "portable": Build(
        (
            "-O2",
            TWO,
            *PORTABLE,
            "-DAIE_PRETEND_NO_LIFE_LOCKS",
            "-DAIE_PRETEND_NO_EVENTFD",
        ),
        ("points", FORKS, OWNERS, STORM, TURNS),
    ),
    **linux_only(
        {
            name: Build(
                ("-O2", TWO, *flags, "-DAIE_PRETEND_NO_LIFE_LOCKS", "-DAIE_PRETEND_NO_EVENTFD"),
                ("bits", "points", FORKS, STORM, TURNS),
            )
            for name, flags in STAND_INS.items()
        }
    ),
    "thread": Build(
        ("-O1", "-fsanitize=thread", "-DAIE_PRETEND_NO_CLOCKLOCK", TWO, "-DTHREADED"),
        ("cases", STORM, TURNS),
        "thread",
    ),
    "address": Build(
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", TWO),
        ("cases", FORKS, STORM, TURNS),
        "address,undefined",
    ),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of watch.c, once."""
    return builder(tmp_path_factory, "watch.c", BUILDS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, id=f"{name}-{mode}")
        for name, build in BUILDS.items()
        for mode in build.modes
    ],
)
def test_watch_holds(name: str, mode: str, built: Callable[[str], Path]) -> None:
    """Every invariant of watch.c holds, and the sanitizers have nothing to say."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments)
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"watch {' '.join(arguments)}"


@pytest.mark.soak
@pytest.mark.timeout(2800)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in BUILDS for mode in (FULL_STORM, FULL_TURNS)),
        ("plain", FULL_FORKS),
        ("plain", FULL_OWNERS),
    ],
)
def test_watch_holds_at_full_size(name: str, mode: str, built: Callable[[str], Path]) -> None:
    """20,000 rounds of each writer on each build, 5,000 forks and 100 dead owners."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments, patience=2700)
    print(name, *arguments, done.stdout)  # shown with -rP
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"watch {' '.join(arguments)}"


CORE_FAULTS = {
    "a bell that is rung once, in vain": Fault(
        "event.h", "== sequence);", "== sequence && false);", "bits"
    ),
    "the same, under fire": Fault("event.h", "== sequence);", "== sequence && false);", FULL_TURNS),
    "a ring that does not advance": Fault(
        "event.h", "(seen | AIE_ARMED | AIE_BELL) + 1;", "seen & ~(AIE_ARMED | AIE_BELL);", "bits"
    ),
    "arming after the look": Fault(
        "watch.h",
        "        watched->heard = aie_event_arm(watched->event, watched->bits);\n",
        "",
        FULL_TURNS,
        also=(
            "    if (rung && !told",
            (
                "sched_yield(); watched->heard = aie_event_arm(watched->event, watched->bits);"
                " if (rung && !told"
            ),
        ),
    ),
    "the event word loaded after the look": Fault(
        "watch.h",
        "    if (rung && !told",
        "    sched_yield();\n    watched->heard = *watched->event;\n    if (rung && !told",
        FULL_TURNS,
    ),
    "words without WAITERS": Fault(
        "watch.h", "if (seen & AIE_WAITERS_BIT) {", "if (true) {", STORM
    ),
    "a listing that does not advance": Fault(
        "watch.h",
        "(&aie_watcher.control, 1, memory",
        "(&aie_watcher.control, 0, memory",
        FULL_TURNS,
    ),
    "a listing that wakes nobody": Fault(
        "watch.h", "aie_wake_all(&aie_watcher.control);", "", TURNS
    ),
    "the control word loaded after the look": Fault(
        "watch.h",
        'AIE_POINT("watcher-looked");',
        'AIE_POINT("watcher-looked"); parked[0].expected = atomic_load(&aie_watcher.control);',
        FULL_TURNS,
    ),
    "a word that is looked at once": Fault(
        "watch.h",
        "listed->due <= now && !aie_listed_arm(listed, &writes)",
        "listed->due == 0 && !aie_listed_arm(listed, &writes)",
        TURNS,
    ),
    "a desk that rings once": Fault("desk.h", "        desk->rung = false;\n", "", TURNS),
    "a spot that forgets what came since it was told": Fault(
        "desk.h",
        "        aie_spot_unlist(spot);\n        error = aie_spot_list(spot);\n",
        "        aie_spot_unlist(spot);\n"
        "        spot->seen = aie_array_writes(&spot->words);\n"
        "        error = aie_spot_list(spot);\n",
        "cases",
    ),
    "a segment that is never let go of": Fault(
        "desk.h", "if (--watched->spots > 0) {", "if (--watched->spots > 0 || true) {", "cases"
    ),
    "a bell for everybody": Fault(
        "word.h", "aie_event_signal(event, AIE_ARMED);", "aie_event_signal(event, 3);", "bits"
    ),
    "no pace": Fault("desk.h", "spot->due = content ? 0", "spot->due = true ? 0", "pace"),
    "no pace for the words of others": Fault(
        "watch.h", "if (rung && !told", "if (rung && false", "pace"
    ),
    "nobody looks for dead owners": Fault("watch.h", "now >= watched->notice", "false", OWNERS),
    "a ring that a child takes": Fault("desk.h", "desk->rung && !inherited", "desk->rung", FORKS),
    "a thread that its child takes for its own": Fault(
        "watch.h",
        "aie_watcher.runs = aie_watcher.ends = false;",
        "aie_watcher.ends = false;",
        FORKS,
    ),
}


def test_faults_can_be_planted() -> None:
    """What each fault replaces is in the core, once."""
    assert not misplaced(CORE_FAULTS)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="futex")
@pytest.mark.parametrize("name", CORE_FAULTS)
def test_watch_finds_faults_of_the_core(name: str, tmp_path: Path) -> None:
    """Each step of watching for event loops that is taken out of the core is missed."""
    fault = CORE_FAULTS[name]
    program = plant(fault, "watch.c", tmp_path, *IMPATIENT)
    done = run(program, *fault.mode.split(), "1")
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr
