"""What Prometheus gets: families and samples, promtool's word for it, and a real scrape."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import exposition, parser

from atomic_intenum import observe
from helpers.marks import named
from helpers.names import path_of, planted
from helpers.service import NAMED, command, service
from helpers.support import ROOT, environment, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helpers.service import Service

pytestmark = [
    pytest.mark.skipif(not NAMED, reason="no compiled core: nothing has a name"),
    pytest.mark.skipif(sys.platform != "linux", reason="shared memory is not listed"),
]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


@pytest.fixture(scope="module")
def there() -> Iterator[Service]:
    """Run a service with many words."""
    with service(10_000) as it:
        yield it


#: Neither has types.
generate: Any = exposition.generate_latest
parsed: Any = parser.text_string_to_metric_families


def samples_of(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of OpenMetrics' text, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def sample(samples: Any, name: str, **labels: str) -> float:
    """Return the value of one sample."""
    value: float = samples[f"atomic_intenum_{name}", frozenset(labels.items())]
    return value


def scraped(*names: str) -> Any:
    """Return the samples of a scrape in this process."""
    registry = CollectorRegistry()
    registry.register(observe.Collector(names or None))
    return samples_of(generate(registry).decode())


def test_state_of_a_value(there: Service) -> None:
    """A value is a StateSet, of which one state is 1."""
    there.ask("status.set('CALCULATING')")
    samples = scraped(there.status)
    about = {"segment": there.status, "enum": "WorkerStatusEnum"}
    states = {
        name: sample(samples, "state", **about, atomic_intenum_state=name)
        for name in ("UNAVAILABLE", "IDLE", "CALCULATING")
    }
    assert states == {"UNAVAILABLE": 0, "IDLE": 0, "CALCULATING": 1}
    assert sample(samples, "answered", segment=there.status) == 1


def test_words_of_an_array(there: Service) -> None:
    """An array has the number of words of each member, of its owners, and of locked words."""
    first = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    second = int(there.ask("fork(lambda: board.claim('PENDING', 'RUNNING'))"))
    there.ask(f"kill({first})")
    there.ask("board.at(9).get_lock().acquire()")
    samples = scraped(there.board, there.many)
    counts = [
        sample(samples, "words", segment=there.board, enum="JobEnum", member=name)
        for name in ("PENDING", "RUNNING", "DONE")
    ]
    assert counts == [8, 2, 0]
    assert sample(samples, "owners", segment=there.board, process="alive") == 1
    assert sample(samples, "owners", segment=there.board, process="dead") == 1
    assert sample(samples, "locked_words", segment=there.board) == 1
    assert sample(samples, "words", segment=there.many, enum="JobEnum", member="PENDING") == 10_000
    there.ask("board.at(9).get_lock().release()")
    there.ask(f"kill({second})")
    there.ask("board.recover()")


def test_all_that_have_a_name(there: Service) -> None:
    """Without names all values and arrays are scraped, and nothing that cannot be read."""
    bad = f"t{os.getpid()}-nothing"
    with planted(path_of(bad), b"nothing" * 100):
        try:
            samples = scraped()
        finally:
            path_of(bad).unlink()
    segments = {dict(labels).get("segment") for _, labels in samples}
    assert {there.status, there.board, there.many} <= segments
    assert bad not in segments
    assert not any(str(name).startswith("intenum-") for name in segments)


def test_what_is_not_there() -> None:
    """A name that is asked for and is not there has nobody who answers: 0, and nothing else."""
    samples = scraped("nobody-has-this")
    assert list(samples.values()) == [0]
    assert sample(samples, "answered", segment="nobody-has-this") == 0


def test_registering_reads_nothing(there: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Collector reads segments as it is asked, not as it is registered."""
    registry = CollectorRegistry(auto_describe=True)
    with monkeypatch.context() as patched:
        patched.delattr(observe, "segment")
        registry.register(observe.Collector([there.status]))
    assert there.status in generate(registry).decode()


def test_without_prometheus_client() -> None:
    """Without prometheus_client the command says what to install, in a line; exit code 2."""
    block = "import sys; sys.modules['prometheus_client'] = None; sys.argv = ['x', 'metrics']\n"
    finished = subprocess.run(
        [sys.executable, "-c", f"{block}from atomic_intenum.cli import main\nsys.exit(main())"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        "atomic-intenum metrics: metrics needs prometheus_client: "
        "pip install 'atomic-intenum[metrics]'\n"
    )


def test_the_command(there: Service) -> None:
    """`metrics` prints OpenMetrics, the older text, or JSON, of the same samples."""
    finished = command("metrics", there.board)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.endswith("# EOF\n")
    samples = samples_of(finished.stdout)
    assert sample(samples, "words", segment=there.board, enum="JobEnum", member="PENDING") == 10
    said = json.loads(command("metrics", there.board, "--json").stdout)
    families = {family["name"]: family for family in said["families"]}
    labels = {"segment": there.board, "enum": "JobEnum", "member": "PENDING"}
    assert [labels, 10] in families["atomic_intenum_words"]["samples"]
    text = command("metrics", there.status, "--text").stdout
    assert "# TYPE atomic_intenum_state gauge\n" in text
    assert "# EOF" not in text


@needs_promtool
def test_promtool_accepts_it(there: Service) -> None:
    """Promtool has nothing to say of the older text, the only one that it knows."""
    text = command("metrics", there.status, there.board, "--text").stdout
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


# -- a real one

CONFIG = """
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
scrape_configs:
  - job_name: app
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a server, and end it as one does."""
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, start_new_session=True, **more
    ) as process:
        try:
            yield process
            process.terminate()
            process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answers(port: int, query: str) -> dict[str, float]:
    """Return what Prometheus answers, by member or state."""
    url = f"http://127.0.0.1:{port}/api/v1/query?query={query}"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            said = json.load(response)
    except OSError:  # it is not up
        return {}
    found = {}
    for each in said["data"]["result"]:
        labels = each["metric"]
        name = labels.get("member") or labels.get("atomic_intenum_state") or labels.get("process")
        found[name] = float(each["value"][1])
    return found


@named
@needs_prometheus
def test_a_real_prometheus(tmp_path: Path) -> None:
    """Prometheus scrapes a server, any of whose eight workers answers, and tells their states."""
    name, port = f"t{os.getpid()}-app", free_port()
    board = f"{name}-workers"

    def owners_here() -> set[int]:
        return {owner.pid for owner in observe.segment(board).owners.values()}

    example = str(ROOT / "examples" / "metrics.py")
    with running(sys.executable, example, "0", "--name", name, env=environment()) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        served = re.fullmatch(r"serving on http://127\.0\.0\.1:(\d+)\n", line)
        assert served is not None, line
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(port=served[1]))
        with running(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stderr=subprocess.DEVNULL,
        ):
            words = f'atomic_intenum_words{{segment="{board}"}}'
            until(lambda: sum(answers(port, words).values()) == 8, "a scrape of eight workers")
            assert set(answers(port, words)) == {"STARTING", "IDLE", "BUSY", "DEAD"}
            # At least the worker that is asked is at it.
            until(lambda: 1 <= answers(port, words)["BUSY"] <= 8, "a worker that answers")
            state = f'atomic_intenum_state{{segment="{name}"}}'
            assert answers(port, state) == {"STARTING": 0, "READY": 1, "STOPPING": 0}
            owners = f'atomic_intenum_owners{{segment="{board}"}}'
            assert answers(port, owners) == {"alive": 8, "dead": 0}
            killed = min(owners_here())
            os.kill(killed, signal.SIGKILL)
            until(lambda: len(owners_here() - {killed}) == 8, "another worker in its place")
            until(lambda: answers(port, owners) == {"alive": 8, "dead": 0}, "a scrape after it")
    assert not path_of(name).exists()
    assert not path_of(board).exists()
