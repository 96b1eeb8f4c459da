"""Checks what ``make dist`` has built: what it holds, and that the installed wheel serves.

docs/platforms.md, "What a wheel holds", is what this holds the wheel to.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The metadata of a wheel; an SBOM, as auditwheel writes one of what it bundles, is none of it.
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}

#: What git keeps, and an sdist leaves out: it is for a checkout alone.
OF_A_CHECKOUT = (".ci/*", ".github/*", ".editorconfig", ".gitignore", ".pre-commit-config.yaml")
#: What setuptools adds to an sdist.
OF_AN_SDIST = ("PKG-INFO", "setup.cfg", "src/atomic_intenum.egg-info/*")

#: Run where the package is not: prints where it comes from, and compares a value across processes.
USE = """
import multiprocessing, os, sys
from enum import IntEnum
import atomic_intenum

State = IntEnum("State", ["OLD", "NEW"])

if __name__ == "__main__":
    expected = os.environ.get("ATOMIC_INTENUM_BACKEND", sys.argv[1])
    if atomic_intenum.BACKEND != expected:
        sys.exit(f"the backend is {atomic_intenum.BACKEND}, not {expected}")
    if not atomic_intenum.__file__.startswith(sys.prefix):
        sys.exit(f"this is not the wheel: {atomic_intenum.__file__}")
    value = atomic_intenum.IntEnumValue[State](State.OLD)
    child = multiprocessing.get_context("fork").Process(target=value.set, args=(State.NEW,))
    child.start()
    child.join()
    if value.load() is not State.NEW:
        sys.exit("what the child set has not arrived")
"""


def fail_on(what: str, names: set[str]) -> None:
    """End with these names, if there are any."""
    if names:
        sys.exit(f"{what}: {', '.join(sorted(names))}")


def check_wheel(path: Path) -> None:
    """See that the wheel holds the package, its core and its licence, and nothing else."""
    package, version = path.name.split("-")[:2]
    info = f"{package}-{version}.dist-info"
    sources = ROOT / "src" / package
    expected = {
        f"{package}/{file.relative_to(sources).as_posix()}"
        for pattern in ("*.py", "*.pyi", "py.typed")
        for file in sources.rglob(pattern)
    }
    expected |= {f"{info}/{name}" for name in METADATA}
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    compiled = {name for name in names if fnmatch(name, f"{package}/_*.so")}
    fail_on(f"{path.name} lacks", expected - names)
    fail_on(f"{path.name} holds what is not the package's", names - expected - compiled)
    found = sorted(Path(name).name.partition(".")[0] for name in compiled)
    pure, pypy = path.name.endswith("-none-any.whl"), "-pp3" in path.name
    if bool(found) == pure or (found and ("_cffi" if pypy else "_native") not in found):
        sys.exit(f"{path.name}: compiled is {found}, which its name does not say")
    print(f"{path.name}: {len(names)} files, of them compiled: {found}; nothing else bundled")


def check_sdist(path: Path) -> None:
    """See that the sdist holds what git keeps, and nothing else."""
    with tarfile.open(path) as sdist:
        names = {each.name.partition("/")[2] for each in sdist.getmembers() if each.isfile()}
    names = {name for name in names if not any(fnmatch(name, each) for each in OF_AN_SDIST)}
    if not (ROOT / ".git").exists():
        print(f"{path.name}: {len(names)} files; there is no git to compare them with")
        return
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    kept = {name for name in listed.split("\0") if name}
    expected = {name for name in kept if not any(fnmatch(name, each) for each in OF_A_CHECKOUT)}
    fail_on(f"{path.name} lacks", expected - names)
    fail_on(f"{path.name} holds what git does not keep", names - expected)
    print(f"{path.name}: {len(names)} files, those of git")


def check_installed(path: Path, backends: list[str]) -> None:
    """Install the wheel into a new environment; use it by default and on each backend."""
    default = "native" if sys.implementation.name == "cpython" else "cffi"
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder) / "venv", with_pip=True)
        python = str(Path(folder) / "venv" / "bin" / "python")
        wheel = f"{path.resolve()}[cffi]" if "cffi" in backends else str(path.resolve())
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, wheel], check=True, cwd=folder)
        use = Path(folder) / "use.py"
        use.write_text(USE)
        clean = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        clean.pop("ATOMIC_INTENUM_BACKEND", None)
        for backend in [None, *backends]:
            environment = {**clean, "ATOMIC_INTENUM_BACKEND": backend} if backend else clean
            command = [python, "-W", "error", str(use), default]
            if subprocess.run(command, check=False, cwd=folder, env=environment).returncode:
                sys.exit(f"{path.name}, installed, does not serve on {backend or default}")
    print(f"{path.name}: serves on {', '.join(backends)} once it is installed")


def main(folder: str, *backends: str) -> None:
    """Check each sdist and wheel of the folder; with backends, install and use the wheels too."""
    wheels = sorted(Path(folder).glob("*.whl"))
    if not wheels:
        sys.exit(f"{folder} holds no wheel")
    for sdist in Path(folder).glob("*.tar.gz"):
        check_sdist(sdist)
    for wheel in wheels:
        check_wheel(wheel)
        if backends:
            check_installed(wheel, list(backends))


if __name__ == "__main__":
    main(*sys.argv[1:])
