"""A merged model becomes a checkpoint that keeps the contract."""

import datetime
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from contract.labels import LabelSet
from contract.manifest import (
    GRAPH_NAME,
    WEIGHTS_NAME,
    Manifest,
    Task,
    hash_deciding_files,
    hash_file,
    write_manifest,
)
from contract.prompts import Prompt
from training.checkpoints.onnx_graph import write_graph
from training.checkpoints.parity import prove_parity
from training.checkpoints.work_folder import RECIPE_NAME
from training.data.batches import build_encoder
from training.data.examples import Example, fingerprint_sources, strip_following
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe
from training.reporting.model_card import DataSource, write_model_card


def export_checkpoint(
    recipe: TrainRecipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    examples: Sequence[Example],
) -> Manifest:
    """Write weights, tokenizer, proof and manifest to `recipe.output`, whole or not at all."""
    staging = recipe.output.with_name(recipe.output.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        _save_model(model, tokenizer, staging, getattr(torch, recipe.export_dtype))
        graph = _add_graph(staging)
        label_sets = [task.label_set for task in tasks]
        prompts = _choose_prompts(recipe, tokenizer, examples, label_sets)
        manifest = Manifest(
            name=recipe.name,
            created=datetime.date.today().isoformat(),
            base_model=Path(recipe.backbone).name,
            tasks=tuple(tasks),
            losses=recipe.loss.model_dump(mode="json"),
            data_sha256=fingerprint_sources(recipe.files),
            weights_sha256=hash_file(staging / WEIGHTS_NAME),
            graph_sha256=graph,
            files_sha256=hash_deciding_files(staging),
            parity=prove_parity(staging, prompts, [task.rows for task in tasks]),
        )
        write_manifest(manifest, staging)
        recipe.write(staging / RECIPE_NAME)
        write_card(recipe, staging, manifest, describe_measurement(recipe, manifest))
        _replace(recipe.output, staging)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{recipe.output}: cannot be written: {error}; free space or choose another output, "
            "then run `ncal export`: what was trained is kept"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def write_card(
    recipe: TrainRecipe, folder: Path, manifest: Manifest, measured: str, behaviour: str = ""
) -> None:
    """Write the model card into a checkpoint folder, if the recipe has what it needs."""
    if recipe.card is None:
        return
    write_model_card(
        folder,
        manifest,
        data=[DataSource(*row) for row in recipe.card.data],
        licence=recipe.card.licence,
        languages=recipe.card.languages,
        measured=measured,
        command=recipe.card.command,
        behaviour=behaviour,
    )


def describe_measurement(recipe: TrainRecipe, manifest: Manifest) -> str:
    """How the figures of a checkpoint that this recipe wrote came about.

    The manifest says how its folds were dealt: the recipe may have changed since.
    """
    evaluations = [each for task in manifest.tasks for each in task.evaluation.values()]
    grouped = all(each.get("intervals_resample") == "groups" for each in evaluations)
    measured_on = evaluations[0].get("measured_on", "") if evaluations else ""
    source = describe_source(recipe, measured_on or recipe.measured_on, grouped)
    tested = {name: None for each in evaluations for name in each.get("test", {}).get("files", {})}
    if not tested:
        return source
    return (
        f"{source} Rows that say `test` are of {', '.join(tested)}, answered by this checkpoint as "
        "it is: nothing was learned from these items or set by them."
    )


def describe_source(recipe: TrainRecipe, measured_on: str, grouped: bool) -> str:
    """Where the answers come from that were measured and that set the calibration.

    `measured_on` is as in `TrainRecipe.measured_on`; `grouped` says whether items that share
    text were kept together.
    """
    if measured_on == "dev":
        files = ", ".join(dict.fromkeys(each.path.name for each in recipe.dev))
        resampled = "groups of items that share text" if grouped else "items"
        return (
            f"{files}, which the weights here were not trained on, answered by this very model. "
            "Temperature, biases and thresholds come from these answers; what is stated was "
            f"measured on items that set none of them. Intervals resample {resampled}. One seed."
        )
    dealt = (
        "items that share text were kept in one fold, and intervals resample such groups"
        if grouped
        else "items were dealt at random, so a model may have seen the neighbours of a turn that "
        "it was tested on: figures of dialogue turns are likely too high"
    )
    if measured_on == "one fold":
        return (
            f"One of {recipe.evaluation.folds} parts of the training data, stratified by class: "
            "answered by a model that was trained on the others. In dealing the parts, "
            f"{dealt}. The weights here were then trained on all items; temperature, biases and "
            "thresholds come from the held-out answers of the model before. One seed."
        )
    return (
        f"{recipe.evaluation.folds}-fold cross-validation on the training data, stratified "
        "by class: each item was answered by a model that had not seen it. In dealing the folds, "
        f"{dealt}. The weights here were then trained on all items; temperature, biases and "
        "thresholds come from the held-out answers of the models of the folds, and what is said of "
        "calibration and coverage is of those models' answers. One seed."
    )


def _save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype
) -> None:
    cast(torch.nn.Module, model).to(dtype)
    model.save_pretrained(folder, max_shard_size="100GB")
    # safetensors keeps the file to its owner, and in a container that is somebody else.
    (folder / WEIGHTS_NAME).chmod(0o644)
    cast(torch.nn.Module, model).cpu()  # what proves the export next needs the GPU's memory
    tokenizer.save_pretrained(folder)
    # transformers 5 names its new base class here; every release knows the old name.
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _add_graph(folder: Path) -> str | None:
    """Write `model.onnx` and return its sha256; what cannot have one is served by vLLM alone."""
    try:
        write_graph(folder)
    except BadInput as error:
        print(f"no model.onnx for the embedded engine: {error}")
        return None
    return hash_file(folder / GRAPH_NAME)


def _choose_prompts(
    recipe: TrainRecipe,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
) -> list[Prompt]:
    """The longest prompts and an even sample of the others, dialogues in both modes."""
    views: list[Example] = []
    for example in examples:
        views.append(example)
        if strip_following(example.item) != example.item:
            views.append(example._replace(item=strip_following(example.item)))
    prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(views)
    prompts.sort(key=lambda prompt: -len(prompt.token_ids))
    wanted = min(recipe.evaluation.parity_items, len(prompts))
    longest = wanted // 10
    step = (len(prompts) - longest) / max(1, wanted - longest)
    return prompts[:longest] + [
        prompts[longest + int(index * step)] for index in range(wanted - longest)
    ]


def _replace(target: Path, staging: Path) -> None:
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)
