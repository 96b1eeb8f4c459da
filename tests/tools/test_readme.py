"""The README: one page, for who has never heard of it."""

from __future__ import annotations

import re

import pytest

from helpers.pages import README, examples_of

pytestmark = pytest.mark.skipif(not README.is_file(), reason="these tests run beside the sources")


def test_readme_is_short() -> None:
    """The README has at most 150 lines and 900 words."""
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 900


def test_readme_begins_with_what_to_run() -> None:
    """The two commands stand near the top."""
    top = README.read_text().splitlines()[:12]
    assert {line.partition("  ")[0] for line in top} >= {"make demo", "make test"}


def test_first_example_of_the_readme_is_short() -> None:
    """The first example takes no more than twelve lines that are not blank."""
    lines = [line for line in examples_of(README)[0].code.splitlines() if line]
    assert len(lines) <= 12


def test_readme_links_to_what_is_there() -> None:
    """Each file that the README links to, or shows, is in the checkout."""
    links = re.findall(r"\]\(([\w/.-]+\.(?:md|svg))\)", README.read_text())
    assert len(links) >= 8
    assert [link for link in links if not (README.parent / link).is_file()] == []
