"""Runs the test suite of multiprocessing-intenum, with the import changed, on this package.

``make drop-in``.  The suite is fetched from PyPI each time; there is no copy of it here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENT = "multiprocessing-intenum==1.1"
BACKENDS = ("native", "cffi", "lock") if sys.implementation.name == "cpython" else ("cffi", "lock")


def fetch(folder: Path) -> Path:
    """Download the sdist and unpack it; return the file of tests."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            # It asks for 3.12; its tests run on 3.11 too.
            *("--no-deps", "--no-binary=:all:", "--ignore-requires-python"),
            *("--dest", str(folder), REQUIREMENT),
        ],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests/test_intenum.py")
    return tests


def main() -> int:
    """Run the suite on each backend; return 1 if a test fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = fetch(folder).read_text()
        changed = text.replace("from multiprocessing_intenum import", "from atomic_intenum import")
        if changed == text:
            sys.exit("the suite does not import what it did: nothing would be tested")
        suite = folder / "test_drop_in.py"
        suite.write_text(changed)
        failed = 0
        for backend in BACKENDS:
            print(f"{REQUIREMENT}: its tests on {backend}", flush=True)
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)]
            environment = {**os.environ, "ATOMIC_INTENUM_BACKEND": backend}
            failed |= subprocess.run(command, check=False, env=environment).returncode != 0
        return failed


if __name__ == "__main__":
    sys.exit(main())
