"""Has a Python on Linux look like one on Windows to the package and its tests.

    PYTHONPATH=tests/helpers/windows ATOMIC_INTENUM_BACKEND=lock python -m pytest

Python imports this module as it starts, in each process that inherits the variable.  The standard
library and what is installed keep what they have, since multiprocessing's spawn stands on it here.
All other code, by the file that an import stands in, gets stand-ins of a few modules, which lack
what Windows lacks.  Nobody finds /proc and /dev/shm, multiprocessing only spawns, and its memory
has a name instead of a descriptor.
"""

from __future__ import annotations

import builtins
import errno
import os
import select
import signal
import socket
import stat
import sys
import time
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Modules that Windows does not have, uvloop among them.
MISSING = _names("""
    _posixshmem crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty
    uvloop
""")

_OS = _names("""
    EFD_CLOEXEC EX_OK F_LOCK F_TEST F_TLOCK F_ULOCK O_ASYNC O_CLOEXEC O_DIRECTORY O_DSYNC O_NDELAY
    O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_RSYNC O_SYNC O_TMPFILE PRIO_PROCESS P_ALL
    P_PGID P_PID P_PIDFD WCONTINUED WCOREDUMP WEXITED WEXITSTATUS WIFEXITED WIFSIGNALED WIFSTOPPED
    WNOHANG WNOWAIT WSTOPPED WSTOPSIG WTERMSIG WUNTRACED
    chown chroot confstr copy_file_range ctermid environb eventfd fchdir fchown fdatasync fork
    forkpty fpathconf fstatvfs getegid geteuid getgid getgrouplist getgroups getloadavg getpgid
    getpgrp getpriority getrandom getresgid getresuid getsid getuid getxattr grantpt initgroups
    killpg lchown lockf login_tty major memfd_create mkfifo mknod nice openpty pathconf pidfd_open
    pipe2 posix_fadvise posix_fallocate posix_openpt posix_spawn posix_spawnp pread preadv ptsname
    pwrite pwritev readv register_at_fork sched_getaffinity sched_getscheduler sched_setaffinity
    sched_setscheduler sched_yield sendfile setegid seteuid setgid setgroups setns setpgid
    setpriority setregid setresgid setresuid setreuid setsid setuid setxattr splice statvfs sync
    sysconf tcgetpgrp tcsetpgrp timerfd_create ttyname uname unshare wait wait3 wait4 waitid writev
""")
_SIGNAL = _names("""
    alarm getitimer pause pidfd_send_signal pthread_kill pthread_sigmask setitimer siginterrupt
    sigpending sigtimedwait sigwait sigwaitinfo
""")
_SIGNALS = _names("SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN")
_SIGNAL |= {name for name in dir(signal) if name.startswith(("SIG", "ITIMER_"))} - _SIGNALS
_TIME = {name for name in dir(time) if name.startswith(("CLOCK_", "clock_", "pthread_", "tzset"))}

_HIDDEN = ("/proc/", "/dev/shm")


def _is_hidden(path: object) -> bool:
    return isinstance(path, str) and path.startswith(_HIDDEN)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    """Have nobody open or list what Windows has no counterpart of."""
    if event in ("open", "os.listdir", "os.scandir") and _is_hidden(args[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), args[0])


# ------------------------------------------------------------------ stand-ins


def stand_in(real: types.ModuleType, missing: set[str] | frozenset[str], **others: Any) -> Any:
    """Return what looks like a module without some of its names, and with others in their place.

    What is set there is set in the module itself, and to delete it brings back what was there:
    monkeypatch does so, because it finds nothing in the ``__dict__`` here.
    """
    kept: dict[str, tuple[dict[str, Any], Any]] = {}

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name in others:
                return others[name]
            if name in missing:
                message = f"module {real.__name__!r} has no attribute {name!r}"
                raise AttributeError(message, name=name, obj=self)
            return getattr(real, name)

        def __setattr__(self, name: str, value: object) -> None:
            place = others if name in others or name in missing else vars(real)
            kept.setdefault(name, (place, place.get(name, kept)))
            place[name] = value

        def __delattr__(self, name: str) -> None:
            place, before = kept.pop(name, (vars(real), kept))
            if before is kept:  # there was none
                del place[name]
            else:
                place[name] = before

        def __dir__(self) -> list[str]:
            return [name for name in {*dir(real), *others} if name in others or name not in missing]

    return StandIn(real.__name__)


def _kill(pid: int, number: int) -> None:
    """Send Ctrl-C or Ctrl-Break for 0 and 1, whoever meant another thing; else end the process."""
    if pid == os.getpid():
        message = "os.kill(os.getpid(), ...) ends, or interrupts, the tests themselves on Windows"
        raise RuntimeError(message)
    os.kill(pid, signal.SIGINT if number in (0, 1) else signal.SIGKILL)


def _unless_hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *args: Any, **keywords: Any) -> Any:
        if _is_hidden(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return function(path, *args, **keywords)

    return call


def _select(*args: Any) -> Any:
    """Take sockets alone."""
    for each in (*args[0], *args[1], *args[2]):
        fd = each if isinstance(each, int) else each.fileno()
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            message = "an operation was attempted on something that is not a socket"
            raise OSError(errno.ENOTSOCK, message)
    return select.select(*args)


def _monotonic_ns() -> int:
    """Tick 64 times a second, as on Windows up to Python 3.12."""
    return time.monotonic_ns() // 15_625_000 * 15_625_000


_TICKING = {"monotonic": lambda: _monotonic_ns() / 10**9, "monotonic_ns": _monotonic_ns}


def _open_process(_: int, __: bool, pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        error: Any = OSError(errno.EINVAL, "The parameter is incorrect")
        error.winerror = 87
        raise error from None


def _wait_for(handle: int, milliseconds: int) -> int:
    return 0 if select.select([handle], [], [], milliseconds / 1000)[0] else 258


_winapi: Any = types.ModuleType("_winapi")
_winapi.SYNCHRONIZE, _winapi.WAIT_OBJECT_0, _winapi.WAIT_TIMEOUT = 0x100000, 0, 258
_winapi.OpenProcess, _winapi.WaitForSingleObject = _open_process, _wait_for
_winapi.CloseHandle = os.close

_exists = os.path.exists
_STAND_INS: dict[str, Any] = {
    "_winapi": _winapi,
    "os": stand_in(
        os,
        _OS,
        kill=_kill,
        name="nt",
        stat=_unless_hidden(os.stat),
        lstat=_unless_hidden(os.lstat),
        path=stand_in(os.path, set(), exists=lambda path: not _is_hidden(path) and _exists(path)),
    ),
    "select": stand_in(select, {"poll", "epoll", "kqueue"}, select=_select),
    "signal": stand_in(signal, _SIGNAL, CTRL_C_EVENT=0, CTRL_BREAK_EVENT=1, SIGBREAK=21),
    "socket": stand_in(socket, {"AF_UNIX", "send_fds", "recv_fds"}),
    "sys": stand_in(sys, {"abiflags"}, platform="win32"),
    "time": stand_in(time, _TIME, **(_TICKING if sys.version_info < (3, 13) else {})),
}

# ------------------------------------------------------------------ multiprocessing and asyncio


def _mend_context(context: Any) -> None:
    """Leave nothing but spawn, whose children end as Windows has them end."""
    spawn = context._concrete_contexts["spawn"]
    context._concrete_contexts.clear()
    context._concrete_contexts["spawn"] = spawn
    context._default_context._default_context = spawn
    context.DefaultContext.get_all_start_methods = lambda _: ["spawn"]

    def popen(process: Any) -> Any:
        from multiprocessing.popen_spawn_posix import Popen

        class WindowsPopen(Popen):
            """Its processes are ended in one way, which is told as SIGTERM."""

            def poll(self, flag: int = os.WNOHANG) -> int | None:
                code: int | None = super().poll(flag)
                if code == -signal.SIGKILL:
                    self.returncode = code = -int(signal.SIGTERM)
                return code

            def terminate(self) -> None:
                self.kill()

        return WindowsPopen(process)

    context.SpawnProcess._Popen = staticmethod(popen)


#: Bytes that Windows has room for.  The file is sparse, and the machine's disk stays as it is.
_MOST = 1 << 30


class Arena:
    """What multiprocessing.heap has on Windows: memory with a name, as long as somebody has it.

    Here a file has the name, and its creator removes it.
    """

    def __init__(self, size: int) -> None:
        import tempfile
        from multiprocessing import util

        if size > _MOST:
            error: Any = OSError(errno.EINVAL, "The paging file is too small")
            error.winerror = 1455
            raise error
        fd, name = tempfile.mkstemp(prefix="pym-", dir=util.get_temp_dir())
        try:
            os.ftruncate(fd, size)
            self._map(fd, size, name)
        finally:
            os.close(fd)
        util.Finalize(self, _remove, (name, os.getpid()), exitpriority=-200)

    def _map(self, fd: int, size: int, name: str) -> None:
        import mmap

        self.size, self.name = self._state = size, name
        self.buffer = mmap.mmap(fd, size)

    def __getstate__(self) -> tuple[int, str]:
        from multiprocessing.context import assert_spawning

        assert_spawning(self)
        return self._state

    def __setstate__(self, state: tuple[int, str]) -> None:
        size, name = state
        fd = os.open(name, os.O_RDWR)
        try:
            self._map(fd, size, name)
        finally:
            os.close(fd)


def _remove(name: str, creator: int) -> None:
    import contextlib

    if os.getpid() == creator:
        with contextlib.suppress(FileNotFoundError):  # multiprocessing has removed the folder
            os.unlink(name)  # noqa: PTH108


def _mend_heap(heap: Any) -> None:
    heap.Arena._dir_candidates = []  # of what the standard library itself makes
    heap.Arena = Arena


def _mend_loops(unix_events: Any) -> None:
    """Have event loops know neither files nor signals, as the Proactor's."""

    def add_reader(*_: object) -> None:
        raise NotImplementedError

    def add_signal_handler(*_: object) -> None:
        raise NotImplementedError

    loop = unix_events._UnixSelectorEventLoop
    loop.add_reader, loop.add_writer = add_reader, add_reader
    loop.add_signal_handler = add_signal_handler


#: What is changed in the standard library itself, as soon as somebody has imported it.
_MEND: dict[str, Callable[[Any], None]] = {
    "multiprocessing.context": _mend_context,
    "multiprocessing.heap": _mend_heap,
    "asyncio.unix_events": _mend_loops,
}

# ------------------------------------------------------------------ what an import returns

_import = builtins.__import__
_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_known: dict[Any, bool] = {}


def _is_ours(names: Any) -> bool:
    """Tell whether a module of these globals is the package's, or a test's, or a program's."""
    file, name = names.get("__file__"), names.get("__name__")
    if file is None:
        return name in (None, "__main__")
    if file not in _known:
        installed = file.startswith(_LIBRARY) or "site-packages" in file
        package = f"site-packages{os.sep}atomic_intenum{os.sep}" in file
        _known[file] = name != __name__ and (package or not installed)
    return _known[file]


def _import_here(
    name: str,
    globals: Any = None,  # noqa: A002
    locals: Any = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    ours = globals is not None and level == 0 and _is_ours(globals)
    if ours and name.partition(".")[0] in MISSING:
        message = f"No module named {name!r}"
        raise ModuleNotFoundError(message, name=name)
    if ours and name == "_winapi":
        return _winapi
    module = _import(name, globals, locals, fromlist, level)
    for mended in [each for each in _MEND if each in sys.modules]:
        if not getattr(sys.modules[mended].__spec__, "_initializing", False):
            _MEND.pop(mended)(sys.modules[mended])
    return _STAND_INS.get(module.__name__, module) if ours else module


if __name__ == "sitecustomize" and sys.platform != "win32":
    sys.addaudithook(_audit)
    builtins.__import__ = _import_here
