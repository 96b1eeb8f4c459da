"""The command that watches: a line for each change of a value, and a board for each array.

It sleeps until something moves, in an event loop.  What moves all the time is looked at a few
times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..observe import SegmentInfo, segment
from .board import Board, frame
from .look import styles_of
from .opening import ReplacedError, found, opened
from .output import GONE, Cell, console, document, line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine, Iterator

#: Seconds between two looks at a value, or an array, that moves all the time.
_VALUE_PAUSE, _ARRAY_PAUSE = 0.01, 0.1

#: Seconds between two looks at who lives; and as many times what one takes, at least.
_TICK, _TICK_SHARE = 1.0, 200

#: Seconds after a change in which others may join it on the screen.
_PAINT = 0.05

#: Lines of values that are kept beside boards.
_LINES = 200


def watch(args: argparse.Namespace) -> int:
    """Show what changes, until q, Ctrl-C or another signal."""
    watcher = _Watcher([found(name) for name in dict.fromkeys(args.names)], as_json=args.json)
    with watcher.screen(), _keys() as keys:
        return asyncio.run(watcher.run(keys))


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Have stdin give each key at once, without showing it; None if it is no terminal."""
    import termios  # noqa: PLC0415 - not on Windows
    import tty  # noqa: PLC0415

    try:
        keys = sys.stdin.fileno()
        before = termios.tcgetattr(keys)
    except (AttributeError, ValueError, OSError, termios.error):
        yield None
        return
    tty.setcbreak(keys)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


async def _first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run them until one has ended, and raise what that has raised."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class _Watcher:
    """What is watched, and where it is shown.

    Args:
        infos: of the segments.
        as_json: print a JSON object for each change.

    """

    def __init__(self, infos: list[SegmentInfo], *, as_json: bool) -> None:
        self._infos = {info.name: info for info in infos}
        self._json = as_json
        self._boards: dict[str, Board] = {}
        self._lines: deque[tuple[str, str]] = deque(maxlen=_LINES)
        self._live: Any = None
        self._painting: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def screen(self) -> Iterator[None]:
        """Have the terminal's other screen, where there are boards to be shown."""
        to = None if self._json else console()
        if to is None or all(info.kind == "value" for info in self._infos.values()):
            yield
            return
        from rich.live import Live  # noqa: PLC0415 - an extra

        with Live(console=to, screen=True, auto_refresh=False) as self._live:
            yield

    async def run(self, keys: int | None) -> int:
        """Watch until q, or a signal, and return the exit code; what fails with one ends all."""
        loop, ended = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def end(code: int) -> None:
            if not ended.done():
                ended.set_result(code)

        def key() -> None:
            pressed = os.read(keys or 0, 100)
            if not pressed or b"q" in pressed.lower():
                end(0)

        async def until_ended() -> None:
            await ended

        if keys is not None:
            loop.add_reader(keys, key)
        for number in (signal.SIGTERM, signal.SIGHUP):  # or the terminal would stay as it is
            loop.add_signal_handler(number, end, 128 + number)
        if self._live is not None:
            loop.add_signal_handler(signal.SIGWINCH, self._resized)
        await _first(until_ended(), *map(self._follow, self._infos))
        code: int = ended.result()
        return code

    async def _follow(self, name: str) -> None:
        """Watch what has a name, and what has it after that."""
        while True:
            info = self._infos[name]
            with contextlib.ExitStack() as stack:
                watched = []
                # Else it is gone already, or another one has the name: the next look finds it.
                with contextlib.suppress(FileNotFoundError, ReplacedError):
                    of = opened(info)
                    stack.callback(of.close)
                    self._boards.pop(name, None)
                    if info.kind == "array":
                        self._boards[name] = Board(info)
                    one = self._array if info.kind == "array" else self._value
                    watched.append(one(name, of))
                await _first(*watched, self._until_replaced(name))

    # -- what moves

    async def _value(self, name: str, of: Any) -> None:
        info, before, version = self._infos[name], None, of.version
        styles = styles_of(info)
        while True:
            number, now = of.value, of.version
            writes, version = (now - version) % 2**19, now
            member = info.name_of(number)
            if before is None or writes:
                if self._json:
                    about = {"member": member, "value": number, "before": before}
                    document(name=name, at=time.time(), **about, writes=writes)
                else:
                    missed = f"  ({writes:,} writes)" if writes > 1 else ""
                    text = f"{before} -> {member}" if before else member
                    self._say(name, text + missed, styles[member])
            before = member
            try:
                known = number in info.members.values()
                await (of.aio.wait_while(member) if known else of.aio.wait_for(*info.members))
            except ValueError:  # it is no member's by now
                await asyncio.sleep(_TICK)
            await asyncio.sleep(_VALUE_PAUSE)

    async def _array(self, name: str, of: Any) -> None:
        info, board, first = self._infos[name], self._boards[name], True
        while True:
            try:
                async for members in of.aio.changes():
                    self._array_changed(
                        name, {i: each._name_ for i, each in members.items()}, first
                    )
                    first = False
                    await asyncio.sleep(_ARRAY_PAUSE)
            except ValueError:  # a word is no member's: it is looked at, instead
                with contextlib.suppress(FileNotFoundError):
                    info = segment(name)
                names = dict(enumerate(map(info.name_of, info.values)))
                changed = {i: now for i, now in names.items() if first or now != board.words[i]}
                if changed:
                    self._array_changed(name, changed, first)
                first = False
                await asyncio.sleep(_TICK)

    def _array_changed(self, name: str, changed: dict[int, str], first: bool) -> None:  # noqa: FBT001
        board = self._boards[name]
        board.change(changed)
        counts = {each: count for each, count in board.counts.items() if count}
        if self._json:
            document(name=name, at=time.time(), changed=changed, counts=counts)
        elif self._live is not None:
            self._paint_soon()
        else:
            text = ", ".join(f"{count:,} {each}" for each, count in counts.items())
            some = [f"{i} {each}" for i, each in changed.items()][: 0 if first else 8]
            more = [f"and {len(changed) - 8} more"] if some and len(changed) > 8 else []
            self._say(name, f"{text}; now {', '.join(some + more)}" if some else text)

    async def _until_replaced(self, name: str) -> None:
        """Look who lives, until another segment has the name; while none has it, wait."""
        pause, there = _TICK, True
        while True:
            await asyncio.sleep(pause)
            before, began = self._infos[name], time.perf_counter()
            now = None
            with contextlib.suppress(FileNotFoundError):
                now = segment(name)
            pause = max(_TICK, (time.perf_counter() - began) * _TICK_SHARE)
            if now is None or now.problem:
                if there:
                    self._say(name, "the name is gone: waiting for another creator", GONE)
                there = False
                continue
            self._infos[name] = now
            if now.nonce != before.nonce:
                self._say(name, f"another one, created by {now.creator}")
                return
            ended = now.creator is not None and now.creator.alive is False
            if ended and before.creator is not None and before.creator.alive:
                self._say(name, f"its creator {before.creator.pid} has ended", GONE)
            if name in self._boards:
                self._boards[name].info = now
                if (now.owners, now.creator) != (before.owners, before.creator):
                    self._paint_soon()

    # -- where it is shown

    def _say(self, name: str, text: str, style: str = "") -> None:
        """Show a line."""
        now = time.time()
        if self._json:
            document(name=name, at=now, note=text)
            return
        clock = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1000):03}"
        said = f"{clock} {name}: {text}"
        if self._live is None:
            line(Cell(said, style))
        else:
            self._lines.append((printable(said), style))
            self._paint_soon()

    def _paint_soon(self) -> None:
        if self._live is not None and self._painting is None:
            loop = asyncio.get_running_loop()
            self._painting = loop.call_later(_PAINT, self._paint)

    def _resized(self) -> None:
        # The signal may have cut short what was being written: that ends here, whatever it was.
        self._live.console.file.write("\x18\x1b[2J")
        self._paint()

    def _paint(self) -> None:
        self._painting = None
        width, height = os.get_terminal_size(sys.stdout.fileno())  # COLUMNS does not follow it
        self._live.console.size = width, height = width or 80, height or 24
        shown = frame([*self._boards.values()], [*self._lines], width, height)
        self._live.update(shown, refresh=True)
