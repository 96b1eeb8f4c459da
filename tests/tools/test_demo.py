"""The demo: what it prints, what it compares, and how it ends."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import command
import files
import pytest
from files import Reading
from interrupt import Interrupt
from players import Outcome
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
    segments_of,
)
from helpers.support import default_method, environment, run_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from board import Board

    Replace = Callable[[Callable[[str], Reading]], None]


def nothing() -> None:
    """Check for nothing."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with files for several jobs, one of them empty, and what is no file."""
    root = tmp_path / "tree"
    for name in ("", "below", "below/further"):
        (root / name).mkdir()
        for number in range(30):
            (root / name / f"{number}.bin").write_bytes(bytes([number]) * 1000 * number)
    (root / "linked").symlink_to(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "fifo")
    return root


# -- a run


@pytest.mark.parametrize("method", START_METHODS)
def test_run(tree: Path, method: str) -> None:
    """Every file of the tree is hashed, compared, and what was measured is printed at the end."""
    code, output, errors = finish("--tree", str(tree), "--seconds", "2", method=method)
    assert (code, errors) == (0, "")
    first, about, *_ = output.splitlines()
    assert f"backend {BACKEND}" in first
    assert f"start method {method}" in first
    assert "90 files" in about
    assert ", 90 digests equal\n" in output
    assert "not compared" not in output
    for row in ("read the member", "compare and set"):
        assert re.search(rf"^{row} .* ns +[\d.]+ times ", output, re.MULTILINE)


def test_lines(tree: Path) -> None:
    """Elsewhere than on a terminal a line a look gives the counts, and what all have done."""
    _, output, _ = finish("--tree", str(tree), "--workers", "3", "--seconds", "0.4")
    lines = looks(output)
    assert len(lines) >= 2
    *_, (unavailable, idle, calculating, hashed, transitions) = lines
    assert (unavailable, idle, calculating) == (3, 0, 0)
    # Each claim is one transition into CALCULATING and one back; each worker comes and goes.
    assert transitions == 2 * said(output, r"^claims: ([\d,]+);") + 2 * 3
    assert hashed == said(output, r"^([\d,]+) digests of 90 files in") >= 90


def test_more_workers_than_work(tree: Path) -> None:
    """Of more workers than there is work for, all come and go."""
    code, output, errors = finish("--tree", str(tree), "--workers", "40", "--seconds", "0.4")
    assert (code, errors) == (0, "")
    assert looks(output)[-1][:3] == (40, 0, 0)


def test_default_tree() -> None:
    """Without --tree the standard library is hashed, without what is not part of it."""
    listing = files.list_files(None, nothing)
    names = {Path(path).relative_to(listing.tree).as_posix() for path, _ in listing.files}
    assert "email/message.py" in names
    assert not any("site-packages" in name or "__pycache__" in name for name in names)
    assert any("site-packages" in note for note in listing.notes)


@needs_posix
def test_live_table(tree: Path) -> None:
    """On a terminal with rich a table is drawn over again, and the cursor is shown at the end."""
    pytest.importorskip("rich")
    code, got = on_terminal(START, METHOD, "--tree", str(tree), "--seconds", "1")
    assert code == 0
    assert "files done" in got
    assert "transitions" in got
    assert got.count("\x1b[2K") > 5  # lines of an earlier table that were erased
    assert got.rindex("\x1b[?25h") > got.rindex("\x1b[?25l")
    assert not PROGRESS.search(got.replace("\r\n", "\n"))


@needs_posix
def test_terminal_without_rich(tree: Path) -> None:
    """On a terminal without rich lines are printed."""
    program = "import sys; sys.modules['rich'] = None\n" + START
    code, got = on_terminal(program, METHOD, "--tree", str(tree), "--seconds", "0.4")
    assert code == 0
    assert PROGRESS.search(got.replace("\r\n", "\n"))
    assert "\x1b" not in got


# -- how it ends


@pytest.fixture(params=["3", "300"])
def workers(request: pytest.FixtureRequest, tree: Path) -> list[str]:
    """Return the arguments for few workers, or for many."""
    return ["--tree", str(tree), "--workers", request.param]


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(r"claim by claim\(", id="starting"),
        pytest.param(PROGRESS.pattern, id="working"),
    ],
)
def test_interrupt(workers: list[str], method: str, moment: str) -> None:
    """Ctrl-C ends all processes with a short message, whatever they do, and exits with 130."""
    with running(*workers, "--seconds", "30", method=method) as process:
        lines_until(process, moment)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert output.endswith("interrupted; all processes are stopped\n")
    assert segments_of(process.pid) == []


@needs_posix
@pytest.mark.parametrize("moment", ["plain run", "compare and set"])
def test_late_interrupt(tree: Path, moment: str) -> None:
    """Ctrl-C while it measures exits with 130, and at the very end changes nothing."""
    with running("--tree", str(tree), "--seconds", "0.6") as process:
        lines_until(process, moment)
        # Pressed twice, as people do.
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0 if moment == "compare and set" else 130, "")


PRESSED_ALL_THE_TIME = """
import os, signal
from interrupt import Interrupt, ignore

interrupt = Interrupt()
interrupt.install()
pid = os.getpid()
presses = os.fork()
if not presses:
    while os.getppid() == pid:
        os.kill(pid, signal.SIGINT)
    os._exit(0)
try:
    rounds = 0
    while rounds < 3000 or not interrupt.requested:  # who presses may come late to it
        ignore()
        interrupt.install()
        rounds += 1
finally:
    os.kill(presses, signal.SIGKILL)
    os.waitpid(presses, 0)
print(interrupt.requested)
"""


@needs_posix
def test_interrupt_as_it_comes_to_be_ignored(tmp_path: Path) -> None:
    """Ctrl-C at the moment from which it is ignored leaves nothing on stderr."""
    done = run_script(PRESSED_ALL_THE_TIME, folder=tmp_path, env=environment(PYTHONPATH=str(DEMO)))
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@needs_posix
def test_parent_killed(workers: list[str]) -> None:
    """If the parent is killed, its processes end by themselves."""
    with running(*workers, "--seconds", "30") as process:
        lines_until(process, PROGRESS.pattern)
        process.kill()
        # The output ends with the last process that holds it.
        process.communicate(timeout=PATIENCE)
    assert segments_of(process.pid) == []


@needs_posix
def test_reader_gone(workers: list[str]) -> None:
    """If nobody reads the output any more, it ends without a traceback."""
    with running(*workers, "--seconds", "0.4") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--workers", "0"], "--workers: 0 is not from 1 to 10,000"),
        (["--workers", "-1"], "--workers: -1 is not from 1 to 10,000"),
        (["--workers", "two"], "argument --workers: invalid int value: 'two'"),
        (["--workers", "10001"], "--workers: 10001 is not from 1 to 10,000"),
        (["--seconds", "0"], "--seconds: 0.0 is not above 0 and up to 3600"),
        (["--seconds", "nan"], "--seconds: nan is not above 0 and up to 3600"),
        (["--seconds", "soon"], "argument --seconds: invalid float value: 'soon'"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong arguments are named, and the exit code is 2."""
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def run(tree: Path | str, seconds: float = 0.1) -> int:
    """Run the demo in this process."""
    return command.run(str(tree), 2, seconds, Interrupt())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "missing: No such file or directory"),
        ("file", "file: Not a directory"),
        ("empty", "empty: no files to hash"),
        ("nul\0", "embedded null"),
    ],
)
def test_wrong_tree(
    tmp_path: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tree without anything to hash is an error with its reason, and the exit code is 2."""
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "below").mkdir(parents=True)
    assert run(f"{tmp_path}/{name}") == 2
    errors = capsys.readouterr().err
    assert reason in errors
    assert errors.count("\n") == 1


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Return what replaces the work by a given way of reading a file."""

    def replace(read: Callable[[str], Reading]) -> None:
        def work(_: Board, jobs: list[files.Job], *__: Any) -> Outcome:
            readings = {index: read(path) for job in jobs for index, path in job}
            return Outcome(Counter(), readings, len(readings), 1, 0, 0, 0.1)

        monkeypatch.setattr(command, "work", work)

    return replace


def test_different_digest(tree: Path, outcome: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    """A digest that differs for an unchanged file is named, and the exit code is 1."""

    def wrong(path: str) -> Reading:
        reading = files.hash_file(path)
        return reading._replace(digest=b"?" * 32) if path.endswith("further/7.bin") else reading

    outcome(wrong)
    assert run(tree) == 1
    output = capsys.readouterr().out
    assert "89 digests equal" in output
    assert re.search(r"DIFFERENT: .*further/7\.bin\n", output)


def test_changing_files(tree: Path, outcome: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that change, vanish or can't be read meanwhile are not compared, and that is said."""

    def read(path: str) -> Reading:
        name = path.removeprefix(f"{tree}/")
        reading = files.hash_file(path)
        if name == "3.bin":
            Path(path).write_bytes(b"other")
        elif name == "4.bin":
            Path(path).unlink()
        elif name == "5.bin":
            return reading._replace(problem="Permission denied")
        return reading

    outcome(read)
    assert run(tree) == 0
    output = capsys.readouterr().out
    assert "87 digests equal" in output
    assert f"1 file not compared: changed meanwhile ({tree}/3.bin)" in output
    assert f"1 file not compared: vanished ({tree}/4.bin)" in output
    assert f"1 file not compared: Permission denied ({tree}/5.bin)" in output


def test_nothing_compared(tree: Path, outcome: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no file at all can be read it is an error, and the exit code is 2."""
    outcome(lambda path: files.hash_file(path)._replace(problem="Permission denied"))
    assert run(tree) == 2
    assert "no file could be read and compared" in capsys.readouterr().err


class Killer(Lines):
    """Kills a child at the first drawing that it is there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def show(self, *_: object) -> None:
        """Kill it."""
        for child in multiprocessing.active_children():
            if child.name == self.name:
                child.kill()


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("name", ["process 1", "process 3"])
def test_dead_process(
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    method: str,
) -> None:
    """A process that is killed ends the demo with its name, and the exit code is 1."""
    monkeypatch.setattr(command, "make_screen", lambda _: Killer(name))
    with default_method(method):
        assert run(tree, 30) == 1
    assert f"{name} ended unexpectedly, exit code -9" in capsys.readouterr().err


# -- files


def test_hash_file(tree: Path) -> None:
    """A file's digest is SHA-256 of its content."""
    path = tree / "29.bin"
    reading = files.hash_file(str(path))
    assert reading.digest == hashlib.sha256(path.read_bytes()).digest()
    assert reading.problem == ""


@pytest.mark.parametrize("name", ["fifo", "linked", "below"])
def test_what_became_no_file(tree: Path, name: str) -> None:
    """What a file was replaced by is neither followed nor waited for."""
    assert files.hash_file(str(tree / name)).problem == "is no regular file any more"


def test_caps(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that is too large is cut, and the listing says so."""
    monkeypatch.setattr(files, "MOST_FILES", 12)
    listing = files.list_files(str(tree), nothing)
    assert len(listing.files) == 12
    assert any("there is more" in note for note in listing.notes)

    monkeypatch.setattr(files, "LARGEST_FILE", 4500)
    monkeypatch.setattr(files, "MOST_FILES", 1000)
    listing = files.list_files(str(tree), nothing)
    assert max(size for _, size in listing.files) == 4000
    assert any(note.startswith("left out 75 files above") for note in listing.notes)

    monkeypatch.setattr(files, "MOST_BYTES", 10_000)
    listing = files.list_files(str(tree), nothing)
    assert listing.size == sum(size for _, size in listing.files) <= 10_000
    assert any("there is more" in note for note in listing.notes)


def test_jobs(tree: Path) -> None:
    """The jobs hold each file once."""
    listing = files.list_files(str(tree), nothing)
    jobs = files.jobs_of(listing, most=32)
    assert 1 < len(jobs) < 90
    assert len(files.jobs_of(listing, most=1)) == 90
    assert [file for job in jobs for file in job] == [
        (index, path) for index, (path, _) in enumerate(listing.files)
    ]


@pytest.mark.parametrize("name", ["plain", "caf\u00e9", "two\nlines", "\x1b[31m", "\udcff"])
def test_printable(name: str) -> None:
    """A path is printed on one line, without control characters, whatever it is."""
    assert files.printable(name).isprintable()
