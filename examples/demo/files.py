"""The files to hash, and one file's digest.

Files belong to others: they may change, vanish or become unreadable at any time.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sysconfig
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: What bounds the work: files, and bytes of them all.
MOST_FILES, MOST_BYTES = 10_000, 256 << 20

#: Bytes of a digest; and what stands for the digest of a file that cannot be read.
SIZE = 32
UNREADABLE = b"?" * SIZE

#: What is no part of the standard library, or written by whoever imports it.
_SKIPPED = {"site-packages", "dist-packages", "__pycache__"}

#: Whatever became of the path since it was listed, opening it must neither block nor follow a link.
_FLAGS = sum(getattr(os, f"O_{name}", 0) for name in ("BINARY", "CLOEXEC", "NOFOLLOW", "NONBLOCK"))


class TreeError(Exception):
    """There is nothing to hash."""


class Listing(NamedTuple):
    """A folder, the stamp of each file in it, their bytes, and what was left out."""

    tree: str
    files: dict[str, tuple[int, ...]]
    size: int
    note: str


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(path: str) -> str:
    """Return a path so that it can be printed on one line of any terminal."""
    return path if path.isprintable() else repr(path)


def digest_of(path: str) -> bytes:
    """Return a regular file's SHA-256, or UNREADABLE."""
    try:
        with open(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return UNREADABLE
            digest = hashlib.sha256()
            while file.tell() < MOST_BYTES and (piece := file.read(1 << 20)):
                digest.update(piece)
            return digest.digest()
    except OSError:
        return UNREADABLE


def stamp_of(path: str) -> tuple[int, ...] | None:
    """Return what changes when a file does, or None if it is no regular file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    stamp = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return stamp if stat.S_ISREG(status.st_mode) else None


def list_files(tree: str | None, check: Callable[[], None]) -> Listing:
    """List a folder's regular files, up to the caps; None: those of the standard library.

    Raises:
        TreeError: there is no such folder, or nothing in it to hash.

    """
    root = tree or sysconfig.get_path("stdlib")
    try:
        os.scandir(root).close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise TreeError(f"{printable(root)}: {reason}") from None
    files: dict[str, tuple[int, ...]] = {}
    size, note = 0, ""
    for path in _walk(root, set() if tree else _SKIPPED):
        check()
        stamp = stamp_of(path)
        if stamp and (size + stamp[2] > MOST_BYTES or len(files) == MOST_FILES):
            note = f"; there is more, but {MOST_FILES:,} files and {MOST_BYTES >> 20} MiB will do"
            break
        if stamp:
            files[path] = stamp
            size += stamp[2]
    if not files:
        raise TreeError(f"{printable(root)}: no files to hash{note}")
    return Listing(root, files, size, note)


def _walk(root: str, skipped: set[str]) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - skipped)
        yield from (os.path.join(folder, name) for name in sorted(names))  # noqa: PTH118 - faster
