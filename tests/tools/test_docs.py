"""The documentation: complete, built without a warning, and true to the sources."""

from __future__ import annotations

import ast
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
    from collections.abc import Iterator
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


# -- troubleshooting: by the texts that the sources have

#: What stands for a name or a number.
GAP = "…"


def python_templates(path: Path) -> Iterator[str]:
    """Yield the strings of a module; what is put into one is a gap."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.Constant) else GAP for each in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def c_templates(path: Path) -> Iterator[str]:
    """Yield the strings of a C file; what is formatted into one is a gap."""
    text = path.read_text()
    for run in re.finditer(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', text):
        joined = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', run[0]))
        yield re.sub(r"%[a-zA-Z]*[dSRsu]", GAP, joined)


def plain(text: str) -> str:
    """Return a text with one gap for several beside each other."""
    return re.sub(rf"{GAP}(?:{GAP})+", GAP, text)


def templates() -> list[str]:
    """Return what the sources may say."""
    modules = [*sorted((ROOT / "src").rglob("*.py")), ROOT / "setup.py"]
    found = [text for path in modules for text in python_templates(path)]
    found += [text for path in sorted((ROOT / "csrc").rglob("*.h")) for text in c_templates(path)]
    return [plain(text) for text in found]


def messages() -> list[str]:
    """Return the messages that the page explains."""
    page = (DOCS / "troubleshooting.md").read_text()
    return re.findall(r"^- `([^`\n]+)`$", page, re.MULTILINE)


def test_messages_are_those_of_the_sources() -> None:
    """Each message that the documentation explains is one that the sources have."""
    known = templates()
    assert len(messages()) >= 40
    # The variable's name is put in, as any other.
    wanted = {text: text.replace("ATOMIC_INTENUM_BACKEND", GAP) for text in messages()}
    missing = [text for text, said in wanted.items() if not any(said in each for each in known)]
    assert missing == []


def test_another_message_is_noticed() -> None:
    """A message that nobody says is not found."""
    assert not any("there was no shared memory" in text for text in templates())
