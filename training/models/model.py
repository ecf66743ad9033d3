"""A Hugging Face decoder with one linear head over all tasks, plain or with LoRA."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.integrations.fsdp import is_fsdp_enabled
from transformers.utils import logging

from contract.labels import LabelSet
from training.errors import BadInput
from training.recipe.method import LoadingRecipe, LoraRecipe

_HEAD = "score.weight"


def load_tokenizer(backbone: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the backbone's tokenizer; it must have a chat template. Pads on the right."""
    if not Path(backbone).is_dir() and backbone.count("/") != 1:
        raise BadInput(
            f"{backbone}: no such directory, and no `owner/name` of the Hugging Face hub; "
            "for the bundled model run `ncal pretrain` first"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            backbone, padding_side="right", revision=revision or "main"
        )
        _check_tokenizer(backbone, tokenizer, revision)
    except BadInput:
        raise
    except Exception as error:  # a damaged file can make the tokenizer raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        remedy = (
            "copy tokenizer.json and tokenizer_config.json of the model there"
            if Path(backbone).is_dir()
            else "is the name right, and the hub within reach (or HF_ENDPOINT set)?"
        )
        raise BadInput(
            f"{backbone}: no tokenizer can be loaded from it ({reason}); {remedy}"
        ) from error
    if tokenizer.chat_template is None:
        raise BadInput(f"{backbone}: the tokenizer has no chat template; use an instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise BadInput(
            f"{backbone}: the tokenizer has neither a padding nor an end token; name one in its "
            "tokenizer_config.json"
        )
    return cast(PreTrainedTokenizerBase, tokenizer)


def _check_tokenizer(
    backbone: str, tokenizer: PreTrainedTokenizerBase, revision: str | None
) -> None:
    """Refuse a backbone whose `tokenizer.json` AutoTokenizer does not follow.

    For some model types (`qwen2` among them) transformers 5 builds the tokenizer it
    expects there, whatever the file says; text would silently become wrong tokens.
    """
    probe = "小明有3支铅笔，x² = 9？"
    as_written = PreTrainedTokenizerFast.from_pretrained(backbone, revision=revision or "main")
    if tokenizer(probe)["input_ids"] != as_written(probe)["input_ids"]:
        raise BadInput(
            f"{backbone}: transformers replaces this tokenizer by {type(tokenizer).__name__}, "
            "because of the `model_type` in config.json; use the tokenizer of that type"
        )


def load_classifier(
    backbone: str,
    tokenizer: PreTrainedTokenizerBase,
    label_sets: Sequence[LabelSet],
    loading: LoadingRecipe | None = None,
) -> PreTrainedModel:
    """Load the decoder under a fresh bias-free `score` of shape (all labels, hidden).

    A finished checkpoint is a decoder too: its own head is dropped.
    """
    loading = loading or LoadingRecipe()
    names = [f"{labels.task}/{label_id}" for labels in label_sets for label_id in labels.ids]
    verbosity = logging.get_verbosity()
    # Scores of short sequences are small: on a CPU the plain kernel is the faster one.
    attention = loading.attention or (None if torch.cuda.is_available() else "eager")
    try:
        # That the head is new is no news; anything else that is missing is told below.
        logging.set_verbosity_error()
        model, report = AutoModelForSequenceClassification.from_pretrained(
            backbone,
            output_loading_info=True,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            pad_token_id=tokenizer.pad_token_id,
            revision=loading.revision or "main",
            dtype=getattr(torch, loading.dtype),
            attn_implementation=attention,
            quantization_config=make_quantisation(loading),
            ignore_mismatched_sizes=True,  # a finished checkpoint's head; what else is told below
            **loading.extra,
        )
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise BadInput(f"{backbone}: cannot be loaded as a classifier: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
    found = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    # Under FSDP the others load nothing: the first shares out what it has.
    loads = os.environ.get("RANK", "0") == "0" or not is_fsdp_enabled()
    if loads and (wrong := sorted(found - {_HEAD})):
        raise BadInput(f"{backbone}: lacks weights ({', '.join(wrong[:3])} …); copy it again")
    if _HEAD not in report["missing_keys"]:
        _draw_head(model)
    if loading.dtype != "float32" or loading.four_bit:
        _keep_head_exact(cast(Any, model).score)
    model.config.use_cache = False
    return cast(PreTrainedModel, model)


def make_quantisation(loading: LoadingRecipe) -> BitsAndBytesConfig | None:
    """How 4-bit weights are held; None where they are not. The head is trained and stays whole."""
    if not loading.four_bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["score"],
    )


def _keep_head_exact(head: torch.nn.Module) -> None:
    """The head is trained itself, and steps in bfloat16 would be rounded away."""
    head.float()

    def widen(_: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].float(),)

    head.register_forward_pre_hook(widen)


def _draw_head(model: PreTrainedModel) -> None:
    """Draw the rows anew, in place of those of a finished checkpoint."""
    head = cast(Any, model).score.weight
    with torch.no_grad():
        head.normal_(mean=0.0, std=cast(Any, model).config.initializer_range)


def make_lora_config(recipe: LoraRecipe) -> LoraConfig:
    """Return PEFT's form of the recipe; BadInput for a key that it does not know."""
    try:
        return LoraConfig(
            task_type="SEQ_CLS",
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=recipe.targets,
            **recipe.extra,
        )
    except (TypeError, ValueError) as error:
        raise BadInput(f"lora: {error}") from error


def add_lora(model: PreTrainedModel, recipe: LoraRecipe) -> PeftModel:
    """Freeze the decoder and add adapters; the score head stays fully trainable."""
    return cast(PeftModel, get_peft_model(model, make_lora_config(recipe)))


def merge_lora(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the plain model with the adapters added into its weights, in float32.

    A bfloat16 backbone is widened first: sums in bfloat16 would round small adapters away.
    """
    if isinstance(model, PeftModel):
        cast(torch.nn.Module, model).float()
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
