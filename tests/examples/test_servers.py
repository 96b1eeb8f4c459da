"""The examples that are web servers: each serves its own requests, is killed, and is stopped."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import socket
import sys
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from helpers.demos import segments_of
from helpers.marks import named, needs_life_locks
from helpers.programs import EXAMPLES, MARKS, get, running
from helpers.support import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helpers.programs import Program

pytestmark = [*MARKS, needs_life_locks]


#: Before a program: it is started as by a script's &, which has it ignore SIGINT.
IN_BACKGROUND = ("sh", "-c", 'trap "" INT && exec "$@"', "sh")


def needs(server: str) -> pytest.MarkDecorator:
    """Skip a test where its server is not installed."""
    return pytest.mark.skipif(find_spec(server) is None, reason=f"{server} is not installed")


class Board:
    """The rows that a server answers with.

    Args:
        url: of the server.
        gaps: whether it may fail to answer after it has begun to: uvicorn closes what it has just
            accepted, as a worker ends.

    """

    def __init__(self, url: str, *, gaps: bool = False) -> None:
        self.url = f"{url}/workers"
        self.gaps = gaps
        self.rows: list[dict[str, Any]] = []

    @property
    def pids(self) -> set[int]:
        """Whose the rows are, as they were last seen."""
        return {row["pid"] for row in self.rows}

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Ask until the rows are so; each answer must be a good one."""

        def look() -> bool:
            # One that uvicorn has accepted as its worker ends is never answered.
            code, text = get(self.url, 2.0 if self.gaps else DEADLINE)
            if code == 0 and (self.gaps or not self.rows):
                return False
            assert code == 200, text
            self.rows = json.loads(text)
            return condition()

        try:
            until(look, what)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {self.rows}") from None

    def until_work(self, size: int, pids: set[int]) -> None:
        """Ask until so many workers are at work, and none of them is one of those."""

        def work() -> bool:
            told = {row["status"] for row in self.rows}
            return len(self.rows) == size and told == {"IDLE", "BUSY"} and not self.pids & pids

        self.until(work, f"{size} new workers' work")


def kill_one(server: Program, board: Board, left: dict[str, Any] | None) -> None:
    """Kill an IDLE worker, see its row, and then see that the next worker takes it.

    Args:
        server: whose parent is held meanwhile: it would start the next worker at once.
        board: of its workers.
        left: what the row is then, but for its number; None: nobody's.

    """
    size, before = len(board.rows), board.pids
    killed = next(row for row in board.rows if row["status"] == "IDLE")
    os.kill(server.pid, signal.SIGSTOP)
    os.kill(killed["pid"], signal.SIGKILL)
    expected = [] if left is None else [{"row": killed["row"], **left}]

    def is_left() -> bool:
        return [row for row in board.rows if row["row"] == killed["row"]] == expected

    board.until(is_left, "the killed worker's row")
    os.kill(server.pid, signal.SIGCONT)
    board.until_work(size, {killed["pid"]})
    taken = next(row for row in board.rows if row["row"] == killed["row"])
    assert taken["pid"] not in before
    assert board.pids - {taken["pid"]} == before - {killed["pid"]}


@pytest.mark.parametrize("name", ["gunicorn_board/scoreboard", "uvicorn_board"])
def test_row_that_is_just_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is taken while a board is read is told with its pid, by the next answer."""
    folder, _, module_name = name.rpartition("/")
    monkeypatch.syspath_prepend(EXAMPLES / folder)
    module = importlib.import_module(module_name)
    monkeypatch.delitem(sys.modules, module_name)
    free, idle = module.Status.FREE, module.Status.IDLE
    owners = module.Board.owners

    def owners_before_a_claim(board: Any) -> list[int | None]:
        found: list[int | None] = owners(board)
        assert board.claim(free, idle) is not None
        return found

    monkeypatch.setattr(module.Board, "owners", owners_before_a_claim)
    board = module.Board(size=2, initial=free, on_death={idle: free})
    with contextlib.closing(board):
        reader = module.Worker() if hasattr(module, "Worker") else module
        monkeypatch.setattr(reader, "board", board, raising=False)
        assert reader.rows() == []
        assert reader.rows() == [{"row": 0, "pid": os.getpid(), "status": "IDLE"}]


@needs("gunicorn")
def test_gunicorn(tmp_path: Path) -> None:
    """Four workers have rows: a killed one's is DEAD, then taken, and a reload replaces all."""
    command = ("-m", "gunicorn", "--bind=127.0.0.1:0", "app:app")
    with running(tmp_path, *command, cwd=EXAMPLES / "gunicorn_board") as server:
        board = Board(server.says(r"Listening at: (http://\S+)")[1])
        board.until_work(4, set())
        kill_one(server, board, {"pid": None, "status": "DEAD"})
        memory = segments_of(server.pid)
        os.kill(server.pid, signal.SIGHUP)
        board.until_work(4, board.pids)
        assert segments_of(server.pid) == memory  # the configuration ran again, with the same board
        assert get(board.url.removesuffix("workers")) == (404, '"ask for /workers"')
        assert server.end() == 0
        assert "Traceback" not in server.output


@named
@needs("uvicorn")
def test_uvicorn(tmp_path: Path) -> None:
    """Two workers have rows: a killed one's is free, then taken, and a reload replaces both."""
    with running(tmp_path, "uvicorn_board.py", "0") as server:
        board = Board(server.says(r"running on (http://\S+)")[1], gaps=True)
        board.until_work(2, set())
        kill_one(server, board, None)
        os.kill(server.pid, signal.SIGHUP)
        board.until_work(2, board.pids)
        assert get(board.url.removesuffix("workers")) == (404, '"ask for /workers"')
        assert server.end() == 0
        assert "Traceback" not in server.output


@named
@needs("uvicorn")
def test_uvicorn_without_a_board(tmp_path: Path) -> None:
    """Whoever starts uvicorn by hand is told how to start it, and it does not serve."""
    with running(tmp_path, "-m", "uvicorn", "--port=0", "uvicorn_board:app") as server:
        server.says("start it by: python examples/uvicorn_board.py")
        assert server.wait() != 0


def pids_of(server: Program, starts: int) -> list[int]:
    """Return the pids of all workers that the server has started, once they are so many."""
    pattern = r"^worker \d is (\d+)$"
    until(lambda: len(re.findall(pattern, server.output, re.MULTILINE)) >= starts, "the workers")
    return [int(pid) for pid in re.findall(pattern, server.output, re.MULTILINE)]


def answer(url: str) -> str:
    """Return what a worker answers, asking again while none is free."""
    answers: list[tuple[int, str]] = []

    def look() -> bool:
        answers.append(get(url))
        return answers[-1][0] != 503

    until(look, "a free worker")
    code, text = answers[-1]
    assert code == 200, text
    return text


def test_asyncio_server(tmp_path: Path) -> None:
    """A request gets a worker, 503 while none is free, and 502 if its worker is killed."""
    command = ("-W", "error", "asyncio_server.py", "0")
    with running(tmp_path, *command, prefix=IN_BACKGROUND) as server:
        url = server.says(r"^(http://\S+)$")[1]
        first = pids_of(server, 4)
        said, _, pid = answer(f"{url}/25").strip().rpartition(" ")
        assert said == "25 squared is 625, says process"
        assert int(pid) in first
        for path in ("", "x", "-1", "1" * 5000):
            assert get(f"{url}/{path}") == (404, "ask for a number\n")

        for worker in first:
            os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor(5) as clients:
            asked = [clients.submit(get, f"{url}/{number}") for number in range(5)]
            done, others = wait(asked, DEADLINE, FIRST_COMPLETED)
            for worker in first:
                os.kill(worker, signal.SIGKILL)
            assert [each.result() for each in done] == [(503, "no worker is free\n")]
            assert {each.result() for each in others} == {(502, "the worker died\n")}

        second = pids_of(server, 8)[4:]
        assert int(answer(f"{url}/4").split()[-1]) in second
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
            answer(f"{url}/4")  # by now it has accepted a client that says nothing
            assert server.end() == 0
        # Earlier ones tell that the silent client's task was cancelled.
        if sys.version_info >= (3, 13):
            assert len(server.output.splitlines()) == 9
