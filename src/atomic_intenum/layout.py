"""The shared layout as Python reads and writes it: the header of csrc/layout.h.

The tests hold it against the offsets that the compiled core was built with.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from typing import NamedTuple

MAGIC = 0x4D554E4554414D31
LAYOUT_VERSION = 2
#: The protocol id of the compiled core.
PROTOCOL = 1

#: What follows the magic: the fields of :class:`Header`.
HEADER = struct.Struct("=IIIIQQQIIQQQIIIII")
HEADER_OFFSET = 8
#: Bytes of the header proper; the vocabulary's text follows.
HEADER_SIZE = 192


class Header(NamedTuple):
    """The fixed part of a segment's header, after the magic."""

    layout_version: int
    kind: int
    creator_pid: int
    vocabulary_size: int
    creator_start: int
    pid_namespace: int
    nonce: int
    vocabulary_offset: int
    protocol: int
    fingerprint: int
    capacity: int
    control_offset: int
    header_size: int
    word_stride: int
    control_stride: int
    mutex_size: int
    libc: int


#: A state word.
WORD = struct.Struct("=Q")

#: What a segment is for.
KIND_POOL, KIND_VALUE, KIND_ARRAY = 1, 2, 3

#: The event word, of 32 bits.
EVENT_OFFSET = 128
#: Where in a state word its value is.
VALUE_OFFSET = 0 if sys.byteorder == "little" else 4

#: Bytes of a cache line, and the distance of words that are values of their own.
LINE = SINGLE_STRIDE = 64
#: Distance of an array's words, side by side.
PACKED_STRIDE = 8


def fingerprint_of(text: bytes) -> int:
    """Return 64 bits of a hash of a vocabulary's text."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def align(offset: int) -> int:
    """Round up to a cache line."""
    return -(-offset // LINE) * LINE
