"""How messages show values and types."""

from __future__ import annotations


def show(value: object) -> str:
    """Return a value's repr for a message; what cannot show itself is shown by its type."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the message matters more than whatever repr() ran into
        return object.__repr__(value)
    return text if len(text) <= 100 else text[:97] + "..."


def class_name(cls: type) -> str:
    """Return a class's name as a message should have it: with its module, unless it is builtin."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def printable(text: str) -> str:
    """Return a text that somebody else wrote, fit for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
