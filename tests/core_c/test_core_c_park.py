"""Sleeping and waking on each step of park.h's ladder: park.c, and other systems' compilers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.core import (
    CC,
    CORE,
    HOLDS,
    OLDER_MACOS,
    PROGRAMS,
    STAND_INS,
    Build,
    Fault,
    builder,
    linux_only,
    misplaced,
    plant,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.only_on("native"),
    pytest.mark.skipif(shutil.which(CC) is None, reason=f"no C compiler {CC}"),
    pytest.mark.skipif(sys.platform == "win32", reason="no pthreads"),
]

SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ROUNDS = "1000"

BUILDS = {
    "native": Build(("-O2",), ()),
    "no futex": Build(("-O2", "-DAIE_PRETEND_NO_FUTEX"), ()),
    "no waitv": Build(("-O2", "-DAIE_PRETEND_NO_WAITV"), ()),
    "older macos": Build(("-O2", OLDER_MACOS), ()),
    **linux_only({name: Build(("-O2", *flags), ()) for name, flags in STAND_INS.items()}),
    **linux_only(
        {
            f"{name}, address": Build((*SANITIZED, *flags), (), "address,undefined")
            for name, flags in STAND_INS.items()
        }
    ),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a build of park.c, once."""
    return builder(tmp_path_factory, "park.c", BUILDS)


@pytest.mark.parametrize("name", BUILDS)
def test_contract_holds(name: str, built: Callable[[str], Path]) -> None:
    """A sleep ends by a wake-up, another value, the deadline and a signal, and is no busy one."""
    done = run(built(name), ROUNDS)
    assert (done.returncode, done.stderr) == (HOLDS, "")


#: By what it is built, and what is wrong there.
FAULTS = {
    "macos, private": Fault("park_macos.h", "AIE_OS_SYNC_SHARED 1u", "AIE_OS_SYNC_SHARED 0u", ""),
    "macos, the word's size": Fault(
        "park_macos.h", "expected, sizeof(*address)", "expected, sizeof(uint64_t)", ""
    ),
    "macos, a deadline as time": Fault("park_macos.h", "(uint64_t)left", "(uint64_t)deadline", ""),
    "macos, no time": Fault(
        "park_macos.h", "if (left <= 0)", "if (left < -AIE_NS_PER_S * 3600)", ""
    ),
    "macos, another clock": Fault("park_macos.h", "ABSOLUTE_TIME 32u", "ABSOLUTE_TIME 6u", ""),
    "macos, nobody is woken": Fault(
        "park_macos.h", "if (aie_os_sync_wakes != NULL)", "if (false)", ""
    ),
    "macos, it sleeps too long": Fault(
        "park_macos.h", "(uint64_t)left)", "(uint64_t)left * 60)", ""
    ),
    "freebsd, it sleeps too long": Fault(
        "park_freebsd.h", "aie_timespec(deadline)", "aie_timespec(deadline + AIE_NS_PER_S)", ""
    ),
    "macos, others asleep are an error": Fault("park_macos.h", "result >= 0", "result == 0", ""),
    "freebsd, a private sleep": Fault("park_freebsd.h", "WAIT_UINT 11", "WAIT_UINT 15", ""),
    "freebsd, a private wake-up": Fault("park_freebsd.h", "UMTX_WAKE 3", "UMTX_WAKE 16", ""),
    "freebsd, a timespec": Fault("park_freebsd.h", "sizeof(until)", "sizeof(until.timeout)", ""),
    "freebsd, a deadline as time": Fault("park_freebsd.h", "ABSTIME 1u", "ABSTIME 0u", ""),
    "freebsd, the wall clock": Fault("park_freebsd.h", "CLOCK_MONOTONIC}", "CLOCK_REALTIME}", ""),
    "freebsd, one is woken": Fault("park_freebsd.h", "INT_MAX, NULL", "1, NULL", ""),
    "freebsd, nobody is woken": Fault(
        "park_freebsd.h", "(void)_umtx_op(", "if (address == NULL) (void)_umtx_op(", ""
    ),
    "freebsd, a deadline that is none": Fault("park_nap.h", "? AIE_BUSY", "? AIE_OK", ""),
    "freebsd, a signal that is none": Fault(
        "park_nap.h", "errno == EINTR   ?", "errno == EINTR && false ?", ""
    ),
    "freebsd, busy while it fails": Fault(
        "park_nap.h", ": aie_wait_in_naps(address", ": true ? AIE_OK : aie_wait_in_naps(address", ""
    ),
}


def test_faults_can_be_planted() -> None:
    """What each fault replaces is in the core, once."""
    assert not misplaced(FAULTS)


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are Linux's futex")
@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found(name: str, tmp_path: Path) -> None:
    """A call with a wrong argument, a lost wake-up and a misread error each break the contract."""
    flags = STAND_INS[name.split(",", maxsplit=1)[0]]
    program = plant(FAULTS[name], "park.c", tmp_path, "-O1", "-DWAIT_NS=AIE_NS_PER_S", *flags)
    done = run(program, ROUNDS)
    assert done.returncode != HOLDS
    assert "broken: " in done.stderr


#: What bindings include, and what FreeBSD's own header says of the call.
CROSS = """
#ifdef __APPLE__
#include <os/clock.h>
#endif
#ifdef __FreeBSD__
#include <sys/types.h>
#include <sys/umtx.h>
#endif
#include "core.h"
#include "attach.h"
#include "create.h"
#include "desk.h"
#include "owning.h"

#ifdef __APPLE__
_Static_assert(AIE_OS_CLOCK_MACH_ABSOLUTE_TIME == OS_CLOCK_MACH_ABSOLUTE_TIME, "");
#endif
#ifdef __FreeBSD__
_Static_assert(AIE_UMTX_WAKE == UMTX_OP_WAKE, "");
_Static_assert(AIE_UMTX_WAIT_UINT == UMTX_OP_WAIT_UINT, "");
_Static_assert(AIE_UMTX_ABSTIME == UMTX_ABSTIME, "");
_Static_assert(sizeof(aie_umtx_time) == sizeof(struct _umtx_time), "");
_Static_assert(offsetof(aie_umtx_time, flags) == offsetof(struct _umtx_time, _flags), "");
_Static_assert(offsetof(aie_umtx_time, clock) == offsetof(struct _umtx_time, _clockid), "");
#endif

int main(void)
{
    aie_desk desk;
    _Atomic uint32_t word = 0;
    aie_wake_all(&word);
    return aie_wait(&word, 1, 0) != AIE_OK || aie_desk_open(&desk) != 0;
}
"""


#: What `make stress` builds, wherever it runs.
STRESS = ("stress", "board", "watch", "park", "forked", "names")


@pytest.mark.parametrize("system", ["macos", "freebsd"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_core_compiles_for_other_systems(machine: str, system: str, tmp_path: Path) -> None:
    """The core compiles and links against the headers and libraries that zig has of others."""
    pytest.importorskip("ziglang")
    source = tmp_path / "core.c"
    source.write_text(CROSS)
    program = tmp_path / "core"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-{system}"]
    command += ["-std=c11", "-Wall", "-Wextra", "-Werror", "-iquote", str(CORE)]
    for main in (*(PROGRAMS / f"{name}.c" for name in STRESS), source):
        done = subprocess.run(
            [*command, str(main), "-o", str(program)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (HOLDS, "")
    symbols = program.read_bytes()
    assert (b"os_sync_wake_by_address_all" if system == "macos" else b"_umtx_op") in symbols
