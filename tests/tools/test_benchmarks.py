"""The benchmarks: the short one, the figures that are published, and the gate's counts."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
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
    pass

BENCHMARKS = ROOT / "benchmarks"
README = ROOT / "README.md"
#: What shows figures, and how its part with them is marked.
PAGES = {README: "figures", ROOT / "docs" / "benchmarks.md": "benchmarks"}
RESULTS = BENCHMARKS / "results"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python to its end; one that does not know that it is run by a test."""
    mine = {name: each for name, each in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**mine, **environment},
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
    os.name != "posix" or not BENCHMARKS.is_dir() or not all(page.is_file() for page in PAGES),
    reason="there are no benchmarks here",
)


@needs_benchmarks
def test_loop_counts_its_operations() -> None:
    """A loop runs its statement as often as it says, and in each timing what goes before it."""
    operations = benchmark_module("operations")
    done: list[int] = []
    statement = operations.Statement("note(1)", before="forget()", seconds=1e-5)
    loop = operations.Loop(statement, {"note": done.append, "forget": done.clear})
    done[:] = [1, 1]
    loop.seconds()
    assert len(done) == loop.operations


@needs_benchmarks
def test_loop_refuses_a_statement_that_does_something_else() -> None:
    """A statement that does not do what it is said to do is no benchmark."""
    operations = benchmark_module("operations")
    with pytest.raises(AssertionError, match="does not hold"):
        operations.Loop(operations.Statement("pass", holds="one == 2"), {"one": 1})


@needs_benchmarks
def test_turns_alternate() -> None:
    """Loops take turns, in the opposite order each time."""
    order: list[str] = []

    def noted(name: str) -> Any:
        def seconds() -> float:
            order.append(name)
            return 6.0

        return SimpleNamespace(seconds=seconds, operations=3)

    take_turns = benchmark_module("operations").take_turns
    assert take_turns([noted("a"), noted("b")], 3) == [[2.0] * 3] * 2
    assert "".join(order) == "abbaab"


@needs_benchmarks
@pytest.mark.slow
def test_contenders_take_turns_under_pytest_benchmark(tmp_path: Path) -> None:
    """pytest-benchmark times each contender in each turn, and what it wrote becomes series."""
    pytest.importorskip("pytest_benchmark")
    path = tmp_path / "operations.json"
    done = run(
        *("-m", "pytest", BENCHMARKS, "-q", "-k", "acquire", "--benchmark-json", path),
        BENCH_TURNS="2",
        ATOMIC_INTENUM_BACKEND="native",
    )
    assert done.returncode == 0, done.stdout
    content = json.loads(path.read_text())
    order = [case["extra_info"]["who"] for case in content["benchmarks"]]
    assert order == order[: len(order) // 2] + order[: len(order) // 2][::-1]
    taken = benchmark_module("run").turns_of(content)
    assert {each.what for each in taken} == {"acquire, release"}
    assert all(len(each.turns) == 2 and 1e-9 < min(each.turns) < 1e-4 for each in taken)


@needs_benchmarks
@pytest.mark.slow
@pytest.mark.only_on("native", "cffi")
def test_windows_of_a_lock() -> None:
    """Two processes that hold a lock by turns hand it over, and each one's wait is seen."""
    processes = benchmark_module("processes")
    for taken in processes.windows(2, processes.HANDING_OVER, 2, 0.1):
        assert [len(window) for window in taken] == [2, 2]
        assert all(1e3 < rate < 1e9 for rate in processes.rates(taken))
        assert all(0 < each.longest < 1 for window in taken for each in window)


@needs_benchmarks
def test_share_of_the_processors() -> None:
    """Readers get what the writer beside them leaves of the processors."""
    share = benchmark_module("processes").share
    assert share(2, 0, 2) == 2.0
    assert share(2, 1, 2) == 1.0
    assert share(3, 1, 2) == 1.5
    assert share(64, 0, 2) == pytest.approx(2.0)


@needs_benchmarks
def test_benchmarks_fit_in_a_head() -> None:
    """The benchmarks have at most 2,400 lines, so that a sceptic can read them."""
    assert sum(len(path.read_text().splitlines()) for path in BENCHMARKS.rglob("*.py")) <= 2400


# -- the table


def everything(ours: float = 1.0, **left_out: str) -> Any:
    """Return what three interpreters measured of each row: ours as fast as all the others."""
    results, rows = map(benchmark_module, ("results", "rows"))
    collected = results.Collected()
    for _ in range(3):
        for row in {(row.what, row.at): row for row in rows.ROWS}.values():
            same = [each for each in rows.ROWS if (each.what, each.at) == (row.what, row.at)]
            unit = "1/s" if row.what in (rows.TWO, rows.HANDOVER) else "s"
            mine = [each.ours for each in same]
            rivals = [each.rival for each in same if each.rival not in mine]
            found = dict.fromkeys(rivals, 1.0) | dict.fromkeys(mine, ours)
            collected.add(
                results.Series(row.what, who, [value] * 4, row.at, unit)
                for who, value in found.items()
                if left_out.get("who") != who
            )
    return collected


def judged(collected: Any, *missing: Any) -> Any:
    """Return the run of what was collected."""
    results, run_ = map(benchmark_module, ("results", "run"))
    facts = benchmark_module("machine").facts()
    found = results.Results({**facts, "rounds": 3, "seconds": 1}, missing=[*missing])
    found.figures = collected.figures()
    run_.judge(collected, found)
    return found


@needs_benchmarks
def test_each_row_has_a_bar_or_says_that_it_has_none() -> None:
    """Each row is measured by somebody, is there once, and shows its bar, or "no bar"."""
    rows, operations = map(benchmark_module, ("rows", "operations"))
    named = [(row.title, row.rival) for row in rows.ROWS]
    assert len({*named}) == len(named)
    found = judged(everything()).rows
    assert [(row.title, row.rival) for row in found] == named
    for row in found:
        *_, bar, verdict = row.cells
        assert bar.startswith(("≥ ", "≤ ")) == (row.limit is not None)
        assert ("no bar" in verdict) == (row.limit is None)
    for row in rows.ROWS:
        contenders = operations.OPERATIONS.get(row.what.removeprefix(rows.LOCK_PATH))
        if contenders is not None and not row.absolute:
            assert {row.ours, row.rival} <= {who.label for who in contenders}


@needs_benchmarks
@pytest.mark.parametrize(("ours", "code"), [(1e-9, 0), (1.0, 1)])
def test_missed_bar_makes_the_exit_code_1(
    ours: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a bar is missed the run ends with 1 and names the row; if none is, with 0."""
    rows = benchmark_module("rows")
    collected = everything(ours)
    for key, groups in collected.groups.items():
        if key[0] == rows.STARTED and code == 0:
            groups[:] = [[0.0]] * 3
        elif collected.units[key] == "1/s":
            groups[:] = [[1 / value for value in group] for group in groups]
    run_ = benchmark_module("run")
    assert run_.show(judged(collected)) == code
    printed = capsys.readouterr().out
    assert ("MISSED" in printed, "value; " in printed) == (bool(code), bool(code))
    assert ("Every bar is kept" in printed) == (code == 0)


@needs_benchmarks
def test_wide_row_is_marked() -> None:
    """If the quartiles of the interpreters are wider than a third, the row says so."""
    collected = everything()
    key = ("load", "atomic_intenum", None)
    collected.groups[key] = [[0.9] * 4, [1.0] * 4, [1.1] * 4]
    assert judged(collected).rows[0].cells[-1] == "ok"
    collected.groups[key] = [[0.5] * 4, [1.0] * 4, [1.4] * 4]
    assert judged(collected).rows[0].cells[-1] == "ok, wide"


@needs_benchmarks
def test_ratio_is_the_median_of_the_interpreters_medians_by_turns() -> None:
    """Ratios are taken turn by turn, then the median in an interpreter, then among those."""
    results, rows = map(benchmark_module, ("results", "rows"))
    collected = results.Collected()
    # Everything takes ten times as long in one turn, and in one interpreter.
    for ours, theirs in (
        ([1.0, 10.0, 1.0], [3.0, 30.0, 9.0]),
        ([10.0, 10.0, 10.0], [40.0, 40.0, 40.0]),
        ([1.0, 1.0, 1.0], [5.0, 5.0, 50.0]),
    ):
        collected.add([results.Series("x", rows.OURS, ours), results.Series("x", "r", theirs)])
    found = collected.row(rows.Row("x", "r", 4, faster=True))
    assert (found.low, found.reached, found.high) == (3.5, 4.0, 4.5)
    assert found.holds
    assert not collected.row(rows.Row("x", "r", 4.1, faster=True)).holds
    rates = results.Collected()
    rates.add([results.Series("x", rows.OURS, [8.0], unit="1/s")])
    rates.add([results.Series("x", "r", [2.0], unit="1/s")])
    assert rates.row(rows.Row("x", "r", 4, faster=True)).reached == 4.0


@needs_benchmarks
def test_rival_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rival that is not there is named with how to get it, and its rows count as missed."""
    machine, run_ = map(benchmark_module, ("machine", "run"))
    version = machine.version
    monkeypatch.setattr(
        machine, "version", lambda name: None if name == "atomicshm" else version(name)
    )
    found = judged(everything(who="atomicshm"), *run_.absent())
    assert run_.show(found) == 1
    printed = capsys.readouterr().out
    assert "MISSING   atomicshm is not installed: pip install -r" in printed
    assert "not measured: load: atomicshm: MISSED: atomicshm is not installed" in printed


@needs_benchmarks
def test_reason_of_the_lock_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the lock path that can't be shown tells the same reason as the operation's own."""
    machine, run_, rows = map(benchmark_module, ("machine", "run", "rows"))
    monkeypatch.setattr(machine, "version", lambda _: None)
    found = judged(everything(who=rows.ORIGINAL), *run_.absent())
    (gap,) = (gap for gap in found.missing if gap.what == "lock path: value")
    assert gap.reason.startswith("MISSED: multiprocessing-intenum is not installed")


# -- what grows


@needs_benchmarks
def test_line_of_cost() -> None:
    """The line is the one that was measured, and has nothing below zero."""
    growth = benchmark_module("growth")
    assert growth.fit([(n, 5e-6 + 2e-9 * n) for n in (1, 10, 1000)]) == pytest.approx((5e-6, 2e-9))
    assert growth.fit([(1, 3.0), (10, 2.0), (100, 2.5)]).each >= 0
    assert growth.fit([(1, 0.1), (10, 2.0)]).fixed == 0


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
    assert len(plots) == {"figures": 1, "benchmarks": 3}[PAGES[page]]
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


@needs_benchmarks
@pytest.mark.slow
def test_charts_are_made(tmp_path: Path) -> None:
    """All charts are drawn of a run, as wide as a page, with their text as text."""
    pytest.importorskip("matplotlib")
    machine = machine_of(README)
    done = run(BENCHMARKS / "report.py", RESULTS / f"{machine}.json", "--to", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    charts = {
        path.name.removeprefix(f"{machine}-"): path.read_text() for path in tmp_path.glob("*.svg")
    }
    assert charts.keys() == {"chart.svg", "operations.svg", "wakeups.svg", "growth.svg"}
    origin = benchmark_module("report").digest(RESULTS / f"{machine}.json")
    for name, text in charts.items():
        assert 'width="450pt"' in text  # 600 pixels
        assert origin in text
        assert (">atomic_intenum<" in text) == (name == "growth.svg")
        assert "multiprocessing.Value" in text


@needs_benchmarks
def test_runs_that_differ_are_told() -> None:
    """Bars of two runs that are more than 20 % apart are named, unless one of them is wide."""
    report = benchmark_module("report")
    one, other = judged(everything()), everything()
    other.groups["load", "atomic_intenum", None] = [[1.3] * 4] * 3
    assert [each.partition(" /")[0] for each in report.differing(one, judged(other))] == ["load"]
    other.groups["load", "atomic_intenum", None] = [[0.9] * 4, [1.3] * 4, [1.9] * 4]
    assert report.differing(one, judged(other)) == []


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
        pytest.param(4, True, 2.1, 1.9, id="at least 4 times as fast"),
        pytest.param(1.1, False, 2.1, 2.3, id="at most 1.1 of the time"),
    ],
)
def test_gate_refuses_what_is_more_than_twice_as_slow(
    bar: float, faster: bool, passes: float, fails: float
) -> None:
    """What takes up to twice the time that its bar allows passes the gate, and no more."""
    gate, results, rows = map(benchmark_module, ("gate", "results", "rows"))
    for ratio, holds in ((passes, True), (fails, False)):
        ours, theirs = (1.0, ratio) if faster else (ratio, 1.0)
        collected = results.Collected()
        collected.add([results.Series("x", rows.OURS, [ours]), results.Series("x", "r", [theirs])])
        found = collected.row(rows.Row("x", "r", bar, faster=faster))
        assert not found.holds
        assert gate.allowed(found).holds is holds
