"""The command that watches: what a terminal shows, what a pipe gets, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from helpers import inside
from helpers.service import NAMED, kept, memory, service, started
from helpers.support import environment
from helpers.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers import inside
from helpers.service import Service

pytestmark = [
    pytest.mark.only_on("native", "cffi"),
    pytest.mark.skipif(not NAMED, reason="no compiled core: nothing has a name"),
    pytest.mark.skipif(sys.platform != "linux", reason="shared memory is not listed"),
]


@pytest.fixture
def there() -> Iterator[Service]:
    """Run a service with many words."""
    with service(10_000) as it:
        yield it


def test_a_line_a_change(there: Service) -> None:
    """A value's watcher gets its member, and then a line for each change, as it comes."""
    with started("watch", there.status) as process:
        clock = r"\d\d:\d\d:\d\d\.\d{3} "
        assert re.fullmatch(rf"{clock}{there.status}: IDLE\n", process.stdout.readline())
        there.ask("status.set('CALCULATING')")
        line = process.stdout.readline()
        assert re.fullmatch(rf"{clock}{there.status}: IDLE -> CALCULATING\n", line)
        there.ask("status.set('UNAVAILABLE')")
        assert "CALCULATING -> UNAVAILABLE" in process.stdout.readline()


def test_json_for_programs(there: Service) -> None:
    """With --json each change is an object in a line, of values and of arrays."""
    with started("watch", "--json", there.status, there.board) as process:
        first = [json.loads(process.stdout.readline()) for _ in "ab"]
        by_name = {each["name"]: each for each in first}
        assert by_name[there.status]["member"] == "IDLE"
        assert by_name[there.status]["before"] is None
        assert by_name[there.board]["counts"] == {"PENDING": 10}
        assert by_name[there.board]["changed"] == {str(i): "PENDING" for i in range(10)}
        there.ask("board.at(4).set('DONE')")
        said = json.loads(process.stdout.readline())
        assert said["changed"] == {"4": "DONE"}
        assert said["counts"] == {"PENDING": 9, "DONE": 1}
        there.ask("[status.set(name) for name in ('CALCULATING', 'IDLE', 'CALCULATING')]")
        said = json.loads(process.stdout.readline())
        while said["member"] != "CALCULATING" or said["before"] == "CALCULATING":
            said = json.loads(process.stdout.readline())
        assert (said["schema"], said["name"], said["value"]) == (1, there.status, 3)
        assert abs(said["at"] - time.time()) < 60


def test_an_array_in_lines(there: Service) -> None:
    """Without a terminal an array is a line of counts, and of what has changed."""
    with started("watch", there.many) as process:
        assert process.stdout.readline().endswith(f" {there.many}: 10,000 PENDING\n")
        there.ask("many.at(7).set('DONE')")
        line = process.stdout.readline()
        assert line.endswith(f" {there.many}: 9,999 PENDING, 1 DONE; now 7 DONE\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_board(width: int, height: int, there: Service) -> None:
    """On a terminal a small array has a line a word, with its owner; a large one letters."""
    pid = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    with terminal("watch", there.board, width=width, height=height) as screen:
        text = screen.until(lambda text: f"0 RUNNING  {pid} " in text and "q ends" in text)
        assert text.startswith(f"{there.board}  JobEnum, 10 words, created by {there.pid} ")
        assert re.search(r"^P PENDING +9 +90%  █+$", text, re.MULTILINE)
        assert re.search(r"^R RUNNING +1 +10%  █+$", text, re.MULTILINE)
        assert len(re.findall(r"^\d PENDING$", text, re.MULTILINE)) == 9
        there.ask("board.at(9).set('DONE')")
        screen.until("9 DONE")
        there.ask(f"kill({pid})")
        screen.until("0 PENDING")  # who waits notices the death, and this command waits
        screen.press(b"q")
        assert screen.end() == 0
        assert not screen.is_raw()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_board_of_many(width: int, height: int, there: Service) -> None:
    """10,000 words fit: a letter is several of them, and the legend says how many."""
    with terminal("watch", there.many, width=width, height=height) as screen:
        text = screen.until(r"a letter is ")
        lines = text.splitlines()
        (each,) = re.findall(r"a letter is (\d+) words", text)
        cells = "".join(line for line in lines if set(line) == {"P"})
        assert len(cells) == -(-10_000 // int(each))
        assert all(len(line) <= width for line in lines)
        there.ask("many.fill('DONE')")
        text = screen.until(partial(re.search, r"(?m)^D DONE +10,000 +100%"))
        screen.until("D" * width)


def test_several_at_once(there: Service) -> None:
    """Boards share the screen, and the values' changes are lines below them."""
    with terminal("watch", there.status, there.board, there.many) as screen:
        screen.until(lambda text: all(name in text for name in (there.board, there.many)))
        there.ask("status.set('CALCULATING')")
        text = screen.until(f"{there.status}: IDLE -> CALCULATING")
        assert text.splitlines()[-1] == "q ends"


def is_filled(name: str, height: int, text: str) -> bool:
    """Tell whether a board fills a screen of that height, from its title to its last line."""
    lines = text.splitlines()
    whole = lines[0].startswith(f"{name}  ") and lines[height - 1 :] == ["q ends"]
    return whole and text.count("q ends") == text.count(name) == 1


def test_a_dumb_terminal(there: Service) -> None:
    """A terminal that can do nothing gets lines."""
    with terminal("watch", there.board, TERM="dumb", width=100) as screen:
        screen.until(f"{there.board}: 10 PENDING")
        screen.press(b"q")
        assert screen.end() == 0
    assert b"\x1b" not in screen.written


def test_resizing(there: Service) -> None:
    """A terminal that gets another size is filled anew, at once, with nothing left over."""
    with terminal("watch", there.many) as screen:
        screen.until("q ends")
        for width, height in ((160, 50), (40, 12), (100, 30)):
            screen.resize(width, height)
            screen.until(partial(is_filled, there.many, height))
        for width, height in ((20, 4), (1, 1), (80, 24)):
            screen.resize(width, height)
        screen.until(partial(is_filled, there.many, 24))


@pytest.mark.parametrize("name", ["status", "board"])
@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"Q", 0), (b"\x03", 130)])
def test_it_ends(key: bytes, code: int, name: str, there: Service) -> None:
    """Q ends it with 0 and Ctrl-C with 130, and the terminal is as it was."""
    with terminal("watch", getattr(there, name)) as screen:
        screen.until(getattr(there, name))
        assert screen.is_raw()
        screen.press(key)
        assert screen.end() == code
        assert not screen.is_raw()
        assert "Traceback" not in screen.text()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_restore_the_terminal(name: str, there: Service) -> None:
    """A signal that ends it leaves the terminal as it was."""
    with terminal("watch", there.board) as screen:
        screen.until("q ends")
        number: int = getattr(signal, name)
        screen.process.send_signal(number)
        assert screen.end() == 128 + number
        assert not screen.is_raw()
        assert screen.written.rstrip().endswith((b"\x1b[?25h", b"\x1b[?1049l"))


def test_creator_is_killed(there: Service) -> None:
    """When the creator is killed the watcher says so, and goes on with what others write."""
    with kept(there.status), kept(there.board), terminal("watch", there.status) as screen:
        screen.until("IDLE")
        with terminal("watch", there.board) as board:
            board.until("q ends")
            there.kill()
            screen.until(f"its creator {there.pid} has ended")
            board.until(f"created by {there.pid} gone")
        subprocess.run(
            [sys.executable, "-m", "atomic_intenum", "set", there.status, "CALCULATING"],
            check=True,
            capture_output=True,
            env=environment(),
        )
        screen.until("IDLE -> CALCULATING")


def test_service_starts_anew(there: Service) -> None:
    """When another process makes a segment of that name, its watcher goes over to that one."""
    name = there.status
    with started("watch", name) as process:
        process.stdout.readline()
        there.ask("status.unlink()")
        assert "the name is gone: waiting for another creator" in process.stdout.readline()
        with service() as other:
            anew = f"type(status)('CALCULATING', segment_name={name!r})"
            other.ask(f"setattr(type(status), 'again', {anew})")
            assert f"another one, created by {other.pid} " in process.stdout.readline()
            assert process.stdout.readline().endswith(f" {name}: CALCULATING\n")
            other.ask("type(status).again.set('IDLE')")
            assert "CALCULATING -> IDLE" in process.stdout.readline()


@pytest.mark.parametrize("name", ["status", "board"])
def test_words_that_are_no_members(name: str, there: Service) -> None:
    """A word that holds no member's number is shown by the number, and the watch goes on."""
    word = "status" if name == "status" else "board.at(3)"
    write = "__import__('helpers.support').support.write_word"
    with started("watch", getattr(there, name)) as process:
        process.stdout.readline()
        there.ask(f"{write}({word}, 99, 5)")
        there.ask("board.at(4).set('DONE')")  # who writes past the API wakes nobody
        while "99" not in (line := process.stdout.readline()):
            assert line
        there.ask(f"{word}.set({word}.EnumType(3))")
        while f"{'CALCULATING' if name == 'status' else '2 DONE'}" not in line:
            line = process.stdout.readline()
            assert line


def test_another_one_has_the_name(there: Service) -> None:
    """What was read of one segment is not believed of the next that has its name."""
    opening = inside.opening()
    info = opening.found(there.status)
    there.ask("status.unlink()")
    with service() as other:
        other.ask(f"setattr(type(status), 'x', type(status)('IDLE', segment_name={info.name!r}))")
        with pytest.raises(opening.ReplacedError, match="another one has taken its place"):
            opening.opened(info)


def test_under_load(there: Service) -> None:
    """What is written without a pause is shown a few times a second, and keys are heard."""
    there.ask("thread()")
    with terminal("watch", there.status, there.board, there.many) as screen:
        screen.until("writes)")
        screen.until("D DONE")
        screen.press(b"q")
        assert screen.end() == 0


def seconds_of(pid: int) -> float:
    """Return the time that a process has computed, with its threads."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("seconds", [pytest.param(30, marks=pytest.mark.soak), 3])
def test_idle(seconds: int, there: Service) -> None:
    """While nothing changes it takes less than a hundredth of a core, with 10,000 words."""
    with terminal("watch", there.status, there.board, there.many) as screen:
        screen.until(lambda text: "q ends" in text and "IDLE" in text)
        pause = time.monotonic() + 1.5  # the first look at who lives is over
        while time.monotonic() < pause:
            screen.feed(0.1)
        before, began = seconds_of(screen.process.pid), time.monotonic()
        while time.monotonic() < began + seconds:
            screen.feed(0.1)
        took = seconds_of(screen.process.pid) - before
        # A tick of the clock is 0.01 s: less than that is not seen.
        assert took <= max(0.01 * (time.monotonic() - began), 0.02)
        screen.press(b"q")
        assert screen.end() == 0


def test_segment_that_is_no_good_any_more(there: Service) -> None:
    """A segment that somebody cuts short under its watcher does not end other watches."""
    with started("watch", there.status, there.board) as process:
        for _ in "ab":
            process.stdout.readline()
        memory(there.board).unlink()
        memory(there.board).write_bytes(b"nothing")
        assert f"{there.board}: the name is gone" in process.stdout.readline()
        there.ask("status.set('CALCULATING')")
        assert "IDLE -> CALCULATING" in process.stdout.readline()
