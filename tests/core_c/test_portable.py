"""The native core as it is on systems without robust mutexes, clocklock, futexes and life locks.

Built here by the core's own switches, in a copy of the package, under tests that lock, wait and
name.  The whole suite runs on such a build too: csrc/README.md says how.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import atomic_intenum
from helpers.core import PORTABLE
from helpers.support import ROOT, TESTS, private_shm

PACKAGE = Path(atomic_intenum.__file__).parent
CC = os.environ.get("CC", "gcc")
PYTHON_H = Path(sysconfig.get_path("include"), "Python.h")

pytestmark = [
    pytest.mark.only_on("native"),
    pytest.mark.skipif(
        shutil.which(CC) is None or not PYTHON_H.exists(), reason="no C compiler, or no Python.h"
    ),
]

#: A /dev/shm of its own: to who has life locks beside it, what has none is gone.
APART = private_shm("64m")
SWITCHES = (*PORTABLE, *(["-DAIE_PRETEND_NO_LIFE_LOCKS"] if APART else []))

#: What differs there: locks, waits, names, and a lock that is shared by name.
FILES = (
    *("locking/test_lock.py", "locking/test_lock_beside_others.py"),
    *("locking/test_lock_holder_dies.py", "sharing/test_names.py", "sharing/test_names_again.py"),
    *("waiting/test_wait.py", "waiting/test_wait_ends.py"),
)
CHOICE = (
    "keeps_out or fork or closing or wakes or lock_is_shared or ctrl_c_ends_a_wait"
    " or name_is_taken or attach_is_the_same or after_dropping"
)

WHICH = """
import atomic_intenum
from helpers.inside import native_binding
native = native_binding()
print(atomic_intenum.BACKEND, native.ROBUST, native.FUTEX, native.LIFE_LOCKS, native.__file__)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the tests need, with a portable core."""
    folder = tmp_path_factory.mktemp("portable")
    package = folder / "src" / "atomic_intenum"
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(PACKAGE, package, ignore=ignored)
    shutil.copytree(TESTS, folder / "tests", ignore=ignored)
    shutil.copytree(ROOT / "csrc", folder / "csrc", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    target = package / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    options = ["-std=c11", "-O1", "-fPIC", "-shared", "-pthread", f"-I{PYTHON_H.parent}"]
    source = str(folder / "csrc" / "native.c")
    subprocess.run([CC, *options, *SWITCHES, source, "-o", str(target), "-ldl"], check=True)
    return folder


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the copy."""
    paths = [str(checkout / "src"), str(checkout / "tests")]
    paths += filter(None, [os.environ.get("PYTHONPATH")])  # where pytest may be
    return subprocess.run(
        [*APART, sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )


@pytest.mark.timeout(180)
def test_portable_core_passes(checkout: Path) -> None:
    """Without Linux's robust mutexes, clocklock, futexes and life locks, all but deaths works."""
    which = run(checkout, "-c", WHICH)
    assert which.stdout.split()[:4] == ["native", "0", "0", "0" if APART else "1"], which
    assert which.stdout.split()[4].startswith(str(checkout))
    files = [str(checkout / "tests" / name) for name in FILES]
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "-k", CHOICE]
    done = run(checkout, "-m", "pytest", *options, *files)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 18
