"""Live segments as data: what another process has, and what is wrong with what is there."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import observe
from helpers import elsewhere
from helpers.inside import Header, layout
from helpers.names import path_of, planted
from helpers.service import NAMED, kept, memory, service
from helpers.support import environment, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.service import Service

pytestmark = [
    pytest.mark.skipif(not NAMED, reason="no compiled core: nothing has a name"),
    pytest.mark.skipif(sys.platform != "linux", reason="shared memory is not listed"),
]


@pytest.fixture(scope="module")
def there() -> Iterator[Service]:
    """Run a service with some words."""
    with service(3000) as it:
        yield it


def test_segments_have_names(there: Service) -> None:
    """segments() has each value and array of another process once, by name."""
    found = {info.name: info for info in observe.segments()}
    assert {there.status, there.board, there.many} <= {*found}
    assert found[there.many].kind == "array"
    assert list(found) == sorted(found)


def test_value(there: Service) -> None:
    """A value has its enum, its members, its value and its creator."""
    there.ask("status.set('CALCULATING')")
    info = observe.segment(there.status)
    assert (info.kind, info.enum, info.size) == ("value", "WorkerStatusEnum", 1)
    assert info.members == {"UNAVAILABLE": 1, "IDLE": 2, "CALCULATING": 3}
    assert list(info.values) == [3]
    assert info.name_of(3) == "CALCULATING"
    assert info.creator is not None
    assert (info.creator.pid, info.creator.alive) == (there.pid, True)
    assert "service.py" in info.creator.command
    assert info.answered
    assert info.problem == ""
    assert info.on_death is None
    assert info.user == os.geteuid()
    assert info.bytes == memory(there.status).stat().st_size


def test_array(there: Service) -> None:
    """An array has the values of all words, and how many are which member, none included."""
    there.ask("many.fill('PENDING')")
    there.ask("many.at(2999).set('DONE')")
    there.ask("many.at(7).set('RUNNING')")
    info = observe.segment(there.many)
    assert info.size == len(info.values) == 3000
    assert (info.values[7], info.values[2999]) == (2, 3)
    assert info.counts() == {"PENDING": 2998, "RUNNING": 1, "DONE": 1}


def test_words_past_a_block() -> None:
    """The last word of an array that is read in pieces is where it belongs."""
    with service(200_000) as it:
        it.ask("many.at(131_072).set('DONE')")
        it.ask("many.at(199_999).set('RUNNING')")
        info = observe.segment(it.many)
        assert {i: v for i, v in enumerate(info.values) if v != 1} == {131_072: 3, 199_999: 2}


def test_owners(there: Service) -> None:
    """Each owned word has its owner's pid and command, and whether it lives, unchanged by it."""
    first = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    second = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    there.ask(f"kill({first})")
    info = observe.segment(there.board)
    assert info.on_death == {"RUNNING": "PENDING"}
    assert {index: (owner.pid, owner.alive) for index, owner in info.owners.items()} == {
        0: (first, False),
        1: (second, True),
    }
    assert "service.py" in info.owners[1].command
    assert info.owners[0].command == ""
    assert info.counts()["RUNNING"] == 2
    assert there.ask("board.recover()") == "[0]"
    there.ask(f"kill({second})")
    there.ask("board.recover()")
    assert observe.segment(there.board).owners == {}


def test_holder(there: Service) -> None:
    """Who holds a word's lock is named, while it holds it."""
    there.ask("board.at(4).get_lock().acquire()")
    holders = observe.segment(there.board).holders
    assert {index: (who.pid, who.alive) for index, who in holders.items()} == {4: (there.pid, True)}
    there.ask("board.at(4).get_lock().release()")
    assert observe.segment(there.board).holders == {}


def test_killed_creator() -> None:
    """A creator that was killed is gone; the segment is answered for by who else has it so."""
    with service() as it, contextlib.ExitStack() as stack:
        stack.enter_context(kept(it.status))
        it.kill()
        info = observe.segment(it.status)
        assert info.creator == (it.pid, "", False)
        assert info.answered
        assert list(info.values) == [2]


def test_pool(there: Service) -> None:
    """Values without a name are a pool: as many as were handed out."""
    there.ask("setattr(type(status), 'kept', [type(status)('IDLE') for _ in range(5)])")
    pools = [
        info
        for info in observe.segments()
        if info.kind == "pool" and info.creator is not None and info.creator.pid == there.pid
    ]
    assert [list(info.values) for info in pools] == [[2] * 5]
    assert observe.segment(pools[0].name).memory == pools[0].memory
    there.ask("delattr(type(status), 'kept')")


def test_not_there() -> None:
    """A name that nobody has is a FileNotFoundError that says what that means."""
    with pytest.raises(FileNotFoundError, match="its creator has not started, or has ended"):
        observe.segment("nobody-has-this")


def test_another_pid_namespace(there: Service) -> None:
    """Who is in another PID namespace is told by the locks, without a command."""
    if not elsewhere.can():
        pytest.skip("no PID namespaces here: it takes root")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert elsewhere.unshare()
            child = os.fork()
            if child == 0:
                os._exit(0 if _sees_elsewhere(there) else 1)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def _sees_elsewhere(there: Service) -> bool:
    info = observe.segment(there.status)
    # /proc may still be the other namespace's, by which this process is where it was.
    assert info.creator is not None
    return (
        bool(info.answered) and info.creator.alive in (None, True) and info.creator.pid == there.pid
    )


# -- what is wrong


def header_of(name: str) -> bytes:
    """Return a segment's bytes."""
    return memory(name).read_bytes()


def with_fields(content: bytes, **fields: int) -> bytes:
    """Return a segment with other fields in its header."""
    header = Header(*layout.HEADER.unpack_from(content, 8))
    fixed = layout.HEADER.pack(*header._replace(**fields))
    return content[:8] + fixed + content[8 + len(fixed) :]


CORRUPT: dict[str, Any] = {
    "empty": lambda _: b"",
    "few zeros": lambda _: bytes(100),
    "unfinished": lambda whole: b"0" + whole[1:100],
    "short": lambda whole: whole[:100],
    "foreign": lambda _: b"#!/bin/sh\n" * 100,
    "zeros": lambda _: bytes(4096),
    "no words": lambda whole: whole[:256],
    "version": lambda whole: with_fields(whole, layout_version=3),
    "capacity 0": lambda whole: with_fields(whole, capacity=0),
    "capacity": lambda whole: with_fields(whole, capacity=2**63),
    "stride 0": lambda whole: with_fields(whole, word_stride=0),
    "stride 12": lambda whole: with_fields(whole, word_stride=12),
    "stride": lambda whole: with_fields(whole, word_stride=2**31),
    "stride 16": lambda whole: with_fields(whole, word_stride=16, capacity=2),
    "kind": lambda whole: with_fields(whole, kind=4),
    "values": lambda whole: with_fields(whole, kind=2),
    "large number": lambda whole: whole.replace(
        b'"PENDING": 1, "RUNNING": 2', b'"P": 9999999999'.ljust(26)
    ),
    "half a letter": lambda whole: whole.replace(b'"PENDING"', b'"P\\ud800"'),
    "header": lambda whole: with_fields(whole, header_size=2**32 - 64),
    "controls": lambda whole: with_fields(whole, control_offset=2**63),
    "control stride": lambda whole: with_fields(whole, control_stride=2**32 - 1),
    "text": lambda whole: with_fields(whole, vocabulary_size=2**32 - 1),
    "text begins": lambda whole: with_fields(whole, vocabulary_offset=2**32 - 1),
    "no text": lambda whole: with_fields(whole, vocabulary_size=0),
    "half a text": lambda whole: with_fields(whole, vocabulary_size=40),
    "on_death": lambda whole: with_fields(whole, on_death_size=7),
    "owners": lambda whole: with_fields(whole, owners_offset=2**62),
    "no owners": lambda whole: with_fields(whole, owners_offset=0),
    "a list": lambda whole: whole[:192] + b"[1]".ljust(len(whole) - 192),
    "depth": lambda whole: whole[:192] + b"[" * 60 + whole[252:],
    "numbers": lambda whole: whole.replace(b'"PENDING": 1', b'"PENDING": x'),
    "strings": lambda whole: whole.replace(b'"RUNNING": 2', b'"RUNNING":""'),
}


@pytest.mark.parametrize("what", CORRUPT)
def test_corrupt(what: str, there: Service) -> None:
    """A segment that is no good has a problem, in a sentence; it disturbs no other."""
    name = f"t{os.getpid()}-corrupt"
    with planted(path_of(name), CORRUPT[what](header_of(there.board))):
        try:
            info = observe.segment(name)
            assert info.problem.startswith(("it ", "its "))
            names = {each.name: each.problem for each in observe.segments()}
            assert names[name] == info.problem
            assert names[there.status] == ""
        finally:
            path_of(name).unlink()


HALF_MADE = {"empty", "few zeros", "zeros", "unfinished"}


def test_half_made(there: Service) -> None:
    """What a creator has begun, or has left at that, is told from what is no segment."""
    name = f"t{os.getpid()}-half"
    told = set()
    for what, content in CORRUPT.items():
        with planted(path_of(name), content(header_of(there.board))):
            if observe.segment(name).problem == "it is half made":
                told.add(what)
            path_of(name).unlink()
    assert told == HALF_MADE


def test_sparse_file_takes_no_memory(there: Service) -> None:
    """A file that claims to be large, and takes nothing, is not read."""
    import resource

    name = f"t{os.getpid()}-sparse"
    wide = {"word_stride": 2**30, "capacity": 1000, "control_offset": 2**41, "owners_offset": 2**42}
    many = {"capacity": 2**33, "control_offset": 2**37, "owners_offset": 2**41}
    for fields in (wide, many):
        with planted(path_of(name), with_fields(header_of(there.board), **fields), 2**43):
            try:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                assert observe.segment(name).problem
                grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
                assert grown < 50_000  # KiB
            finally:
                path_of(name).unlink()


def test_creator_without_a_start(there: Service) -> None:
    """A dead creator whose start nobody knows is gone, all the same."""
    name = f"t{os.getpid()}-start"
    content = with_fields(header_of(there.board), creator_start=0, creator_pid=2**22 + 5)
    with planted(path_of(name), content):
        try:
            info = observe.segment(name)
            assert info.creator == (2**22 + 5, "", False)
        finally:
            path_of(name).unlink()


def test_large_enum(there: Service) -> None:
    """Thousands of members are read, counted and named at once."""
    name = f"t{os.getpid()}-large"
    members = {f"STATE_{i}": i for i in range(5000)}
    text = json.dumps({"enum": "Large", "members": members}).encode()
    content = bytearray(header_of(there.many))
    header = Header(*layout.HEADER.unpack_from(content, 8))
    more = -(-len(text) // 64) * 64
    moved = header._replace(
        vocabulary_size=len(text),
        on_death_size=0,
        owners_offset=0,
        header_size=header.header_size + more,
        control_offset=header.control_offset + more,
    )
    words = bytes(content[header.header_size :])
    fixed = content[:8] + layout.HEADER.pack(*moved)
    head = bytes(fixed).ljust(192, b"\0") + text
    with planted(path_of(name), head.ljust(moved.header_size, b"\0") + words):
        try:
            info = observe.segment(name)
            assert (info.problem, info.size) == ("", 3000)
            assert [info.name_of(value) for value in info.values] == [
                f"STATE_{value}" for value in info.values
            ]
        finally:
            path_of(name).unlink()


def test_later_version_has_its_creator(there: Service) -> None:
    """What a later version has made says who made it: that is where it was."""
    name = f"t{os.getpid()}-later"
    later = with_fields(header_of(there.board), layout_version=3)
    with planted(path_of(name), later):
        try:
            info = observe.segment(name)
            assert info.problem == "its layout is version 3, this reads version 2"
            assert info.creator is not None
            assert info.creator.pid == there.pid
        finally:
            path_of(name).unlink()


def test_words_that_are_no_members(there: Service) -> None:
    """A word that holds no member's number, as something foreign writes it, is counted by that."""
    name = f"t{os.getpid()}-odd"
    content = bytearray(header_of(there.board))
    (begin,) = {Header(*layout.HEADER.unpack_from(content, 8)).header_size}
    content[begin : begin + 16] = struct.pack("=iIiI", -7, 0xFFFF_FFFF, 2**31 - 1, 1)
    with planted(path_of(name), bytes(content)):
        try:
            info = observe.segment(name)
            assert list(info.values[:3]) == [-7, 2**31 - 1, 1]
            odd = {"-7": 1, "2147483647": 1}
            assert info.counts() == {"PENDING": 8, "RUNNING": 0, "DONE": 0} | odd
            assert info.owners[0].alive is False
            assert info.owners[0].pid == 0
        finally:
            path_of(name).unlink()


@pytest.mark.parametrize("what", ["folder", "pipe", "link", "dangling"])
def test_strangers(what: str, there: Service) -> None:
    """What is no shared memory under such a name is told, and neither blocks nor is followed."""
    path = path_of(f"t{os.getpid()}-{what}")
    with contextlib.ExitStack() as stack:
        if what == "folder":
            path.mkdir()
            stack.callback(path.rmdir)
        else:
            stack.callback(path.unlink)
            if what == "pipe":
                os.mkfifo(path)
            else:
                path.symlink_to(memory(there.status) if what == "link" else "nowhere")
        info = observe.segment(path.name.removeprefix("intenum."))
        assert info.problem
        assert info.values == ()
        assert there.status in {each.name for each in observe.segments()}


def test_cut_short_while_it_is_read(there: Service) -> None:
    """Segments that are cut short, and grow again, under who reads them are survived."""
    name = f"t{os.getpid()}-cut"
    content = header_of(there.many)
    with planted(path_of(name), content):
        pid = os.fork()
        if pid == 0:
            while True:
                for size in (0, 150, 260, 5000, len(content)):
                    os.truncate(path_of(name), size)
                    if size == len(content):
                        path_of(name).write_bytes(content)
        try:
            problems: set[str] = set()

            def all_were_seen() -> bool:
                problems.add(observe.segment(name).problem)
                return len(problems) > 2

            until(all_were_seen, "two problems")
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            path_of(name).unlink()


def test_comes_and_goes() -> None:
    """Segments that come and go while all are read are there or are not; nothing else is."""
    with service() as it:
        it.ask("come_and_go()")
        name = it.status.replace("-s", "-x")
        known: set[tuple[str, str]] = set()

        def both_were_seen() -> bool:
            # Others on this machine may have what is no good.
            infos = [info for info in observe.segments() if info.name in (name, it.status)]
            known.update((info.name, info.problem) for info in infos)
            return len(infos) == 1 and (name, "") in known

        until(both_were_seen, "each state")
        assert known <= {(it.status, ""), (name, ""), (name, "it is half made")}
        it.kill()
        path_of(name).unlink(missing_ok=True)


def test_text_is_bounded(there: Service) -> None:
    """A text of more than 1 MiB is not read."""
    name = f"t{os.getpid()}-long"
    content = with_fields(
        header_of(there.board), header_size=2**25, control_offset=2**26, owners_offset=2**27
    )
    with planted(path_of(name), content, 2**28):
        try:
            assert observe.segment(name).problem == "it is too large to be read here"
        finally:
            path_of(name).unlink()


def test_nothing_is_imported() -> None:
    """Importing the package imports none of this, nor what it needs."""
    ours = ("observe", "cli", "commands", "commands.look", "bench", "memory.reading", "aio")
    others = ("rich", "prometheus_client", "argparse", "asyncio")
    names = (*(f"atomic_intenum.{name}" for name in ours), *others)
    code = f"import sys, atomic_intenum; sys.exit(' '.join({{*{names}}} & {{*sys.modules}}))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert (finished.returncode, finished.stderr) == (1, "\n")
