"""The benchmarks: the short one, the figures that are published, and the gate's counts."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND, bench
from atomic_intenum import cli as __main__
from helpers.demos import (
    METHOD,
    PATIENCE,
    START_METHODS,
    left_for_long,
    lines_until,
    needs_posix,
    running,
    segments_of,
)
from helpers.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS = ROOT / "benchmarks"
README = ROOT / "README.md"
#: What shows figures, and how its part with them is marked.
PAGES = {README: "figures", ROOT / "docs" / "benchmarks.md": "benchmarks"}
RESULTS = BENCHMARKS / "results"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a Python to its end."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ,
    )


def benchmark_module(name: str) -> Any:
    """Import a module of the benchmarks."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


# -- the short one


def test_short_benchmark() -> None:
    """It names the backend, gives a line for each operation and the wake-ups, and ends with 0."""
    done = run("-W", "error", "-m", "atomic_intenum", "bench", "--seconds", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"backend {BACKEND}" in done.stdout
    for name in ("read the member", "set", "compare and set", "create", "wake a sleeper, and back"):
        assert re.search(rf"^{name}  .* ns .*[\d.]+ times ", done.stdout, re.MULTILINE), done.stdout


def test_short_benchmark_needs_nothing_else() -> None:
    """It runs where nothing but the package can be imported, rich and pytest included."""
    blocked = "rich", "pytest", "numpy", "pytest_benchmark", "matplotlib"
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from atomic_intenum.__main__ import main\n"
        "sys.exit(main(['bench', '--seconds', '0.1']))\n"
    )
    done = run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


#: All but the wake-ups gets a tenth of the time, so that they are soon there and last.
BENCH = """
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv.pop(1))
from atomic_intenum import bench
bench._WAKEUPS = 0.9
from atomic_intenum.__main__ import main
sys.exit(main(["bench", *sys.argv[1:]]))
"""


@needs_posix
@pytest.mark.parametrize(
    ("method", "moment"), [(METHOD, "about"), *((method, "create") for method in START_METHODS)]
)
def test_short_benchmark_is_interrupted(method: str, moment: str) -> None:
    """Ctrl-C ends it and its sleeper without a word, with 130, and nothing is left."""
    seconds = "60" if moment == "about" else "5"
    with running("--seconds", seconds, method=method, script=BENCH) as process:
        lines_until(process, moment)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert "wake" not in output
    assert segments_of(process.pid) == []


WAKEUPS = """
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv[1])
from atomic_intenum import bench
bench._wakeups(60, lambda: print("measuring", flush=True))
"""


@needs_posix
@pytest.mark.parametrize("method", START_METHODS)
def test_sleeper_of_a_killed_benchmark(method: str) -> None:
    """If the benchmark is killed, the process that it wakes ends by itself, and its memory goes."""
    with running(method=method, script=WAKEUPS) as process:
        lines_until(process, "measuring")
        process.kill()
        # The output ends with the last process that holds it.
        process.communicate(timeout=PATIENCE)
    assert left_for_long(process.pid) == []


@needs_posix
def test_short_benchmark_without_a_reader() -> None:
    """If nobody reads the output any more, it ends without a traceback."""
    with running("--seconds", "0.5", method=METHOD, script=BENCH) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 1


@pytest.mark.parametrize("seconds", ["0", "nan", "soon"])
def test_short_benchmark_for_no_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A time that is none is named, and the exit code is 2."""
    with pytest.raises(SystemExit) as caught:
        __main__.main(["bench", "--seconds", seconds])
    assert caught.value.code == 2
    assert f"{seconds!r} is not a number of seconds" in capsys.readouterr().err


def test_short_benchmark_does_what_it_says() -> None:
    """Each compare-and-set that is measured matches, or it would be another thing's figure."""
    (operation,) = (each for each in bench.OPERATIONS if each.name == "compare and set")
    objects = bench.objects()
    exec(operation.before, objects)
    version = objects["status"].version
    exec(operation.ours, objects)
    assert objects["status"].version == version + operation.number


# -- the long one: how it times


needs_benchmarks = pytest.mark.skipif(
    not BENCHMARKS.is_dir() or not all(page.is_file() for page in PAGES),
    reason="there are no benchmarks here",
)


@needs_benchmarks
def test_loop_counts_its_operations() -> None:
    """A loop runs its statement as often as it says, and in each timing what goes before it."""
    timing = benchmark_module("timing")
    done: list[int] = []
    statement = timing.Statement("note(1)", before="forget()")
    loop = timing.Loop(statement, {"note": done.append, "forget": done.clear}, 1e-5)
    done[:] = [1, 1]
    loop.time()
    assert len(done) == loop.operations


@needs_benchmarks
def test_loop_refuses_a_statement_that_does_something_else() -> None:
    """A statement that does not do what it is said to do is no benchmark."""
    timing = benchmark_module("timing")
    with pytest.raises(AssertionError, match="does not hold"):
        timing.Loop(timing.Statement("pass", holds="one == 2"), {"one": 1}, 1e-5)


@needs_benchmarks
def test_turns_alternate() -> None:
    """Loops take turns, in the opposite order each time."""
    order: list[str] = []

    def noted(name: str) -> Any:
        def time() -> float:
            order.append(name)
            return 1.0

        return SimpleNamespace(time=time)

    take_turns = benchmark_module("timing").take_turns
    assert take_turns([noted("a"), noted("b")], 3) == [[1.0] * 3] * 2
    assert "".join(order) == "abbaab"
    assert take_turns([noted("a"), noted("b")], 1, warm_up=2) == [[1.0]] * 2
    assert "".join(order) == "abbaab" * 2


@needs_benchmarks
def test_rows_of_the_bars_can_be_measured() -> None:
    """Both sides of each row have a statement, and no two rows have one name."""
    bars, operations = map(benchmark_module, ("bars", "operations"))
    for row in bars.ROWS:
        assert {row.ours, row.rival} <= operations.OPERATIONS[row.what].keys()
    names = [(row.title, row.rival.label) for row in bars.ROWS]
    assert len({*names}) == len(names)


@needs_benchmarks
def test_lock_path_has_an_interpreter_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backend's rows are measured where that backend is chosen."""
    bars = benchmark_module("bars")
    asked = []

    def started(_: object, *, env: dict[str, str], **__: object) -> SimpleNamespace:
        asked.append(env["ATOMIC_INTENUM_BACKEND"])
        return SimpleNamespace(stdout=json.dumps([None] * len(bars.ROWS)))

    monkeypatch.setattr(bars.subprocess, "run", started)
    bars.measure_rows(bars.Report(), 1, lambda: None)
    assert asked == ["native", "lock"]
    monkeypatch.setattr(bars.atomic_intenum, "BACKEND", "lock")
    monkeypatch.setattr(bars, "sample_rows", lambda rows: rows)
    assert {row.backend for row in bars.sample(0, 1) if row} == {"lock"}


@pytest.mark.only_on("native", "cffi")
@needs_benchmarks
def test_windows_of_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that are busy inside of the lock hand it over, and each one's wait is seen."""
    monkeypatch.syspath_prepend(BENCHMARKS)  # for the processes too
    contended, lock = map(benchmark_module, ("contended", "scenarios.lock"))
    sides = [lock.LockOurs10, lock.LockLocked10]
    for taken in contended.windows(2, sides, 2, 0.1):
        assert [len(window) for window in taken] == [2, 2]
        assert all(0 < rate < 1 / lock.LockOurs10.work for rate in contended.rates(taken))
        assert all(longest > 2 * lock.LockOurs10.work for longest in contended.longest(taken))
        assert any(each.singles for window in taken for each in window)


# -- what of it is committed


def machine_of(page: Path) -> str:
    """Return the machine that a page names, in the marker of its one part with figures."""
    (name,) = re.findall(rf"<!-- {PAGES[page]} of ([^ :]+):", page.read_text())
    return str(name)


def marked(page: Path) -> str:
    """Return the part of a page between its markers."""
    what = PAGES[page]
    return page.read_text().partition(f"<!-- {what} of")[2].partition(f"<!-- end of {what}")[0]


def report(page: Path, machine: str) -> subprocess.CompletedProcess[str]:
    """Compare a page with the results of a machine."""
    return run(BENCHMARKS / "report.py", RESULTS / f"{machine}.json", "--into", page, "--check")


each_page = pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])


@needs_benchmarks
@each_page
def test_pages_have_the_figures_of_the_results(page: Path) -> None:
    """What stands between the markers is what report.py makes of the committed results."""
    done = report(page, machine_of(page))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@needs_benchmarks
@each_page
def test_other_figures_on_a_page_are_noticed(page: Path, tmp_path: Path) -> None:
    """One figure that is not that of the results is noticed."""
    part = marked(page)
    other = tmp_path / page.name
    changed = re.sub(r"\d+\.\d+( ns| times)", r"1.23\1", part, count=1)
    assert changed != part
    other.write_text(page.read_text().replace(part, changed))
    done = report(other, machine_of(page))
    assert (done.returncode, done.stderr) == (1, "")
    assert "other figures" in done.stdout


@needs_benchmarks
@each_page
def test_plots_are_made_from_the_results(page: Path) -> None:
    """Each plot that a page shows is there, and carries the digest of the committed results."""
    origin = benchmark_module("report").digest(RESULTS / f"{machine_of(page)}.json")
    plots = re.findall(r"!\[[^]]*\]\(([^)]+)\)", marked(page))
    assert len(plots) == {"figures": 1, "benchmarks": 4}[PAGES[page]]
    for plot in plots:
        assert origin in (page.parent / plot).read_text()


#: A figure that was measured: a time, a ratio, a size.
MEASURED = re.compile(r"\d[\d.,]* ?(?:ns|us|µs|times|x|bytes|KiB|M/s)\b")


@needs_benchmarks
def test_readme_has_few_figures() -> None:
    """The README has five figures, beside what one of them is compared with, all of the results."""
    part = marked(README)
    figures = MEASURED.findall(part)
    assert 3 <= len(figures) <= 6, figures
    assert MEASURED.findall(README.read_text().replace(part, "")) == []


# -- several rounds


def one_round(results: Any, seconds: float, *gaps: str, cpu: str = "one") -> Any:
    """Return a round in which a rival took twice as long as we do, and `gaps` were not measured."""
    round_ = results.Results({"cpu": cpu})
    round_.figures.append(results.figure("operations", "load", "we", [seconds], singles=[1, 2]))
    round_.bars.append(
        results.bar("load", "x", [seconds], [2 * seconds], 1.5, faster=True, python="3")
    )
    round_.missing += [results.Missing("arrays", "counts", gap, "no room") for gap in gaps]
    return round_


@needs_benchmarks
def test_rounds_are_pooled() -> None:
    """Of several rounds the median of the quiet ones counts; what one misses is missing."""
    pool, results = map(benchmark_module, ("pool", "results"))
    rounds = [one_round(results, seconds) for seconds in (1.0, 3.0, 2.0)]
    run = pool.pooled([*rounds, one_round(results, 1000.0, "numpy")])
    (figure,), (bar,) = run.figures, run.bars
    assert (figure.median, figure.samples, figure.p50) == (2.0, 3, 1.5)
    assert (bar.ours, bar.theirs, bar.ratio, bar.holds) == (2.0, 4.0, 2.0, True)
    assert [gap.who for gap in run.missing] == ["numpy"]
    assert run.machine["rounds"] == 4


@needs_benchmarks
def test_ratio_of_rounds() -> None:
    """A ratio of several rounds is the median of those in which both sides together took least."""
    pool, results = map(benchmark_module, ("pool", "results"))
    rounds = []
    # The machine is busy in three of five rounds: all takes longer, and theirs far more.
    for slowed, theirs in ((5.0, 50.0), (1.0, 3.0), (4.0, 44.0), (1.5, 4.5), (2.0, 18.0)):
        round_ = one_round(results, slowed)
        round_.figures.append(results.figure("operations", "load", "they", [theirs]))
        rounds.append(round_)
    ours, rival = pool.pooled(rounds).figures
    assert (ours.median, rival.median) == (1.5, 4.5)
    assert rival.times(ours) == 3.0
    rates = [replace(ours, unit="1/s"), replace(rival, unit="1/s")]
    assert rates[1].times(rates[0]) == 10.0  # the most, then
    del rounds[1].figures[0]
    ours, rival = pool.pooled(rounds).figures
    assert ours.sets == []
    assert rival.times(ours) == rival.median / ours.median


@needs_benchmarks
def test_absolute_bars(tmp_path: Path) -> None:
    """An absolute bar is for our own time, whatever the rival takes, in files and tables too."""
    pool, results, tables = map(benchmark_module, ("pool", "results", "tables"))
    rounds = []
    for seconds in (2e-6, 1e-6):
        round_ = results.Results({"cpu": "one"})
        sets = [[seconds, 1e-8]] * 3
        for name, limit in (("at", 1.5e-6), ("go", 0.5e-6)):
            row = results.bar_of_sets(
                name, "x", sets, limit, faster=False, python="3", absolute=True
            )
            round_.bars.append(row)
        rounds.append(round_)
    run = pool.pooled(rounds)
    run.save(tmp_path / "run.json")
    loaded = results.load(tmp_path / "run.json")
    assert [row.holds for row in loaded.bars] == [True, False]
    table = tables.bars(loaded)
    assert "| at | 1 us | x | 10.0 ns | ≤ 1.5 us | 1 us |" in table
    assert "| ≤ 500 ns | 1 us, **short** |" in table


#: Ours and theirs in the interpreters of two rounds; in most of them the machine is busy.
SETS = [
    [(9.0, 90.0), (1.0, 3.1), (8.0, 80.0), (9.0, 92.0), (9.0, 91.0), (1.1, 3.3), (7.0, 99.0)],
    [(9.0, 93.0), (7.0, 71.0), (1.2, 3.5), (1.0, 3.0), (8.0, 75.0), (8.0, 85.0), (9.0, 85.0)],
]


@needs_benchmarks
def test_ratio_of_sets(tmp_path: Path) -> None:
    """A ratio is the median of the quiet interpreters' own, and these are told in all rounds."""
    pool, results = map(benchmark_module, ("pool", "results"))
    rounds = []
    for sets in SETS:
        round_ = results.Results({"cpu": "one"})
        for who, samples in zip(("we", "they"), zip(*sets, strict=True), strict=True):
            each = [[sample] * 3 for sample in samples]
            round_.figures.append(results.figure("operations", "load", who, samples, sets=each))
        round_.bars.append(results.bar_of_sets("load", "x", sets, 2, faster=True, python="3"))
        rounds.append(round_)
    assert rounds[0].bars[0].ratio == pytest.approx(3.1)  # three at least
    run = pool.pooled(rounds)
    (ours, rival), (bar,) = run.figures, run.bars
    assert rival.times(ours) == pytest.approx(3.0)  # of 3.1, 3.0, 3.0 and 2.917
    assert (bar.ours, bar.theirs) == pytest.approx((1.05, 3.2))
    assert bar.ratio == pytest.approx(3.0)
    assert bar.low < bar.ratio < bar.high
    assert (bar.bar, bar.holds) == (2, True)
    run.save(tmp_path / "run.json")
    loaded = results.load(tmp_path / "run.json")
    assert [each.sets for each in loaded.figures + loaded.bars] == [
        each.sets for each in run.figures + run.bars
    ]


#: What one interpreter takes to read megabytes, which are in a cache only now and then.
OURS, THEIRS = [1.0] * 30, [9.0] * 10 + [3.0] * 10 + [8.0] * 10


def values_in_operations(_: pytest.MonkeyPatch) -> float:
    """Return the ratio to 10,000 multiprocessing.Value among the operations."""
    groups = benchmark_module("groups")
    found = {"we": groups.Measured(OURS * 8), "they": groups.Measured(THEIRS * 8)}
    base, other = groups.results({groups.COUNTS: found}).figures
    return float(other.times(base))


def values_in_arrays(monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the ratio to 10,000 multiprocessing.Value among the arrays."""
    arrays = benchmark_module("arrays")
    answer = json.dumps([("counts", "we", OURS), ("counts", "they", THEIRS)])
    monkeypatch.setattr(arrays.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=answer))
    base, other = arrays.measure((10_000,)).figures
    return float(other.times(base))


def values_in_bars(monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the ratio to 10,000 multiprocessing.Value among the bars."""
    bars = benchmark_module("bars")
    answer = json.dumps([(OURS, THEIRS)] * len(bars.ROWS))
    monkeypatch.setattr(bars.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=answer))
    report = bars.Report()
    bars.measure_rows(report, 8, lambda: None)
    (found,) = (row.ratio for row in report.bars if row.rival == bars.LOCKED_VALUES.label)
    return float(found)


@needs_benchmarks
@pytest.mark.parametrize("values_in", [values_in_operations, values_in_arrays, values_in_bars])
def test_quiet_moments_of_megabytes(
    values_in: Callable[[pytest.MonkeyPatch], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in a cache for a third of each interpreter's turns has the ratio of that third."""
    assert values_in(monkeypatch) == 3.0


@needs_benchmarks
def test_slow_turns_of_a_wake_up_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of the wake-ups is a set: a way that is slow in most turns has its quiet ratio."""
    sleepers = benchmark_module("sleepers")
    rounds = sleepers.ROUNDS
    samples = dict.fromkeys([sleepers.PLAIN_C, *sleepers.WAYS], [1.0] * rounds * sleepers.TURNS)
    samples[list(sleepers.WAYS)[1]] = [9.0] * rounds * (sleepers.TURNS - 6) + [2.0] * rounds * 6
    monkeypatch.setattr(sleepers, "two_cpus", lambda: (0, 1))
    monkeypatch.setattr(sleepers, "_samples", lambda *_: samples)
    moments = sleepers.Sleepers()
    moments.measure()
    moments.measure()
    base, other = moments.results().figures[1:3]
    assert (len(base.sets), other.times(base), other.median) == (2 * sleepers.TURNS, 2.0, 9.0)


@needs_benchmarks
def test_rounds_of_two_machines_are_refused() -> None:
    """Rounds of two machines are not one run, and the error names both."""
    pool, results = map(benchmark_module, ("pool", "results"))
    rounds = [one_round(results, 1.0, cpu=cpu) for cpu in ("fast", "slow")]
    with pytest.raises(ValueError, match="fast, slow"):
        pool.pooled(rounds)


@needs_benchmarks
def test_throughput_is_that_of_all_windows() -> None:
    """Windows of two states give the throughput of all together, not that of one state."""
    results = benchmark_module("results")
    bar = results.bar("two", "x", [1, 1, 0.5], [2, 2, 2], 2, faster=True, python="3", unit="1/s")
    assert bar.ours == pytest.approx(4 / 3)
    assert bar.ratio == pytest.approx(8 / 3)


# -- the gate


@needs_benchmarks
def test_instructions_are_counted_inside_the_extension_alone() -> None:
    """Of a dump only what the extension itself took counts: no calls, no other object."""
    dump = """\
positions: line
ob=(1) /usr/bin/python3
fn=(1) eval
0 1000
cob=(2) /x/_native.so
cfn=(2) load
calls=10 0
0 220

ob=(2)
fn=(2)
0 150
+3 50
*
cob=(1)
cfn=(3) from_long
calls=10 0
* 70
* 20
"""
    count = benchmark_module("instructions")._self_cost
    assert count(dump, "/x/_native.so") == 220
    assert count(dump, "/usr/bin/python3") == 1000


@needs_benchmarks
@pytest.mark.parametrize(
    ("bar", "faster", "passes", "fails"),
    [
        pytest.param(4, True, 0.49, 0.51, id="at least 4 times as fast"),
        pytest.param(1.1, False, 2.1, 2.3, id="at most 1.1 of the time"),
    ],
)
def test_gate_refuses_what_is_more_than_twice_as_slow(
    bar: float, faster: bool, passes: float, fails: float
) -> None:
    """What takes up to twice the time that its bar allows passes the gate, and no more."""
    bars, gate, results = map(benchmark_module, ("bars", "gate", "results"))
    limit = gate.allowed(bars.Row("load", bars.LOCKED, bar, faster=faster))

    def holds(ours: float) -> bool:
        row = results.bar("load", "x", [ours], [1.0], limit, faster=faster, python="3")
        return bool(row.holds)

    assert holds(passes)
    assert not holds(fails)
