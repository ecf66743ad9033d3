"""What one fit is made of."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.data.examples import Example
from training.data.sampling import split_validation
from training.data.support import Support
from training.recipe.recipe import TrainRecipe


class Material(NamedTuple):
    """Examples, the tasks they belong to, and the tokenizer that makes prompts of them."""

    training: Sequence[Example]
    held_back: Sequence[Example]
    """They choose the checkpoint and are not trained on."""
    support: Support
    label_sets: Sequence[LabelSet]
    """Of the model that comes out; the support may have more, whose heads are dropped."""
    tokenizer: PreTrainedTokenizerBase

    @property
    def labelled(self) -> list[Example]:
        """What batches are drawn from, but for texts without labels."""
        return [*self.training, *self.support.examples]

    @property
    def everything(self) -> list[Example]:
        """What batches are drawn from."""
        return [*self.labelled, *self.support.unlabelled]

    @property
    def every_set(self) -> list[LabelSet]:
        return [*self.label_sets, *self.support.label_sets]


def gather(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    support: Support,
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
) -> Material:
    """Hold back the recipe's validation share of the examples; the rest is trained on."""
    options = recipe.optimisation
    training, held_back = split_validation(examples, options.validation_share, options.seed)
    return Material(training, held_back, support, label_sets, tokenizer)
