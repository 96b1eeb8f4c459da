"""The examples that are plain programs, each run as it is."""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from helpers import elsewhere
from helpers.demos import segments_of
from helpers.marks import named, needs_life_locks, needs_robust
from helpers.pages import DOCS
from helpers.programs import EXAMPLES, MARKS, output_of, running
from helpers.support import METHODS, ROOT, SHM, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helpers.programs import Program

pytestmark = MARKS

#: Before a program: it becomes the first process of a PID namespace, as that of a container.
IN_CONTAINER = ("unshare", "--pid", "--fork", "--kill-child")

needs_namespaces = pytest.mark.skipif(
    shutil.which("unshare") is None or not elsewhere.can(),
    reason="no PID namespaces: not permitted",
)


def promised(example: str) -> str:
    """Return what an example's docstring says that it prints: the last indented block."""
    docstring = (EXAMPLES / example).read_text().split('"""')[1]
    block = re.findall(r"(?:^    .*\n)+", docstring, re.MULTILINE)[-1]
    return str(re.sub(r"^    ", "", block, flags=re.MULTILINE))


@pytest.mark.parametrize("method", METHODS)
def test_child_and_parent_wait_for_each_other(method: str, tmp_path: Path) -> None:
    """A status goes to a child of any start method, and both print what the docstring promises."""
    example = "status_and_child.py"
    assert output_of(tmp_path, example, method) == promised(example)


@needs_robust
@named
@pytest.mark.parametrize("method", METHODS)
def test_values_change_together(method: str, tmp_path: Path) -> None:
    """No look finds one value changed without the other, and a killed writer's half is mended."""
    assert output_of(tmp_path, "together.py", method) == promised("together.py")


@needs_life_locks
@pytest.mark.parametrize("method", METHODS)
def test_killed_workers_job_is_done(method: str, tmp_path: Path) -> None:
    """A job whose worker is killed is done by another one, and each other job is begun once."""
    output = output_of(tmp_path, "jobs.py", method)
    killed = re.search(r"^kill -9 (\d+), in the middle of job (\d+)$", output, re.MULTILINE)
    assert killed is not None, output
    pid, job = killed.groups()
    begun = re.findall(r"^(\d+) does job (\d+)$", output, re.MULTILINE)
    *first, last = (each for each, index in begun if index == job)
    assert first in ([pid], [])  # perhaps it could not say so
    assert last != pid
    wanted = [*range(12), *[int(job)] * len(first)]
    assert sorted(int(index) for _, index in begun) == sorted(wanted)
    assert output.endswith("12 of 12 jobs are DONE; exit codes: -9, 0, 0\n")
    assert len(output.splitlines()) == len(begun) + 2


# -- the supervisor


def workers_of(supervisor: Program) -> list[int]:
    """Return the pids of the four workers, once they run."""
    supervisor.says(r"^worker 3 is")
    return [
        int(pid) for pid in re.findall(r"^worker \d is (\d+)$", supervisor.output, re.MULTILINE)
    ]


@needs_life_locks
def test_supervisor_restarts_a_killed_worker(tmp_path: Path) -> None:
    """A worker that is killed is restarted, and all of them stop when the supervisor is told to."""
    with running(tmp_path, "supervisor.py") as supervisor:
        pids = workers_of(supervisor)
        os.kill(pids[1], signal.SIGKILL)
        again = supervisor.says(r"^worker 1 died: exit code -9\nworker 1 is (\d+)$")
        assert int(again[1]) not in pids
        assert supervisor.end() == 0
        assert len(supervisor.output.splitlines()) == 7
        assert supervisor.output.endswith("{'STOPPED': 4}\n")


@needs_life_locks
def test_ctrl_c_stops_the_supervisor(tmp_path: Path) -> None:
    """Ctrl-C, which reaches all processes of a terminal, stops the workers without a traceback."""
    with running(tmp_path, "supervisor.py") as supervisor:
        workers_of(supervisor)
        os.killpg(supervisor.pid, signal.SIGINT)
        assert supervisor.wait() == 0
        assert len(supervisor.output.splitlines()) == 5
        assert supervisor.output.endswith("{'STOPPED': 4}\n")


@needs_life_locks
def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """Workers whose supervisor is killed end by themselves."""
    with running(tmp_path, "supervisor.py") as supervisor:
        pids = workers_of(supervisor)
        assert set(pids) < set(supervisor.living())
        assert supervisor.end(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not supervisor.living(), "the workers' end")
        assert segments_of(supervisor.pid) == []


# -- the service and its client


@pytest.fixture
def name() -> Iterator[str]:
    """Return a name for a segment, which must be gone behind the test."""
    name = f"service-{os.getpid()}"
    yield name
    assert not (SHM / f"intenum.{name}").exists()


def follow_restarts(folder: Path, name: str, prefix: tuple[str, ...] = ()) -> None:
    """Have a client follow a service that is killed, and one that is stopped.

    Args:
        folder: where their output goes.
        name: of the service's status.
        prefix: what runs each of them.

    """
    states = ""
    with running(folder, "client.py", name, prefix=prefix) as client:
        client.says(f"^waiting for {name}$")
        for number, last in ((signal.SIGKILL, "DEAD"), (signal.SIGTERM, "STOPPED")):
            with running(folder, "service.py", name, prefix=prefix) as service:
                pid = int(service.says(r"^(\d+) is READY$")[1])
                assert (pid == 1) == bool(prefix)
                states += f"{name} is READY\n"
                client.says(f"{states}\\Z")
                if prefix:  # as it is called here
                    pid = next(each for each in service.living() if each != service.pid)
                os.kill(pid, number)
                client.says(f"^{name} is {last}$")
                assert (service.wait() == 0) == (last == "STOPPED")
            states = f"{name} is {last}\n"
        assert client.wait() == 0
        assert re.sub(f"{name} is DRAINING\n", "", client.output) == (
            f"waiting for {name}\n"
            f"{name} is READY\n{name} is DEAD\n"
            f"{name} is READY\n{name} is STOPPED\n"
        )


@named
@needs_life_locks
def test_client_follows_a_service(tmp_path: Path, name: str) -> None:
    """A client waits for a service, learns that it was killed, and follows the next one."""
    follow_restarts(tmp_path, name)


@named
@needs_life_locks
def test_second_service_is_refused(tmp_path: Path, name: str) -> None:
    """A service whose name a live one has says which process that is, and leaves it alone."""
    with running(tmp_path, "service.py", name) as first:
        first.says("is READY$")
        with running(tmp_path, "service.py", name) as second:
            assert second.wait() == 1
            second.says(f"^FileExistsError: .*{first.pid}")
        assert first.end() == 0
        assert first.output.endswith(f"{first.pid} is STOPPED\n")


@named
@needs_life_locks
@needs_namespaces
def test_client_follows_a_service_in_another_container(tmp_path: Path, name: str) -> None:
    """They do so from PID namespaces of their own, where both are process 1."""
    follow_restarts(tmp_path, name, IN_CONTAINER)


@pytest.mark.once
@pytest.mark.parametrize("file", ["compose.yaml", "pod.yaml"])
def test_containers_run_the_examples(file: str) -> None:
    """What is deployed runs the service and its client, which share one /dev/shm."""
    text = (EXAMPLES / "containers" / file).read_text()
    commands = re.findall(r"command: (?:python |\[python, )([\w.]+)", text)
    assert commands == ["service.py", "client.py"]
    assert all((EXAMPLES / command).is_file() for command in commands)
    shares = r'ipc: "service:shm"' if file == "compose.yaml" else "{name: shm, mountPath: /dev/shm}"
    assert text.count(shares) == 2


# -- all of them

DEMO = EXAMPLES / "demo"
FILES = [
    path
    for path in sorted(EXAMPLES.rglob("*"))
    if path.is_file() and DEMO not in path.parents and path.parent.name != "__pycache__"
]


@pytest.mark.once
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_example_is_short_and_shown(path: Path) -> None:
    """Each example has 120 lines at most, and a page of the documentation shows it."""
    assert path.read_text().count("\n") <= 120
    name = re.escape(path.relative_to(ROOT).as_posix())
    shown = re.compile(rf"^```{{literalinclude}} [./]*{name}$", re.MULTILINE)
    assert any(shown.search(page.read_text()) for page in DOCS.rglob("*.md"))
