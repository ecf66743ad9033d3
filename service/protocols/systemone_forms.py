"""Requests and answers of System One (`POST /v1/systemone`), after its public document.

Typed questions about one state. `choice`: which of these; `noul`: the probability that
something is true; `score`: where on an ordered scale.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Content = str | dict[str, Any] | list[Any]
Name = Annotated[str, Field(min_length=1, max_length=256)]
MOST_QUESTIONS = 64
MOST_OPTIONS = 255


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class NoulCriteria(_Form):
    """What counts as yes and as no."""

    true: Content | None = None
    false: Content | None = None


class NoulQuestion(_Form):
    """Is it this label, or one of this group?"""

    type: Literal["noul"]
    instructions: Content | None = None
    criteria: NoulCriteria | str | None = None


class ChoiceQuestion(_Form):
    """Which of these labels, or groups, of one task?"""

    type: Literal["choice"]
    instructions: Content | None = None
    criteria: Annotated[dict[Name, Content | None], Field(min_length=2, max_length=MOST_OPTIONS)]


class ScoreQuestion(_Form):
    """Where on the scale of a task whose labels have an order?"""

    type: Literal["score"]
    instructions: Content | None = None
    criteria: Annotated[list[Content], Field(min_length=2, max_length=MOST_OPTIONS)]


Question = Annotated[NoulQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]


class SystemOneRequest(_Form):
    """Questions about one state."""

    model: str | None = None
    """A checkpoint by name or fingerprint, a task, `NAME/TASK`, or `default`."""
    state: Content
    """A problem as a text or `{"text": …}`; a turn as `{"speaker": …, "text": …, "previous": …}`;
    a dialogue as a list of turns or a transcript, of which the last turn is asked about."""
    questions: Annotated[dict[Name, Question], Field(min_length=1, max_length=MOST_QUESTIONS)]


class NoulAnswer(_Form):
    """Probability of yes."""

    type: Literal["noul"]
    noul: float


class ChoiceAnswer(_Form):
    """The most probable option."""

    type: Literal["choice"]
    choice: str
    confidence: float
    """How far the best option stands above an even distribution: 0 even, 1 certain."""
    probabilities: dict[str, float]


class ScoreAnswer(_Form):
    """Expected level, counted from 0."""

    type: Literal["score"]
    score: float
    confidence: float
    legend: dict[str, Content]
    probabilities: dict[str, float]


Answer = Annotated[NoulAnswer | ChoiceAnswer | ScoreAnswer, Field(discriminator="type")]


class SystemOneUsage(_Form):
    """Tokens that were read; none is written."""

    input_tokens: int
    output_tokens: int


class SystemOneResponse(_Form):
    """The answers under the names of their questions."""

    model: str
    answers: dict[
        str, Annotated[NoulAnswer | ChoiceAnswer | ScoreAnswer, Field(discriminator="type")]
    ]
    usage: SystemOneUsage


class ModelCard(_Form):
    """A checkpoint, or one of its tasks, as System One and OpenAI's clients list it."""

    name: str
    description: str
    release_date: str
    """YYYY-MM-DD."""
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Form):
    """The same cards under the name of each protocol."""

    object: Literal["list"]
    models: list[ModelCard]
    data: list[ModelCard]
