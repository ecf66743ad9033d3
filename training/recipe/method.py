"""The recipe of the method: adapters, head, loss and how the weights are moved."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from training.recipe.settings import Settings


class LoadingRecipe(Settings):
    """How the backbone is loaded; what is exported is the recipe's `export_dtype` all the same."""

    revision: str | None = None
    """Branch, tag or commit on the Hugging Face hub; None: its newest state."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights while training. bfloat16 halves the memory of a backbone that adapters
    leave frozen; weights that are trained themselves need float32."""
    four_bit: bool = False
    """Hold the frozen weights in 4 bits while the adapters learn (QLoRA, Dettmers et al., NeurIPS
    2023): a quarter of bfloat16's memory. Needs bitsandbytes. The adapters are merged into the
    weights as they were before, and those are measured."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """Kernel of the attention; None takes the fastest for the machine."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Passed on to `from_pretrained`: `device_map`, `rope_scaling` …"""

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        if own := sorted(
            {"trust_remote_code", "dtype", "torch_dtype", "revision", "quantization_config"}
            & set(self.extra)
        ):
            raise ValueError(
                f"extra: {', '.join(own)} has a key of its own, or is never allowed: "
                "code of a checkpoint is not run"
            )
        return self


class LoraRecipe(Settings):
    """Low-rank adaptation (Hu et al. 2022), merged into the weights at export."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    targets: str | list[str] = "all-linear"
    """`all-linear`, or the names of the linear layers to adapt."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Passed on to PEFT's `LoraConfig`: `use_rslora`, `layers_to_transform` …"""


class HeadRecipe(Settings):
    """The linear head before the first step; in a checkpoint it is `score.weight` always."""

    init: Literal["random", "label-words", "etf"] = "random"
    """`label-words`: the language model's output rows of the words of each label's names;
    `etf`: for each task the vertices of a regular simplex
    (`training.losses.losses.simplex_etf`)."""
    trainable: bool = True
    """False keeps the head as it starts; with `etf` the classifier of Yang et al. (2022)."""

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.init == "random" and not self.trainable:
            raise ValueError(
                "a random head that is never trained knows nothing of the labels; set "
                "init: etf (or label-words), or trainable: true"
            )
        return self


class LossRecipe(Settings):
    """L = L_cls + tc_weight · L_TC (NCAL, section 4)."""

    name: Literal[
        "cross-entropy", "logit-adjusted", "balanced-softmax", "focal", "cosine", "dot-regression"
    ]
    """`cosine` is logit-adjusted cross-entropy on scale · cos(feature, head row);
    `dot-regression` (Yang et al. 2022) pulls features to the vertices of a fixed ETF head.
    `training.losses.losses` has the formulas."""
    tau: float = 1.0
    """Strength of the logit adjustment (Menon et al. 2021) of `logit-adjusted` and `cosine`."""
    gamma: float = 2.0
    """Focusing exponent of the focal loss (Lin et al. 2017)."""
    scale: float = Field(default=16.0, gt=0.0)
    """Factor on the cosines of `cosine` and, in the exported head, of `dot-regression`."""
    tc_weight: float = Field(default=0.0, ge=0.0)
    """λ of NCAL; 0 leaves the text-modality collapse loss out."""
    tc_max_norm: float = Field(default=1.0, gt=0.0)
    """E_W of NCAL: features longer than this are scaled down to it."""
    tc_pairs: Literal["different", "all"] = "different"

    @property
    def prior_left(self) -> float:
        """Share of the log prior of the training batches that the logits still hold.

        Subtracting `prior_left` · log prior makes them answer for a uniform prior; 0 means
        that they do so by themselves. `training.data.sampling.batch_prior` is the prior.
        """
        match self.name:
            case "cross-entropy" | "focal":
                return 1.0
            case "logit-adjusted" | "cosine":
                return 1.0 - self.tau
            case "balanced-softmax" | "dot-regression":
                return 0.0

    @property
    def sees_cosines(self) -> bool:
        """Whether the head is trained on the directions of features alone."""
        return self.name in ("cosine", "dot-regression")


class StudentsRecipe(Settings):
    """Models fitted first, which label the unlabelled texts with the teacher for the model that
    is kept (`training.students`). Each costs a run on the tasks of those texts."""

    count: int = Field(default=1, ge=1)
    per_epoch: int | None = Field(default=None, ge=1)
    """Texts without labels that a student's epoch draws; None: as many as the kept model's."""


class DistillationRecipe(Settings):
    """Learning from a teacher beside the labels (`training.fitting.teacher`)."""

    weights: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(min_length=1)
    """Task → share of the teacher's answer in the target of a labelled example; the rest is its
    label. An unlabelled one is answered by the teacher alone. Other tasks have no teacher."""
    parts: int = Field(default=5, ge=2)
    """Parts of the training examples: the teacher of one part is fitted to the others."""
    students: StudentsRecipe | None = None
    """None leaves the unlabelled texts to the teacher alone."""


class OptimisationRecipe(Settings):
    """How the weights are moved."""

    epochs: int = Field(ge=1)
    runs: int = Field(default=1, ge=1)
    """Runs that differ in order and changes of the examples; the model has the mean of their
    weights (Wortsman et al., ICML 2022). What one answers on texts without labels, the teacher
    of the next ones knows."""
    batch_size: int = Field(ge=2)
    """Examples of a batch, over all processes together."""
    accumulation: int = Field(default=1, ge=1)
    """Batches summed before a step; the TC pairs stay those of one batch."""
    sampling: Literal["instance", "square-root", "class-balanced"] = "instance"
    """A class of n examples is drawn in proportion to n, √n or 1 (Kang et al. 2020)."""
    learning_rate: float = Field(gt=0.0)
    muon_learning_rate: float | None = Field(default=None, gt=0.0)
    """Of the matrices of linear layers under Muon (`training.fitting.muon`), `learning_rate` being
    that of all other weights; None moves every weight by AdamW."""
    weight_decay: float = 0.01
    warmup_fraction: float = Field(default=0.06, ge=0.0, lt=1.0)
    bf16: bool = True
    """Matrix products in bfloat16; parameters and sums stay float32."""
    compile: bool = False
    """torch.compile: about twice as fast on CPU, needs a C++ compiler."""
    gradient_checkpointing: bool = False
    validation_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each class that is not trained on but chooses the best checkpoint, by macro
    recall. 0 keeps the last one."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Evaluations without a better macro recall after which training ends."""
    save_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints, and between evaluations if there is a validation share;
    None means once an epoch."""
    seed: int = 0

    @model_validator(mode="after")
    def _check_patience(self) -> Self:
        if self.early_stopping_patience is not None and not self.validation_share:
            raise ValueError("early_stopping_patience needs a validation_share above 0, say 0.1")
        return self
