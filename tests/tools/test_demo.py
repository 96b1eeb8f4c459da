"""The demo: what it counts, what it says, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import command
import files
import hasher
import pytest
from board import Job
from crew import Crew
from screen import Look, Screen
from summary import say_report

from atomic_intenum import BACKEND, IntEnumArray
from helpers.demos import (
    METHOD,
    PATIENCE,
    START_METHODS,
    finish,
    lines_until,
    needs_posix,
    running,
    said,
    segments_of,
)
from helpers.support import default_method

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

#: A line of what is going on.
PROGRESS = (
    r" *\d+\.\d s   ([\d,]+) STARTING, ([\d,]+) WAITING, ([\d,]+) HASHING, ([\d,]+) DEAD; "
    r"([\d,]+) of ([\d,]+) done, \d+ killed, [\d,]+ claims? given back, [\d,]+ races? lost\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with 90 files, some of them empty, and what is no file."""
    root = tmp_path / "tree"
    for name in ("", "below", "below/further"):
        (root / name).mkdir()
        for number in range(30):
            (root / name / f"{number}.bin").write_bytes(bytes([number]) * 1000 * number)
    (root / "linked").symlink_to(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "fifo")
    return root


class Watcher(Screen):
    """Calls a function once somebody hashes, and draws nothing."""

    def __init__(self, act: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.act = act

    def show(self, look: Look) -> None:
        """Act once."""
        if self.act and Job.RUNNING in look.jobs:
            self.act()
            self.act = None


def work(tree: Path, act: Callable[[], None] | None = None, workers: int = 4) -> Crew:
    """Have the files hashed by children of this process, in a second or so."""
    crew = Crew(str(tree), workers, 1.0, seed=1)
    crew.run(Watcher(act))
    return crew


def child() -> BaseProcess:
    """Return a process of the crew."""
    return multiprocessing.active_children()[0]


def slay() -> None:
    """Kill a process of the crew; once it is dead, the killer cannot choose it too."""
    victim = child()
    victim.kill()
    victim.join(PATIENCE)


# -- what it counts


@needs_posix
@pytest.mark.parametrize("workers", [4, 300])
@pytest.mark.parametrize("method", START_METHODS)
def test_counts(
    tree: Path,
    method: str,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is reported of kills and claims is what the killer did, and no file is lost or twice."""
    kill, held = os.kill, list[int]()

    def record(pid: int, number: int) -> None:
        if number == signal.SIGKILL:
            held.append(crew.jobs.owners().count(pid))
        kill(pid, number)

    with default_method(method):
        crew = Crew(str(tree), workers, 1.5, seed=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", record)
            crew.run(Watcher())
        assert say_report(crew)
    output = capsys.readouterr().out
    assert crew.kills == len(held) >= 1
    assert said(output, r"^([\d,]+) kills? survived") == len(held)
    assert said(output, r"^([\d,]+) claims? given back") == sum(held) == crew.back
    assert said(output, r"^([\d,]+) files? hashed by") == crew.total
    assert said(output, r"^(\d+) digests equal to a plain run") == 90
    assert "\n0 files lost, 0 files done twice\n" in output
    assert crew.jobs.count(Job.DONE) == crew.total
    assert crew.others == 0


@needs_posix
def test_killed_by_somebody_else(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that somebody else kills is started again too, and nothing is lost."""
    if BACKEND == "lock":
        pytest.skip("who is killed in a write keeps the lock")
    crew = work(tree, slay)
    assert crew.others == 1
    assert say_report(crew)
    assert said(capsys.readouterr().out, r"^(\d+) kills survived") == crew.kills + 1


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
def test_failed_process(tree: Path, method: str) -> None:
    """A process that ends otherwise is not started again: the demo ends with an error."""
    with default_method(method), pytest.raises(ChildProcessError, match="exit code -15"):
        work(tree, lambda: child().terminate())
    assert multiprocessing.active_children() == []


needs_fork = pytest.mark.skipif("fork" not in START_METHODS, reason="children inherit the fault")


@needs_fork
def test_claimed_twice(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that is given out twice at a time is found."""
    crew = Crew(str(tree), 4, 1.0, seed=1)
    board = type(crew.jobs)
    atomic = board.claim
    faults = iter([True])  # one in each process

    def claim(self: IntEnumArray[Job], old: Job, new: Job) -> int | None:
        index = atomic(self, old, new)
        if index is not None and next(faults, False):
            self[index] = old
        return index

    monkeypatch.setattr(board, "claim", claim)
    with default_method("fork"):
        crew.run(Watcher())
    assert not say_report(crew)
    assert said(capsys.readouterr().out, r"^0 files lost, (\d+) files? done twice$") >= 1


@needs_fork
def test_different_digest(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A digest that differs for an unchanged file is named."""

    def wrong(path: str) -> bytes:
        return b"!" * files.SIZE if path.endswith("further/7.bin") else files.digest_of(path)

    monkeypatch.setattr(hasher, "digest_of", wrong)
    with default_method("fork"):
        crew = work(tree)
    assert not say_report(crew)
    output = capsys.readouterr().out
    assert "\n89 digests equal to a plain run's in one process, 0 not compared\n" in output
    assert re.search(r"^DIFFERENT: .*further/7\.bin$", output, re.MULTILINE)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the demo follows links there")
def test_changing_files(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that change or vanish meanwhile are not compared, and that is said."""

    def change() -> None:
        (tree / "3.bin").write_bytes(b"other")
        (tree / "4.bin").unlink()
        (tree / "5.bin").unlink()
        (tree / "5.bin").symlink_to(tree / "6.bin")

    assert say_report(work(tree, change))
    assert "\n87 digests equal to a plain run's in one process, 3 not compared\n" in (
        capsys.readouterr().out
    )


def test_nothing_compared(tmp_path: Path) -> None:
    """Where no file at all can be compared it is an error."""
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="no file could be read"):
        say_report(work(tmp_path, (tmp_path / "file").unlink))


# -- what it says


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("workers", ["3", "1000"])
def test_lines(tree: Path, workers: str, method: str) -> None:
    """Elsewhere than on a terminal lines tell what goes on, who dies, and what was measured."""
    code, output, errors = finish(
        "--tree", str(tree), "--workers", workers, "--seconds", "3", method=method
    )
    assert (code, errors) == (0, "")
    assert output.startswith(f"atomic-intenum: {BACKEND}, ")
    lines = [
        [int(text.replace(",", "")) for text in found] for found in re.findall(PROGRESS, output)
    ]
    assert len(lines) >= 3
    assert all(sum(states) == int(workers) for *states, _, _ in lines)
    done = [number for *_, number, _ in lines]
    assert done == sorted(done)
    steps = [r"killed by kill -9, having claimed ", r"seen to be DEAD, ", r"started again"]
    told = re.findall("|".join(steps), output)
    assert {*told} == {step.replace("\\", "") for step in steps}
    for name in ("polls", "claims", "lock sections"):
        assert re.search(rf"^[\d.]+ million {name} a second, [\d.]+ times", output, re.MULTILINE)


def test_seed(tree: Path) -> None:
    """The same seed gives the killer the same choices."""
    crews = [Crew(str(tree), 4, 1.0, seed) for seed in (1, 1, 2)]
    first, same, other = (crew.random.random() for crew in crews)
    assert first == same != other


# -- how it ends


@pytest.fixture(params=["3", "300"])
def arguments(request: pytest.FixtureRequest, tree: Path) -> list[str]:
    """Return the arguments for few workers, or for many."""
    return ["--tree", str(tree), "--workers", request.param]


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("moment", ["atomic-intenum:", PROGRESS, "Measured"])
def test_interrupt(arguments: list[str], method: str, moment: str) -> None:
    """Ctrl-C ends all processes with a short message, whatever they do, and exits with 130."""
    seconds = "4" if moment == "Measured" else "30"
    with running(*arguments, "--seconds", seconds, method=method) as process:
        lines_until(process, moment)
        for _ in range(2):  # as people do
            os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert output.endswith("interrupted; all processes are stopped\n")
    assert segments_of(process.pid) == []


@needs_posix
def test_parent_killed(arguments: list[str]) -> None:
    """If the parent is killed, its processes end by themselves."""
    with running(*arguments, "--seconds", "30") as process:
        lines_until(process, PROGRESS)
        process.kill()
        # The output ends with the last process that holds it.
        process.communicate(timeout=PATIENCE)
    assert segments_of(process.pid) == []


@needs_posix
def test_reader_gone(arguments: list[str]) -> None:
    """If nobody reads the output any more, it ends without a traceback."""
    with running(*arguments, "--seconds", "1") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--workers", "0"], "--workers is from 1 to 10,000"),
        (["--workers", "10001"], "--workers is from 1 to 10,000"),
        (["--workers", "two"], "argument --workers: invalid int value: 'two'"),
        (["--seconds", "0"], "--seconds above 0 and up to 3600"),
        (["--seconds", "nan"], "--seconds above 0 and up to 3600"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_wrong_arguments(wrong: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments are named, and the exit code is 2."""
    with pytest.raises(SystemExit) as caught:
        command.main(wrong)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", errno.ENOENT),
        ("file", errno.ENOTDIR),
        ("empty", "no files to hash"),
    ],
)
def test_wrong_tree(
    tmp_path: Path, name: str, reason: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tree without anything to hash is an error with its reason, and the exit code is 2."""
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "below").mkdir(parents=True)
    assert command.run(str(tmp_path / name), 2, 0.1) == 2
    errors = capsys.readouterr().err
    assert (reason if isinstance(reason, str) else os.strerror(reason)) in errors
    assert errors.count("\n") == 1


@needs_posix
def test_make_ends_without_an_error() -> None:
    """The recipe of ``make demo`` takes Ctrl-C for no failure, and any other end for what it is."""
    makefile = Path(__file__).parents[2] / "Makefile"
    if not makefile.is_file():
        pytest.skip("this test runs beside the sources")
    recipe = next(line for line in makefile.read_text().splitlines() if "examples/demo" in line)
    shell = recipe.strip().removeprefix("@").replace("$(PY) examples/demo $(ARGS)", "(exit {})")
    codes = [os.system(shell.replace("$$", "$").format(code)) >> 8 for code in (0, 130, 1)]
    assert codes == [0, 0, 1]


# -- files


def test_default_tree() -> None:
    """Without --tree the standard library is hashed, without what is not part of it."""
    root, paths, size = files.list_files(None)
    names = {Path(path).relative_to(root).as_posix() for path in paths}
    assert "email/message.py" in names
    assert not any("site-packages" in name or "__pycache__" in name for name in names)
    assert 0 < size <= files.MOST_BYTES


@pytest.mark.parametrize("name", ["fifo", "linked", "below"])
def test_what_became_no_file(tree: Path, name: str) -> None:
    """What a file was replaced by is neither followed nor waited for."""
    assert files.digest_of(str(tree / name)) == files.UNREADABLE


def test_caps(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that is too large is cut."""
    monkeypatch.setattr(files, "MOST_BYTES", 10_000)
    _, paths, size = files.list_files(str(tree))
    assert size == sum(Path(path).stat().st_size for path in paths) <= 10_000
    monkeypatch.setattr(files, "MOST_FILES", 3)
    assert len(files.list_files(str(tree))[1]) == 3


@pytest.mark.parametrize("name", ["plain", "caf\u00e9", "two\nlines", "\x1b[31m", "\udcff"])
def test_printable(name: str) -> None:
    """A path is printed on one line, in ASCII, without control characters, whatever it is."""
    shown = files.printable(name)
    assert shown.isprintable()
    with contextlib.suppress(UnicodeEncodeError):
        assert shown.encode("ascii")
    assert shown.isascii()


def test_jobs_of_many(tree: Path) -> None:
    """Many workers are played by a few processes, and have each file to hash several times."""
    crew = Crew(str(tree), 300, 1.0, seed=None)
    assert crew.total == 7 * 90
    assert sum(map(len, crew.common.shares)) == 300
    assert len(crew.common.shares) == 8
    assert METHOD in START_METHODS
