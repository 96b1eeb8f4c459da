"""Wording shared by error messages."""

from __future__ import annotations


def type_name(value: object) -> str:
    """Return the name of a value's type as a message should have it: with its module."""
    return class_name(type(value))


def class_name(cls: type) -> str:
    """Return a class's name as a message should have it: with its module, unless it is builtin."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"
