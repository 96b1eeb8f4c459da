"""The files to hash; others may change or remove them, or make them unreadable, at any time."""

import contextlib
import errno
import hashlib
import math
import os
import stat
import sysconfig

from interrupt import check

#: What bounds the work: files, and bytes of them all.
MOST_FILES, MOST_BYTES = 10_000, 256 << 20
#: Bytes of a digest; and what stands for the digest of a file that cannot be read.
SIZE, UNREADABLE = 32, b"?" * 32
_SKIPPED = {"site-packages", "dist-packages", "__pycache__"}  # not the standard library's own
#: Whatever became of the path since it was listed, opening it must neither block nor follow a link.
_FLAGS = sum(getattr(os, f"O_{name}", 0) for name in ("BINARY", "NOFOLLOW", "NONBLOCK", "RDONLY"))


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def printable(path: str) -> str:
    """Return a path so that it can be printed on one line of any terminal."""
    return path if path.isascii() and path.isprintable() else ascii(path)


def digest_of(path: str, now: float = math.inf) -> bytes:
    """Return a file's SHA-256, or UNREADABLE: it is gone, or no file, or was changed after now."""
    with contextlib.suppress(OSError), open(os.open(path, _FLAGS), "rb") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_ctime < now:
            return hashlib.file_digest(file, "sha256").digest()
    return UNREADABLE


def list_files(tree: str | None) -> tuple[str, list[str], int]:
    """Return a folder (None: the standard library), its files, and how many bytes they have."""
    root = tree or sysconfig.get_path("stdlib")
    os.scandir(root).close()  # or say why not
    paths, size = list[str](), 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - (set() if tree else _SKIPPED))
        for path in (os.path.join(folder, name) for name in sorted(names)):  # noqa: PTH118 - fast
            check()
            with contextlib.suppress(OSError):  # it vanished
                status = os.lstat(path)
                room = len(paths) < MOST_FILES and size + status.st_size <= MOST_BYTES
                if stat.S_ISREG(status.st_mode) and room:
                    paths.append(path)
                    size += status.st_size
    if not paths:
        raise FileNotFoundError(errno.ENOENT, "no files to hash", root)
    return root, paths, size
