"""Owners: which process answers for a value, and what becomes of it when that process dies.

csrc/owner.h has the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import class_name, show
from .layout import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from .memory.segment import Segment
    from .vocabulary import Vocabulary


def rules_of(
    vocabulary: Vocabulary, on_death: object, number: Callable[[Any], int]
) -> Rules | None:
    """Return an ``on_death=`` in numbers.

    Args:
        vocabulary: of the value or array.
        on_death: a mapping from members to members, a member, or None; names as everywhere.
        number: returns what to write for a member or a name.

    Raises:
        TypeError: it is something else, or has what is no member.
        KeyError: no member has that name.
        ValueError: the mapping is empty.

    """
    if on_death is None:
        return None
    if not isinstance(on_death, Mapping):
        if not isinstance(on_death, (str, vocabulary.enum)):
            enum = class_name(vocabulary.enum)
            message = (
                f"on_death= takes a mapping, as {{{enum}.RUNNING: {enum}.PENDING}}, or one member "
                f"of {enum}, not {show(on_death)} of {class_name(type(on_death))}"
            )
            raise TypeError(message)
        return Rules((), number(on_death))
    pairs = {number(before): number(after) for before, after in on_death.items()}
    if not pairs:
        message = "on_death= is an empty mapping: it says of no member what becomes of it"
        raise ValueError(message)
    return Rules(tuple(sorted(pairs.items())), None)


def owned(segment: Segment, what: str) -> Segment:
    """Return the segment, if its words can have owners; RuntimeError if not.

    Args:
        segment: of a value or an array.
        what: which of them, for the message.

    """
    if segment.on_death is None:
        message = (
            f"nobody can own this {what}: it was created without on_death=, which says what "
            f"becomes of it as its owner dies"
        )
        raise RuntimeError(message)
    return segment


def refuse_owned(pid: int, what: str) -> None:
    """Raise RuntimeError: a live process owns it."""
    message = f"process {pid} owns this {what}, and lives"
    raise RuntimeError(message)
