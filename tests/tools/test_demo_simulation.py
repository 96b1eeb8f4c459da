"""The demo's board of many workers: what is wrong is found, and how it is drawn."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import re
import signal
from collections import Counter
from typing import TYPE_CHECKING

import command
import pytest
from board import Board, Status
from interrupt import Interrupt
from monitor import Look, Monitor
from screen import Lines

from atomic_intenum import BACKEND
from helpers.demos import (
    DEMO,
    METHOD,
    PATIENCE,
    PROGRESS,
    START,
    START_METHODS,
    finish,
    lines_until,
    looks,
    needs_posix,
    on_terminal,
    running,
    said,
)
from helpers.support import default_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from live import LiveBoard

UNAVAILABLE, IDLE, CALCULATING = Status

needs_fork = pytest.mark.skipif("fork" not in START_METHODS, reason="children inherit the fault")


@pytest.mark.parametrize("method", START_METHODS)
def test_run(method: str) -> None:
    """The transitions are those of the claims, and what was measured is printed at the end."""
    code, output, errors = finish("--workers", "1000", "--seconds", "1", method=method)
    assert (code, errors) == (0, "")
    assert f"backend {BACKEND}" in output.splitlines()[0]
    assert ": 1,000 workers on one board, which 4 processes\n" in output
    claims = said(output, r"^claims: ([\d,]+);")
    assert claims > 0
    assert "\nno worker was claimed twice at a time\n" in output
    transitions = said(output, r"^transitions: ([\d,]+), as many as the claims account for$")
    # A worker that never came up has none of its own two.
    assert 2 * claims < transitions <= 2 * claims + 2 * 1000
    for row in ("read the member", "compare and set"):
        assert re.search(rf"^{row} .* ns +[\d.]+ times ", output, re.MULTILINE)


def test_lines() -> None:
    """Each line's counts add up to all workers, and at the end all are UNAVAILABLE again."""
    _, output, _ = finish("--workers", "300", "--seconds", "2")
    lines = looks(output)
    assert len(lines) >= 2
    assert all(sum(counts) <= 300 for *counts, _, _ in lines)
    assert any(calculating for _, _, calculating, *_ in lines)
    *counts, files, transitions = lines[-1]
    assert counts == [300, 0, 0]
    assert files == said(output, r"^([\d,]+) digests of")
    assert transitions == said(output, r"^transitions: ([\d,]+),")


@needs_posix
def test_late_interrupt() -> None:
    """Ctrl-C while it measures exits with 130."""
    with running("--workers", "300", "--seconds", "2") as process:
        lines_until(process, "transitions:")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")


# -- what is wrong is found


#: A few files.
TREE = str(DEMO)


def run(monkeypatch: pytest.MonkeyPatch) -> int:
    """Run in children of fork, which have whatever was replaced here."""
    process = multiprocessing.get_context("fork").Process
    monkeypatch.setattr(multiprocessing, "Process", process)
    return command.run(TREE, 200, 0.8, Interrupt())


@needs_fork
def test_claimed_twice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A claim that gives out who is claimed already is found, and the exit code is 1."""
    atomic = Board.claim

    def claim(self: Board, old: Status, new: Status) -> int | None:
        if new is not CALCULATING:
            return atomic(self, old, new)
        index = random.randrange(20)
        self[index] = new
        return index

    monkeypatch.setattr(Board, "claim", claim)
    assert run(monkeypatch) == 1
    assert "CLAIMED TWICE AT A TIME: " in capsys.readouterr().out


@needs_fork
def test_claim_that_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Transitions that no claim accounts for are found, and the exit code is 1."""
    atomic = Board.claim

    def claim(self: Board, old: Status, new: Status) -> int | None:
        index = atomic(self, old, new)
        if index is not None and new is UNAVAILABLE:
            self[index] = new
        return index

    monkeypatch.setattr(Board, "claim", claim)
    assert run(monkeypatch) == 1
    assert "TRANSITIONS: " in capsys.readouterr().out


@needs_fork
def test_left_idle(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Workers that are not UNAVAILABLE at the end are found, and the exit code is 1."""
    atomic = Board.claim

    def claim(self: Board, old: Status, new: Status) -> int | None:
        return None if new is UNAVAILABLE else atomic(self, old, new)

    monkeypatch.setattr(Board, "claim", claim)
    assert run(monkeypatch) == 1
    assert "NOT UNAVAILABLE at the end: 200 of 200 workers" in capsys.readouterr().out


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
def test_dead_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    """A process that is killed ends the demo with its name, and the exit code is 1."""

    class Killer(Lines):
        """Kills a process at the first drawing."""

        def show(self, *_: object) -> None:
            for child in multiprocessing.active_children():
                if child.name == "process 2":
                    child.kill()

    monkeypatch.setattr(command, "make_screen", lambda _: Killer())
    with default_method(method):
        assert command.run(TREE, 200, 30, Interrupt()) == 1
    assert "process 2 ended unexpectedly, exit code -9" in capsys.readouterr().err


# -- drawing


class Recorder(Lines):
    """Keeps what it is to draw."""

    interval = 0.0

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def show(self, elapsed: float, look: Look) -> None:
        """Keep it."""
        assert elapsed >= 0
        self.looks.append(look)


def test_monitor_draws_what_changed() -> None:
    """The monitor draws at first, when a status has changed, and when files were done."""
    board = Board(3, UNAVAILABLE)
    files = [0, 0, 0]
    screen = Recorder()
    monitor = Monitor(board, screen, files)
    for _ in range(3):
        monitor.look()
    assert len(screen.looks) == 1
    board[1] = IDLE
    for _ in range(3):
        monitor.look()
    files[1] = 5
    for _ in range(3):
        monitor.look()
    counts = {UNAVAILABLE: 2, IDLE: 1, CALCULATING: 0}
    statuses = [UNAVAILABLE, IDLE, UNAVAILABLE]
    assert screen.looks[1:] == [
        Look(statuses, counts, [0, 1, 0], [0, 0, 0]),
        Look(statuses, counts, [0, 1, 0], [0, 5, 0]),
    ]
    assert monitor.transitions() == 1
    assert monitor.looks == 9


def test_monitor_waits_for_its_interval() -> None:
    """The monitor looks at most once in the screen's interval, unless it is told to look now."""
    board = Board(1, UNAVAILABLE)
    screen = Recorder()
    screen.interval = 3600.0  # seconds
    monitor = Monitor(board, screen, [0])
    monitor.look()
    board[0] = IDLE
    monitor.look()
    assert len(screen.looks) == 1
    assert monitor.until_next() > 3000
    monitor.look_now()
    assert len(screen.looks) == 2


def look_of(statuses: list[Status], files: list[int]) -> Look:
    """Return a look at workers of which each had two transitions."""
    counts = Counter(statuses)
    return Look(statuses, {status: counts[status] for status in Status}, [2] * len(statuses), files)


@pytest.fixture
def draw() -> Callable[..., list[str]]:
    """Return what draws a look on a terminal of some size, and returns its lines."""
    pytest.importorskip("rich")
    from live import LiveBoard
    from rich.console import Console

    def lines(look: Look, width: int, height: int, encoding: str = "utf-8") -> list[str]:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        screen: LiveBoard = LiveBoard(5.0)
        screen._live.console = Console(
            file=file,
            width=width,
            height=height,
            force_terminal=True,
            color_system=None,
            _environ={"TERM": "xterm"},  # whatever terminal the tests run on
        )
        with screen:
            screen.show(1.5, look)
        file.seek(0)
        # All but the text: rich draws once as it shows, and once more as it stops.
        text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", file.read()).replace("\r", "\n")
        drawn = [line.rstrip() for line in text.split("\n") if line.strip()]
        assert len(drawn) % 2 == 0
        assert drawn[: len(drawn) // 2] == drawn[len(drawn) // 2 :]
        return drawn[: len(drawn) // 2]

    return lines


def test_cells(draw: Callable[..., list[str]]) -> None:
    """Each worker has a cell, wrapped to the width, and each status its count below."""
    statuses = [UNAVAILABLE] * 5 + [IDLE] * 10 + [CALCULATING] * 30
    assert draw(look_of(statuses, []), 20, 24) == [
        "\u00b7" * 5 + "\u25a1" * 10 + "\u25a0" * 5,
        "\u25a0" * 20,
        "\u25a0" * 5,
        "\u00b7 5 UNAVAILABLE   \u25a1\u2026",
        "1.5 s of 5.0 s, 0 f\u2026",
    ]
    *_, counts, caption = draw(look_of(statuses, []), 80, 24)
    assert counts == "\u00b7 5 UNAVAILABLE   \u25a1 10 IDLE   \u25a0 30 CALCULATING"
    assert caption == "1.5 s of 5.0 s, 0 files, 90 transitions"


def test_cells_without_unicode(draw: Callable[..., list[str]]) -> None:
    """On a terminal that has ASCII alone the cells are ASCII."""
    statuses = [UNAVAILABLE, IDLE, CALCULATING] * 7
    cells, counts, _ = draw(look_of(statuses, [1] * 21), 80, 24, "ascii")
    assert cells == ".o#" * 7
    assert counts == ". 7 UNAVAILABLE   o 7 IDLE   # 7 CALCULATING"


@pytest.mark.parametrize("workers", [2000, 2001, 10_000])
def test_cells_that_do_not_fit(draw: Callable[..., list[str]], workers: int) -> None:
    """Beyond what fits, the workers are summed up in words, and the drawing is no higher."""
    statuses = [IDLE] * (workers - 7) + [CALCULATING] * 7
    lines = draw(look_of(statuses, []), 100, 24)
    if workers == 2000:
        assert lines[:20] == ["\u25a1" * 100] * 19 + ["\u25a1" * 93 + "\u25a0" * 7]
        assert len(lines) == 22
        return
    assert len(lines) == 23
    assert lines[:19] == ["\u25a1" * 100] * 19
    beyond = workers - 2000
    calculating = min(beyond, 7)
    assert lines[20] == (
        f"and {beyond:,} workers that do not fit here: "
        f"0 UNAVAILABLE, {beyond - calculating:,} IDLE, {calculating} CALCULATING"
    )


@pytest.mark.parametrize(
    ("workers", "height", "table"), [(16, 24, True), (17, 24, False), (16, 22, False)]
)
def test_table_or_cells(
    draw: Callable[..., list[str]], workers: int, height: int, table: bool
) -> None:
    """Up to 16 workers have a row each where the terminal is high enough; more have cells."""
    lines = draw(look_of([IDLE] * workers, [3] * workers), 80, height)
    assert len(lines) < height
    assert any("files done" in line for line in lines) == table
    assert sum(re.match(r" +\d+ +IDLE +3 +2$", line) is not None for line in lines) == (
        workers if table else 0
    )
    assert ("\u25a1" * workers in lines) == (not table)


@needs_posix
def test_live_cells() -> None:
    """On a terminal with rich the cells are drawn over again, in colours."""
    pytest.importorskip("rich")
    code, got = on_terminal(START, METHOD, "--workers", "300", "--seconds", "1")
    assert code == 0
    assert "\u25a0" in got
    assert "300 UNAVAILABLE" in got
    assert got.count("\x1b[2K") > 5
    assert got.rindex("\x1b[?25h") > got.rindex("\x1b[?25l")
    assert not PROGRESS.search(got.replace("\r\n", "\n"))
