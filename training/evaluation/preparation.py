"""What a run needs before it touches weights: label sets, examples, tokenizer, folders."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from contract.labels import BUILT_IN, LabelSet
from training.data.batches import build_encoder
from training.data.examples import Example, read_examples, read_label_sets, report_repeats
from training.errors import BadInput
from training.evaluation.judged import read_dev, read_test
from training.models.backbone_check import check_backbone
from training.models.model import load_tokenizer
from training.recipe.recipe import TrainRecipe


def prepare(
    recipe: TrainRecipe,
) -> tuple[list[LabelSet], list[Example], PreTrainedTokenizerBase]:
    """Read and check everything a run needs, short of the weights."""
    known = read_label_sets(recipe.label_sets)
    folds = 1 if recipe.dev else recipe.evaluation.folds
    examples = read_examples(recipe.sources, known, folds=folds)
    read_dev(recipe)
    read_test(recipe)
    label_sets = [known[task] for task in dict.fromkeys(source.task for source in recipe.sources)]
    every_set = [known[task] for task in dict.fromkeys(each.task for each in recipe.files)]
    _check_instructions(recipe, every_set)
    tokenizer = load_tokenizer(recipe.backbone, recipe.loading.revision)
    check_backbone(recipe)
    build_encoder(tokenizer, recipe.prompt, every_set)
    try:
        recipe.work.mkdir(parents=True, exist_ok=True)
        recipe.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{recipe.work}: cannot be made: {error}; choose another `work`") from error
    for line in report_repeats(examples):
        print(line)
    return label_sets, examples, tokenizer


def _check_instructions(recipe: TrainRecipe, label_sets: Sequence[LabelSet]) -> None:
    """A label set of one's own must not be introduced as primary-school mathematics."""
    if recipe.prompt.version == "compact-1":
        return
    for label_set in label_sets:
        if not label_set.instruction and label_set != BUILT_IN.get(label_set.task):
            raise BadInput(
                f"label set {label_set.task!r}: has no instruction, and prompt.version "
                f"{recipe.prompt.version} would tell the model that it is about primary-school "
                "mathematics; write an `instruction` into its YAML file, or take compact-1"
            )
