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
RIVALS = ("atomicshm", "fastipc", "multiprocessing-intenum", "numpy")
HOW_TO_INSTALL = "pip install -r benchmarks/requirements.txt"


def version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def absence(distribution: str | None) -> str:
    """Say that a distribution is not installed; empty if it is, or if there is none."""
    if distribution is None or version(distribution):
        return ""
    return f"{distribution} is not installed: {HOW_TO_INSTALL}"


def cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(*allowed: int) -> None:
    """Stay on some CPUs, where that can be asked for."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, allowed)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    count, allowed = os.cpu_count(), len(cpus())
    among = f"{count} CPUs" if allowed == count else f"{allowed} of {count} CPUs"
    return f"{name[1] if name else platform.processor()}, {among}, {platform.machine()}"


def _compiler() -> str:
    """Return what built the extension, as its own .comment section says."""
    if atomic_intenum.BACKEND == "lock":
        return "none: the lock-based path"
    extension = importlib.import_module(f"atomic_intenum._{atomic_intenum.BACKEND}")
    content = Path(str(extension.__file__)).read_bytes()
    comment = re.search(rb"GCC: \([^\0]*|clang version [^\0]*", content)
    return comment[0].decode(errors="replace") if comment else "unknown"


def facts() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cpus": len(cpus()),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "libc": " ".join(platform.libc_ver()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _compiler(),
        "package": f"atomic-intenum {atomic_intenum.__version__}",
        "rivals": {rival: version(rival) for rival in RIVALS},
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def description(here: dict[str, Any]) -> list[str]:
    """Return lines that say what the figures were measured on, and which rivals are not there."""
    rivals = [f"{rival} {found}" for rival, found in here["rivals"].items() if found]
    lines = [
        f"CPU       {here['cpu']}",
        f"load      {' '.join(map(str, here['load']))} over 1, 5, 15 minutes before it",
        f"kernel    {here['kernel']}, {here['libc']}",
        f"Python    {here['python']}; extension by {here['compiler']}",
        f"versions  {', '.join([here['package'], *rivals])}",
    ]
    return lines + [f"MISSING   {absence(each)}" for each, v in here["rivals"].items() if not v]
