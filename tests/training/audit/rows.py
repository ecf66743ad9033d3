"""Tables of labelled sentences that n-grams can tell apart, with labels that are wrong."""

import csv
import random
from pathlib import Path

WORDS = {
    "question": ("what", "why", "how many", "which", "where"),
    "praise": ("well done", "great work", "excellent", "nicely put", "good thinking"),
    "order": ("open your book", "sit down", "write this", "look here", "take a pencil"),
}
THINGS = (
    "triangle", "square", "fraction", "number", "line", "circle", "sum", "product", "angle",
    "ruler", "point", "edge",
)  # fmt: skip


def make_rows(each: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts and labels, `each` of a class, no two alike."""
    rng = random.Random(seed)
    rows = []
    for label, starts in WORDS.items():
        seen: set[str] = set()
        while len(seen) < each:
            first, second = rng.sample(THINGS, 2)
            words = [rng.choice(starts) for _ in range(3)]
            seen.add(f"{words[0]} {first} {words[1]} {second} {words[2]}")
        rows += [(text, label) for text in sorted(seen)]
    rng.shuffle(rows)
    return rows


def write_table(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path
