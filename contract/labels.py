"""The label sets of the two built-in tasks, and the form of any other.

The glosses of the IRF labels follow figure 2 of the NCAL paper (Hu et al., ICML
2025); the README of the paper's repository glosses R-RR and R-FR differently.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from contract.inputs import Kind

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Move = Literal["initiation", "response", "feedback", "none"]
"""What a turn does in an exchange, as `contract.interaction` finds them."""


class Label(BaseModel):
    """One class of a task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier
    """Stable name in the API and in manifests."""
    data_label: str = Field(min_length=1)
    """How training data spell this class."""
    name_en: str = Field(min_length=1)
    name_zh: str = Field(min_length=1)
    group: str = Field(min_length=1)
    """The TIMSS domain of a dimension, or the IRF move of a turn label."""
    definition: str = Field(min_length=1)
    """One line a new annotator could work from."""


class LabelSet(BaseModel):
    """The classes of one task, in the order of its rows in the score matrix."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Identifier
    kind: Kind
    name: str = Field(min_length=1)
    note: str = ""
    """What a reader must know before trusting the labels."""
    labels: tuple[Label, ...] = Field(min_length=2)
    order: tuple[str, ...] = ()
    """Ids of labels, or groups, from low to high where they are a scale; empty where not."""
    instruction: str = ""
    """What the prompt `instruct-1` tells a chat model in front of each input; empty: that it is
    about primary-school mathematics, as the built-in tasks are."""

    moves: dict[str, Move] = {}
    """Of labels of turns: id of a label, or group → its move; a label that is named by neither
    has none. Empty where turns make no exchanges: then a dialogue has no IRF structure."""
    question_labels: tuple[str, ...] = ()
    """Ids of the labels, or groups, that are questions; empty where that cannot be told."""

    @model_validator(mode="after")
    def _check_order(self) -> "LabelSet":
        self._check_names("order", self.order)
        return self

    @model_validator(mode="after")
    def _check_moves(self) -> "LabelSet":
        self._check_names("moves", self.moves)
        self._check_names("question_labels", self.question_labels)
        if (self.moves or self.question_labels) and self.kind != "dialogue-turn":
            raise ValueError(f"label set {self.task!r} is of no turns, so it has no moves")
        if self.moves and "initiation" not in self.moves.values():
            raise ValueError(f"moves of label set {self.task!r} need an initiation")
        return self

    @model_validator(mode="after")
    def _check_unique(self) -> "LabelSet":
        for field in ("id", "data_label"):
            values = [getattr(label, field) for label in self.labels]
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"label set {self.task!r} repeats {field} {', '.join(repeated)}")
        return self

    def _check_names(self, field: str, names: Iterable[str]) -> None:
        """ValueError unless they are ids of labels or groups, each once."""
        listed = list(names)
        known = {*self.ids, *(label.group for label in self.labels)}
        if len(set(listed)) < len(listed) or not set(listed) <= known:
            raise ValueError(f"{field} of label set {self.task!r} needs ids or groups, each once")

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(label.id for label in self.labels)

    def index_by_data_label(self) -> dict[str, int]:
        """Map each data label to its index in the set."""
        return {label.data_label: index for index, label in enumerate(self.labels)}


def _label(id: str, data_label: str, en: str, zh: str, group: str, definition: str) -> Label:
    return Label(
        id=id, data_label=data_label, name_en=en, name_zh=zh, group=group, definition=definition
    )


TIMSS = LabelSet(
    task="timss",
    kind="problem",
    name="TIMSS cognitive dimension",
    note=(
        "The seven dimensions are the selection of the TMWPL data set; TIMSS itself lists more. "
        "There is no class for text that is not a maths problem."
    ),
    labels=(
        _label("recall", "回忆", "Recall", "回忆", "knowing",
               "Retrieve a definition, fact, property, unit or routine from memory."),
        _label("identify", "识别", "Identify", "识别", "knowing",
               "Recognise or order numbers, expressions, quantities or shapes."),
        _label("formulate", "选取策略", "Formulate", "选取策略", "applying",
               "Choose the operation, strategy or tool that solves a familiar problem."),
        _label("represent", "表征建模", "Represent", "表征建模", "applying",
               "Express a situation as an equation, expression, table, graph or diagram."),
        _label("implement", "过程实施", "Implement", "过程实施", "applying",
               "Carry out a known procedure, such as solving a given equation."),
        _label("infer", "推断", "Inferences", "推断", "reasoning",
               "Draw a valid conclusion from given information or evidence."),
        _label("analyze", "分析", "Analyze", "分析", "reasoning",
               "Find and use relations among quantities where no routine applies."),
    ),
)  # fmt: skip

IRF = LabelSet(
    task="irf",
    kind="dialogue-turn",
    name="IRF dialogue move",
    note=(
        "Learned from one-to-one online tutoring in primary-school mathematics, in Chinese. "
        "In the data R-RR also covers echoing the question without an answer."
    ),
    labels=(
        _label("I-Q", "I-Q", "Questioning", "提问", "initiation",
               "The teacher asks a question that opens an exchange."),
        _label("I-H", "I-H", "Hints", "提示", "initiation",
               "The teacher gives a cue that leads towards the answer without stating it."),
        _label("R-RR", "R-RR", "Refuse to respond", "拒绝回答", "response",
               "The student declines, cannot answer, or echoes without an answer."),
        _label("R-SR", "R-SR", "Simplistic response", "简单回应", "response",
               "The student answers with a bare yes, no or acknowledgement."),
        _label("R-FR", "R-FR", "Factual response", "事实性回应", "response",
               "The student answers with mathematical content: a number, step or reason."),
        _label("F-F", "F-F", "Feeding back on performance", "表现反馈", "feedback",
               "The teacher confirms, corrects, repeats or praises what the student said."),
        _label("F-I", "F-I", "Instructing", "讲授", "feedback",
               "The teacher explains or demonstrates after the student's response."),
        _label("U", "U", "Unrelated", "无关", "none",
               "The turn is not about the mathematics: greetings, technology, organisation."),
    ),
    moves={"initiation": "initiation", "response": "response", "feedback": "feedback"},
    question_labels=("I-Q",),
)  # fmt: skip

BUILT_IN = {label_set.task: label_set for label_set in (TIMSS, IRF)}


def add_moves(label_set: LabelSet) -> LabelSet:
    """The set with the moves of the built-in one, if it is that of before there were moves."""
    known = BUILT_IN.get(label_set.task)
    if known is None or not known.moves or label_set.moves or known.labels != label_set.labels:
        return label_set
    update = {"moves": known.moves, "question_labels": known.question_labels}
    return label_set.model_copy(update=update)
