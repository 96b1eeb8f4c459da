"""The examples of README and documentation, each run as a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from atomic_intenum import BACKEND
from helpers.inside import built_with
from helpers.pages import Example, examples_of, pages

if TYPE_CHECKING:
    from pathlib import Path

PAGES = pages()
EXAMPLES = [example for page in PAGES for example in examples_of(page)]

pytestmark = pytest.mark.skipif(not PAGES, reason="these tests run beside the sources")


def is_here(needed: str) -> bool:
    """Tell whether there is what an example needs."""
    if needed == "life locks":
        told = built_with("LIFE_LOCKS") if BACKEND == "native" else True
        return sys.platform == "linux" and told
    if needed == "SIGKILL":
        return hasattr(signal, needed)
    return find_spec(needed) is not None


def marked(example: Example) -> object:
    """Return an example as a parameter, with what it cannot do without."""
    # On one binding of the core: the other one would say the same.
    core = "native" if sys.implementation.name == "cpython" else "cffi"
    marks = [pytest.mark.only_on(core, *(() if example.needs_core else ("lock",)))]
    marks += [
        pytest.mark.skipif(not is_here(needed), reason=f"{needed}: not here")
        for needed in example.needs
    ]
    return pytest.param(example, id=example.name, marks=marks)


@pytest.mark.once
def test_examples_were_found() -> None:
    """There are examples, and each says what it prints."""
    assert len(EXAMPLES) >= 2
    assert [example.name for example in EXAMPLES if not example.output] == []


@pytest.mark.slow
@pytest.mark.parametrize("example", [marked(example) for example in EXAMPLES])
def test_example_prints_what_it_says(example: Example, tmp_path: Path) -> None:
    """Each example runs as a script, prints what its page says, and nothing on stderr."""
    script = tmp_path / "example.py"
    script.write_text(example.code)
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, example.output, "")
