"""Draw demo.svg: the demo a moment after it has killed a worker.

Run it by ``make pictures``.  It runs the demo on the standard library, and keeps the first drawing
in which a worker is dead, others hash, and one was started again.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "examples" / "demo"))

from board import State  # noqa: E402
from crew import Crew  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.segment import Segment, Segments  # noqa: E402
from screen import Look, Screen, draw  # noqa: E402

WIDTH, HEIGHT = 96, 26


class Camera(Screen):
    """Keeps the first look that shows all of it."""

    best: Look | None = None

    def show(self, look: Look) -> None:
        """Keep it if it is the first."""
        again = any("started" in event for event in look.events)
        busy = look.states.count(State.HASHING) >= len(look.states) // 2
        if again and busy and State.DEAD in look.states and self.best is None:
            self.best = look._replace(events=list(look.events))


def main() -> int:
    """Write the picture."""
    camera = Camera()
    Crew(None, workers=16, seconds=8.0, seed=1).run(camera)
    if camera.best is None:
        print("no moment was fit for a picture; run it again", file=sys.stderr)
        return 1
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), color_system="truecolor"
    )
    # Cells of one colour side by side become one piece of text: the file gets a fourth of the size.
    drawing = console.render(draw(camera.best, WIDTH, HEIGHT))
    console.print(Segments(Segment.simplify(drawing)))
    path = HERE / "demo.svg"
    console.save_svg(str(path), title="make demo")
    print(f"{path.name}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
