"""What a figure was measured on: CPU, kernel, Python, compilers, versions of the rivals."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import atomic_intenum

#: The distributions that are compared with.
RIVALS = ("atomicshm", "multiprocessing-intenum", "numpy")

HOW_TO_INSTALL = "pip install -r benchmarks/requirements.txt"


def version(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is missing."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def missing() -> list[str]:
    """Return the rivals that are not installed."""
    return [rival for rival in RIVALS if version(rival) is None]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cpus() -> str:
    count = os.cpu_count()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return f"{count} CPUs" if allowed == count else f"{allowed} of {count} CPUs"


def _compiler() -> str:
    """Return what built the extension, as its own .comment section says."""
    try:
        extension = importlib.import_module(f"atomic_intenum._{atomic_intenum.BACKEND}")
    except ImportError:
        return "none: the lock-based path"
    content = Path(str(extension.__file__)).read_bytes()
    comment = re.search(rb"GCC: \([^\0]*|clang version [^\0]*", content)
    return comment[0].decode(errors="replace") if comment else "unknown"


def facts() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cpu": f"{_cpu()}, {_cpus()}, {platform.machine()}",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "libc": " ".join(platform.libc_ver()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_compiler": platform.python_compiler(),
        "compiler": _compiler(),
        "package": f"atomic-intenum {atomic_intenum.__version__}",
        "backend": atomic_intenum.BACKEND,
        "rivals": {rival: version(rival) for rival in RIVALS},
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def description() -> list[str]:
    """Return lines that say what the figures were measured on."""
    here = facts()
    rivals = ", ".join(f"{rival} {found or 'MISSING'}" for rival, found in here["rivals"].items())
    lines = [
        f"CPU       {here['cpu']}",
        f"load      {' '.join(map(str, here['load']))} over 1, 5, 15 minutes",
        f"kernel    {here['kernel']}, {here['libc']}",
        f"Python    {here['python']} ({here['python_compiler']})",
        f"compiler  {here['compiler']}, of the extension",
        f"package   {here['package']}, backend {here['backend']}",
        f"rivals    {rivals}",
    ]
    lines += [
        f"MISSING   {rival} is not installed, so nothing is compared with it: {HOW_TO_INSTALL}"
        for rival in missing()
    ]
    return lines
