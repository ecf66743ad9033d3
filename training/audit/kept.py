"""What the models of a training's folds said of the rows that each had held out."""

from pathlib import Path

import numpy as np

from training.audit.judgement import Judgement, calibrate
from training.audit.rows import Rows, split_tasks
from training.checkpoints.work_folder import read_work
from training.data.examples import measure_prior, read_examples, read_label_sets
from training.errors import BadInput
from training.evaluation.crossvalidate import read_held_out
from training.evaluation.folds import deal_examples


def read_kept(work: Path) -> list[tuple[Rows, Judgement]]:
    """The rows and the kept out-of-fold answers of a training's work folder, by task.

    Turns are judged as people judged them, with what follows. BadInput if it holds no training,
    if the data are not those of the training any more, a fold is missing, or not all rows were held
    out.
    """
    recipe = read_work(work)
    if recipe.measured_on != "cross-validation":
        raise BadInput(
            f"{work}: its training was measured with a table of --dev or --test and not all rows "
            "were held out in turn; audit the table itself, `ncal audit FILE`"
        )
    known = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, known, folds=recipe.evaluation.folds)
    tasks = dict.fromkeys(source.task for source in recipe.sources)
    held_out = read_held_out(recipe, examples, [known[task] for task in tasks])
    caution = "each row was judged by a model of the training whose fold held it out"
    if not recipe.evaluation.grouped:
        caution += ", though not what shares its text: its folds were dealt at random"
    found = []
    for rows in split_tasks(examples, known, deal_examples(recipe, examples)):
        kept = held_out[rows.task]["retrospective"]
        prior = np.array(measure_prior(examples, known[rows.task]))
        logits = kept.logits.astype(np.float64)
        probabilities = calibrate(logits, kept.labels, prior, rows.folds)
        places = np.arange(len(rows.examples))
        found.append((rows, Judgement(probabilities, places, recipe.name, caution)))
    return found
