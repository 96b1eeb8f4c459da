"""Histories of several processes on one value have one order that explains every answer.

Each harness here also runs on a cell that is broken on purpose, and has to find it broken.
"""

from __future__ import annotations

import time
from collections import Counter
from enum import IntEnum
from itertools import pairwise
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from atomic_intenum import BACKEND, IntEnumValue
from helpers.crew import Bits, child
from helpers.marks import needs_many_locks
from helpers.support import VERSIONS, give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.slow

PROCESSES = 3
#: A bug may hide in a window of nanoseconds: as many calls as a tenth of a second has room for.
SCALE = 10 if BACKEND == "native" else 1
#: A broken cell is given this many runs to be found out; mostly it takes one.
ATTEMPTS = 200


class Many(IntEnum):
    """Enough members for each write to have one of its own."""

    _ignore_ = ["vars_", "n"]  # noqa: RUF012
    vars_ = vars()
    for n in range(9001):
        # Spread over all 32 bits: half of one member and half of another are none.
        vars_[f"M{n}"] = ((n * 2654435761) & 0xFFFFFFFF) - 2**31


MEMBERS = list(Many)


class Cell(Protocol):
    """What is checked: IntEnumValue has it, and so have the broken ones."""

    def load(self) -> Any: ...
    def set(self, value: Any) -> None: ...
    def exchange(self, value: Any) -> Any: ...
    def compare_and_set(self, old: Any, new: Any) -> bool: ...
    @property
    def version(self) -> int: ...


class Unsynchronised:
    """Broken on purpose: reads, then writes, with nothing between them to keep others out."""

    def __init__(self, value: IntEnum) -> None:
        self._enum = type(value)
        self._number: Any = RawValue("i", value)
        self._version: Any = RawValue("Q", 0)

    def load(self) -> IntEnum:
        return self._enum(self._number.value)

    def set(self, value: IntEnum) -> None:
        self._number.value = value
        self._version.value += 1

    def exchange(self, value: IntEnum) -> IntEnum:
        old = self.load()
        self.set(value)
        return old

    def compare_and_set(self, old: IntEnum, new: IntEnum) -> bool:
        if self.load() is not old:
            return False
        self.set(new)
        return True

    @property
    def version(self) -> int:
        return int(self._version.value)


class Halves(Unsynchronised):
    """Broken on purpose: writes 16 bits and then the other 16, and reads what it finds."""

    def __init__(self, value: IntEnum) -> None:
        super().__init__(value)
        self._halves: Any = RawArray("H", 2)
        self.set(value)

    def load(self) -> IntEnum:
        low, high = self._halves
        number = low | high << 16
        return self._enum(number - 2**32 if number >= 2**31 else number)

    def set(self, value: IntEnum) -> None:
        self._halves[0] = value & 0xFFFF
        self._halves[1] = value >> 16 & 0xFFFF

    def exchange(self, value: IntEnum) -> IntEnum:
        self.set(value)
        return value


def make(enum: type[IntEnum]) -> Callable[[IntEnum], Cell]:
    """Return the class under test."""
    return IntEnumValue[enum]  # type: ignore[valid-type]


def together(work: Callable[..., Any], *shares: tuple[Any, ...]) -> list[Any]:
    """Run ``work(*share)`` in a process per share, all at once; return what each returned."""
    ready: Any = RawArray("b", len(shares))

    def run(pipe: Connection, place: int, share: tuple[Any, ...]) -> None:
        ready[place] = 1
        while not all(ready):  # awake, or the first would be done before the last has woken
            give_way()
        pipe.send(work(*share))

    def gather(rest: list[tuple[Any, ...]], peers: list[Any]) -> list[Any]:
        if not rest:
            return [peer.says() for peer in peers]
        running: AbstractContextManager[Any] = child(run, len(peers), rest[0])
        with running as peer:
            return gather(rest[1:], [*peers, peer])

    return gather(list(shares), [])


def found_broken(check: Callable[[], None]) -> bool:
    """Whether one of ATTEMPTS runs of a harness fails its assertions."""
    for _ in range(ATTEMPTS):
        try:
            check()
        except AssertionError:
            return True
    return False


# -- one total order


class Event(NamedTuple):
    """One call: when it began and ended, what it read and what it wrote (None: it didn't)."""

    began: int
    ended: int
    read: int | None
    wrote: int | None
    mismatch: int | None = None  # a compare_and_set that failed: the old that wasn't there


def record(cell: Cell, first: int, count: int) -> list[Event]:
    """Call load, exchange and compare_and_set; each write has a member of its own."""
    events = []
    clock = time.monotonic_ns
    for n in range(first, first + count):
        began = clock()
        read = cell.load()
        events.append(Event(began, clock(), int(read), None))
        new = MEMBERS[n]
        if n % 3:
            began = clock()
            done = cell.compare_and_set(read, new)
            ended = clock()
            if done:
                events.append(Event(began, ended, int(read), int(new)))
                continue
            events.append(Event(began, ended, None, None, mismatch=int(read)))
        began = clock()
        read = cell.exchange(new)
        events.append(Event(began, clock(), int(read), int(new)))
    return events


def check_order(events: Iterable[Event], initial: int, final: int) -> int:
    """Assert that one order explains all events; return how many writes it has.

    Each write's number is its own, so what a write has read names the write before it: that chain
    is the only order there can be.  It has to hold every write, end in the final value, and never
    put a call before one that had ended when it began.  Reads fall in after the write they saw.
    """
    writes: dict[int, Event] = {}
    reads: dict[int, list[Event]] = {}
    mismatches = []
    for event in events:
        if event.mismatch is not None:
            mismatches.append(event)
        elif event.wrote is None:
            assert event.read is not None
            reads.setdefault(event.read, []).append(event)
        else:
            assert event.read is not None
            assert event.read not in writes, f"{event.read} was replaced twice: an update was lost"
            writes[event.read] = event

    begun = 0
    at, order = initial, [initial]
    windows = {initial: [0, 0]}  # of each value: when it may have come at the latest, ...
    while True:
        for read in sorted(reads.pop(at, ())):
            assert read.ended >= begun, f"{at} was read after it had been replaced"
            begun = max(begun, read.began)
        write = writes.pop(at, None)
        if write is None:
            break
        assert write.ended >= begun, "a write comes before one that it followed"
        begun = max(begun, write.began)
        windows[at][1] = write.began  # ... and when it was certainly still there
        assert write.wrote is not None
        at = write.wrote
        windows[at] = [write.ended, write.ended]
        order.append(at)
    assert not writes, f"{len(writes)} writes follow from none: an update was lost"
    assert not reads, f"values were read that nobody wrote: {list(reads)}"
    assert at == final
    for event in mismatches:
        assert event.mismatch is not None
        came, went = windows[event.mismatch]
        there = came < event.began and event.ended < went
        assert not there, f"compare_and_set missed {event.mismatch}, which was there throughout"
    return len(order) - 1


def check_history(make_cell: Callable[[IntEnum], Cell]) -> None:
    """Assert that what several processes did to one cell has one order."""
    cell = make_cell(MEMBERS[0])
    count = (len(MEMBERS) - 1) // PROCESSES
    shares = [(cell, 1 + n * count, count) for n in range(PROCESSES)]
    histories = together(record, *shares)
    for history in histories:
        for before, after in pairwise(history):
            assert before.ended <= after.began
    events = [event for history in histories for event in history]
    written = check_order(events, MEMBERS[0], int(cell.load()))
    assert written == count * PROCESSES
    assert cell.version == written % VERSIONS


def test_history_has_one_order() -> None:
    """Loads, exchanges and compare_and_sets of three processes fit one order, real time's too."""
    for _ in range(3):
        check_history(make(Many))


def test_broken_history_is_found() -> None:
    """The check of histories finds a cell broken that reads and then writes."""
    assert found_broken(lambda: check_history(Unsynchronised))


def history(*calls: tuple[int, int, int | None, int | None, int | None]) -> list[Event]:
    """Return the events of such calls."""
    return [Event(*call) for call in calls]


@pytest.mark.parametrize(
    ("events", "final"),
    [
        pytest.param([(1, 2, 0, 7, None), (1, 2, 0, 8, None)], 8, id="replaced twice"),
        pytest.param([(1, 2, 0, 7, None), (3, 4, 9, 8, None)], 7, id="from nowhere"),
        pytest.param([(1, 2, 0, 7, None), (3, 4, 0, None, None)], 7, id="stale read"),
        pytest.param([(5, 6, 0, 7, None), (1, 2, 7, None, None)], 7, id="read of the future"),
        pytest.param([(5, 6, 0, 7, None), (1, 2, 7, 8, None)], 8, id="write over the future"),
        pytest.param([(1, 2, 0, 7, None)], 0, id="lost write"),
        pytest.param([(1, 2, 3, None, None)], 0, id="read of what nobody wrote"),
        pytest.param(
            [(1, 2, 0, 7, None), (3, 4, None, None, 7), (5, 6, 7, 8, None)], 8, id="missed"
        ),
    ],
)
def test_impossible_histories_are_found(
    events: list[tuple[int, int, int | None, int | None, int | None]], final: int
) -> None:
    """The check refuses each kind of history that no atomic value could give."""
    with pytest.raises(AssertionError):
        check_order(history(*events), 0, final)


def test_possible_history_is_accepted() -> None:
    """The check accepts calls that overlap, in whichever order explains them."""
    events = history(
        (1, 10, 7, 8, None),
        (2, 9, 0, 7, None),
        (1, 10, 8, None, None),
        (1, 10, 0, None, None),
        (1, 10, None, None, 8),
        (11, 12, 8, None, None),
        (11, 12, None, None, 0),
    )
    assert check_order(events, 0, 8) == 2


# -- counting


def count_up(cell: Cell, times: int) -> int:
    """Advance the cell to the next member, so many times; return how many attempts failed."""
    failed = 0
    following = dict(zip(COUNTERS, [*COUNTERS[1:], COUNTERS[0]], strict=True))
    for _ in range(times):
        old = cell.load()
        while not cell.compare_and_set(old, following[old]):
            failed += 1
            old = cell.load()
    return failed


#: A prime number of them.
COUNTERS = MEMBERS[:997]


def check_count(make_cell: Callable[[IntEnum], Cell]) -> None:
    """Assert that no successful compare_and_set of several processes is lost."""
    cell = make_cell(COUNTERS[0])
    times = 20000 * SCALE
    together(count_up, *[(cell, times)] * PROCESSES)
    assert cell.version % VERSIONS == times * PROCESSES % VERSIONS
    assert cell.load() is COUNTERS[times * PROCESSES % len(COUNTERS)]


def test_no_compare_and_set_is_lost() -> None:
    """As many steps were made, and versions counted, as compare_and_sets returned True."""
    check_count(make(Many))


def test_lost_compare_and_set_is_found() -> None:
    """The counting harness finds a cell broken that reads and then writes."""
    assert found_broken(lambda: check_count(Unsynchronised))


def exchange_own(
    cell: Cell, members: list[IntEnum], times: int
) -> tuple[Counter[int], Counter[int]]:
    """Exchange in one's own members; return what was put in and what came out."""
    put = Counter({int(member): times for member in members})
    got: Counter[int] = Counter()
    for _ in range(times):
        got.update(int(cell.exchange(member)) for member in members)
    return put, got


def check_exchange(make_cell: Callable[[IntEnum], Cell]) -> None:
    """Assert that members come out of exchange() as often as they went in."""
    cell = make_cell(MEMBERS[-1])
    shares = [(cell, MEMBERS[n * 5 : n * 5 + 5], 4000 * SCALE) for n in range(PROCESSES)]
    put: Counter[int] = Counter([int(MEMBERS[-1])])
    got: Counter[int] = Counter([])
    for one_put, one_got in together(exchange_own, *shares):
        put += one_put
        got += one_got
    got[int(cell.load())] += 1
    assert put == got
    assert cell.version % VERSIONS == (put.total() - 1) % VERSIONS


def test_exchange_loses_and_doubles_nothing() -> None:
    """What was put in is what came out, each once, and the last is still there."""
    check_exchange(make(Many))


def test_lost_exchange_is_found() -> None:
    """The exchange harness finds a cell broken that reads and then writes."""
    assert found_broken(lambda: check_exchange(Unsynchronised))


def claim_all(cells: list[Cell], mine: IntEnum) -> list[int]:
    """Claim each cell from the first member; return the indices of those won."""
    return [n for n, cell in enumerate(cells) if cell.compare_and_set(MEMBERS[0], mine)]


def check_claims(make_cell: Callable[[IntEnum], Cell]) -> None:
    """Assert that each of many cells is claimed by exactly one process."""
    cells = [make_cell(MEMBERS[0]) for _ in range(300)]
    won = together(claim_all, *[(cells, MEMBERS[1 + n]) for n in range(PROCESSES)])
    assert sorted(n for claims in won for n in claims) == list(range(len(cells)))
    for process, claims in enumerate(won):
        assert all(cells[n].load() is MEMBERS[1 + process] for n in claims)
    assert all(cell.version == 1 for cell in cells)


@needs_many_locks
def test_each_value_is_claimed_once() -> None:
    """Of all processes that claim a value by compare_and_set exactly one gets it."""
    for _ in range(4 * SCALE):
        check_claims(make(Many))


def test_double_claim_is_found() -> None:
    """The harness of claims finds cells broken that read and then write."""
    assert found_broken(lambda: check_claims(Unsynchronised))


# -- whole values


def write_both(cell: Cell, times: int) -> int:
    """Write LEFT and RIGHT by turns."""
    for _ in range(times):
        cell.set(Bits.LEFT)
        cell.exchange(Bits.RIGHT)
    return 0


def read_torn(cell: Cell, times: int) -> int:
    """Read so many times; return how often that was no member."""
    torn = 0
    for _ in range(times):
        try:
            cell.load()
        except ValueError:
            torn += 1
    return torn


def work_or_read(work: Callable[[Cell, int], int], cell: Cell, times: int) -> int:
    """Do one's own part."""
    return work(cell, times)


def check_torn(make_cell: Callable[[IntEnum], Cell]) -> None:
    """Assert that a reader beside two writers sees members alone."""
    cell = make_cell(Bits.LEFT)
    writing, reading = (write_both, cell, 20000), (read_torn, cell, 60000)
    assert sum(together(work_or_read, writing, writing, reading)) == 0


def test_no_read_is_torn() -> None:
    """Between two members without a bit in common readers never see a mixture."""
    check_torn(make(Bits))


def test_torn_read_is_found() -> None:
    """The harness of torn reads finds a cell broken that is written by halves."""
    assert found_broken(lambda: check_torn(Halves))
