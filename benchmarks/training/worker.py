"""One fine-tuning run in a process of its own, with a clock on its epochs.

`python -m benchmarks.training.worker SYSTEM RECIPE ITEMS FOLDER` trains on so many examples
and writes what it measured to FOLDER/measured.json. The systems:

- `ours`: `training.fit`, as a recipe runs it.
- `reference`: what NCAL's code and LLaMA-Factory do. transformers' own Trainer on
  `AutoModelForCausalLM`; the class's name and the end of text are appended to the prompt and
  are the only targets. Data order, padding and attention are the Trainer's defaults.
- `reference-tuned`: the reference with the settings of our trainer: length-grouped batches,
  widths in multiples of 8, its attention kernel, and torch.compile where the recipe asks for it.

Same prompts, LoRA, batch size, epochs, precision, schedule and optimiser for all.
"""

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import DEFAULT_CALLBACKS

from benchmarks.training.measurement import SYSTEMS, Measurement, System
from contract.labels import LabelSet
from training.data.batches import build_encoder
from training.data.examples import Example
from training.evaluation.preparation import prepare
from training.fit import fit
from training.recipe.recipe import TrainRecipe

_IGNORED = -100  # what cross-entropy leaves out


def run(system: System, recipe: TrainRecipe, items: int, folder: Path) -> Measurement:
    """Train with one system on `items` examples, logs in `folder`; measure its epochs."""
    before = _read_peak_bytes()
    label_sets, every, tokenizer = prepare(recipe)
    examples = choose_examples(every, items)
    prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(examples)
    tokens = sum(len(prompt.token_ids) for prompt in prompts)
    measurement = Measurement(system=system, items=items, prompt_tokens=tokens, bytes_before=before)
    clock = _Clock(measurement)
    callbacks: list[Any] = DEFAULT_CALLBACKS  # every Trainer starts with these, ours and theirs
    callbacks.insert(0, clock)
    try:
        if system == "ours":
            fit(recipe, examples, label_sets, tokenizer, run_folder=folder)
        else:
            is_tuned = system == "reference-tuned"
            rows = append_labels(recipe, examples, label_sets, tokenizer)
            fit_reference(recipe, rows, tokenizer, run_folder=folder, is_tuned=is_tuned)
    finally:
        callbacks.remove(clock)
    del measurement.epoch_s[0], measurement.epoch_cpu_s[0]
    return measurement


def choose_examples(examples: Sequence[Example], items: int) -> list[Example]:
    """Draw examples at random, the same for the same arguments; every class is there."""
    drawn = random.Random(0).sample(examples, len(examples))
    firsts = {(each.task, each.label): each for each in reversed(drawn)}
    if not len(firsts) <= items <= len(examples):
        raise ValueError(f"{items} of {len(examples)} examples with {len(firsts)} classes")
    rest = (each for each in drawn if firsts[each.task, each.label] is not each)
    return [*firsts.values(), *rest][:items]


def append_labels(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
) -> list[dict[str, list[int]]]:
    """The reference's examples: our prompt, then the class's name, which alone is a target."""
    prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(examples)
    answers = {
        (labels.task, index): [
            *tokenizer(label.data_label, add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
        for labels in label_sets
        for index, label in enumerate(labels.labels)
    }
    rows = []
    for example, (token_ids, _) in zip(examples, prompts, strict=True):
        answer = answers[example.task, example.label]
        whole = [*token_ids, *answer]
        rows.append(
            {
                "input_ids": whole,
                "attention_mask": [1] * len(whole),
                "labels": [_IGNORED] * len(token_ids) + answer,
            }
        )
    return rows


def fit_reference(
    recipe: TrainRecipe,
    rows: list[dict[str, list[int]]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    run_folder: Path,
    is_tuned: bool,
) -> None:
    """Train a language model to write the class's name after the prompt."""
    options = recipe.optimisation
    set_seed(options.seed)
    is_eager = is_tuned and not torch.cuda.is_available()  # as training.models.model has it
    model: Any = AutoModelForCausalLM.from_pretrained(
        recipe.backbone, dtype=torch.float32, attn_implementation="eager" if is_eager else None
    )
    if recipe.lora is not None:
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=recipe.lora.rank,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            target_modules=recipe.lora.targets,
        )
        model = get_peft_model(model, config)
    trainer = Trainer(
        model=model,
        args=_reference_arguments(recipe, len(rows), run_folder, is_tuned=is_tuned),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8 if is_tuned else None),
        processing_class=tokenizer,
    )
    trainer.train()


def _reference_arguments(
    recipe: TrainRecipe, items: int, run_folder: Path, *, is_tuned: bool
) -> TrainingArguments:
    options = recipe.optimisation
    steps = items // options.batch_size * options.epochs
    return TrainingArguments(
        output_dir=str(run_folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=round(steps * options.warmup_fraction),
        max_grad_norm=1.0,
        bf16=options.bf16,
        torch_compile=options.compile and is_tuned,
        gradient_checkpointing=options.gradient_checkpointing,
        train_sampling_strategy="group_by_length" if is_tuned else "random",
        dataloader_drop_last=True,
        logging_steps=50,
        save_strategy="no",
        report_to="tensorboard",
        seed=options.seed,
        use_cpu=not torch.cuda.is_available(),
    )


class _Clock(TrainerCallback):
    """Times whole epochs, which hold the same work for all systems.

    What is done between epochs (checkpoints, our neural-collapse metrics) is left out of the
    time, but not of the memory: it does not grow with the data, and epochs are short here.
    """

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        self._wall = self._cpu = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self._wall, self._cpu = _read_clocks()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        wall, cpu = _read_clocks()
        self._measurement.epoch_s.append(wall - self._wall)
        self._measurement.epoch_cpu_s.append(cpu - self._cpu)
        self._measurement.peak_bytes = _read_peak_bytes()


def _read_clocks() -> tuple[float, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def _read_peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    # Not getrusage: its peak includes the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    name, recipe_path, count, folder_path = sys.argv[1:]
    (chosen,) = (system for system in SYSTEMS if system == name)
    target = Path(folder_path)
    measured = run(chosen, TrainRecipe.read(Path(recipe_path)), int(count), target)
    (target / "measured.json").write_text(json.dumps(asdict(measured)))
