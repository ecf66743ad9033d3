"""Draw every picture of the pages: `make pictures`, then look at them.

What is drawn comes from the bundled checkpoint (its manifest, and its answers to a few texts)
and from the imports of the source.
"""

import sys
from pathlib import Path

from contract.manifest import read_manifest
from docs.pictures.answers import draw_answers
from docs.pictures.rooms import draw_architecture, draw_rooms
from engine.checkpoint import BUNDLED_CHECKPOINT
from training.reporting.plots import draw_confusion, draw_reliability

FOLDER = Path(__file__).parent


def main() -> int:
    """Write all pictures into this folder."""
    manifest = read_manifest(BUNDLED_CHECKPOINT)
    for name in ("timss", "irf"):
        evaluation = manifest.task(name).evaluation["retrospective"]
        title = f"{manifest.task(name).label_set.name}, held-out answers"
        draw_confusion(evaluation, title, FOLDER / f"confusion-{name}.png")
        draw_reliability(evaluation, title, FOLDER / f"reliability-{name}.png")
    drawings = {
        "architecture.svg": draw_architecture(),
        "rooms.svg": draw_rooms(),
        "answers.svg": draw_answers(BUNDLED_CHECKPOINT),
    }
    for file, drawing in drawings.items():
        (FOLDER / file).write_text(drawing, encoding="utf-8")
    print(f"pictures {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
