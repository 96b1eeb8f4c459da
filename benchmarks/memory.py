"""How much shared memory a value takes, the headers and the unused rest included."""

from __future__ import annotations

import multiprocessing
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable

SHM = Path("/dev/shm")
MAPS = Path("/proc/self/maps")
LIVE = 20_000


class Fresh(IntEnum):
    """An enum with segments of its own, so that none has been begun."""

    ONE = 1


def _mappings() -> dict[str, int]:
    """Return what this process has mapped of /dev/shm: bytes by name and address."""
    mapped = {}
    for line in MAPS.read_text().splitlines():
        place, *_, path = line.split(maxsplit=5)
        if path.startswith(f"{SHM}/"):
            low, high = (int(end, 16) for end in place.split("-"))
            mapped[f"{path} at {place}"] = high - low
    return mapped


def _mapped_by(make: Callable[[], object], count: int) -> float:
    before = _mappings()
    kept = [make() for _ in range(count)]
    after = _mappings()
    assert len(kept) == count
    return sum(size for name, size in after.items() if name not in before) / count


def measure() -> tuple[float, float]:
    """Return bytes a value, ours and multiprocessing.Value's.

    Raises:
        OSError: there is no /proc/self/maps here.

    """
    names = {entry.name for entry in SHM.iterdir()}
    cls = IntEnumValue[Fresh]
    kept = [cls(Fresh.ONE) for _ in range(LIVE)]
    # Of the segments that came meanwhile, ours: other programs make some, too.
    mapped = {Path(name.partition(" ")[0]).name for name in _mappings()} - names
    blocks = sum((SHM / name).stat().st_blocks for name in mapped if (SHM / name).exists())
    assert len(kept) == LIVE
    theirs = _mapped_by(lambda: multiprocessing.Value("i", 1), 500)
    return blocks * 512 / LIVE, theirs
