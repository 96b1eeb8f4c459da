"""The documentation: complete, built without a warning, and true to the sources."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.pages import DOCS
from helpers.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="these tests run beside the sources")

CLASSES = [IntEnumValue, IntEnumArray]


def public_names(cls: type[Any]) -> set[str]:
    """Return what a user may use of a class."""
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize("cls", CLASSES)
def test_reference_lists_every_public_name(cls: type[Any]) -> None:
    """Each public name of a class is in the reference, once, and no other is."""
    text = "".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
    listed = re.findall(rf"\.\. auto\w+:: atomic_intenum\.{cls.__name__}\.(\w+)", text)
    assert sorted(listed) == sorted(public_names(cls))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation as text, each warning an error."""
    if find_spec("furo") is None or find_spec("myst_parser") is None:
        pytest.skip("sphinx, furo and myst-parser are not installed")
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-E", "-q", "-n", "-W", "--keep-going", "-b", "text"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "text")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "text"


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES)
def test_reference_says_all_of_each_name(cls: type[Any], built: Path) -> None:
    """The built reference has each name's arguments, and each error that its docstring names."""
    pages = [page.read_text() for page in sorted((built / "reference").glob("*.txt"))]
    text = re.sub(r"\s+", " ", " ".join(pages))
    for name in public_names(cls):
        _, found, rest = text.partition(f"{cls.__name__}.{name}")
        assert found, name
        entry = re.split(rf" {cls.__name__}\.(?!{name}\b)\w+", rest, maxsplit=1)[0]
        documented = getattr(cls, name).__doc__ if name != "EnumType" else ""
        _, raises, errors = documented.partition("Raises:\n")
        for error in re.findall(r"^ *([A-Z]\w+Error)", errors, re.MULTILINE):
            assert f"**{error}**" in entry, (name, error)
        assert not raises or "Raises:" in entry, name
        if "timeout" in documented and "Args:" in documented:
            assert "seconds" in entry, name


def test_changes_are_told() -> None:
    """The changelog and the page for contributors are those of the checkout."""
    for page, source in (("changelog", "CHANGELOG.md"), ("contributing", "CONTRIBUTING.md")):
        assert f"{{include}} ../{source}" in (DOCS / f"{page}.md").read_text()
        assert (ROOT / source).is_file()
