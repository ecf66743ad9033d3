"""What a run needs before it touches weights: label sets, examples, tokenizer, folders."""

from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.data.examples import Example, read_examples, read_label_sets, report_repeats
from training.errors import BadInput
from training.models.backbone_check import check_backbone
from training.models.model import load_tokenizer
from training.recipe.recipe import TrainRecipe


def prepare(
    recipe: TrainRecipe,
) -> tuple[list[LabelSet], list[Example], PreTrainedTokenizerBase]:
    """Read and check everything a run needs, short of the weights."""
    known = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, known, folds=recipe.evaluation.folds)
    label_sets = [known[task] for task in dict.fromkeys(source.task for source in recipe.sources)]
    tokenizer = load_tokenizer(recipe.backbone, recipe.loading.revision)
    check_backbone(recipe)
    try:
        recipe.work.mkdir(parents=True, exist_ok=True)
        recipe.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{recipe.work}: cannot be made: {error}; choose another `work`") from error
    for line in report_repeats(examples):
        print(line)
    return label_sets, examples, tokenizer
