"""The shared layout as Python reads and writes it: the header of csrc/layout.h.

The tests hold it against the offsets that the compiled core was built with.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from itertools import chain
from typing import NamedTuple

MAGIC = 0x4D554E4554414D31
#: Of a segment that its creator is at.
MAGIC_UNFINISHED = 0x4D554E4554414D30
LAYOUT_VERSION = 2
#: The protocol id of the compiled core.
PROTOCOL = 1

#: What follows the magic: the fields of :class:`Header`.
HEADER = struct.Struct("=IIIIQQQIIQQQIIIIIIQ")
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
    on_death_size: int
    owners_offset: int

    def fits(self, size: int) -> bool:
        """Tell whether all that it speaks of is in a segment of so many bytes, in its order."""
        words_end = self.header_size + self.capacity * self.word_stride
        controls_end = self.control_offset + self.capacity * self.control_stride
        texts_end = self.vocabulary_offset + self.vocabulary_size + self.on_death_size
        sound = (
            self.capacity >= 1
            and self.word_stride >= 8
            and self.word_stride % 8 == 0
            and self.header_size % LINE == 0
            and self.vocabulary_offset >= HEADER_SIZE
            and texts_end <= self.header_size
            and words_end <= self.control_offset
            and self.control_offset % LINE == 0
            and controls_end <= size
            and (self.owners_offset > 0) == (self.on_death_size > 0)
        )
        if not sound or not self.owners_offset:
            return sound
        return (
            self.owners_offset >= controls_end
            and self.owners_offset % LINE == 0
            and self.owners_offset + OWNERS_SIZE <= size
        )


#: Bytes of the table of owners.
OWNERS_SIZE = 8 * 1024

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


class Rules(NamedTuple):
    """What on_death says, in numbers.

    ``always`` is what a word becomes whatever it was; where it is None, ``pairs`` are each value
    and what it becomes.
    """

    pairs: tuple[tuple[int, int], ...]
    always: int | None

    @property
    def text(self) -> bytes:
        """As a segment carries it: JSON, a number or a list of pairs."""
        return json.dumps(self.pairs if self.always is None else self.always).encode("ascii")

    @property
    def numbers(self) -> frozenset[int]:
        """All that it speaks of."""
        return frozenset(chain(*self.pairs) if self.always is None else (self.always,))

    @property
    def packed(self) -> bytes:
        """As the core takes it: pairs of int32, by the first."""
        pairs = sorted(self.pairs) if self.always is None else ((0, self.always),)
        return b"".join(struct.pack("=ii", *pair) for pair in pairs)


def read_rules(text: bytes) -> Rules:
    """Return what a segment's text says; ValueError if that is nothing."""
    said = json.loads(text)
    rules = Rules((), said) if type(said) is int else Rules(tuple(map(tuple, said)), None)
    _ = rules.packed  # or struct.error
    before = [number for number, _ in rules.pairs]
    whole = rules.text == text and {*map(type, rules.numbers)} == {int}
    if not whole or before != sorted(set(before)):
        raise ValueError
    return rules
