"""What the bundled checkpoint answers to a few texts of our own: the README's first picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from contract.inputs import AnyInput, Problem, Turn
from contract.interaction import cut_windows
from contract.manifest import Manifest, read_manifest
from contract.predictions import calibrate_logits, select_rows
from contract.prompts import PromptEncoder
from docs.pictures.svg import GREY, make_bar, make_box, make_drawing, make_text
from training.models.prediction import predict_scores

PROBLEM = Problem(text="一个养鸡场有131只鸡，每个鸡笼最多能养6只鸡，养这些鸡共需要鸡笼多少个？")
DIALOGUE = (
    Turn(speaker="teacher", text="八分之六怎么约分？"),
    Turn(speaker="student", text="同时除以二，等于四分之三。"),
    Turn(speaker="teacher", text="没错，很好。"),
)
_SPEAKERS = {"teacher": "师", "student": "生"}
_SHOWN = 3  # labels under a text
_BAR = 130
_LINE = 26  # characters of a text beside its labels


class Answered(NamedTuple):
    """A text, and the most probable labels with their probabilities and English names."""

    text: str
    labels: list[tuple[str, str, float]]


def draw_answers(checkpoint: Path) -> str:
    """One problem and one dialogue with their labels, as the service would answer."""
    manifest = read_manifest(checkpoint)
    dialogue = cut_windows(DIALOGUE, manifest.task("irf").window, "retrospective")
    (problem,) = answer(checkpoint, manifest, "timss", [PROBLEM])
    turns = answer(checkpoint, manifest, "irf", dialogue)
    shapes = [make_text(24, 30, "a problem", size=13, colour=GREY)]
    shapes += _draw_card(problem, 40)
    shapes.append(make_text(24, 144, "a tutoring dialogue", size=13, colour=GREY))
    for index, turn in enumerate(turns):
        shapes += _draw_card(turn, 154 + index * 84)
    note = f"answers of {manifest.name} ({manifest.fingerprint}), the three most probable labels"
    shapes.append(make_text(24, 424, note, size=11, colour=GREY))
    return make_drawing(860, 438, note, shapes)


def answer(
    checkpoint: Path, manifest: Manifest, name: str, items: Sequence[AnyInput]
) -> list[Answered]:
    """Labels of inputs by transformers, float32; the same as the service's to 1e-5."""
    task = manifest.task(name)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    encoder = PromptEncoder(
        tokenizer,
        version=task.prompt_version,
        max_tokens=task.max_tokens,
        window=task.window,
        frame=task.frame,
        instruction=task.label_set.instruction,
    )
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    prompts = encoder.encode(items)
    answered: list[Answered] = []
    scored = predict_scores(model.eval(), prompts, model.config.pad_token_id)
    for item, scores in zip(items, scored, strict=True):
        probabilities = calibrate_logits(task, select_rows(task, scores.tolist()))
        ranked = sorted(
            zip(task.label_set.labels, probabilities, strict=True), key=lambda pair: -pair[1]
        )
        labels = [(label.id, label.name_en, share) for label, share in ranked[:_SHOWN]]
        answered.append(Answered(_spell(item), labels))
    return answered


def _spell(item: AnyInput) -> str:
    if isinstance(item, Problem):
        return item.text
    return f"{_SPEAKERS[item.speaker]}：{item.text}"


def _part(text: str) -> list[str]:
    """One line or two, parted behind a comma."""
    if len(text) <= _LINE:
        return [text]
    place = text.rfind("，", 0, _LINE) + 1
    return [text[:place], text[place:]]


def _draw_card(answered: Answered, y: float) -> list[str]:
    shapes = [make_box(20, y, 820, 74, "#f7f9fb")]
    for index, line in enumerate(_part(answered.text)):
        shapes.append(make_text(36, y + 30 + index * 24, line, size=15))
    for row, (label, name, share) in enumerate(answered.labels):
        middle = y + 20 + row * 20
        first = row == 0
        shapes += [
            make_text(480, middle + 4, label, size=13, bold=first, anchor="end"),
            make_bar(
                492, middle - 6, max(1.0, share * _BAR), 12, "#0072B2" if first else "#a9cfe6"
            ),
            make_text(498 + share * _BAR, middle + 4, f"{share:.2f}", size=12, bold=first),
        ]
        if first:
            shapes.append(make_text(668, middle + 4, name, size=12, colour=GREY))
    return shapes
