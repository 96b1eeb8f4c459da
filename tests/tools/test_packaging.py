"""What is published: the documented table of wheels is what cibuildwheel is told to build."""

from __future__ import annotations

import fnmatch
import platform
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from typing import Any

import pytest

from helpers.support import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs" / "platforms.md").is_file() or not (ROOT / "pyproject.toml").is_file(),
    reason="these tests run beside the sources",
)

PRINT = (sys.executable, "-m", "cibuildwheel", "--print-build-identifiers")

#: The table's columns, as cibuildwheel writes them.
SYSTEMS = ("manylinux", "musllinux", "macosx")


def promised() -> set[str]:
    """Return the builds of the table in the docs, by cibuildwheel's names."""
    page = ROOT / "docs" / "platforms.md"
    section = page.read_text().partition("## Wheels and interpreters")[2]
    rows = re.findall(r"^\|.*\(`(\w+)`\) \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) >= 4
    return {
        f"{python}-{system}_{machine}"
        for python, *cells in rows
        for system, cell in zip(SYSTEMS, cells, strict=True)
        if cell != "none"
        for machine in cell.split(", ")
    }


def config() -> dict[str, Any]:
    """Return [tool.cibuildwheel]."""
    tool: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    return dict(tool["cibuildwheel"])


def test_docs_name_what_is_selected() -> None:
    """Each build that the docs promise is selected, and each selector is promised."""
    told = config()
    for build in promised():
        assert any(fnmatch.fnmatch(build, selector) for selector in told["build"]), build
        assert not any(fnmatch.fnmatch(build, selector) for selector in told["skip"]), build
    for selector in told["build"]:
        assert fnmatch.filter(promised(), selector), selector
    linux = {build.partition("linux_")[2] for build in promised() if "linux_" in build}
    assert linux == set(told["linux"]["archs"])
    macos = {build.partition("macosx_")[2] for build in promised() if "macosx_" in build}
    assert macos == set(told["macos"]["archs"])


@pytest.mark.skipif(find_spec("cibuildwheel") is None, reason="cibuildwheel is not installed")
def test_cibuildwheel_builds_what_is_promised() -> None:
    """Cibuildwheel lists the docs' builds and no others, and nothing for Windows."""
    listed: set[str] = set()
    for system in ("linux", "macos", "windows"):
        done = subprocess.run(
            [*PRINT, "--platform", system, str(ROOT)],
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        listed |= set(done.stdout.split())
    expected = promised()
    if platform.machine() != "arm64":
        expected -= {"pp311-macosx_arm64"}  # listed where it can be built
    assert listed == expected


def test_every_backend_is_tested_in_each_wheel() -> None:
    """A wheel is tested on each backend that its interpreter has, by name."""
    told = config()
    backends = {
        selector: re.findall(r"ATOMIC_INTENUM_BACKEND=(\w+) python -m pytest", " ".join(commands))
        for selector, commands in [
            ("*", told["test-command"]),
            *[(override["select"], override["test-command"]) for override in told["overrides"]],
        ]
    }
    assert backends == {"*": ["native", "cffi", "lock"], "pp*": ["cffi", "lock"]}


def test_tox_has_every_interpreter_and_backend() -> None:
    """Tox names each interpreter once a backend that it has, and demands the compiled core."""
    tox = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["tox"]
    for python in ("py311", "py312", "py313", "py314", "py315", "py314t", "py315t"):
        for backend in ("native", "cffi", "lock"):
            assert tox["env_list"].count(f"{python}-{backend}") == 1
    for name in ("py313t-native", "py313t-lock", "pypy311-cffi", "pypy311-lock"):
        assert tox["env_list"].count(name) == 1
    assert len(tox["env_list"]) == 7 * 3 + 4
    assert tox["env_pkg_base"]["set_env"]["ATOMIC_INTENUM_REQUIRE_EXT"] == "1"
