"""The commands that look, wait, write and remove, without a terminal and on one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND
from helpers.marks import named
from helpers.names import path_of, planted
from helpers.service import NAMED, command, kept, memory, service, started
from helpers.support import environment, private_shm
from helpers.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.service import Service

pytestmark = [
    pytest.mark.skipif(not NAMED, reason="no compiled core: nothing has a name"),
    pytest.mark.skipif(sys.platform != "linux", reason="shared memory is not listed"),
]

#: Of a list.
COLUMNS = ["NAME", "KIND", "ENUM", "SIZE", "CREATOR", "OWNERS", "LOCK", "AGE"]


@pytest.fixture(scope="module")
def there() -> Iterator[Service]:
    """Run a service with many words."""
    with service(10_000) as it:
        yield it


def done(*arguments: str, **more: Any) -> str:
    """Return what a command prints that does what it is told."""
    finished = command(*arguments, **more)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def refused(*arguments: str, **more: Any) -> str:
    """Return the one line of a command that cannot do it."""
    finished = command(*arguments, **more)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert re.fullmatch(rf"atomic-intenum {arguments[0]}: [^\n]+\n", finished.stderr)
    return finished.stderr


def told(*arguments: str, code: int = 0) -> Any:
    """Return what a command says to a program."""
    finished = command(*arguments, "--json")
    assert (finished.returncode, finished.stderr) == (code, "")
    said = json.loads(finished.stdout)
    assert said.pop("schema") == 1
    return said


def segment_of(name: str, said: Any) -> Any:
    """Return one of the segments that a command told of."""
    (found,) = (each for each in said["segments"] if each["name"] == name)
    return found


# -- list


def test_list(there: Service) -> None:
    """`list` has a line for each segment: what it is, how large, and who made it."""
    lines = done("list").splitlines()
    assert lines[0].split() == COLUMNS
    (line,) = (line for line in lines if line.startswith(f"{there.many} "))
    assert re.search(rf" array +JobEnum +10,000 +{there.pid} \S*python", line)


def test_list_of_a_process(there: Service) -> None:
    """`list --pid` has what that process made, owns, or has locked, and nothing else."""
    pid = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    said = told("list", "--pid", str(pid))
    assert [each["name"] for each in said["segments"]] == [there.board]
    said = told("list", "--pid", str(there.pid))
    assert {each["name"] for each in said["segments"]} >= {there.board, there.many, there.status}
    there.ask(f"kill({pid})")
    line = [line for line in done("list").splitlines() if line.startswith(there.board)]
    assert " 1, 1 gone " in line[0]
    there.ask("board.recover()")
    assert told("list", "--pid", str(pid)) == {"segments": []}
    assert done("list", "--pid", str(pid)) == f"no segments of process {pid}\n"


def test_list_names_what_is_no_good(there: Service) -> None:
    """`list` tells what it cannot read below what it can, and exits with 0."""
    name = f"t{os.getpid()}-bad"
    with planted(path_of(name), b"#!/bin/sh\n" * 100):
        try:
            output = done("list")
            assert f"\n{name}: it is not a segment of atomic-intenum (user " in output
            assert f"\n{there.status} " in output
            assert segment_of(name, told("list"))["problem"].startswith("it is not a segment")
        finally:
            path_of(name).unlink()


# -- show


def test_show_a_value(there: Service) -> None:
    """`show` has a value's member and number, its enum and its creator."""
    there.ask("status.set('CALCULATING')")
    output = done("show", there.status)
    assert output.startswith(f"{there.status}: CALCULATING (3)\n")
    assert "WorkerStatusEnum: UNAVAILABLE 1, IDLE 2, CALCULATING 3" in output
    assert f" creator  {there.pid} " in output


def test_show_who_is_in_what_state(there: Service) -> None:
    """`show` has the words of each member, with their owners' pids and commands, and locks."""
    pids = [int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))")) for _ in "ab"]
    there.ask("board.at(7).get_lock().acquire()")
    output = done("show", there.board)
    assert re.search(r"^PENDING +8 +80%$", output, re.MULTILINE)
    assert re.search(rf"^RUNNING +{pids[0]} \S*python.* 0$", output, re.MULTILINE)
    assert re.search(rf"^RUNNING +{pids[1]} \S*python.* 1$", output, re.MULTILINE)
    assert re.search(rf"^PENDING +{there.pid} .* 7$", output, re.MULTILINE)
    assert re.search(r"^PENDING +2-6, 8-9$", output, re.MULTILINE)
    assert "RUNNING becomes PENDING" in output
    shown = segment_of(there.board, told("show", there.board))
    assert [word["owner"] for word in shown["words"][:3]] == [*pids, None]
    assert [(each["pid"], each["words"]) for each in shown["owners"]] == [(pid, 1) for pid in pids]
    assert [(each["index"], each["pid"]) for each in shown["holders"]] == [(7, there.pid)]
    there.ask("board.at(7).get_lock().release()")
    for pid in pids:
        there.ask(f"kill({pid})")
    there.ask("board.recover()")


def test_show_many_words(there: Service) -> None:
    """`show` of 10,000 words has a line a member and owner, not a line a word."""
    there.ask("many.fill('PENDING')")
    there.ask("[many.at(i).set('DONE') for i in (3, 4, 5, 9_999)]")
    lines = done("show", there.many).splitlines()
    assert len(lines) < 20
    assert "DONE     3-5, 9999" in lines
    shown = segment_of(there.many, told("show", there.many))
    assert len(shown["words"]) == 10_000
    assert shown["words"][4] == {"index": 4, "member": "DONE", "value": 3, "owner": None}


@pytest.mark.parametrize("width", [80, 160])
def test_on_a_terminal(width: int, there: Service) -> None:
    """On a terminal no line of list or show is wider than it, and the columns are the same."""
    pid = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    with terminal("list", "--pid", str(there.pid), width=width) as screen:
        assert screen.end() == 0
        lines = [line for line in screen.text().splitlines() if line]
    assert lines[0].split() == COLUMNS
    assert all(len(line) <= width for line in lines)
    with terminal("show", there.board, width=width) as screen:
        assert screen.end() == 0
        lines = screen.text().splitlines()
    assert any(re.match(rf"RUNNING +{pid} ", line) and line.endswith(" 0") for line in lines)
    there.ask(f"kill({pid})")
    there.ask("board.recover()")


def test_without_rich(there: Service) -> None:
    """Without rich, a terminal gets the plain text."""
    block = "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None\n"
    code = f"{block}sys.argv[0] = 'x'\nfrom atomic_intenum.cli import main\nsys.exit(main())"
    with terminal("show", there.status, program=("-c", code)) as screen:
        assert screen.end() == 0
        assert screen.text().startswith(f"{there.status}: ")
    assert b"\x1b" not in screen.written


def test_nothing_of_a_strangers_reaches_the_terminal(there: Service) -> None:
    """Control characters in names of enums and members are shown as question marks."""
    name = f"t{os.getpid()}-escape"
    text = json.dumps({"enum": "a\x1b[2J", "members": {"I\x1b]0;x\x07": 2}}).encode()
    content = bytearray(memory(there.status).read_bytes())
    content[20:24] = len(text).to_bytes(4, sys.byteorder)
    content[192 : 192 + len(text)] = text
    with planted(path_of(name), bytes(content)):
        try:
            for arguments in (("list",), ("show", name), ("wait", name, "x"), ("set", name, "x")):
                finished = command(*arguments)
                written = finished.stdout + finished.stderr
                assert written
                assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)
            with terminal("show", name) as screen:
                assert screen.end() == 0
                assert "a?[2J: I?]0;x? 2" in screen.text()
        finally:
            path_of(name).unlink()


# -- wait and set


@named
def test_wait_for_what_is(there: Service) -> None:
    """`wait` exits with 0 at once where it is so, and with 1 where --timeout 0 finds it is not."""
    there.ask("status.set('IDLE')")
    assert done("wait", there.status, "CALCULATING", "IDLE") == f"{there.status}: IDLE\n"
    finished = command("wait", there.status, "CALCULATING", "--timeout", "0")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == f"{there.status}: still IDLE after 0 s\n"
    assert done("wait", there.status, "CALCULATING", "--while") == f"{there.status}: IDLE\n"
    assert command("wait", there.status, "IDLE", "--while", "--timeout", "0").returncode == 1
    said = told("wait", there.status, "IDLE")
    assert said == {"name": there.status, "met": True, "member": "IDLE", "index": None}
    said = told("wait", there.status, "CALCULATING", "--timeout", "0", code=1)
    assert said == {"name": there.status, "met": False, "member": None, "index": None}


def is_asleep(there: Service, name: str) -> bool:
    """Tell whether somebody sleeps on a word."""
    return there.ask(f"__import__('helpers.support').support.word_of({name}) >> 33 & 1") == "1"


def until_asleep(there: Service, name: str) -> None:
    """Wait until somebody sleeps on a word."""
    deadline = time.monotonic() + 20
    while not is_asleep(there, name):
        assert time.monotonic() < deadline


@named
def test_wait_sleeps_until_it_is_so(there: Service) -> None:
    """`wait` sleeps on the word, and ends when another process writes what it waits for."""
    there.ask("status.set('IDLE')")
    with started("wait", there.status, "CALCULATING") as process:
        until_asleep(there, "status")
        there.ask("status.set('UNAVAILABLE')")
        until_asleep(there, "status")
        there.ask("status.set('CALCULATING')")
        assert process.communicate(timeout=20) == (f"{there.status}: CALCULATING\n", "")
        assert process.returncode == 0


@named
def test_wait_for_an_array(there: Service) -> None:
    """`wait` of an array is for all words; for one with --any; for that one with --index."""
    there.ask("board.fill('PENDING')")
    assert done("wait", there.board, "PENDING") == f"{there.board}: every word is PENDING\n"
    there.ask("board.at(3).set('DONE')")
    assert command("wait", there.board, "PENDING", "--timeout", "0").returncode == 1
    text = done("wait", there.board, "RUNNING", "DONE", "--any")
    assert text == f"{there.board}: word 3 is one of RUNNING, DONE\n"
    assert done("wait", there.board, "DONE", "--index", "3") == f"{there.board}: DONE\n"
    assert command("wait", there.board, "DONE", "--index", "4", "--timeout", "0").returncode == 1
    assert command("wait", there.board, "DONE", "--while", "--timeout", "0").returncode == 1
    done("wait", there.board, "RUNNING", "--while")
    assert told("wait", there.board, "DONE", "--any")["index"] == 3
    there.ask("board.fill('PENDING')")


@named
def test_wait_for_what_is_not_there_yet() -> None:
    """`wait --timeout` waits for the segment as well, so long; without, it must be there."""
    name = f"t{os.getpid()}-late"
    assert "its creator has not started" in refused("wait", name, "IDLE")
    assert "its creator has not started" in refused("wait", name, "IDLE", "--timeout", "0.05")
    with service() as it, started("wait", name, "IDLE", "--timeout", "20") as process:
        it.ask(f"setattr(type(status), 'late', type(status)('IDLE', segment_name={name!r}))")
        assert process.communicate(timeout=20) == (f"{name}: IDLE\n", "")


@pytest.mark.slow
@named
def test_wait_has_one_deadline() -> None:
    """The time of `wait` is for the name and for the state together."""
    name = f"t{os.getpid()}-once"
    with service() as it, started("wait", name, "CALCULATING", "--timeout", "5") as process:
        began = time.monotonic()
        it.ask("__import__('time').sleep(4)")
        it.ask(f"setattr(type(status), 'late', type(status)('IDLE', segment_name={name!r}))")
        assert process.communicate(timeout=20) == ("", f"{name}: still IDLE after 5 s\n")
        assert process.returncode == 1
        # Of the state alone, the 5 s would begin when 4 are over.
        assert time.monotonic() - began < 8.5


@named
def test_wait_needs_somebody_who_answers() -> None:
    """`wait` fails with 2 where nobody answers for the segment, also if that comes meanwhile."""
    with service() as it, started("wait", it.status, "CALCULATING") as process:
        until_asleep(it, "status")
        it.kill()
        # Any process that creates something removes it.
        messages = (
            f"{it.status}: its creator {it.pid} has ended, and nobody else answers for it",
            f"{it.status}: it was removed, and who makes another makes another value",
            f"no value or array is called {it.status!r}: its creator has not started, or has ended",
        )
        lines = [f"atomic-intenum wait: {message}\n" for message in messages]
        output, errors = process.communicate(timeout=20)
        assert (output, process.returncode) == ("", 2)
        assert errors in lines[:2]
        assert refused("wait", it.status, "IDLE", "--timeout", "0") in lines


@named
def test_wait_for_the_next_one() -> None:
    """`wait --timeout` passes over what a dead creator has left, and waits for the next one."""
    with service() as it:
        left = memory(it.status).read_bytes()
        it.kill()  # from now on whoever creates something removes it
        began = time.monotonic()
        refused("wait", it.status, "IDLE", "--timeout", "0.5")
        assert time.monotonic() - began >= 0.5
        with started("wait", it.status, "CALCULATING", "--timeout", "20") as process:
            draft = memory(f"{it.status}.new")
            draft.write_bytes(left[:40] + bytes(8) + left[48:])
            with kept(f"{it.status}.new"):
                draft.rename(memory(it.status))
                done("set", it.status, "CALCULATING")
                assert process.communicate(timeout=20) == (f"{it.status}: CALCULATING\n", "")


@named
def test_wait_for_what_is_half_made() -> None:
    """`wait` gives a creator that is at it a second, and its whole time."""
    name = f"t{os.getpid()}-making"
    with service() as it, planted(path_of(name), bytes(4096)):
        assert "it is half made" in refused("wait", name, "IDLE")
        with started("wait", name, "IDLE", "--timeout", "20") as process:
            content = memory(it.status).read_bytes()
            draft = memory(f"{name}.draft")
            draft.write_bytes(content)
            with kept(f"{name}.draft"):
                draft.rename(path_of(name))
                assert process.communicate(timeout=20) == (f"{name}: IDLE\n", "")
        path_of(name).unlink()


@named
def test_wait_is_interrupted(there: Service) -> None:
    """Ctrl-C ends a wait with 130, without a traceback."""
    there.ask("status.set('IDLE')")
    with terminal("wait", there.status, "CALCULATING") as screen:
        until_asleep(there, "status")
        screen.press(b"\x03")
        assert screen.end() == 130
        assert "Traceback" not in screen.text()


@named
def test_set(there: Service) -> None:
    """`set` writes; with --if only over that member, and else exits with 1 and changes nothing."""
    there.ask("status.set('IDLE')")
    assert done("set", there.status, "CALCULATING") == f"{there.status}: IDLE -> CALCULATING\n"
    finished = command("set", there.status, "UNAVAILABLE", "--if", "IDLE")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == f"{there.status}: it is CALCULATING, not IDLE\n"
    said = told("set", there.status, "IDLE", "--if", "IDLE", code=1)
    assert said["done"] is False
    assert said["member"] == said["before"] == "CALCULATING"
    said = told("set", there.status, "IDLE", "--if", "CALCULATING")
    assert said.pop("name") == there.status
    assert said == {"index": None, "done": True, "member": "IDLE", "before": "CALCULATING"}
    assert there.ask("status.name") == "'IDLE'"
    done("set", there.board, "DONE", "--index", "9")
    assert there.ask("board[9].name") == "'DONE'"
    there.ask("board.fill('PENDING')")


@named
def test_set_never_leases(there: Service) -> None:
    """What set writes is nobody's, though on_death maps it; an owner who called own() stays."""
    done("set", there.board, "RUNNING", "--index", "2")
    assert there.ask("board.owner(2)") == "None"
    assert there.ask("(board.recover(), board[2].name)") == "([], 'RUNNING')"
    there.ask("board.at(5).own()")
    done("set", there.board, "RUNNING", "--index", "5")
    done("set", there.board, "DONE", "--index", "5", "--if", "RUNNING")
    assert there.ask("(board[5].name, board.owner(5))") == f"('DONE', {there.pid})"
    there.ask("board.at(5).disown()")
    pid = there.ask("fork(lambda: board.at(6).set('RUNNING'))")
    done("set", there.board, "DONE", "--index", "6")
    there.ask(f"kill({pid})")
    assert there.ask("(board.recover(), board[6].name)") == "([], 'DONE')"
    there.ask("board.fill('PENDING')")


@named
def test_claims_from_shells(there: Service) -> None:
    """Of several shells that set --if at once, one gets the job."""
    arguments = ("set", there.board, "RUNNING", "--if", "PENDING", "--index", "0")
    with contextlib.ExitStack() as stack:
        claimers = [stack.enter_context(started(*arguments)) for _ in range(6)]
        assert sorted(each.wait(20) for each in claimers) == [0, 1, 1, 1, 1, 1]
    there.ask("board.fill('PENDING')")


@named
def test_what_has_no_name(there: Service) -> None:
    """`wait`, `watch` and `set` of values without a name say so; `show` shows them."""
    there.ask("setattr(type(status), 'kept', [type(status)('IDLE') for _ in range(3)])")
    said = told("list", "--pid", str(there.pid))
    (name,) = (each["name"] for each in said["segments"] if each["kind"] == "pool")
    for arguments in (("wait", name, "IDLE"), ("watch", name), ("set", name, "IDLE")):
        assert "it has no name to attach by" in refused(*arguments)
    assert done("show", name).startswith(f"{name}: 3 words\n")
    there.ask("delattr(type(status), 'kept')")


@named
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wait", "STATUS", "DONE"], "WorkerStatusEnum has no member 'DONE': it has UNAVAILABLE"),
        (["set", "STATUS", "IDLE", "--if", "X"], "has no member 'X'"),
        (["set", "BOARD", "DONE"], "it is an array: --index tells which word"),
        (["set", "BOARD", "DONE", "--index", "10"], "there is no word 10: it has 10"),
        (["set", "STATUS", "IDLE", "--index", "1"], "there is no word 1: it has 1"),
        (["wait", "STATUS", "IDLE", "--any"], "--any is for an array"),
        (["wait", "BOARD", "PENDING", "RUNNING", "DONE", "--while"], "always one of all members"),
        (
            ["wait", "STATUS", "UNAVAILABLE", "IDLE", "CALCULATING", "--while"],
            "always one of all members",
        ),
    ],
)
def test_what_cannot_be(arguments: list[str], message: str, there: Service) -> None:
    """What a segment cannot do is told in a line, with exit code 2."""
    names = {"STATUS": there.status, "BOARD": there.board}
    assert message in refused(*(names.get(each, each) for each in arguments))


@pytest.mark.parametrize(
    "arguments", [["show"], ["watch"], ["wait", "IDLE"], ["set", "IDLE"], ["metrics"]]
)
@pytest.mark.parametrize("what", ["nobody", "bad", "../etc/passwd", ""])
def test_no_such_segment(what: str, arguments: list[str]) -> None:
    """A name that nobody has, or that is no good, is told in a line, with exit code 2."""
    name = f"t{os.getpid()}-{what}" if what in ("nobody", "bad") else what
    with contextlib.ExitStack() as stack:
        if what == "bad":
            stack.enter_context(planted(path_of(name), b"nothing" * 100))
            stack.callback(path_of(name).unlink, missing_ok=True)  # another test may clean
        message = refused(arguments[0], name, *arguments[1:])
    if BACKEND == "lock" and arguments[0] in ("wait", "watch", "set"):
        assert "the lock-based path" in message
    else:
        assert ("it is not a segment" if what == "bad" else "no value or array") in message


# -- under load, and beside the dead


@pytest.mark.parametrize("method", ["list", "show", "metrics"])
def test_under_load(method: str) -> None:
    """While everything is written, each look has all words, and nothing that never was."""
    with service(10_000) as it:
        it.ask("thread()")
        for _ in range(3):
            if method == "metrics":
                words = [line for line in done("metrics", it.many).splitlines() if "words{" in line]
                assert sum(float(line.split()[-1]) for line in words) == 10_000
                continue
            said = told("list") if method == "list" else told("show", it.many)
            found = segment_of(it.many, said)
            assert found["problem"] is None
            assert sum(found["counts"].values()) == 10_000
            assert set(found["counts"]) == {"PENDING", "RUNNING", "DONE"}


def test_creator_is_killed_under_load() -> None:
    """Commands go on when the creator is killed meanwhile, and say that it is gone."""
    with service(10_000) as it, contextlib.ExitStack() as stack:
        for name in (it.status, it.board, it.many):
            stack.enter_context(kept(name))
        it.ask("thread()")
        assert f"{it.pid} gone" not in done("show", it.many)
        it.kill()
        assert f"  creator  {it.pid} gone\n" in done("show", it.many)
        (line,) = (line for line in done("list").splitlines() if line.startswith(it.many))
        assert f" {it.pid} gone " in line
        shown = segment_of(it.board, told("show", it.board))
        assert all(owner["alive"] is False for owner in shown["owners"])
        if BACKEND != "lock":
            done("set", it.status, "IDLE")
            done("wait", it.status, "IDLE")


#: A command of each kind, with the names of a service's segments, and its exit code.
EACH = [
    (("list",), 0),
    (("list", "--pid", "1"), 0),
    (("show", "STATUS"), 0),
    (("show", "BOARD"), 0),
    (("show", "MANY"), 0),
    (("show", "BAD"), 2),
    (("wait", "STATUS", "UNAVAILABLE", "IDLE", "CALCULATING"), 0),
    (("wait", "MANY", "DONE", "--any"), 0),
    (("wait", "BOARD", "PENDING", "RUNNING", "DONE", "--timeout", "0"), 0),
    (("set", "MANY", "DONE", "--index", "9999"), 0),
    (("set", "BAD", "DONE"), 2),
    (("clean", "--json"), None),
    (("metrics", "MANY", "STATUS"), 0),
    (("metrics",), 0),
    (("bench", "--seconds", "0.5"), 0),
]


@pytest.fixture(scope="module")
def busy() -> Iterator[dict[str, str]]:
    """Run a service that writes all the time, beside a corrupt segment; yields the names."""
    bad = f"t{os.getpid()}-spoilt"
    with service(10_000) as it, planted(path_of(bad), b"nothing" * 100):
        it.ask("thread()")
        try:
            yield {"STATUS": it.status, "BOARD": it.board, "MANY": it.many, "BAD": bad}
        finally:
            path_of(bad).unlink()


@named
@pytest.mark.parametrize(("arguments", "code"), EACH, ids=lambda each: str(each)[:30])
def test_each_on_a_terminal(
    arguments: tuple[str, ...], code: int | None, busy: dict[str, str]
) -> None:
    """On a terminal each command does what it says beside load, 10,000 words and corrupt ones."""
    with terminal(*(busy.get(each, each) for each in arguments), height=50) as screen:
        ended = screen.end()
        assert ended in ((0, 1) if code is None else (code,))
        assert "Traceback" not in screen.text()
        assert screen.text().strip()
        assert not screen.is_raw()


@named
def test_each_beside_a_dead_creator() -> None:
    """On a terminal each command does what it says of a segment whose creator was killed."""
    with service(10_000) as it, contextlib.ExitStack() as stack:
        for name in (it.status, it.board, it.many):
            stack.enter_context(kept(name))
        it.ask("thread()")
        it.ask("many.wait_any('DONE')")
        it.kill()
        names = {"STATUS": it.status, "BOARD": it.board, "MANY": it.many}
        for arguments, code in EACH:
            if "BAD" in arguments or arguments[0] in ("clean", "bench"):
                continue
            with terminal(*(names.get(each, each) for each in arguments), height=50) as screen:
                assert (screen.end(), arguments) == (code, arguments)
                assert "Traceback" not in screen.text()


def test_the_probe_is_fast(there: Service) -> None:
    """`wait --timeout 0` reads no words, and imports neither rich nor asyncio."""
    code = (
        "import sys; from atomic_intenum.cli import main; main(sys.argv[1:]); "
        "print(*{'rich', 'asyncio', 'importlib.metadata', 'prometheus_client'} & {*sys.modules})"
    )
    arguments = ["wait", there.many, "DONE", "--timeout", "0"]
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert finished.stdout == "\n"


# -- clean

CLEAN = """
import os, signal, subprocess, sys
from pathlib import Path
from atomic_intenum import IntEnumArray
from helpers.support import JobEnum, fork, wait_for
from helpers.service import command

def die(name):
    array = IntEnumArray[JobEnum](5, JobEnum.DONE, segment_name=name)
    os.kill(os.getpid(), signal.SIGKILL)

alive = IntEnumArray[JobEnum](5, JobEnum.DONE, segment_name="alive")
for name in ("one", "two"):
    os.waitpid(fork(lambda: die(name)), 0)
    os.rename(f"/dev/shm/intenum.{name}", f"/dev/shm/.{name}")  # the next creator would sweep it
for name in ("one", "two"):
    os.rename(f"/dev/shm/.{name}", f"/dev/shm/intenum.{name}")
Path("/dev/shm/intenum.foreign").write_bytes(b"x" * 1000)
Path("/dev/shm/intenum.half").write_bytes(b"")

def names():
    return sorted(os.listdir("/dev/shm"))

before = names()
asked = command("clean")
assert (asked.returncode, asked.stderr) == (1, ""), asked
assert asked.stdout.splitlines()[-1] == "--yes removes them", asked
lines = asked.stdout.splitlines()[1:-1]
assert {line.split()[0] for line in lines} == {"one", "two", "half"}, asked
assert "gone" in asked.stdout
assert names() == before
done = command("clean", "--yes")
assert (done.returncode, done.stderr) == (0, ""), done
assert done.stdout.splitlines()[-1] == "removed: half, one, two", done
assert names() == ["intenum.alive", "intenum.foreign"], names()
assert alive.count("DONE") == 5
again = command("clean", "--json")
assert again.stdout == '{"schema": 1, "removed": [], "left": []}\\n', again
assert "nothing to clean" in command("clean").stdout
os.unlink("/dev/shm/intenum.foreign")
"""


@named
def test_clean(tmp_path: Any) -> None:
    """`clean` removes what nobody answers for, when told so, and nothing else."""
    prefix = private_shm("8m")
    if not prefix:
        pytest.skip("no mount namespace here: it takes root")
    script = tmp_path / "script.py"
    script.write_text(CLEAN)
    finished = subprocess.run(
        [*prefix, sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        env=environment(),
    )
    assert (finished.returncode, finished.stderr) == (0, "")


@named
def test_clean_asks_on_a_terminal() -> None:
    """On a terminal clean asks; no, and anything but yes, removes nothing."""
    with service() as it:
        it.kill()
        with terminal("clean") as screen:
            # Any process that creates something may have been faster.
            screen.until(lambda text: "[y/N]" in text or "nothing to clean" in text)
            if "[y/N]" in screen.text():
                screen.press(b"n\n")
                assert screen.end() == 1


@named
def test_clean_without_an_answer() -> None:
    """Where nobody can answer, the end of the input or a closed one, nothing is removed."""
    with service() as it:
        it.kill()
        with terminal("clean") as screen:
            screen.until(lambda text: "[y/N]" in text or "nothing to clean" in text)
            if "[y/N]" in screen.text():
                screen.press(b"\x04")
                assert screen.end() == 1
        line = 'exec "$@" <&-'
        arguments = ["sh", "-c", line, "sh", sys.executable, "-m", "atomic_intenum", "clean"]
        finished = subprocess.run(
            arguments, capture_output=True, text=True, check=False, env=environment()
        )
        assert finished.stderr == ""
        assert finished.returncode in (0, 1)


# -- the lock-based path


@pytest.mark.only_on("lock")
def test_lock_path(there: Service) -> None:
    """What needs the compiled core says so in a line, with exit code 2."""
    for arguments in (
        ("wait", there.status, "IDLE"),
        ("set", there.status, "IDLE"),
        ("watch", there.status),
        ("clean",),
    ):
        assert "takes the compiled core" in refused(*arguments)


# -- how it ends


@pytest.mark.usefixtures("there")
def test_nobody_reads() -> None:
    """When who reads has gone, a command ends with 1 and says nothing."""
    with started("list") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(20) == 1


def test_full_disk(there: Service) -> None:
    """When the output cannot be written, a command says so in a line and exits with 2."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        finished = subprocess.run(
            [sys.executable, "-m", "atomic_intenum", "show", there.status],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
            env=environment(),
        )
    assert finished.returncode == 2
    assert re.fullmatch(r"atomic-intenum show: .*No space left on device.*\n", finished.stderr)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, there: Service) -> None:
    """A command does what it is told with its streams closed, and writes nowhere else."""
    for name, code in ((there.status, 0), ("nobody-has-this", 2)):
        line = f'exec "$@" {closed}'
        arguments = ["sh", "-c", line, "sh", sys.executable, "-m", "atomic_intenum", "show", name]
        finished = subprocess.run(
            arguments, capture_output=True, text=True, check=False, env=environment()
        )
        assert finished.returncode == code
        if ">&-" in closed.split():
            assert finished.stdout == ""
        if "2>&-" in closed:
            assert finished.stderr == ""
            assert code == 0 or finished.stdout == ""


def test_a_narrow_encoding(there: Service) -> None:
    """A terminal without such letters gets others, and no traceback."""
    finished = command("show", there.many, PYTHONIOENCODING="ascii")
    assert finished.returncode == 0
    with terminal("show", there.many, PYTHONIOENCODING="ascii") as screen:
        assert screen.end() == 0
        assert "PENDING" in screen.text()
