"""The files to hash, one file's digest, and the comparison with a plain run.

Files belong to others: they may change, vanish or become unreadable at any time.  So a digest
comes with the stamp of the file that it was made from, and two digests are compared only where
their stamps are equal.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sysconfig
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What bounds the work: files, bytes in all, and bytes of one file.
MOST_FILES = 10_000
MOST_BYTES = 256 << 20
LARGEST_FILE = 80 << 20

#: Bytes of one job, about: so much takes some milliseconds.
_JOB_BYTES = 4 << 20

#: Bytes that are read at once.
_PIECE = 1 << 20

#: Whatever became of the path since it was listed, opening it must neither block nor follow a link.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


class TreeError(Exception):
    """There is nothing to hash."""


class Reading(NamedTuple):
    """One file as it was read.

    Attributes:
        digest: SHA-256, or empty if it could not be read.
        stamp: device, inode, size and time of the last change of what was read.
        problem: why it could not be read, or empty.

    """

    digest: bytes
    stamp: tuple[int, int, int, int]
    problem: str


#: What one claim is for: indices and paths.
Job = list[tuple[int, str]]


@dataclass
class Listing:
    """The files that were found.

    Attributes:
        tree: the folder.
        files: path and size of each.
        size: bytes of them all.
        notes: what was left out, and why.

    """

    tree: str
    files: list[tuple[str, int]] = field(default_factory=list)
    size: int = 0
    notes: list[str] = field(default_factory=list)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(path: str) -> str:
    """Return a path so that it can be printed on one line of any terminal."""
    return path if path.isprintable() else repr(path)


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _unreadable(problem: str) -> Reading:
    return Reading(b"", (0, 0, 0, 0), problem)


def hash_file(path: str) -> Reading:
    """Hash a file; whatever is wrong with it is part of the answer."""
    try:
        file = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        return _unreadable("vanished")
    except OSError as error:
        if error.errno == errno.ELOOP:
            return _unreadable("is no regular file any more")
        return _unreadable(error.strerror or str(error))
    try:
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode):
            return _unreadable("is no regular file any more")
        digest = hashlib.sha256()
        left = LARGEST_FILE
        while left > 0 and (piece := os.read(file, _PIECE)):
            digest.update(piece)
            left -= len(piece)
        after = os.fstat(file)
    except OSError as error:
        return _unreadable(error.strerror or str(error))
    finally:
        os.close(file)
    if _stamp(before) != _stamp(after):
        return _unreadable("changed as it was read")
    return Reading(digest.digest(), _stamp(after), "")


def list_files(tree: str | None, check: Callable[[], None]) -> Listing:
    """List a tree's regular files, up to the caps; links are not followed.

    Args:
        tree: the folder; None: the installed standard library, without what is not part of it or
            written by whoever imports it.
        check: called again and again; raises to end it.

    Raises:
        TreeError: there is no such folder, or nothing in it to hash.

    """
    skipped: tuple[str, ...] = ()
    if tree is None:
        tree = sysconfig.get_path("stdlib")
        skipped = ("site-packages", "dist-packages", "__pycache__")
    try:
        os.scandir(tree).close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        message = f"{printable(tree)}: {reason}"
        raise TreeError(message) from None

    listing = Listing(tree)
    if skipped:
        listing.notes.append(f"without {', '.join(skipped)}")
    refused: list[OSError] = []
    large = 0
    for path, size in _walk(tree, skipped, refused):
        check()
        if size > LARGEST_FILE:
            large += 1
        elif len(listing.files) == MOST_FILES or listing.size + size > MOST_BYTES:
            listing.notes.append(
                f"there is more: this demo takes {MOST_FILES:,} files and {MOST_BYTES >> 20} MiB"
            )
            break
        else:
            listing.files.append((path, size))
            listing.size += size
    if large:
        listing.notes.append(f"left out {count(large, 'file')} above {LARGEST_FILE >> 20} MiB")
    if refused:
        path, reason = printable(str(refused[0].filename)), refused[0].strerror
        listing.notes.append(
            f"left out {count(len(refused), 'folder')} that cannot be read ({path}: {reason})"
        )
    if not listing.files:
        message = f"{printable(tree)}: no files to hash"
        raise TreeError("; ".join([message, *listing.notes]))
    return listing


def _walk(tree: str, skipped: tuple[str, ...], refused: list[OSError]) -> Iterator[tuple[str, int]]:
    """Yield path and size of each regular file, in the order of their names."""
    for folder, folders, names in os.walk(tree, onerror=refused.append):
        folders[:] = sorted(set(folders).difference(skipped))
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - a Path costs more than the rest
            try:
                status = os.lstat(path)
            except OSError:
                continue  # it vanished
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_size


def jobs_of(listing: Listing, most: int) -> list[Job]:
    """Cut the files into jobs of some milliseconds each, with so many files at most."""
    jobs: list[Job] = []
    room = 0
    for index, (path, size) in enumerate(listing.files):
        if not jobs or len(jobs[-1]) == most or size > room:
            jobs.append([])
            room = _JOB_BYTES
        jobs[-1].append((index, path))
        room -= size
    return jobs


def merge(readings: dict[int, Reading], index: int, now: Reading) -> None:
    """Take up one more reading of a file, which may have been read before."""
    before = readings.setdefault(index, now)
    if before.problem or before == now:
        return
    if not now.problem and before.stamp != now.stamp:
        now = now._replace(problem="changed meanwhile")
    elif not now.problem:
        now = now._replace(digest=b"")  # two digests of the same: equal to none
    readings[index] = now


class Comparison(NamedTuple):
    """What came of hashing the same files again in one process.

    Attributes:
        equal: number of files with equal digests.
        different: files whose stamps are equal and whose digests are not.
        problems: files that could not be compared, each with the reason.
        seconds: that it took.

    """

    equal: int
    different: list[str]
    problems: list[tuple[str, str]]
    seconds: float


def compare(
    listing: Listing, readings: dict[int, Reading], check: Callable[[], None]
) -> Comparison:
    """Hash in this process what the workers read, and compare.

    Args:
        listing: the files.
        readings: the workers', by the file's index.
        check: called between two files; raises to end it.

    """
    equal = 0
    different: list[str] = []
    problems: list[tuple[str, str]] = []
    started = time.perf_counter()
    for index, theirs in sorted(readings.items()):
        check()
        path, _ = listing.files[index]
        ours = theirs if theirs.problem else hash_file(path)
        if ours.problem:
            problems.append((path, ours.problem))
        elif ours.stamp != theirs.stamp:
            problems.append((path, "changed meanwhile"))
        elif ours.digest == theirs.digest:
            equal += 1
        else:
            different.append(path)
    return Comparison(equal, different, problems, time.perf_counter() - started)
