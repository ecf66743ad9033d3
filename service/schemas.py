"""The forms of requests and responses, as `/docs` shows them.

Inputs are those of `contract.inputs`; this file adds options, answers and errors.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from contract.inputs import DialogueTurn, Kind, Problem, Speaker, Turn
from contract.interaction import DialogueMode, Structure
from contract.labels import LabelSet
from contract.priors import PriorKind, parse_prior
from service.limits import Limits
from tables.layouts import Layout
from tables.table import Format


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _check_prior(value: str) -> str:
    parse_prior(value)
    return value


PriorText = Annotated[str, AfterValidator(_check_prior)]
"""A prior as a client or an operator writes it."""


class Options(_Form):
    """How the answer shall look; query parameters, the same everywhere."""

    prior: PriorText | None = None
    """Class mix the probabilities answer for, which can change the label too: `uniform`;
    `training`, that of the training data; a share for each label, `recall:0.6,identify:0.1,…`,
    which sum to 1; or `estimate`, from the items' own answers, where many come together: batches
    and whole dialogues. By default what the operator has set, or `uniform`."""
    model: str | None = Field(default=None, max_length=256)
    """Name or fingerprint of the loaded checkpoint that shall answer; `default`, or none, is the
    default of the task. `GET /models` lists them."""
    raw_logits: bool = False
    """Also return the head's raw logits."""
    top_k: int | None = Field(default=None, ge=1, le=1000)
    """Also return the so many most probable labels, the best first."""
    prediction_set: bool = False
    """Also return the conformal prediction set: the labels that cannot be excluded at the
    manifest's coverage, whatever the class mix is: it does not depend on `prior`."""


class LiveOptions(Options):
    """Those of a live dialogue."""

    task: Annotated[str, Field(max_length=64)] | None = None
    """Which task of turns; by default `irf`, or the only one there is."""


class DialogueOptions(LiveOptions):
    """Those of a dialogue that is sent whole."""

    mode: DialogueMode | None = None
    """`retrospective`, the default: each turn is read with the turns after it; `live`: as if they
    had not been spoken yet."""


def check_item_id(value: Any) -> str | int:
    """Return the value if a client may call an item so; ValueError if not."""
    is_short_text = isinstance(value, str) and len(value) <= 256
    if not is_short_text and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("must be an integer or a text of at most 256 characters")
    return value  # type: ignore[no-any-return]


ItemId = Annotated[Annotated[str, Field(max_length=256)] | int, BeforeValidator(check_item_id)]
"""What a client calls an item; it comes back with the result."""


class ModelName(_Form):
    """Which checkpoint has answered."""

    name: str
    fingerprint: str
    """Of all that decides an answer: weights, graph, tokenizer, configuration and calibration."""


class RankedLabel(_Form):
    """A label and its probability."""

    label: str
    probability: float


class Answer(_Form):
    """The label of one item, and how sure the model is."""

    id: ItemId | None = None
    """Of a single item that has one; in batches and streams the result has it."""
    task: str
    label: str
    """Id of the most probable label; `GET /labels` has all ids with their definitions."""
    name_en: str
    name_zh: str
    group: str
    """TIMSS domain of a dimension, or IRF move of a turn label."""
    confidence: float
    """Probability of `label`."""
    probabilities: dict[str, float]
    """Of every class, by label id."""
    prior: PriorKind
    """The class mix that `label` and probabilities answer for; `given` is that of the request."""
    needs_review: bool
    """True unless the conformal prediction set holds `label` and nothing else."""
    was_cut: bool
    """True when the input was too long and a part of it was not read."""
    model: ModelName
    prediction_set: list[str] | None = None
    """Only with `prediction_set=true`."""
    top: list[RankedLabel] | None = None
    """Only with `top_k`."""
    logits: dict[str, float] | None = None
    """Only with `raw_logits=true`."""


class ErrorReason(_Form):
    """Why one field was refused."""

    field: str
    reason: str


class ErrorDocument(_Form):
    """RFC 9457 problem details; every error of the service has this form."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ErrorReason] | None = None
    retry_after_s: float | None = None
    request_id: str | None = None


class ProblemItem(Problem):
    """A problem, alone or in a batch."""

    id: ItemId | None = None
    """Comes back with the answer."""


class DialogueTurnItem(DialogueTurn):
    """A dialogue turn, alone or in a batch."""

    id: ItemId | None = None
    """Comes back with the answer."""


class ProblemBatch(_Form):
    """Problems to be classified together."""

    items: list[ProblemItem] = Field(min_length=1)


class DialogueTurnBatch(_Form):
    """Dialogue turns to be classified together."""

    items: list[DialogueTurnItem] = Field(min_length=1)


class BatchResult(_Form):
    """What became of one item: `prediction` when it is `ok`, else `error`."""

    index: int
    id: ItemId | None = None
    status: Literal["ok", "error"]
    prediction: Answer | None = None
    error: ErrorDocument | None = None


class ClassMix(_Form):
    """The class mix that answers are given for."""

    kind: PriorKind
    shares: dict[str, float]
    """By label id; they sum to 1."""
    intervals: dict[str, tuple[float, float]] | None
    """95%, where the mix was estimated."""
    items: int | None
    """How many items it was estimated from."""


class BatchAnswer(_Form):
    """The results in the order of the items."""

    prior: ClassMix
    results: list[BatchResult]
    ok: int
    """How many items are classified."""
    failed: int


class SpokenTurn(Turn):
    """A turn of a dialogue that is sent whole."""

    id: ItemId | None = None
    """Comes back with the result."""


class Dialogue(_Form):
    """A tutoring dialogue in spoken order."""

    turns: list[SpokenTurn] = Field(min_length=1)
    mode: DialogueMode | None = None
    """The option of this name, in the body."""


class DialogueAnswer(_Form):
    """A label for every turn, and what the dialogue is like as a whole."""

    mode: DialogueMode
    prior: ClassMix
    turns: list[BatchResult]
    """In spoken order."""
    ok: int
    """How many turns are classified."""
    failed: int
    structure: Structure | None
    """Null when a turn has no label, a gap would falsify it, and for a task whose labels name no
    moves."""


class StreamEnd(_Form):
    """The last line of a stream."""

    status: Literal["end"]
    reason: str
    """`complete`, or why the service stopped reading: `draining`, `engine-dead`, `idle`,
    `rate-limited` (the quota of the day is used up)."""
    items: int
    """How many lines were taken, and answered."""
    ok: int
    failed: int


class ServedLabels(LabelSet):
    """A label set and where it is served."""

    path: str
    model: ModelName


class Labels(_Form):
    """All label sets of the loaded checkpoints."""

    tasks: list[ServedLabels]


class TaskDescription(_Form):
    """A task of a loaded checkpoint."""

    task: str
    kind: Kind
    path: str
    max_tokens: int
    previous_turns: int
    """Turns before the labelled one that the model reads."""
    following_turns: int
    conformal_coverage: float
    training_prior: dict[str, float]
    default_prior: str
    """What answers are given for where a request does not say."""
    is_default: bool
    """Whether this checkpoint answers the task where a request names none."""
    evaluation: dict[str, Any]


class QueueDescription(_Form):
    """What waits for and runs in the engine now."""

    waiting_items: int
    waiting_tokens: int
    oldest_wait_s: float
    running_items: int


class ModelDescription(_Form):
    """A loaded checkpoint."""

    name: str
    fingerprint: str
    weights_sha256: str
    created: str
    base_model: str
    engine: str
    """Its name and version, as in `openvino 2026.4.1`."""
    engine_reason: str
    """Why it was chosen."""
    engine_alive: bool
    shadow_share: float
    """Share of the items of others that it reads along, unseen; 0 where it does not."""
    queue: QueueDescription
    parity: list[dict[str, Any]]
    """By engine and arithmetic: how far its answers are from those of transformers."""
    tasks: list[TaskDescription]


class Models(_Form):
    """All loaded checkpoints."""

    models: list[ModelDescription]
    limits: Limits
    limits_counted: Literal["replica", "shared", "fallback"]
    """Who counts rate limits and quotas: each `replica` for itself, all of them together (`shared`,
    in Redis), or each for itself because Redis does not answer (`fallback`)."""


class Health(_Form):
    """State of the process or of its engines."""

    status: Literal["ok"]


class FileMapping(_Form):
    """Which column of a file is what, as far as it can be told from its columns and rows."""

    kind: Literal["problems", "turns"]
    text: str
    speaker: str | None
    dialogue: str | None
    """Neighbouring rows with the same value are one dialogue."""
    label: str | None
    """Labels that people gave."""
    layout: Layout | None
    """A known layout, if it is one."""
    speakers: dict[str, Speaker]
    """Who is who; names that cannot be told are left out."""


class FileRows(_Form):
    """A file as rows; dialogues in one cell are expanded to a row a turn."""

    format: Format
    sheets: list[str]
    sheet: str | None
    columns: list[str]
    rows: list[list[str | None]]
    """All cells as texts, in the order of the columns."""
    row_count: int
    mapping: FileMapping
    warnings: list[str]
