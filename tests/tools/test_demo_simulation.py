"""The demo on a terminal: what its frames show, few workers or many."""

from __future__ import annotations

import re
from typing import Any

import pytest
from board import Job, State
from screen import FILES, WORKERS, Look, draw

from helpers.demos import DEMO, METHOD, START, START_METHODS, needs_posix, on_terminal, screens

pytest.importorskip("rich")

SIZES = [(80, 24), (160, 50)]
STARTING, WAITING, HASHING, DEAD = State


def frames_of(output: str, size: tuple[int, int]) -> list[str]:
    """Return what the terminal shows, once a drawing is whole, until the report comes."""
    whole = re.compile(r"^ *\d+\.\d s   [\d,]+ of [\d,]+ done", re.MULTILINE)
    shown = ["\n".join(lines) for lines in screens(output, size)]
    return [text for text in shown if "WORKERS: " in text and whole.search(text)]


def counts(frame: str) -> dict[str, int]:
    """Return the counts of a frame's legends."""
    found = re.findall(r" [SwHX.prd]  ([\d,]+) (\w+(?: come)?)", frame)
    return {name: int(number.replace(",", "")) for number, name in found}


def states_in(frames: list[str]) -> set[str]:
    """Return which states of workers are counted in any of the frames."""
    return {
        name
        for frame in frames
        for name, number in counts(frame).items()
        if number and name in ("starting", "waiting", "hashing", "dead")
    }


@needs_posix
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("workers", ["8", "10000"])
def test_frames(size: tuple[int, int], workers: str) -> None:
    """The frames show each state, a death and a new start, and say what goes on."""
    code, output = on_terminal(START, METHOD, "--workers", workers, "--seed", "1", size=size)
    assert code == 0
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")  # the cursor is there again
    frames = frames_of(output, size)
    assert len(frames) >= 10
    assert len(states_in(frames)) == 4
    number = next(place for place, frame in enumerate(frames) if counts(frame)["dead"])
    seen = (re.search(r"(workers? [\d,to ]+): seen to be DEAD", each) for each in frames[number:])
    died = next(filter(None, seen))
    again = [place for place, frame in enumerate(frames) if f"{died[1]}: started again" in frame]
    assert again
    assert again[0] > number
    for frame in frames:
        assert "Now and then a\nkiller kills a worker by kill -9." in frame
        assert sum(
            number
            for name, number in counts(frame).items()
            if name in ("starting", "waiting", "hashing", "dead")
        ) <= int(workers)
    # Breathes: at one time all wait, at another some hash.
    assert max(counts(frame)["hashing"] for frame in frames) >= max(1, int(workers) // 50)


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
def test_cells_change(method: str) -> None:
    """Each way of starting processes gives the drawing, and the report stands below it."""
    arguments = ["--tree", str(DEMO), "--workers", "4", "--seconds", "3"]
    code, output = on_terminal(START, method, *arguments, size=(80, 24))
    assert code == 0
    frames = frames_of(output, (80, 24))
    assert {"hashing", "dead"} <= states_in(frames)
    last = screens(output, (80, 60))[-1]
    assert any(line.startswith("0 files lost, 0 files done twice") for line in last)


@needs_posix
@pytest.mark.parametrize(
    ("program", "terminal"),
    [("import sys; sys.modules['rich.live'] = None\n" + START, "xterm"), (START, "dumb")],
    ids=["without rich", "dumb"],
)
def test_plain_terminal(program: str, terminal: str) -> None:
    """On a terminal without rich, or on one that cannot be drawn on, lines are printed."""
    arguments = ["--tree", str(DEMO), "--workers", "2", "--seconds", "1"]
    code, output = on_terminal(program, METHOD, *arguments, terminal=terminal)
    assert code == 0
    assert re.search(r" s   \d STARTING, ", output)
    assert "\x1b" not in output


# -- drawing


def lines_of(states: list[State], jobs: list[Job], width: int, height: int) -> list[str]:
    """Return the lines of a drawing."""
    events = [f"event {number}" for number in range(6)]
    look = Look("title", 1.5, states, jobs, "totals", events)
    return draw(look, width, height).plain.split("\n")


@pytest.mark.parametrize("size", [*SIZES, (40, 20), (200, 30)], ids=str)
@pytest.mark.parametrize("workers", [1, 8, 100, 10_000])
@pytest.mark.parametrize("jobs", [1, 2000, 20_000])
def test_drawing_fits(size: tuple[int, int], workers: int, jobs: int) -> None:
    """A drawing is never wider than the terminal, nor as high, and ends with the last events."""
    width, height = size
    lines = lines_of([WAITING] * workers, [Job.DONE] * jobs, *size)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert lines[-4:] == [f"event {number}" for number in range(2, 6)]


def test_few_workers_have_numbers() -> None:
    """Each of a few workers has a cell with its number and letter."""
    lines = lines_of([WAITING, HASHING, DEAD, *[STARTING] * 6], [Job.DONE] * 3, 80, 24)
    assert "   1 w       2 H       3 X       4 S" in "\n".join(lines)
    assert "   9 S" in "\n".join(lines)
    assert " S  6 starting    w  1 waiting    H  1 hashing    X  1 dead   " in lines
    assert lines[lines.index("FILES: a cell each") + 2] == "ddd"


@pytest.mark.parametrize("legend", [WORKERS, FILES])
def test_cells_for_several(legend: dict[Any, tuple[str, str, str]]) -> None:
    """A cell that stands for several shows the first of the legend, and the legend says so."""
    first, *_, last = legend
    many: list[Any] = [last] * 10_000
    many[0] = many[9_999] = first
    files = legend is FILES
    lines = lines_of([WAITING] if files else many, many if files else [Job.DONE], 80, 24)
    noun = "file" if files else "worker"
    head = next(line for line in lines if line.startswith(f"{noun.upper()}S: "))
    found = re.fullmatch(
        rf"\w+: a cell is (\d+) {noun}s, and shows the first of (.*) among them", head
    )
    assert found is not None
    each, letters = int(found[1]), [letter for letter, _, _ in legend.values()]
    assert found[2].split() == letters
    begin = lines.index(head) + 2
    cells = "".join(lines[begin : lines.index("", begin)])
    assert len(cells) == -(-10_000 // each)
    assert cells.strip(letters[0]) == letters[-1] * (len(cells) - 2)
