"""The C core without Python: stress.c, plain, sanitized, and with each branch of its ladders."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.core import (
    BREAKS,
    CC,
    CORE,
    HOLDS,
    NO_LOOK_AGAIN,
    OLDER_MACOS,
    PORTABLE,
    PROGRAMS,
    STAND_INS,
    TROUBLED,
    Build,
    Fault,
    builder,
    compile_c,
    linux_only,
    misplaced,
    plant,
    run,
    seed,
)
from helpers.support import SHM, private_shm

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.only_on("native"),
    pytest.mark.skipif(shutil.which(CC) is None, reason=f"no C compiler {CC}"),
    pytest.mark.skipif(sys.platform == "win32", reason="no pthreads"),
]

#: Each step yields, and then waits for whatever else the machine does: full sizes are soak's.
THREADS, FULL_THREADS = "threads 1000", "threads 10000"
KILLS, FULL_KILLS = "kills 25", "kills 100"
DEATHS = ("points", KILLS)
WAITS = ("relay 100", "relay-forks 100", "herd 100")
FULL_WAITS = ("relay 500", "relay-forks 500", "herd 200")

BUILDS = {
    "plain": Build(("-O2",), (THREADS, "limits", *DEATHS, "wait-points 0", "late 0")),
    "waits": Build(("-O2", NO_LOOK_AGAIN), WAITS),
    "no futex": Build(
        ("-O2", NO_LOOK_AGAIN, "-DAIE_PRETEND_NO_FUTEX"), (*WAITS, "wait-points 0", "late 0")
    ),
    "impatient": Build(("-O1", NO_LOOK_AGAIN, "-DWAIT_NS=(AIE_NS_PER_S/2)"), ()),
    # A relay of two is a ping-pong.
    "two": Build(("-O2", NO_LOOK_AGAIN, "-DTHREADS=2"), ()),
    "two, no futex": Build(("-O2", NO_LOOK_AGAIN, "-DTHREADS=2", "-DAIE_PRETEND_NO_FUTEX"), ()),
    # The ThreadSanitizer of gcc 12 doesn't know pthread_mutex_clocklock: it would take a mutex that
    # was locked so for unlocked.  No deaths: it keeps books of its own on mutexes.
    "thread": Build(
        ("-O1", "-fsanitize=thread", "-DAIE_PRETEND_NO_CLOCKLOCK", NO_LOOK_AGAIN),
        (THREADS, "limits", WAITS[0]),
        "thread",
    ),
    "thread, no futex": Build(
        ("-O1", "-fsanitize=thread", "-DAIE_PRETEND_NO_CLOCKLOCK", "-DAIE_PRETEND_NO_FUTEX"),
        (WAITS[0],),
        "thread",
    ),
    "address": Build(
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        (THREADS, "limits", *DEATHS, *WAITS, "late 0"),
        "address,undefined",
    ),
    "no clocklock": Build(
        ("-O2", "-DAIE_PRETEND_NO_CLOCKLOCK"),
        (THREADS, "limits", "points", KILLS),
    ),
    "no robust": Build(("-O2", "-DAIE_PRETEND_NO_ROBUST"), (THREADS, "limits", *WAITS)),
    "portable": Build(
        ("-O2", NO_LOOK_AGAIN, *PORTABLE), (THREADS, "limits", *WAITS, "wait-points 0", "late 0")
    ),
    "older macos": Build(("-O2", NO_LOOK_AGAIN, OLDER_MACOS), (*WAITS, "wait-points 0")),
    **linux_only(
        {name: Build(("-O2", NO_LOOK_AGAIN, *flags), WAITS) for name, flags in STAND_INS.items()}
    ),
    **linux_only(
        {
            f"{name}, troubled": Build(
                ("-O2", TROUBLED, *flags), (*WAITS, "wait-points 0", "late 0")
            )
            for name, flags in STAND_INS.items()
        }
    ),
    "forgets consistent": Build(
        (
            "-O1",
            "-DWAIT_NS=AIE_NS_PER_S",
            "-DSTRESS_FORGETS_CONSISTENT",
            "-Wl,--wrap=pthread_mutex_consistent",
        ),
        (),
    ),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of stress.c, once."""
    return builder(tmp_path_factory, "stress.c", BUILDS)


@pytest.mark.parametrize(
    ("switch", "reason"),
    [("NO_ATOMICS", "not always lock-free"), ("NO_SHARED_MUTEX", "no mutex can be shared")],
)
def test_core_refuses_systems_that_would_break_it(switch: str, reason: str, tmp_path: Path) -> None:
    """Where atomics or mutexes do not reach across processes, the build fails and says why."""
    source = tmp_path / "core.c"
    source.write_text('#include "core.h"\n')
    command = [CC, "-std=c11", "-fsyntax-only", "-iquote", str(CORE), str(source)]
    assert subprocess.run(command, check=False).returncode == 0
    command.append(f"-DAIE_PRETEND_{switch}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "the lock-based path must serve" in done.stderr


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
    f"{FULL_THREADS} 1 loses-updates",
    f"{FULL_THREADS} 1 ignores-locked",
    f"{FULL_THREADS} 1 no-mutex",
    f"{FULL_THREADS} 1 not-locked",
    f"{FULL_THREADS} 1 tears",
    "points 0 0 swallows-report",
    f"{FULL_KILLS} 1 no-mutex",
    f"{FULL_KILLS} 1 ignores-locked",
]


@pytest.mark.parametrize(
    ("mode", "fault"),
    [*((mode, "forgets-wake") for mode in FULL_WAITS), (FULL_WAITS[0], "clears-waiters")],
)
def test_stress_finds_writers_that_wake_nobody(
    mode: str, fault: str, built: Callable[[str], Path]
) -> None:
    """A writer that does not wake, or takes WAITERS away, leaves somebody asleep."""
    done = run(built("impatient"), *mode.split(), "1", fault)
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr


CORE_FAULTS = {
    "no wake": Fault("word.h", "aie_wake_all(aie_word_upper(word));", "(void)word;", FULL_WAITS[0]),
    "no compare before the sleep": Fault(
        "await.h",
        "(uint32_t)(*seen >> 32), until",
        "atomic_load(aie_word_upper(word)), until",
        "relay 5000",
    ),
    "no announcement": Fault(
        "await.h", "if (*seen & AIE_WAITERS_BIT) {", "if (true) {", FULL_WAITS[0]
    ),
    "an unlock that takes WAITERS along": Fault(
        "lock.h",
        "(word, ~AIE_LOCKED_BIT,",
        "(word, ~(AIE_LOCKED_BIT | AIE_WAITERS_BIT),",
        FULL_WAITS[0],
    ),
    "no second look": Fault(
        "await.h", "*seen = aie_word_load(word); /* any wake-up reads again */", "", "late 0"
    ),
    "a slow path that does not wake": Fault(
        "word.h",
        "            aie_word_wake(word, seen, event);\n            return AIE_OK;",
        "            if (stop_bits) {\n"
        "                aie_word_wake(word, seen, event);\n"
        "            }\n"
        "            return AIE_OK;",
        FULL_WAITS[0],
    ),
    "a private futex": Fault(
        "park_futex.h",
        "address, FUTEX_WAIT_BITSET,",
        "address, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,",
        FULL_WAITS[1],
    ),
    "a version that stands still": Fault(
        "word.h", "(seen + AIE_VERSION_ONE)", "(seen + 0)", FULL_WAITS[0]
    ),
    "a sleeper that does not look again": Fault(
        "await.h", "deadline - now < AIE_LOOK_AGAIN ? deadline", "true ? deadline", "wait-points 0"
    ),
}


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="futex")
@pytest.mark.parametrize("name", CORE_FAULTS)
def test_stress_finds_faults_of_the_core(name: str, tmp_path: Path) -> None:
    """Each step of the waiting protocol that is taken out of the core is missed."""
    fault = CORE_FAULTS[name]
    program = plant(fault, "stress.c", tmp_path, *BUILDS["impatient"].flags)
    done = run(program, *fault.mode.split(), "1")
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr


@pytest.mark.soak
@pytest.mark.timeout(2800)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("two", "relay-forks 100000"),
        ("two, no futex", "relay-forks 100000"),
        ("waits", "herd 10000"),
        ("no futex", "herd 10000"),
    ],
)
def test_no_wake_up_is_lost_at_full_size(
    name: str, mode: str, built: Callable[[str], Path]
) -> None:
    """100,000 ping-pongs and 10,000 herds, sleepers killed among them, and no wait in vain."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments, patience=2700)
    print(name, *arguments, done.stdout)  # shown with -rP
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"stress {' '.join(arguments)}"


@pytest.mark.soak
@pytest.mark.timeout(2800)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("plain", FULL_KILLS),
        ("address", FULL_KILLS),
        ("no clocklock", FULL_KILLS),
        *((name, FULL_THREADS) for name in ("plain", "thread", "address", "portable")),
        *((name, FULL_WAITS[0]) for name in ("waits", "thread", "thread, no futex", "portable")),
    ],
)
def test_core_holds_at_full_size(name: str, mode: str, built: Callable[[str], Path]) -> None:
    """Every invariant of stress.c holds with many writes, deaths, sleeps and wake-ups."""
    arguments = [*mode.split(), seed()]
    done = run(built(name), *arguments, patience=2700)
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"stress {' '.join(arguments)}"


@pytest.mark.skipif(sys.platform != "linux", reason="a killed holder is noticed on Linux alone")
def test_fork_under_a_lock(tmp_path: Path) -> None:
    """What a process holds while it forks is found when it is killed, whatever its child locks."""
    program = tmp_path / "forked"
    compile_c(PROGRAMS / "forked.c", program, "-O2")
    done = run(program)
    assert (done.returncode, done.stderr) == (HOLDS, "")


@pytest.mark.parametrize("arguments", FAULTS)
def test_stress_finds_planted_faults(arguments: str, built: Callable[[str], Path]) -> None:
    """A fault that is planted into the callers of the core breaks an invariant."""
    done = run(built("plain"), *arguments.split())
    for _ in range(4):  # a busy machine may let the threads run one after another
        if done.returncode == HOLDS:
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


def run_alone(program: Path) -> subprocess.CompletedProcess[str]:
    """Run with a /dev/shm of its own, where nobody else removes what is gone."""
    prefix = private_shm("16m")
    if not prefix:
        pytest.skip("no mount namespace here: it takes root")
    return run(Path(prefix[0]), *prefix[1:], str(program))


NAMES_BUILDS = {
    "plain": Build(("-O2",), ()),
    "address": Build(
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        (),
        "address,undefined",
    ),
    "pids": Build(("-O2", "-DAIE_PRETEND_NO_LIFE_LOCKS"), ()),
}


@pytest.fixture(scope="session")
def names_built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of names.c, once."""
    return builder(tmp_path_factory, "names.c", NAMES_BUILDS)


@pytest.mark.parametrize("name", NAMES_BUILDS)
@pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")
def test_names_survive_deaths(name: str, names_built: Callable[[str], Path]) -> None:
    """Who dies with a name leaves it free, harms nobody who has it, and leaves nothing for long."""
    done = run_alone(names_built(name))
    killed = points_killed_at((PROGRAMS / "names.c").read_text())
    # Where pids tell, what has none yet counts as alive, and nobody joins by a lock.
    unclear = {"create-opened", "create-locked", "create-reserved", "create-begun", "attach-locked"}
    count = len(set(killed) - unclear) if name == "pids" else len(killed)
    assert (done.returncode, done.stderr, done.stdout) == (HOLDS, "", f"{count} points\n")


NAMES_FAULTS = {
    "no lock": Fault(
        "create.h", "bool locked = aie_life_lock(fd, F_RDLCK, 0);", "bool locked = true;", ""
    ),
    "a page that stays": Fault("region.h", "aie_life_end(region->page);", ";", ""),
    "data that keep the lock": Fault(
        "create.h", "int data = aie_name_open(name);", "int data = dup(fd);", ""
    ),
    "a removal that asks nobody": Fault(
        "life.h", "gone ? aie_life_asked(fd) : F_UNLCK", "F_UNLCK", ""
    ),
    "a removal that removes nothing": Fault(
        "life.h", "aie_name_is(name, is) && shm_unlink(name) != 0", "!aie_name_is(name, is)", ""
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="life locks")
@pytest.mark.parametrize("name", NAMES_FAULTS)
def test_names_finds_faults_of_the_core(name: str, tmp_path: Path) -> None:
    """Each step of the life locks' protocol that is taken out of the core is missed."""
    program = plant(NAMES_FAULTS[name], "names.c", tmp_path, "-O1", "-DWAIT_NS=AIE_NS_PER_S")
    done = run_alone(program)
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr


OWNERS_BUILDS = {
    "plain": Build(("-O2",), ("points", "cases", "storm 150", "stops 100")),
    "address": Build(
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        ("points", "cases", "storm 50"),
        "address,undefined",
    ),
    "pids": Build(("-O2", "-DAIE_PRETEND_NO_LIFE_LOCKS"), ("points", "storm 50")),
    "impatient": Build(("-O2", "-DWAIT_NS=AIE_NS_PER_S"), ()),
}


@pytest.fixture(scope="session")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of owners.c, once."""
    return builder(tmp_path_factory, "owners.c", OWNERS_BUILDS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, id=f"{name}-{mode}")
        for name, build in OWNERS_BUILDS.items()
        for mode in build.modes
    ],
)
def test_owners_survive_deaths(name: str, mode: str, owners: Callable[[str], Path]) -> None:
    """What a dead process owned is given back, and nobody alive loses what it claimed."""
    arguments = [*mode.split(), seed()]
    done = run(owners(name), *arguments)
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"owners {' '.join(arguments)}"


@pytest.mark.soak
@pytest.mark.timeout(2800)
@pytest.mark.parametrize("mode", ["storm 20000", "stops 10000"])
def test_owners_survive_deaths_at_full_size(mode: str, owners: Callable[[str], Path]) -> None:
    """The same, with many deaths."""
    arguments = [*mode.split(), seed()]
    done = run(owners("plain"), *arguments, patience=2700)
    assert (done.returncode, done.stderr) == (HOLDS, ""), f"owners {' '.join(arguments)}"


def test_each_point_of_owners_is_killed_at(owners: Callable[[str], Path]) -> None:
    """The run of owners.c kills at as many points as it lists."""
    done = run(owners("plain"), "points")
    killed = points_killed_at((PROGRAMS / "owners.c").read_text())
    assert (done.returncode, done.stdout) == (HOLDS, f"{len(killed)} points\n")


OWNERS_FAULTS = {
    "the row before its word": Fault(
        "owner.h",
        'AIE_POINT("owner-dead");',
        'AIE_POINT("owner-dead"); seen = aie_word_load(word);',
        "storm 5000",
    ),
    "a row that nobody walks": Fault(
        "owning.h", "if (!aie_owners_give_back(words, row)) {", "if (false) {", "cases"
    ),
    "a row taken though a word of it is locked": Fault(
        "owner.h", "AIE_MISMATCH) && all;", "AIE_MISMATCH) || all;", "cases"
    ),
    "OWNED stays": Fault(
        "owner.h",
        "return aie_word_successor(seen, rule == NULL ? aie_word_value(seen) : rule->to);",
        "return aie_word_successor(seen, rule == NULL ? aie_word_value(seen) : rule->to)"
        " | (seen & AIE_OWNED_BIT);",
        "points",
    ),
    "a lock that children keep": Fault(
        "owning.h", "aie_life_page(fd, false)", "aie_life_page(fd, true)", "cases"
    ),
    "a row that children take for theirs": Fault(
        "owning.h", "void *page = aie_wiped_page();", "void *page = NULL;", "cases"
    ),
    "nobody is asked": Fault("owner.h", "? held > 0", "? false", "storm 200"),
    "a taker that counts as the owner": Fault(
        "life.h", "return lock.l_type == F_RDLCK;", "return lock.l_type != F_UNLCK;", "cases"
    ),
    "a commit that comes too late": Fault(
        "word.h", "aie_word_owner(seen) != ends", "aie_word_owner(seen) > AIE_ROWS", "cases"
    ),
    "a commit that leaves the owner": Fault(
        "word.h", "if ((seen & AIE_OWNED_BIT) ||", "if (true ||", "storm 200"
    ),
}


def test_faults_can_be_planted() -> None:
    """What each fault replaces is in the core, once."""
    assert not misplaced(CORE_FAULTS, NAMES_FAULTS, OWNERS_FAULTS)


@pytest.mark.skipif(sys.platform != "linux", reason="life locks")
@pytest.mark.parametrize("name", OWNERS_FAULTS)
def test_owners_finds_faults_of_the_core(name: str, tmp_path: Path) -> None:
    """Each step of the owners' protocol that is taken out of the core is missed."""
    fault = OWNERS_FAULTS[name]
    program = plant(fault, "owners.c", tmp_path, *OWNERS_BUILDS["impatient"].flags)
    done = run(program, *fault.mode.split(), "1")
    assert done.returncode == BREAKS
    assert "broken: " in done.stderr


#: A point in the code: its name, or none where the call is not of that form.
POINT = re.compile(r"^[^\n/*]*\bAIE_POINT\(([^\n]*)\);", re.MULTILINE)


def points_in(headers: dict[str, str]) -> list[str]:
    """Return the points of the core, as they stand in its headers."""
    return [name.strip('"') for text in headers.values() for name in POINT.findall(text)]


def points_listed(readme: str) -> list[str]:
    """Return the points of the table of csrc/README.md."""
    table = readme.partition("### Where a process may be killed")[2].partition("\n#")[0]
    return re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)


def points_killed_at(stress: str) -> list[str]:
    """Return the points that `stress points`, or `names`, kills a process at."""
    array = re.search(r"all_points\[\] = \{(.*?)\};", stress, re.DOTALL)
    assert array is not None
    return re.findall(r'"([a-z-]+)"', array.group(1))


def points_of_waiting(stress: str) -> set[str]:
    """Return the points that `stress wait-points` kills a sleeper or a writer at."""
    body = stress.partition("\nstatic int run_wait_points(")[2].partition("\n}\n")[0]
    return set(re.findall(r'"(wait-[a-z]+|write-before-wake)"', body))


def points_of_watching(board: str) -> set[str]:
    """Return the points that `board watch-points` kills a watcher or a writer at."""
    body = board.partition("\nstatic int run_watch_points(")[2].partition("\n}\n")[0]
    return set(re.findall(r'"(watch-[a-z]+|event-[a-z-]+)"', body))


def points_of_watchers(watch: str) -> list[str]:
    """Return the points that `watch points` kills a process at that watches for event loops."""
    array = re.search(r"watcher_points\[\] = \{(.*?)\};", watch, re.DOTALL)
    assert array is not None
    return re.findall(r'"([a-z-]+)"', array.group(1))


def read_core() -> dict[str, str]:
    """Return the core's headers, and the bindings, by path."""
    paths = sorted(CORE.rglob("*.[ch]"))
    return {path.relative_to(CORE).as_posix(): path.read_text() for path in paths}


def test_points_are_listed_and_killed_at() -> None:
    """Each point of the code is in the README's table and killed at, once; and no other is."""
    coded = points_in(read_core())
    listed = points_listed((CORE / "README.md").read_text())
    stress = (PROGRAMS / "stress.c").read_text()
    board = (PROGRAMS / "board.c").read_text()
    names = (PROGRAMS / "names.c").read_text()
    killed = [*points_killed_at(stress), *points_of_waiting(stress), *points_of_watching(board)]
    killed += points_killed_at(names)
    killed += points_killed_at((PROGRAMS / "owners.c").read_text())
    killed += points_of_watchers((PROGRAMS / "watch.c").read_text())
    assert len(coded) >= 30
    assert sorted(coded) == sorted(listed) == sorted(killed)
    assert len(set(coded)) == len(coded)


def test_each_point_is_killed_at(built: Callable[[str], Path]) -> None:
    """The run of stress.c kills at as many points as the table has."""
    done = run(built("plain"), "points")
    killed = points_killed_at((PROGRAMS / "stress.c").read_text())
    assert (done.returncode, done.stdout) == (HOLDS, f"{len(killed)} points\n")
