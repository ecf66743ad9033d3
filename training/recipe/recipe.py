"""The recipe of a fine-tuning run: every choice that changes the checkpoint."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from contract.prompts import ContextWindow, PromptVersion
from training.recipe.method import (
    DistillationRecipe,
    HeadRecipe,
    LoadingRecipe,
    LoraRecipe,
    LossRecipe,
    OptimisationRecipe,
)
from training.recipe.presets import UNLABELLED_FORMAT, apply_preset, fill_from_preset
from training.recipe.settings import Settings

RESERVED = frozenset({
    "bf16", "data_seed", "dataloader_drop_last", "dataloader_persistent_workers", "ddp_backend",
    "ddp_timeout", "do_eval", "eval_delay", "eval_steps", "eval_strategy", "fp16",
    "gradient_accumulation_steps",
    "gradient_checkpointing", "greater_is_better", "ignore_data_skip", "learning_rate",
    "load_best_model_at_end", "max_steps", "metric_for_best_model", "num_train_epochs",
    "output_dir", "per_device_eval_batch_size", "per_device_train_batch_size",
    "remove_unused_columns", "report_to", "restore_callback_states_from_checkpoint",
    "resume_from_checkpoint", "save_on_each_node", "save_only_model", "save_steps",
    "save_strategy", "save_total_limit", "seed", "torch_compile", "train_sampling_strategy",
    "use_cpu", "warmup_steps", "weight_decay",
})  # fmt: skip
"""Arguments of the Trainer that other keys of the recipe set, or that resuming and
`training.fitting.processes` rely on."""


class ColumnNames(Settings):
    """Which column of a table is what; None: it is recognised."""

    text: str | None = None
    label: str | None = None
    speaker: str | None = None
    """Only for turns of dialogues."""
    dialogue: str | None = None
    """What tells one dialogue from another; None where the file is one dialogue."""


class LabelledFile(Settings):
    """One file of labelled examples."""

    path: Path
    format: Literal["tmwpl", "pmtd", "dialogid", "conversation", "csv", "math-problems", "table"]
    """How the file spells its examples; `training.data.formats` describes each."""
    task: str
    """Id of the label set it is labelled with."""
    columns: ColumnNames = ColumnNames()
    """Only for the format `table`."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.format != "table" and self.columns != ColumnNames():
            raise ValueError(f"columns: the format {self.format} names its own; take `table`")
        return self


class SourceRecipe(LabelledFile):
    """Examples of a task of the checkpoint: trained on, held out in turn, measured."""

    imbalance_ratio: float | None = Field(default=None, gt=0.0, le=1.0)
    """τ = size of the smallest class / of the largest: what is trained on is thinned out to
    it (`training.data.sampling.subsample`), what is evaluated on stays whole. None: all of it."""


class SupportRecipe(LabelledFile):
    """Examples that are only ever trained on. A task that no source has is an auxiliary one:
    it shapes the features, and its head is dropped after training."""

    per_epoch: int | None = Field(default=None, ge=1)
    """Examples that an epoch draws, others each time; None draws all of them. Allowed for
    auxiliary tasks and for texts without labels."""

    @property
    def labelled(self) -> bool:
        """Whether the file says labels; else the teacher of `distillation` does."""
        return self.format != UNLABELLED_FORMAT


class PromptRecipe(Settings):
    """How an input becomes a prompt; goes into the manifest unchanged."""

    version: PromptVersion
    max_tokens: int = Field(ge=32)
    previous: int = Field(default=1, ge=0)
    """Dialogue turns before the labelled one."""
    following: int = Field(default=1, ge=0)
    """Dialogue turns after it, when they exist."""

    @property
    def window(self) -> ContextWindow:
        return ContextWindow(self.previous, self.following)


class AugmentationRecipe(Settings):
    """What is changed at random in a training example; nothing is changed in evaluation."""

    drop_following: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that the turns after are hidden, so one model serves live and retrospective."""
    drop_previous: float = Field(default=0.0, ge=0.0, le=1.0)
    perturb_numbers: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that each digit 2-9 of an example's target becomes another of them."""
    reword: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that a text is put as people type it (`training.data.wording`; Chinese texts)."""
    drop_tokens: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of prompt tokens left out; those of the chat template are always kept."""


class EvaluationRecipe(Settings):
    """Cross-validation: the source of the metrics, temperatures and thresholds."""

    folds: int = Field(default=5, ge=2)
    grouped: bool = True
    """Keep examples that share text in one fold (`training.data.groups`), and resample such
    groups for intervals. False deals each example by itself, which flatters a model that is
    tested on the neighbours of what it learned."""
    seed: int = 0
    coverage: float = Field(default=0.9, gt=0.0, lt=1.0)
    """Aim of the conformal prediction sets, for each class."""
    parity_items: int = Field(default=1000, ge=1)
    """Examples, the longest among them, on which vLLM must agree with transformers."""


class CardRecipe(Settings):
    """What the model card says beyond the manifest."""

    licence: str
    """Identifier as the Hugging Face hub has it."""
    languages: list[str]
    command: str
    """What builds the checkpoint again."""
    data: list[tuple[str, str, str]]
    """Name, licence and use of each data set."""
    behaviour: bool = False
    """Whether the checkpoint answers the written behavioural tests for it: they are for its tasks
    and in its language."""


class TrainRecipe(Settings):
    """A fine-tuning run from backbone to checkpoint."""

    name: str
    backbone: str
    """Directory (or Hugging Face id) of a decoder with a chat template, or a finished checkpoint,
    whose head is dropped."""
    loading: LoadingRecipe = LoadingRecipe()
    output: Path
    work: Path
    """Where folds and logs are kept; a run that was broken off goes on from here."""
    sources: list[SourceRecipe] = Field(min_length=1)
    support: list[SupportRecipe] = Field(default_factory=list)
    """Further examples to learn from (`training.data.support`)."""
    dev: list[LabelledFile] = Field(default_factory=list)
    """Examples that are never trained on. Their answers set temperature, biases and thresholds,
    and are measured: in place of cross-validation."""
    test: list[LabelledFile] = Field(default_factory=list)
    """Examples that nothing is learned from or set by: the finished checkpoint is measured on them.
    Without `dev` one fold alone is held out then, to set the calibration."""
    label_sets: list[Path] = Field(default_factory=list)
    """YAML files with label sets of one's own; `timss` and `irf` are built in."""
    prompt: PromptRecipe
    lora: LoraRecipe | None
    """None fine-tunes every weight."""
    head: HeadRecipe = HeadRecipe()
    loss: LossRecipe
    distillation: DistillationRecipe | None = None
    """None learns from the labels alone."""
    optimisation: OptimisationRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()
    card: CardRecipe | None = None
    """None writes no model card."""
    export_dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ("tensorboard",)
    """Where the Trainer reports to; mlflow and wandb must be installed by whoever wants them."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Passed on to TrainingArguments: `logging_steps`, `dataloader_num_workers` …
    `fsdp: true` shares the weights among the processes that torchrun starts."""

    @classmethod
    def apply_override(cls, raw: dict[str, Any], override: str) -> dict[str, Any]:
        """`preset=NAME` replaces what the file says; overrides after it change the preset."""
        key, separator, name = override.partition("=")
        if key == "preset" and separator:
            return apply_preset(raw, name)
        return super().apply_override(raw, override)

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, raw: Any) -> Any:
        return fill_from_preset(raw) if isinstance(raw, dict) and "preset" in raw else raw

    @field_validator("trainer")
    @classmethod
    def _check_trainer(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        if own := sorted(RESERVED & trainer.keys()):
            raise ValueError(
                f"{', '.join(own)}: set by the recipe's own keys, or by how we train; leave it out"
            )
        if trainer:
            from transformers import TrainingArguments  # late: it takes seconds

            if unknown := sorted(trainer.keys() - TrainingArguments.__dataclass_fields__.keys()):
                raise ValueError(f"TrainingArguments knows no {', '.join(unknown)}")
        return trainer

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.loss.name == "dot-regression" and self.head != HeadRecipe(
            init="etf", trainable=False
        ):
            raise ValueError(
                "loss.name dot-regression only pulls: a head that moves would collapse to one "
                "point; set head: {init: etf, trainable: false}"
            )
        own = {source.task for source in self.sources}
        if strange := sorted({each.task for each in [*self.dev, *self.test]} - own):
            raise ValueError(f"dev and test: no source has the task {', '.join(strange)}")
        if self.dev and own - {each.task for each in self.dev}:
            raise ValueError("dev: must have a file for each task of the sources, or for none")
        ratios: dict[str, set[float | None]] = {}
        for source in self.sources:
            ratios.setdefault(source.task, set()).add(source.imbalance_ratio)
        drawn = [s.task for s in self.support if s.per_epoch and s.labelled]
        if limited := [task for task in drawn if task in ratios]:
            raise ValueError(
                f"support of {', '.join(limited)}: per_epoch is for auxiliary tasks, those that "
                "no source has"
            )
        self._check_distillation(set(ratios))
        if torn := [task for task, values in ratios.items() if len(values) > 1]:
            raise ValueError(f"the sources of {', '.join(torn)} must have one imbalance_ratio")
        if self.lora is None and (self.loading.dtype != "float32" or self.loading.four_bit):
            raise ValueError(
                "loading.dtype bfloat16 and four_bit are for a frozen backbone: set lora too"
            )
        if self.loading.four_bit and self.trainer.get("fsdp"):
            raise ValueError(
                "loading.four_bit: 4-bit weights cannot be put together from the parts of "
                "trainer.fsdp; use one of them"
            )
        if self.optimisation.muon_learning_rate is not None and "optim" in self.trainer:
            raise ValueError(
                "trainer.optim has no effect under Muon: leave it out, or muon_learning_rate"
            )
        return self

    def _check_distillation(self, tasks: set[str]) -> None:
        taught = set(self.distillation.weights if self.distillation else ())
        if unknown := sorted(taught - tasks):
            raise ValueError(f"distillation.weights: no source has the task {', '.join(unknown)}")
        unlabelled = {s.task for s in self.support if not s.labelled}
        if untaught := sorted(unlabelled - taught):
            raise ValueError(
                f"support of {', '.join(untaught)} has no labels: name the task under "
                "distillation.weights, so that its teacher labels it"
            )
        if self.distillation and self.distillation.students and not unlabelled:
            raise ValueError(
                "distillation.students label texts without labels, and `support` has none"
            )
        labelled = [*self.sources, *self.dev, *self.test]
        if any(source.format == UNLABELLED_FORMAT for source in labelled):
            raise ValueError(
                f"sources, dev and test need labels; {UNLABELLED_FORMAT} is for `support`"
            )
        if self.distillation and self.loss.name in ("focal", "dot-regression"):
            raise ValueError(
                f"loss.name {self.loss.name} knows no soft targets; distil with cross-entropy, "
                "logit-adjusted, balanced-softmax or cosine"
            )
        if self.trainer.get("fsdp") and self.optimisation.muon_learning_rate is not None:
            raise ValueError(
                "trainer.fsdp: Muon needs whole matrices; leave muon_learning_rate out"
            )

    @property
    def files(self) -> list[LabelledFile]:
        """Every file of examples that is trained on."""
        return [*self.sources, *self.support]

    @property
    def measured_on(self) -> Literal["cross-validation", "dev", "one fold"]:
        """Where the answers come from that set the calibration and are measured first."""
        if self.dev:
            return "dev"
        return "one fold" if self.test else "cross-validation"

    @property
    def imbalance_ratios(self) -> dict[str, float]:
        """Task → τ, for the tasks whose training part is thinned out."""
        return {
            source.task: source.imbalance_ratio
            for source in self.sources
            if source.imbalance_ratio is not None
        }
