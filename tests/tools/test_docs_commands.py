"""What the documentation says of the command line, of its JSON, and of metrics: true, and whole."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import observe
from helpers.marks import named
from helpers.pages import DOCS
from helpers.service import command, service, started
from helpers.support import DEADLINE, ROOT, environment, private_shm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="these tests run beside the sources")

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="shared memory is not listed")

COMMANDS = ["list", "show", "watch", "wait", "set", "clean", "metrics", "bench"]

#: Where the documentation is complete, by page.
PAGE = DOCS / "reference" / "command-line.md"
JSON_PAGE = DOCS / "reference" / "json.md"
SCHEMA = DOCS / "reference" / "schema.json"
METRICS = DOCS / "howto" / "metrics.md"
DASHBOARD = DOCS / "howto" / "grafana.json"


@cache
def told(*arguments: str) -> str:
    """Return what --help tells, in a wide terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "atomic_intenum", *arguments, "--help"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env={**environment(), "COLUMNS": "300"},
    )
    return done.stdout


def section(page: Path, title: str) -> str:
    """Return a section of a page, those below it included."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


# -- the command line


def test_page_has_every_command() -> None:
    """The page has a section for each command that the program tells of, and for no other."""
    assert re.findall(r"^    (\w+) {2,}", told(), re.MULTILINE) == COMMANDS
    sections = re.findall(r"^## ([a-z]+)$", PAGE.read_text(), re.MULTILINE)
    assert sections == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_page_has_every_option(command: str) -> None:
    """A command's section has its usage, and each option with what it takes, and no other."""
    usage, options = told(command).split("options:\n")
    rows = re.findall(r"^  (?:-h, )?(--\w+(?: [A-Z]+)?)", options, re.MULTILINE)
    text = section(PAGE, command)
    wanted = [row for row in rows if row != "--help"]
    assert sorted(re.findall(r"^\| `(--[^`]+)` \|", text, re.MULTILINE)) == sorted(wanted)
    shown = usage.splitlines()[0].removeprefix("usage: ").replace("[-h] ", "").replace("[-h]", "")
    assert f"```text\n{shown.strip()}\n```" in text


def test_pages_use_what_there_is() -> None:
    """Each command in an example of a page is one, and its options are its own."""
    found = 0
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        blocks = re.findall(
            r"^```\w+\n(.*?)^```|`([^`\n]+)`", page.read_text(), re.DOTALL | re.MULTILINE
        )
        code = "\n".join(block or inline for block, inline in blocks)
        lines = re.findall(r"(?<!binary )atomic-intenum ([a-z]+)([^\n'\"|)]*)", code)
        probes = re.findall(r"\[atomic-intenum, (\w+)([^\]]*)\]", code)
        for name, rest in [*lines, *probes]:
            assert name in COMMANDS, (page.name, name)
            for option in re.findall(r"(?<!\S)--\w+", rest):
                assert option in told(name), (page.name, name, option)
            found += 1
    assert found >= 30


# -- JSON


def documents() -> list[dict[str, Any]]:
    """Return the documents that the page shows."""
    blocks = re.findall(r"^```json\n(.*?)^```", JSON_PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [json.loads(line) for block in blocks for line in block.splitlines()]


def schema() -> dict[str, Any]:
    """Return the schema."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text())
    return found


def test_page_names_every_field() -> None:
    """Each field of the schema stands in a table of the page, and no table has another."""
    definitions = schema()["$defs"].values()
    named = {name for each in definitions for name in each.get("properties", {})}
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", JSON_PAGE.read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == named - {
        "schema",
        "segments",
        "families",
    }


def test_schema_is_strict() -> None:
    """Each object of the schema with fields of its own demands or allows these alone."""
    for name, each in schema()["$defs"].items():
        if "properties" in each:
            assert each["additionalProperties"] is False, name
            assert sorted(each["required"]) == sorted(each["properties"]), name


def validator_of(kind: str | None = None) -> Any:
    """Return what validates by the schema: any document, or one of that kind alone."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema: not here")
    whole = schema()
    jsonschema.Draft202012Validator.check_schema(whole)
    if kind is not None:
        del whole["oneOf"]
        whole["$ref"] = f"#/$defs/{kind}"
    return jsonschema.Draft202012Validator(whole)


def test_schema_takes_the_documents() -> None:
    """Each document of the page is one by the schema; with another field it is none."""
    validator = validator_of()
    assert len(documents()) >= 8
    for document in documents():
        validator.validate(document)
        assert not validator.is_valid({**document, "more": 1})
        assert not validator.is_valid({**document, "schema": 2})


def valid(kind: str, line: str) -> Any:
    """Return a document that a command printed, which the schema takes as that kind, and whole."""
    document = json.loads(line)
    validator_of().validate(document)
    validator_of(kind).validate(document)
    return document


def printed(kind: str, *arguments: str, code: int = 0) -> Any:
    """Return the document that a command prints, which the schema takes."""
    finished = command(*arguments, "--json")
    assert (finished.returncode, finished.stderr) == (code, "")
    return valid(kind, finished.stdout)


@named
@on_linux
def test_schema_takes_what_commands_print() -> None:
    """What each command prints is as the schema says, if it succeeds and if it does not."""
    with service() as there:
        pid = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
        there.ask(f"kill({pid})")
        assert printed("list", "list", "--pid", str(pid))["segments"][0]["owners"]
        (seen,) = printed("show", "show", there.board)["segments"]
        assert (seen["answered"], seen["words"][0]["owner"]) == (True, pid)
        printed("show", "show", there.status)
        status, board = ("wait", there.status), ("wait", there.board)
        unmet = {"met": False, "member": None, "index": None}
        assert printed("wait", *status, "IDLE")["member"] == "IDLE"
        said = printed("wait", *status, "CALCULATING", "--timeout", "0", code=1)
        assert {**said, **unmet} == said
        assert printed("wait", *board, "PENDING", "--any")["met"]
        assert printed("wait", *board, "DONE", "--while")["index"] is None
        said = printed("wait", *board, "DONE", "--index", "3", "--timeout", "0", code=1)
        assert {**said, **unmet, "index": 3} == said
        write = ("set", there.status, "CALCULATING")
        assert not printed("set", *write, "--if", "UNAVAILABLE", code=1)["done"]
        assert printed("set", *write, "--if", "IDLE")["before"] == "IDLE"
        assert printed("set", *write)["before"] == "CALCULATING"
        if find_spec("prometheus_client") is not None:
            assert printed("metrics", "metrics", there.board, there.status)["families"]


@named
@on_linux
def test_schema_takes_what_watch_prints() -> None:
    """The lines of `watch` are as the schema says: of values, of arrays, and the notes."""
    with service() as there, started("watch", "--json", there.status, there.board) as process:
        kinds = {there.status: "watch_value", there.board: "watch_array"}
        for _ in kinds:
            line = process.stdout.readline()
            valid(kinds[json.loads(line)["name"]], line)
        there.ask("status.set('CALCULATING')")
        assert valid("watch_value", process.stdout.readline())["before"] == "IDLE"
        there.ask("board.at(4).set('DONE')")
        assert valid("watch_array", process.stdout.readline())["changed"] == {"4": "DONE"}
        there.ask("status.unlink()")
        assert "the name is gone" in valid("watch_note", process.stdout.readline())["note"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM


@named
@on_linux
@pytest.mark.skipif(not private_shm("1m"), reason="no shared memory of its own")
def test_schema_takes_what_clean_prints(tmp_path: Path) -> None:
    """What is left, and what was removed, is as the schema says: half made segments, too."""
    script = tmp_path / "left.py"
    script.write_text(
        "import os, signal, subprocess, sys\n"
        "open('/dev/shm/intenum.half', 'wb').close()\n"
        "for extra in ([], ['--yes']):\n"
        "    command = [sys.executable, '-m', 'atomic_intenum', 'clean', '--json', *extra]\n"
        "    subprocess.run(command, stdin=subprocess.DEVNULL)\n"
        "command[3:] = ['list', '--json']\n"
        "subprocess.run(command)\n"
    )
    done = subprocess.run(
        [*private_shm("1m"), sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
        env=environment(),
    )
    left, removed, after = done.stdout.splitlines()
    (half,) = valid("clean", left)["left"]
    assert half["problem"] == "it is half made"
    assert valid("clean", removed)["removed"] == [half]
    assert valid("list", after)["segments"] == []


def test_reference_has_every_field() -> None:
    """The reference of observe has each public name, and each field of what it returns."""
    text = (DOCS / "reference" / "observe.md").read_text()
    for name in observe.__all__:
        assert f":: atomic_intenum.observe.{name}" in text, name
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    expected = [each.name for each in fields(observe.SegmentInfo)]
    assert rows == [*expected, *observe.Process._fields]


# -- metrics


def metrics() -> dict[str, list[str]]:
    """Return the labels of each metric that the page has."""
    rows = re.findall(
        r"^\| `(atomic_intenum_\w+)` \| \w+ \| (.*?) \|", METRICS.read_text(), re.MULTILINE
    )
    return {name: re.findall(r"\w+", labels) for name, labels in rows}


@pytest.mark.skipif(find_spec("prometheus_client") is None, reason="prometheus_client: not here")
def test_page_has_every_metric() -> None:
    """The page has each metric of the Collector, in its order."""
    names = [family.name for family in observe.Collector([]).collect()]
    assert list(metrics()) == names


def used(text: str) -> dict[str, set[str]]:
    """Return the metrics that expressions use, with the labels that select of each."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"\b(atomic_intenum_\w+)(?:\{([^}]*)\})?", text):
        found.setdefault(name, set()).update(re.findall(r"(\w+)(?:=~|=)", labels))
    return found


@pytest.mark.parametrize("page", [METRICS, DASHBOARD], ids=lambda page: str(page.name))
def test_expressions_use_what_there_is(page: Path) -> None:
    """Each expression, in rules and panels too, uses metrics that there are, and their labels."""
    known = metrics()
    for name, labels in used(page.read_text().replace('\\"', '"')).items():
        if name not in ("atomic_intenum_state", *known):
            assert (name, labels) == ("atomic_intenum_", set())  # a prefix, in prose
            continue
        assert labels <= {*known[name], "instance"}, name


def queries() -> list[str]:
    """Return the queries that the page answers questions by."""
    return re.findall(r"^```text\n(.*?)^```", section(METRICS, "Ask"), re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool: not here")
def test_promtool_takes_rules_and_queries(tmp_path: Path) -> None:
    """Promtool reads the rules of the page, and each query, as the expression of a rule."""
    (rules,) = re.findall(
        r"^```yaml\n(groups:.*?|# intenum\.rules\.yml\n.*?)^```",
        METRICS.read_text(),
        re.DOTALL | re.MULTILINE,
    )
    (tmp_path / "rules.yml").write_text(rules)
    # JSON is YAML.
    recorded = [{"record": f"query:{i}", "expr": each} for i, each in enumerate(queries())]
    groups = {"groups": [{"name": "queries", "rules": recorded}]}
    (tmp_path / "queries.yml").write_text(json.dumps(groups))
    assert rules.count("- alert:") >= 4
    assert len(recorded) >= 4
    for name, count in (("rules.yml", rules.count("- alert:")), ("queries.yml", len(recorded))):
        done = subprocess.run(
            ["promtool", "check", "rules", name],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{count} rules found" in done.stdout


def test_dashboard_has_its_panels() -> None:
    """The dashboard has three panels, which do not overlap, and asks for its data source."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert [panel["type"] for panel in panels] == ["state-timeline", "bargauge", "table"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    (source,) = (each["name"] for each in dashboard["__inputs"])
    needed = {each["id"] for each in dashboard["__requires"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in needed
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == f"${{{source}}}"


# -- pictures


@pytest.mark.parametrize("name", ["list", "show", "watch"])
def test_picture_needs_nothing_from_elsewhere(name: str) -> None:
    """A picture fetches nothing, names no folder and no host, and some page shows it."""
    text = (DOCS / "pictures" / f"{name}.svg").read_text()
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|@font-face|<image|/home|/root|/work|/tmp|/usr", text)
    assert f"](../pictures/{name}.svg)" in (DOCS / "howto" / "observe.md").read_text()
