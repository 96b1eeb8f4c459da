"""The files to hash, one file's digest, and the comparison with a plain run.

Files belong to others: they may change, vanish or become unreadable at any time.  So a file's
digests are compared only if its stamp is what it was when the file was listed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sysconfig
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: What bounds the work: files, bytes in all, and bytes of one file.
MOST_FILES = 10_000
MOST_BYTES = 256 << 20
LARGEST_FILE = 80 << 20

#: Bytes of a digest; and what stands for the digest of a file that cannot be read.
SIZE = 32
UNREADABLE = b"?" * SIZE

#: Whatever became of the path since it was listed, opening it must neither block nor follow a link.
_OPEN_FLAGS = os.O_RDONLY
for _name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
    _OPEN_FLAGS |= getattr(os, _name, 0)

Stamp = tuple[int, int, int, int]


class TreeError(Exception):
    """There is nothing to hash."""


class Listing(NamedTuple):
    """The files that were found: the folder, their paths and stamps, and what was left out."""

    tree: str
    paths: list[str]
    stamps: list[Stamp]
    notes: list[str]

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(size for _, _, size, _ in self.stamps)


class Comparison(NamedTuple):
    """Files that are equal, different, and not compared, each of these with the reason."""

    equal: int
    different: list[str]
    problems: Counter[str]


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(path: str) -> str:
    """Return a path so that it can be printed on one line of any terminal."""
    return path if path.isprintable() else repr(path)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def digest_of(path: str) -> bytes:
    """Return a regular file's SHA-256, or UNREADABLE."""
    try:
        file = os.open(path, _OPEN_FLAGS)
    except OSError:
        return UNREADABLE
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return UNREADABLE
        digest = hashlib.sha256()
        left = LARGEST_FILE
        while left > 0 and (piece := os.read(file, 1 << 20)):
            digest.update(piece)
            left -= len(piece)
    except OSError:
        return UNREADABLE
    finally:
        os.close(file)
    return digest.digest()


def list_files(tree: str | None, check: Callable[[], None]) -> Listing:
    """List a tree's regular files, up to the caps; links are not followed.

    Args:
        tree: the folder; None: the standard library, without what was installed or compiled.
        check: called again and again; raises to end it.

    Raises:
        TreeError: there is no such folder, or nothing in it to hash.

    """
    skipped = ("site-packages", "dist-packages", "__pycache__") if tree is None else ()
    listing = Listing(tree or sysconfig.get_path("stdlib"), [], [], [])
    where = printable(listing.tree)
    try:
        os.scandir(listing.tree).close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        message = f"{where}: {getattr(error, 'strerror', None) or error}"
        raise TreeError(message) from None
    if skipped:
        listing.notes.append(f"without {', '.join(skipped)}")
    refused: list[OSError] = []
    room = MOST_BYTES
    for path, stamp in _walk(listing.tree, skipped, refused):
        check()
        if stamp[2] > min(LARGEST_FILE, room) or len(listing.paths) == MOST_FILES:
            caps = f"{MOST_FILES:,} files, {MOST_BYTES >> 20} MiB, {LARGEST_FILE >> 20} MiB a file"
            listing.notes.append(f"there is more: this demo takes {caps}")
            break
        listing.paths.append(path)
        listing.stamps.append(stamp)
        room -= stamp[2]
    if refused:
        listing.notes.append(f"without {count(len(refused), 'folder')} that cannot be read")
    if not listing.paths:
        raise TreeError("; ".join([f"{where}: no files to hash", *listing.notes]))
    return listing


def _walk(
    tree: str, skipped: Sequence[str], refused: list[OSError]
) -> Iterator[tuple[str, Stamp]]:
    for folder, folders, names in os.walk(tree, onerror=refused.append):
        folders[:] = sorted(set(folders).difference(skipped))
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - a Path costs more than the rest
            try:
                status = os.lstat(path)
            except OSError:
                continue  # it vanished
            if stat.S_ISREG(status.st_mode):
                yield path, _stamp(status)


def compare(listing: Listing, digests: Sequence[bytes], check: Callable[[], None]) -> Comparison:
    """Hash the files in this process, and compare.

    Args:
        listing: the files.
        digests: the workers', of the files one after the other, again and again.
        check: called between two files; raises to end it.

    """
    found = Comparison(0, [], Counter())
    for index, path in enumerate(listing.paths):
        check()
        theirs = set(digests[index :: len(listing.paths)])
        ours = digest_of(path)
        try:
            stamp = _stamp(os.lstat(path))
        except OSError:
            stamp = None
        if stamp != listing.stamps[index]:
            found.problems["changed meanwhile"] += 1
        elif UNREADABLE in {ours, *theirs}:
            found.problems["cannot be read"] += 1
        elif theirs == {ours}:
            found = found._replace(equal=found.equal + 1)
        else:
            found.different.append(path)
    return found
