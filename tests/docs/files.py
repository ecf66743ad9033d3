"""Files that commands and pages name: they lie in the repository, or are the reader's own."""

import re
from functools import cache
from pathlib import Path

import yaml

from tests.docs.pages import ROOT

READERS_OWN = frozenset({
    "DIR", "labelled", "lesson.csv", "lesson.irf.jsonl", "lesson.xlsx", "lessons", "more.xlsx",
    "problems.xlsx", "review.xlsx", "my.csv", "my.yaml", "path/to/checkpoint",
    "build/checkpoints/talk", "build/talk/label-set.yaml", "build/talk/recipe.yaml",
    "build/talk/work", "dev.csv", "next.xlsx", "owner/name", "pool.csv",
    "path/to/new-checkpoint", "problems.csv", "sentences.csv", "secrets/api-keys", "test.csv",
})  # fmt: skip
"""Names in examples that stand for a file of whoever reads."""
_IN_REPOSITORY = re.compile(
    r"(benchmarks|contract|deploy|docs|engine|labelling|service|tables|tests|training)/[\w./-]*"
)


def find_missing(name: str) -> str | None:
    """Return what is wrong with a path; None if it exists, will exist, or is the reader's."""
    plain = name.removeprefix("./").rstrip("/")
    if plain in READERS_OWN or (ROOT / plain).exists():
        return None
    outputs = list_outputs()
    if plain in outputs or any(output.startswith(f"{plain}/") for output in outputs):
        return None
    return f"{name}: there is no such file, no recipe makes it, and it is no reader's own"


def find_missing_mention(code: str) -> str | None:
    """The same for code in a text, if it looks like a path of the repository."""
    if not _IN_REPOSITORY.fullmatch(code):
        return None
    return None if (ROOT / code).exists() else f"{code}: there is no such file"


@cache
def list_outputs() -> frozenset[str]:
    """Checkpoints that the recipes of the repository write."""
    recipes = [
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "training" / "recipes").glob("*.yaml"))
    ]
    return frozenset(Path(recipe["output"]).as_posix() for recipe in recipes)
