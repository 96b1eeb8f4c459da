"""Which backend answers, and what is said where one can't be had."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import atomic_intenum
from atomic_intenum import IntEnumValue
from helpers.inside import backend as chosen
from helpers.support import environment, run_script

if TYPE_CHECKING:
    from pathlib import Path

SHOW = """
import sys
BLOCK
import atomic_intenum
print(atomic_intenum.BACKEND)
"""

BLOCK = "sys.modules['atomic_intenum._native'] = sys.modules['atomic_intenum._cffi'] = None"

CPYTHON = sys.implementation.name == "cpython"


def show(
    folder: Path, forced: str | None, *, blocked: bool = False, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Import the package in a Python of its own and print which backend it chose."""
    env = environment(ATOMIC_INTENUM_BACKEND=forced or "")
    if forced is None:
        del env["ATOMIC_INTENUM_BACKEND"]
    source = SHOW.replace("BLOCK", BLOCK if blocked else "")
    if options:
        env["PYTHONWARNINGS"] = ",".join(options)
    return run_script(source, folder=folder, env=env)


def test_backend_in_use(backend: str) -> None:
    """BACKEND names the backend in use, and the values are that one's."""
    assert backend == atomic_intenum.BACKEND == chosen.NAME
    assert issubclass(IntEnumValue, chosen.Value)
    for name in ("native", "cffi"):
        assert (f"atomic_intenum._{name}" in sys.modules) is (backend == name)


def test_public_names() -> None:
    """The package's public names are all there, and documented."""
    for name in atomic_intenum.__all__:
        assert hasattr(atomic_intenum, name)
    assert "IntEnumValue" in atomic_intenum.__all__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", atomic_intenum.__version__)
    assert atomic_intenum.__doc__


@pytest.mark.parametrize("name", ["native", "cffi", "lock"])
def test_forced(name: str, tmp_path: Path) -> None:
    """ATOMIC_INTENUM_BACKEND chooses the backend, without a word."""
    if name != "lock" and importlib.util.find_spec(f"atomic_intenum._{name}") is None:
        pytest.skip("that binding was not built here")
    if name == "cffi" and importlib.util.find_spec("_cffi_backend") is None:
        pytest.skip("there is no cffi here")
    done = show(tmp_path, name)
    assert (done.stdout, done.stderr, done.returncode) == (f"{name}\n", "", 0)


@pytest.mark.parametrize("text", ["", "Native", "native ", "ctypes", "pure", "lock,native", "0"])
def test_unknown(text: str, tmp_path: Path) -> None:
    """Any other text in ATOMIC_INTENUM_BACKEND is a ValueError that names the choices."""
    env = environment(ATOMIC_INTENUM_BACKEND=text)
    done = run_script(SHOW.replace("BLOCK", ""), folder=tmp_path, env=env)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: ")
    for part in ("ATOMIC_INTENUM_BACKEND", repr(text), "native", "cffi", "lock"):
        assert part in last


@pytest.mark.parametrize("name", ["native", "cffi"])
def test_forced_is_missing(name: str, tmp_path: Path) -> None:
    """Forcing a binding that was not built is an ImportError with the reason."""
    done = show(tmp_path, name, blocked=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: ATOMIC_INTENUM_BACKEND={name}")
    assert f"_{name}" in last


@pytest.mark.only_on("cffi")
@pytest.mark.skipif(not CPYTHON, reason="cffi is part of that interpreter")
def test_forced_cffi_without_cffi(tmp_path: Path) -> None:
    """Forcing cffi where cffi itself is missing is an ImportError that says how to install it."""
    source = SHOW.replace("BLOCK", "sys.modules['_cffi_backend'] = None")
    done = run_script(source, folder=tmp_path, env=environment(ATOMIC_INTENUM_BACKEND="cffi"))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ATOMIC_INTENUM_BACKEND=cffi")
    assert "_cffi_backend" in last
    assert "atomic-intenum[cffi]" in last


needs_warning = pytest.mark.skipif(
    not CPYTHON or sys.platform not in ("linux", "darwin"), reason="no core is promised there"
)


@needs_warning
def test_fallback_warns_once(tmp_path: Path) -> None:
    """Without a core the lock-based path serves, with one RuntimeWarning that says why and how."""
    done = show(tmp_path, None, blocked=True, options=("always",))
    assert (done.stdout, done.returncode) == ("lock\n", 0)
    warned = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    assert len(warned) == 1
    assert "_native" in warned[0]
    assert "ATOMIC_INTENUM_BACKEND=lock" in warned[0]


@needs_warning
def test_fallback_warning_can_be_an_error(tmp_path: Path) -> None:
    """Where warnings are errors, importing without a core fails."""
    done = show(tmp_path, None, blocked=True, options=("error::RuntimeWarning",))
    assert done.returncode == 1
    assert "RuntimeWarning" in done.stderr


def test_chosen_lock_does_not_warn(tmp_path: Path) -> None:
    """With the lock-based path chosen, nothing is said about a missing core."""
    done = show(tmp_path, "lock", blocked=True, options=("error",))
    assert (done.stdout, done.stderr, done.returncode) == ("lock\n", "", 0)


@pytest.mark.only_on("native" if CPYTHON else "cffi")
def test_core_is_the_default(tmp_path: Path, backend: str) -> None:
    """Where there is a core and nothing is said, it is used, without a word."""
    done = show(tmp_path, None, options=("error",))
    assert (done.stdout, done.stderr, done.returncode) == (f"{backend}\n", "", 0)


def test_choice_is_made_once(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """Changing the variable after the import changes nothing."""
    monkeypatch.setenv("ATOMIC_INTENUM_BACKEND", "nonsense")
    assert backend == atomic_intenum.BACKEND
    assert backend == importlib.import_module("atomic_intenum.value").backend.NAME


def test_importing_is_light(tmp_path: Path) -> None:
    """Importing the package starts no thread and no process, and makes no shared memory."""
    done = run_script(
        """
        import sys, threading
        import atomic_intenum
        assert threading.active_count() == 1
        from multiprocessing import resource_tracker
        assert resource_tracker._resource_tracker._fd is None
        heavies = "asyncio", "ctypes", "numpy", "rich", "tempfile", "multiprocessing.synchronize"
        for heavy in heavies:
            assert heavy not in sys.modules, heavy
        """,
        folder=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
