"""The README's examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.support import ROOT

README = ROOT / "README.md"

#: Each python block, and the text block behind it: what it prints.
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?",
    README.read_text(),
    re.DOTALL | re.MULTILINE,
)


def test_examples_were_found() -> None:
    """The README has its examples, and each says what it prints."""
    assert len(EXAMPLES) >= 5
    assert all(output for _, output in EXAMPLES)


def needs_core(code: str) -> bool:
    """Whether an example does what the lock-based path cannot: a value sent later, or a name."""
    return "ProcessPoolExecutor(" in code or "segment_name=" in code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "output"),
    [
        pytest.param(
            *example,
            id=str(number),
            marks=[pytest.mark.only_on("native", "cffi")] if needs_core(example[0]) else [],
        )
        for number, example in enumerate(EXAMPLES)
    ],
)
def test_example_prints_what_it_says(code: str, output: str, tmp_path: Path) -> None:
    """Each example runs as a script, prints what the README says, and nothing on stderr."""
    script = tmp_path / "example.py"
    script.write_text(code)
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, output, "")
