"""Take the pictures of the command line that the documentation shows: ``make pictures``.

A small service runs (pictures/service.py), and each command runs as for anybody, on a terminal of
this program's.  What it prints there becomes an SVG that needs nothing from elsewhere.  All of it
happens where nobody else's processes and shared memory are; this takes Linux and its ``unshare``.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).with_suffix("")
COLUMNS = 100

#: Each picture: the command, the lines of its terminal, and seconds until it is asked to end.
PICTURES = {
    "list": ("list", 10, 0.0),
    "show": ("show workers", 30, 0.0),
    "watch": ("watch workers jobs service", 30, 2.5),
}

ALONE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")

#: What PIDs follow, so that they look like those of a machine that runs.
LAST_PID = 4700

#: What rich fills in.  A font that every system has: none is fetched.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix, .{unique_id}-title {{
    font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}}
.{unique_id}-matrix {{
    font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def printed(command: str, lines: int, seconds: float) -> str:
    """Return what a command prints on a terminal of so many lines; after so many seconds: q."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("atomic-intenum", ["atomic-intenum", *command.split()])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", lines, COLUMNS, 0, 0))
    if seconds:
        threading.Timer(seconds, os.write, [terminal, b"q"]).start()
    found = b""
    with contextlib.suppress(OSError):  # its end is an error here
        while some := os.read(terminal, 65536):
            found += some
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"{command}: {found.decode()}")
    return found.decode()


def drawn(name: str, command: str, said: str) -> str:
    """Return the SVG of what was printed; of a screen, as it was last."""
    title = f"atomic-intenum {command}"
    screen = said.rpartition("\x1b[?1049l")[0].rpartition("\x1b[H")[2] or said
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    for line in screen.replace("\r", "").rstrip("\n").split("\n"):
        console.print(Text.from_ansi(line), soft_wrap=True)
    return TEXT.sub(placed, console.export_svg(title=title, code_format=SVG, unique_id=name))


#: A text of rich's SVG, and what it has without blanks on either side.
TEXT = re.compile(
    r'<text class="([^"]+)" x="([^"]+)" y="([^"]+)" textLength="[^"]+" (clip-path="[^"]+")>'
    r"(.*?)</text>",
    re.DOTALL,
)
WORDS = re.compile(r"[^\s]+(?:\xa0[^\s]+)*")
WIDTH = 12.2


def placed(text: re.Match[str]) -> str:
    """Return a text as several, each at its column: not each program keeps blanks, or widths."""
    style, x, y, clip, content = text.groups()
    return "".join(
        f'<text class="{style}" x="{float(x) + words.start() * WIDTH:g}" y="{y}"'
        f' textLength="{len(words[0]) * WIDTH:g}" {clip}>'
        f"{html.escape(words[0], quote=False)}</text>"
        for words in WORDS.finditer(html.unescape(content))
    )


def take() -> None:
    """Run the service, and take each picture of it."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(LAST_PID))
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ.update(TERM="xterm-256color", TZ="UTC")
    os.environ.pop("NO_COLOR", None)
    with subprocess.Popen(
        ["python", "service.py"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdout.readline()
        # As if it had been there for a while; `report` even longer.
        for number, segment in enumerate(sorted(Path("/dev/shm").iterdir())):
            began = time.time() - (3 * 86400 if segment.name.endswith("report") else 8000 + number)
            os.utime(segment, (began, began))
        for name, (command, lines, seconds) in PICTURES.items():
            if seconds:
                service.stdin.write(b"go on\n")
                service.stdin.flush()
            svg = drawn(name, command, printed(command, lines, seconds))
            (FOLDER / f"{name}.svg").write_text(svg)
            print(f"docs/pictures/{name}.svg", flush=True)
        service.stdin.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["alone"]:
        take()
    else:
        sys.exit(
            subprocess.run([*ALONE, sys.executable, __file__, "alone"], check=False).returncode
        )
