"""Every way of sharing a value, each in a program of its own, again and again.

    python tests/helpers/lifetimes.py [--runs N] [--private] [WAY ...]

Each run is a fresh Python that shares values one WAY, sees one value everywhere, and ends.  It must
say nothing on stderr, and leave nothing in /dev/shm: nothing of its own, and with --private (where
nobody else uses /dev/shm) nothing at all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ProcessPoolExecutor
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import atomic_intenum
from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHM = Path("/dev/shm")

#: Seconds that a step of a run may take.
PATIENCE = 60.0

# The enum's name is in each segment of the run, and tells them from all others.
MARKER = os.environ.setdefault("LIFETIMES_MARKER", f"Marked{uuid.uuid4().hex}")
make_enum: Any = IntEnum
Member: Any = make_enum(MARKER, "IDLE BUSY DONE", module=__name__)
globals()[MARKER] = Member


class Status(IntEnumValue[Member]):
    """The value that is shared."""


def inherits_only() -> bool:
    """Whether values reach other processes by inheritance alone."""
    return atomic_intenum.BACKEND == "lock"


def work(status: Any) -> Any:
    """Claim the value, leave one's own behind, and send the value back if it was sent."""
    own = [Status("IDLE") for _ in range(20)]
    with own[0].get_lock():
        own[0].set("BUSY")
    with status.get_lock():
        assert status.compare_and_set("BUSY", "DONE"), status
    return None if inherits_only() else status


def check(status: Any, back: Any = None) -> None:
    """Check that the work was done on this value, and start over."""
    assert status.exchange("BUSY") is Member.DONE
    assert back is None or back.load() is Member.BUSY
    assert status.version % 2 == 0


# -- the ways


def _contexts() -> Iterator[Any]:
    """Yield the context of each start method, and have it as the default meanwhile.

    On the lock-based path a value goes to the children of the method that was the default.
    """
    for method in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method(method, force=True)
        yield multiprocessing.get_context(method)


def _process(method: str) -> None:
    multiprocessing.set_start_method(method)
    status = Status("BUSY")
    context: Any = multiprocessing.get_context(method)
    for _ in range(2):
        process = context.Process(target=work, args=(status,))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0, process.exitcode
        check(status)


def fork() -> None:
    """Arguments of a forked process."""
    _process("fork")


def spawn() -> None:
    """Arguments of a spawned process."""
    _process("spawn")


def forkserver() -> None:
    """Arguments of a process of the forkserver."""
    _process("forkserver")


def os_fork() -> None:
    """Plain os.fork, whose child ends by os._exit or by sys.exit."""
    status = Status("BUSY")
    for leave in (os._exit, sys.exit):
        pid = os.fork()
        if pid == 0:
            if leave is sys.exit:
                work(status)
            else:  # which cleans up nothing: so nothing is made
                assert status.compare_and_set("BUSY", "DONE")
            leave(0)
        assert os.waitpid(pid, 0)[1] == 0
        check(status)


_initial: Any = None


def _keep(status: Any) -> None:
    global _initial
    _initial = status


def _work_on_kept(_: int) -> None:
    work(_initial)


def pool() -> None:
    """A Pool: initializer, argument and result; its workers end by themselves or are terminated."""
    for context in _contexts():
        status = Status("BUSY")
        pool = context.Pool(2, _keep, (status,))
        pool.apply(_work_on_kept, (0,))
        check(status)
        if not inherits_only():
            check(status, pool.apply(work, (status,)))
        pool.close()
        pool.join()
        if not inherits_only():
            with context.Pool(2) as terminated:
                assert terminated.apply(_same, (status,)) == status


def _same(status: Any) -> Any:
    return status


def executor() -> None:
    """A ProcessPoolExecutor: initializer, argument and result."""
    for context in _contexts():
        status = Status("BUSY")
        with ProcessPoolExecutor(2, context, _keep, (status,)) as pool:
            pool.submit(_work_on_kept, 0).result(PATIENCE)
            check(status)
            if not inherits_only():
                check(status, pool.submit(work, status).result(PATIENCE))


def _answer(incoming: Any, outgoing: Any) -> None:
    while (status := incoming.get(timeout=PATIENCE)) is not None:
        outgoing.put(work(status))


def a_queue() -> None:
    """A Queue there and one back."""
    for context in _contexts():
        there, back = context.Queue(), context.Queue()
        process = context.Process(target=_answer, args=(there, back))
        process.start()
        for _ in range(3):
            status = Status("BUSY")
            there.put(status)
            check(status, back.get(timeout=PATIENCE))
        there.put(None)
        process.join(PATIENCE)
        assert process.exitcode == 0


def threads() -> None:
    """Threads, one of which is still at it when the program ends."""
    status = Status("BUSY")
    done: queue.Queue[Any] = queue.Queue()
    for _ in range(4):
        threading.Thread(target=lambda: done.put(work(status))).start()
        done.get(timeout=PATIENCE)
        check(status)
    other = Status("BUSY")
    started = threading.Event()

    def forever() -> None:
        while True:
            with other.get_lock():
                other.exchange("DONE")
            started.set()

    threading.Thread(target=forever, daemon=True).start()
    assert started.wait(PATIENCE)


def late() -> None:
    """Children that are still starting when the program ends."""
    status = Status("BUSY")
    # On the lock-based path the semaphore of a value goes with the parent's program.
    methods = ["fork"] if inherits_only() else multiprocessing.get_all_start_methods()
    for method in methods:
        context: Any = multiprocessing.get_context(method)
        context.Process(target=_work_late, args=(status,)).start()


def _work_late(status: Any) -> None:
    Status("IDLE").set("BUSY")
    assert status.load() is Member.BUSY
    assert not status.compare_and_set("DONE", "IDLE")


def stranger() -> None:
    """A process that nobody spawned attaches by name, fails to, and ends."""
    name = f"lifetimes-{os.getpid()}"
    status = Status("BUSY", segment_name=name)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, __file__, "--attach", name],
            timeout=PATIENCE,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"attached\n", b""), done
        check(status)
    again = Status.attach(name)
    again.close()
    assert (SHM / f"intenum.{name}").exists()


def attach(name: str) -> None:
    """Be the stranger."""
    try:
        Status.attach(name + "x")
    except FileNotFoundError:
        work(Status.attach(name))
    print("attached")


METHODS = multiprocessing.get_all_start_methods()
FORKING = (fork, os_fork, late) if "fork" in METHODS else () if inherits_only() else (late,)
SERVED = (forkserver,) if "forkserver" in METHODS else ()
INHERITING = (*FORKING, spawn, *SERVED, pool, executor, threads)
WAYS: dict[str, Callable[[], None]] = {
    way.__name__.removeprefix("a_"): way
    for way in (*INHERITING, *(() if inherits_only() else (a_queue, stranger)))
}


# -- runs


def left(marker: str) -> list[str]:
    """Return what is in shared memory of that run."""
    found = []
    for path in SHM.iterdir() if os.name == "posix" else ():
        try:
            if path.is_file() and f'"{marker}"'.encode() in path.read_bytes()[:4096]:
                found.append(path.name)
        except FileNotFoundError:
            continue
    return found


def run(way: str, *, private: bool) -> None:
    """Run a way in a fresh Python; AssertionError if anything is said or left."""
    marker = f"Marked{uuid.uuid4().hex}"
    before = sorted(path.name for path in SHM.iterdir()) if private else []
    done = subprocess.run(
        [sys.executable, __file__, "--one", way],
        timeout=3 * PATIENCE,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LIFETIMES_MARKER": marker},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", ""), done
    found = left(marker)
    assert found == [], found
    if private:
        assert sorted(path.name for path in SHM.iterdir()) == before


def main() -> None:
    """Run the ways that were asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--one", choices=WAYS)
    parser.add_argument("--attach")
    parser.add_argument("ways", nargs="*", choices=[[], *WAYS])
    arguments = parser.parse_args()
    if arguments.attach:
        attach(arguments.attach)
    elif arguments.one:
        WAYS[arguments.one]()
        print("done")
    else:
        del os.environ["LIFETIMES_MARKER"]
        for way in arguments.ways or WAYS:
            for _ in range(arguments.runs):
                run(way, private=arguments.private)
            print(f"{way}: {arguments.runs} runs", flush=True)


if __name__ == "__main__":
    main()
