"""Classes that are bound to an IntEnum: what IntEnumValue and IntEnumArray have in common."""

from __future__ import annotations

import weakref
from enum import IntEnum
from types import new_class
from typing import Any, ClassVar, ForwardRef, TypeVar, get_args, get_origin

from .backends import backend
from .errors import class_name, show
from .process import ProcessLock
from .registry import vocabulary_of
from .vocabulary import Vocabulary, is_int_enum


class _EnumType:
    """The EnumType of a class that has no enum: each instance has its own."""

    def __init__(self, base: type[IntEnum]) -> None:
        self.base = base

    def __get__(self, instance: Any, owner: type[Any]) -> type[IntEnum]:
        vocabulary = None if instance is None else instance._atomic_vocabulary
        return self.base if vocabulary is None else vocabulary.enum


class Typed:
    """A class that is bound to an IntEnum by its type parameter.

    ``class WorkerStatus(IntEnumValue[WorkerStatusEnum])`` is; ``IntEnumValue[WorkerStatusEnum]`` is
    a subclass made for the purpose, once; and one without a parameter leaves it to each instance.
    """

    __slots__ = ()

    #: The IntEnum; IntEnum itself where none was given.
    EnumType: ClassVar[type[IntEnum]] = _EnumType(IntEnum)  # type: ignore[assignment]

    #: The vocabulary of EnumType; None if that has no members.
    _atomic_class_vocabulary: ClassVar[Vocabulary | None] = None
    #: The type variable in the enum's place, as long as the class has no enum.
    _atomic_parameter: ClassVar[TypeVar]
    #: The generic class whose parameter it is.
    _atomic_root: ClassVar[type[Typed]]
    #: Whether the class was made by subscription and cannot be imported by name.
    _atomic_subscripted: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Find the class's enum: its own, or by MRO its bases'."""
        super().__init_subclass__(**kwargs)
        if Typed in cls.__bases__:
            cls._atomic_root = cls
            (cls._atomic_parameter,) = cls.__parameters__  # type: ignore[attr-defined]
            return
        if "_atomic_subscripted" not in vars(cls):
            cls._atomic_subscripted = False
        argument = _enum_argument(cls)
        if isinstance(argument, TypeVar):
            cls._atomic_parameter = argument
        elif argument is not None:
            _require_int_enum(cls, argument)
            cls.EnumType = _enum_type(argument)
        enum = cls.EnumType
        _require_int_enum(cls, enum)
        cls._atomic_class_vocabulary = vocabulary_of(enum) if len(enum) else None
        if issubclass(cls, backend.Value):
            backend.prepare_class(cls)

    def __class_getitem__(cls, parameter: Any) -> Any:
        """Return the subclass that is bound to an IntEnum; made once."""
        bound = _subscripted.get((id(cls), id(parameter)))
        if bound is not None:
            return bound
        if parameter is Any or isinstance(parameter, (TypeVar, str, ForwardRef, tuple)):
            return super().__class_getitem__(parameter)  # type: ignore[misc]
        parameters = cls.__parameters__  # type: ignore[attr-defined]
        if parameters and cls._atomic_parameter not in parameters:
            return super().__class_getitem__(parameter)  # type: ignore[misc] # not the enum
        _require_int_enum(cls, parameter)
        bound = cls.EnumType
        if parameter is bound:
            return cls
        if len(bound) or not issubclass(parameter, bound):
            message = f"{class_name(cls)} holds {class_name(bound)}, not {class_name(parameter)}"
            raise TypeError(message)
        return _subscripting.call(_subscript, cls, parameter)

    @classmethod
    def _atomic_vocabulary_of(cls, enum: type[IntEnum]) -> Vocabulary:
        """Return the vocabulary of the class, or of an instance's own enum where it has none."""
        return cls._atomic_class_vocabulary or vocabulary_of(enum)


def _require_int_enum(cls: type[Any], candidate: object) -> None:
    if not is_int_enum(candidate):
        message = f"{class_name(cls)} takes an IntEnum, not {show(candidate)}"
        raise TypeError(message)


def _enum_type(enum: type[IntEnum]) -> Any:
    """Return what a class has for its EnumType."""
    return enum if len(enum) else _EnumType(enum)


def _enum_argument(cls: type[Any]) -> Any:
    """Return what the first of the class's own bases says for the enum's type variable, or None."""
    for base in vars(cls).get("__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, cls._atomic_root):
            generic: Any = origin
            parameters = generic.__parameters__
            if generic._atomic_parameter in parameters:
                argument = get_args(base)[parameters.index(generic._atomic_parameter)]
                # A string or Any says nothing at run time.
                if isinstance(argument, (type, TypeVar)) and argument is not Any:
                    return argument
    return None


def _subscript(cls: type[Any], enum: type[IntEnum]) -> type[Any]:
    """Return the subclass of ``cls`` that is bound to ``enum``; one thread at a time."""
    key = id(cls), id(enum)
    bound = _subscripted.get(key)
    if bound is None:
        body = {
            "__slots__": (),
            "__module__": cls.__module__,
            "__qualname__": f"{cls.__qualname__}[{enum.__qualname__}]",
            "__doc__": cls.__doc__,
            "EnumType": _enum_type(enum),
            "_atomic_subscripted": True,
        }
        name = f"{cls.__name__}[{enum.__name__}]"
        bound = new_class(name, (cls,), exec_body=lambda namespace: namespace.update(body))
        _subscripted[key] = bound
    return bound


#: IntEnumValue[E] by the ids of the class that was subscripted and of E; the class refers to both,
#: so the ids stay theirs as long as the entry is here.
_subscripted: weakref.WeakValueDictionary[tuple[int, int], type[Any]] = (
    weakref.WeakValueDictionary()
)
_subscripting = ProcessLock()


def vocabulary_of_member(cls: type[Any], value: object) -> Vocabulary:
    """Return the vocabulary of the first member that an unbound class is given."""
    base = cls.EnumType
    enum: Any = type(value)
    if not is_int_enum(enum) or not issubclass(enum, base):
        message = (
            f"{class_name(cls)} is bound to no enum, so its first value must be a member of an "
            f"{class_name(base)}, not {show(value)} of {class_name(type(value))}"
        )
        if isinstance(value, str):
            message += f"; for a name, or instead of a type code, bind it: {cls.__name__}[YourEnum]"
        raise TypeError(message)
    return vocabulary_of(enum)
