"""`ncal audit`: which labels look wrong, in the order of its steps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from training.audit.answers import judge_by_answers
from training.audit.findings import list_findings
from training.audit.judgement import Judgement, judge_by_ngrams, vectorize
from training.audit.planting import measure_planted
from training.audit.review_file import check_review, write_review
from training.audit.rows import Rows, read_recipe_rows, read_table_rows
from training.audit.summary import describe_audit
from training.recipe.recipe import ColumnNames, TrainRecipe
from training.reporting.markdown_tables import align_table


class Writing(NamedTuple):
    """Where the file for review goes."""

    output: Path | None
    """None: beside what is audited."""
    overwrite: bool


class Planting(NamedTuple):
    """Wrong labels that are planted to see how many are found."""

    share: float
    seeds: Sequence[int]


def audit_table(
    table: Path,
    columns: ColumnNames,
    writing: Writing,
    planting: Planting | None = None,
    answers: str | None = None,
) -> None:
    """Audit a table of texts and labels by n-grams in grouped folds.

    With `answers`, by what `ncal label` wrote in the columns of this prefix instead. Prints the
    summary and writes the file for review, `NAME.audit.csv` beside the table by default. BadInput
    for what is wrong with the table.
    """
    path = writing.output or table.with_name(f"{table.stem}.audit.csv")
    check_review(path, overwrite=writing.overwrite)
    own, rows = read_table_rows(table, columns)
    if answers is not None:
        _report(*judge_by_answers(own, rows, answers), path)
        return
    _audit_by_ngrams(rows, path, planting)


def audit_recipe(recipe: TrainRecipe, writing: Writing, planting: Planting | None = None) -> None:
    """The same for the sources of a recipe, each task by itself, in the recipe's folds."""
    tasks = read_recipe_rows(recipe)
    paths = _name_outputs(tasks, writing, Path(f"{recipe.name}.audit.csv"))
    for rows, path in zip(tasks, list(paths), strict=True):
        _audit_by_ngrams(rows, path, planting)


def audit_work(work: Path, writing: Writing) -> None:
    """Audit by the out-of-fold answers that a training keeps in its work folder."""
    from training.audit.kept import read_kept  # late: a table must not wait for torch

    kept = read_kept(work)
    paths = _name_outputs([rows for rows, _ in kept], writing, work / "audit.csv")
    for (rows, judgement), path in zip(kept, list(paths), strict=True):
        _report(rows, judgement, path)


def _audit_by_ngrams(rows: Rows, path: Path, planting: Planting | None) -> None:
    matrix = vectorize(rows)
    judgement = judge_by_ngrams(rows, rows.labels, matrix)
    _report(rows, judgement, path)
    if planting is not None:
        table = measure_planted(rows, matrix, judgement, planting.share, planting.seeds)
        print(align_table(table))


def _report(rows: Rows, judgement: Judgement, path: Path) -> None:
    findings = list_findings(rows, rows.labels, judgement)
    write_review(rows, findings, path)
    print(describe_audit(rows, judgement, findings))
    print(f"{path}: {len(findings):,} rows to look at, the likeliest to be wrong first")


def _name_outputs(tasks: Sequence[Rows], writing: Writing, default: Path) -> Iterator[Path]:
    """The path, with the task in its name where there are several; BadInput if it may not be."""
    path = writing.output or default
    for rows in tasks:
        own = path if len(tasks) == 1 else path.with_stem(f"{path.stem}-{rows.task}")
        check_review(own, overwrite=writing.overwrite)
        yield own
