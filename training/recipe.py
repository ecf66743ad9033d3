"""The recipe of a fine-tuning run: every choice that changes the checkpoint."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from contract.prompts import ContextWindow, PromptVersion
from training.settings import Settings


class SourceRecipe(Settings):
    """One file of labelled examples."""

    path: Path
    format: Literal["tmwpl", "pmtd", "conversation", "csv"]
    """How the file spells its examples; `training.formats` describes each."""
    task: str
    """Id of the label set it is labelled with."""


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


class LoraRecipe(Settings):
    """Low-rank adaptation (Hu et al. 2022), merged into the weights at export."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    targets: str | list[str] = "all-linear"
    """`all-linear`, or the names of the linear layers to adapt."""


class LossRecipe(Settings):
    """L = L_cls + tc_weight · L_TC (NCAL, section 4)."""

    name: Literal["cross-entropy", "logit-adjusted", "balanced-softmax", "focal"]
    tau: float = 1.0
    """Strength of the logit adjustment (Menon et al. 2021)."""
    gamma: float = 2.0
    """Focusing exponent of the focal loss (Lin et al. 2017)."""
    tc_weight: float = Field(default=0.0, ge=0.0)
    """λ of NCAL; 0 leaves the text-modality collapse loss out."""
    tc_max_norm: float = Field(default=1.0, gt=0.0)
    """E_W of NCAL: features longer than this are scaled down to it."""
    tc_pairs: Literal["different", "all"] = "different"


class OptimisationRecipe(Settings):
    """How the weights are moved."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    accumulation: int = Field(default=1, ge=1)
    """Batches summed before a step; the TC pairs stay those of one batch."""
    learning_rate: float = Field(gt=0.0)
    weight_decay: float = 0.01
    warmup_fraction: float = Field(default=0.06, ge=0.0, lt=1.0)
    bf16: bool = True
    """Matrix products in bfloat16; parameters and sums stay float32."""
    compile: bool = False
    """torch.compile: about twice as fast on CPU, needs a C++ compiler."""
    gradient_checkpointing: bool = False
    seed: int = 0


class AugmentationRecipe(Settings):
    """What is changed at random in a training example; nothing is changed in evaluation."""

    drop_following: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that the turns after are hidden, so one model serves live and retrospective."""
    drop_previous: float = Field(default=0.0, ge=0.0, le=1.0)
    perturb_numbers: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that each digit 2-9 of an example's target becomes another of them."""
    drop_tokens: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of prompt tokens left out; the first and the last are always kept."""


class EvaluationRecipe(Settings):
    """Cross-validation: the source of the metrics, temperatures and thresholds."""

    folds: int = Field(default=5, ge=2)
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


class TrainRecipe(Settings):
    """A fine-tuning run from backbone to checkpoint."""

    name: str
    backbone: str
    """Directory (or Hugging Face id) of a decoder with a chat template."""
    output: Path
    work: Path
    """Where folds and logs are kept; a run that was broken off goes on from here."""
    sources: list[SourceRecipe] = Field(min_length=1)
    label_sets: list[Path] = Field(default_factory=list)
    """YAML files with label sets of one's own; `timss` and `irf` are built in."""
    prompt: PromptRecipe
    lora: LoraRecipe | None
    """None fine-tunes every weight."""
    loss: LossRecipe
    optimisation: OptimisationRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()
    card: CardRecipe | None = None
    """None writes no model card."""
    export_dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
