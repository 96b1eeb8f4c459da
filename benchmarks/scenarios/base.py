"""What a scenario is."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any, ClassVar

with suppress(ImportError):
    import atomicshm

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from contenders import Contender

    Batch = Callable[[int], None]


class Scenario:
    """One contender in one scenario; made in the parent.

    Args:
        context: of multiprocessing, for what is shared.
        processes: how many there will be.
        stack: for what is to be cleaned up.

    Attributes:
        what: the scenario.
        who: the contender's label.
        least: of how many processes it makes sense.
        at_a_time: operations of a batch, which is timed as one.
        pinned: whether each process stays on a CPU of its own.

    """

    what: ClassVar[str]
    who: ClassVar[str]
    least: ClassVar[int] = 1
    at_a_time: ClassVar[int] = 50
    pinned: ClassVar[bool] = True
    contender: ClassVar[Contender]

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        raise NotImplementedError

    @classmethod
    def absence(cls) -> str:
        """Return why it can't take part; empty if it can."""
        return cls.contender.absence or ""

    def counts(self, rank: int) -> bool:
        """Whether that process's operations are the ones to count."""
        return True

    def latencies(self) -> list[float] | None:
        """Return the seconds of single operations since last asked; None: time the batches."""
        return None

    def open(self, rank: int, stack: ExitStack) -> Batch:
        """Return what does so many operations, in the process of that rank."""
        raise NotImplementedError


class AtomicWords:
    """Words of atomicshm, which shares by the name of a SharedMemory."""

    def __init__(self, stack: ExitStack) -> None:
        self.memory = SharedMemory(create=True, size=4096)
        stack.callback(self.memory.unlink)
        stack.callback(self.memory.close)

    def cell(self, index: int, stack: ExitStack) -> Any:
        stack.callback(self.memory.close)
        view = stack.enter_context(atomicshm.AtomicView(self.memory.buf))
        return view.cell_u32(4 * index)
