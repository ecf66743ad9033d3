"""A Hugging Face decoder with one linear head over all tasks, plain or with LoRA."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from contract.labels import LabelSet
from training.errors import BadInput
from training.recipe.method import LoraRecipe


def load_tokenizer(backbone: str) -> PreTrainedTokenizerBase:
    """Load the backbone's tokenizer; it must have a chat template. Pads on the right."""
    if not Path(backbone).is_dir() and backbone.count("/") != 1:
        raise BadInput(
            f"{backbone}: no such directory, and no `owner/name` of the Hugging Face hub; "
            "for the bundled model run `ncal pretrain` first"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(backbone, padding_side="right")
    except (OSError, ValueError) as error:
        raise BadInput(f"{backbone}: no tokenizer can be loaded from it ({error})") from error
    _check_tokenizer(backbone, tokenizer)
    if tokenizer.chat_template is None:
        raise BadInput(f"{backbone}: the tokenizer has no chat template; use an instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return cast(PreTrainedTokenizerBase, tokenizer)


def _check_tokenizer(backbone: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a backbone whose `tokenizer.json` AutoTokenizer does not follow.

    For some model types (`qwen2` among them) transformers 5 builds the tokenizer it
    expects there, whatever the file says; text would silently become wrong tokens.
    """
    probe = "小明有3支铅笔，x² = 9？"
    as_written = PreTrainedTokenizerFast.from_pretrained(backbone)
    if tokenizer(probe)["input_ids"] != as_written(probe)["input_ids"]:
        raise BadInput(
            f"{backbone}: transformers replaces this tokenizer by {type(tokenizer).__name__}, "
            "because of the `model_type` in config.json; use the tokenizer of that type"
        )


def load_classifier(
    backbone: str, tokenizer: PreTrainedTokenizerBase, label_sets: Sequence[LabelSet]
) -> PreTrainedModel:
    """Load the decoder under a fresh bias-free `score` of shape (all labels, hidden)."""
    names = [f"{labels.task}/{label_id}" for labels in label_sets for label_id in labels.ids]
    verbosity = logging.get_verbosity()
    try:
        # That the head is new is no news; anything else that is missing is told below.
        logging.set_verbosity_error()
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            backbone,
            output_loading_info=True,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            pad_token_id=tokenizer.pad_token_id,
            dtype=torch.float32,
            # Scores of short sequences are small: on a CPU the plain kernel is the faster one.
            attn_implementation=None if torch.cuda.is_available() else "eager",
        )
    except (OSError, ValueError) as error:
        raise BadInput(f"{backbone}: cannot be loaded as a classifier: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
    if missing := sorted(set(loading["missing_keys"]) - {"score.weight"}):
        raise BadInput(f"{backbone}: lacks weights ({', '.join(missing[:3])} …); copy it again")
    model.config.use_cache = False
    return cast(PreTrainedModel, model)


def add_lora(model: PreTrainedModel, recipe: LoraRecipe) -> PeftModel:
    """Freeze the decoder and add adapters; the score head stays fully trainable."""
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.targets,
    )
    return cast(PeftModel, get_peft_model(model, config))


def merge_lora(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the plain model with the adapters added into its weights."""
    if isinstance(model, PeftModel):
        return cast(PreTrainedModel, model.merge_and_unload())
    return model


def compute_features(model: torch.nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return features (B, hidden) and scores (B, all labels) at the last prompt token.

    The features are the hidden states after the final norm, which are the input of
    `score`. The position is found from the attention mask, whatever the padding side.
    The vocabulary head does not exist in this model and is never computed.
    """
    attention_mask = batch["attention_mask"]
    outputs: Any = model(
        input_ids=batch["input_ids"], attention_mask=attention_mask, output_hidden_states=True
    )
    hidden: Tensor = outputs.hidden_states[-1]  # (B, T, hidden), after the final norm
    features = hidden[torch.arange(len(hidden), device=hidden.device), find_last(attention_mask)]
    return features, outputs.logits


def find_last(attention_mask: Tensor) -> Tensor:
    """Index of the last real token of each row, shape (B,)."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (attention_mask * (positions + 1)).argmax(dim=1)
