"""Segments of other users, and root: what is named, what is refused, and whose hands write."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atomic_intenum import BACKEND
from helpers.service import NAMED, command, service
from helpers.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.service import Service

Users = dict[int, tuple[str, ...]]

#: Users that nobody has to have an account for.
THEIRS, OTHER = 12_345, 12_346

#: Binds a folder where others reach it, since they may not reach this Python.
_BIND = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def as_user(user: int, folder: Path) -> tuple[str, ...]:
    """Return what to run a Python with as another user; it sees this one's in that folder."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return (
        *("unshare", "--mount", "--propagation", "private"),
        *("sh", "-c", _BIND, "sh", sys.base_prefix, str(folder)),
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
        *("env", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"),
        f"LD_LIBRARY_PATH={folder / 'lib'}",
        str(folder / "bin" / name),
    )


@pytest.fixture(scope="module")
def users() -> Iterator[Users]:
    """Give how to run a Python as each user; skip where that is not permitted."""
    # Not in pytest's own folder: each run that starts closes it to others anew.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        found = {user: as_user(user, folder) for user in (THEIRS, OTHER)}
        permitted = False
        if sys.platform == "linux":
            with contextlib.suppress(FileNotFoundError):
                permitted = command("--version", python=found[OTHER]).returncode == 0
        if not permitted:
            pytest.skip("no other users here: it takes root, unshare and setpriv")
        yield found


pytestmark = pytest.mark.skipif(not NAMED, reason="no compiled core: nothing has a name")


@pytest.fixture(scope="module")
def theirs(users: Users) -> Iterator[Service]:
    """Run a service of another user."""
    with service(python=users[THEIRS]) as it:
        yield it


def test_what_one_may_not_read_is_named(theirs: Service, users: Users) -> None:
    """`list` names another user's segment, its user, and why there is no more; and exits with 0."""
    finished = command("list", python=users[OTHER])
    assert (finished.returncode, finished.stderr) == (0, "")
    line = f"{theirs.board}: only its user and root may read it (user {THEIRS})"
    assert line in finished.stdout.splitlines()
    said = json.loads(command("list", "--json", python=users[OTHER]).stdout)
    (found,) = (each for each in said["segments"] if each["name"] == theirs.board)
    assert (found["user"], found["creator"], found["counts"]) == (THEIRS, None, {})


@pytest.mark.parametrize("arguments", [["show"], ["watch"], ["wait", "DONE"], ["set", "DONE"]])
def test_what_one_may_not_read_is_refused(
    arguments: list[str], theirs: Service, users: Users
) -> None:
    """A command on another user's segment says so in a line and exits with 2."""
    finished = command(arguments[0], theirs.board, *arguments[1:], python=users[OTHER])
    assert (finished.returncode, finished.stdout) == (2, "")
    if BACKEND != "lock" or arguments == ["show"]:
        assert finished.stderr == (
            f"atomic-intenum {arguments[0]}: {theirs.board}: only its user and root may read it "
            f"(user {THEIRS})\n"
        )


#: Runs what follows.
_EXEC = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
#: Lines of the screen: whatever else the machine has in shared memory is listed too.
_TALL = 1000


@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list",), 0),
        (("show", "NAME"), 2),
        (("watch", "NAME"), 2),
        (("wait", "NAME", "DONE", "--timeout", "0"), 2),
        (("set", "NAME", "DONE", "--index", "0"), 2),
        (("metrics",), 0),
    ],
)
def test_each_on_a_terminal(
    arguments: tuple[str, ...], code: int, theirs: Service, users: Users
) -> None:
    """On a terminal each command tells what another user may not read, or leaves it out."""
    given = [theirs.board if each == "NAME" else each for each in arguments]
    program = ("-c", _EXEC, *users[OTHER], "-m", "atomic_intenum")
    with terminal(*given, program=program, width=160, height=_TALL) as screen:
        assert screen.end() == code
        assert "Traceback" not in screen.text()
        assert ("only its user and root may read it" in screen.text()) == (given[0] != "metrics")
    if given[0] in ("show", "wait", "list"):
        with terminal(*given, width=160, height=_TALL) as screen:  # as root
            assert screen.end() == (1 if given[0] == "wait" else 0)
            assert theirs.board in screen.text()


def test_metrics_leave_out_what_one_may_not_read(theirs: Service, users: Users) -> None:
    """`metrics` has this user's segments alone, and root's has all."""
    finished = command("metrics", python=users[OTHER])
    assert (finished.returncode, finished.stderr) == (0, "")
    assert theirs.board not in finished.stdout
    assert f'member="PENDING",segment="{theirs.board}"' in command("metrics").stdout


def test_root_reads_all(theirs: Service) -> None:
    """Root sees whose processes are in what state."""
    finished = command("show", theirs.board)
    assert finished.stdout.startswith(f"{theirs.board}: 10 words\n")
    assert f"  creator  {theirs.pid} " in finished.stdout


@pytest.mark.only_on("native", "cffi")
def test_root_writes_as_the_user(theirs: Service) -> None:
    """What root waits for and sets it attaches as the user who owns it."""
    finished = command("set", theirs.status, "CALCULATING", "--if", "IDLE")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert theirs.ask("status.name") == "'CALCULATING'"
    assert command("wait", theirs.status, "CALCULATING", "--timeout", "0").returncode == 0
    assert command("set", theirs.status, "IDLE").returncode == 0


@pytest.mark.only_on("native", "cffi")
def test_root_cleans_as_the_user(users: Users) -> None:
    """Root removes what another user's dead process left, and another user does not."""
    with service(python=users[THEIRS]) as it:
        it.kill()
        finished = command("clean", "--yes", python=users[OTHER])
        assert it.board not in finished.stdout
        finished = command("clean", "--yes")
        assert (finished.returncode, finished.stderr) == (0, "")
        assert not command("show", it.board).stdout
