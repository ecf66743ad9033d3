"""The model card says what the manifest holds, and only of weights that are there."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from contract.labels import IRF, TIMSS
from contract.manifest import WEIGHTS_NAME, Manifest, Parity, Task, hash_file
from training.errors import BadInput
from training.reporting.markdown_tables import tabulate_baseline, tabulate_groups, tabulate_summary
from training.reporting.model_card import DataSource, count_parameters
from training.reporting.report import write_model_card
from training.statistics.conformal import cross_fit
from training.statistics.metrics import evaluate_task


def _manifest(folder: Path, evaluation: dict[str, object]) -> Manifest:
    save_file({"score.weight": np.zeros((15, 16), dtype=np.float32)}, folder / WEIGHTS_NAME)
    tasks = []
    for label_set, start, figures in ((TIMSS, 0, {}), (IRF, 7, evaluation)):
        classes = len(label_set.labels)
        tasks.append(
            Task(
                label_set=label_set,
                rows=tuple(range(start, start + classes)),
                temperature=1.25,
                biases=(0.5, -0.25, 0, 0, 0, 0, 0, 0.125) if label_set is IRF else (),
                training_prior=(1 / classes,) * classes,
                conformal_thresholds=(0.1,) * classes,
                conformal_coverage=0.9,
                prompt_version="compact-1",
                max_tokens=128,
                evaluation=figures,
            )
        )
    return Manifest(
        name="tiny",
        created="2026-01-31",
        base_model="nothing",
        tasks=tuple(tasks),
        losses={"name": "logit-adjusted", "tau": 1.0},
        data_sha256={"data.jsonl": "a" * 64},
        weights_sha256=hash_file(folder / WEIGHTS_NAME),
        parity=(
            Parity(engine="vllm 1", dtype="float32", items=9, max_probability_difference=2e-6),
        ),
    )


def test_model_card_states_what_the_manifest_holds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits, labels, prior = rng.normal(size=(80, 8)), np.arange(80) % 8, np.full(8, 1 / 8)
    result = evaluate_task(logits / 1.25, labels, IRF.ids, prior) | {"temperature": 1.25}
    result["cross_fit"] = cross_fit(logits, labels, prior)
    halves = {"difference": 0.25, "interval": [0.125, 0.375]}
    result["beside_baseline"] = dict.fromkeys(
        ("macro_recall", "accuracy", "macro_precision"), halves
    )
    manifest = _manifest(tmp_path, {"live": result})
    assert count_parameters(tmp_path / WEIGHTS_NAME) == 240
    write_model_card(
        tmp_path,
        manifest,
        data=[DataSource("turns", "MIT", "labels")],
        licence="mit",
        languages=["zh"],
        measured="By five-fold cross-validation.",
        command="python -m training train",
        behaviour="### irf\n\n| functionality | 0.5 |\n",
    )
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["language"]) == ("mit", ["zh"])
    biases = "0.500, -0.250, 0.000, 0.000, 0.000, 0.000, 0.000, 0.125"
    for wanted in (
        "# tiny", "This task was not evaluated.", tabulate_summary({"irf/live": result}),
        tabulate_groups({"irf/live": result}), tabulate_baseline({"irf/live": result}),
        "| turns | MIT | labels |", "`name` logit-adjusted, `tau` 1.0", "2.0e-06",
        f"| irf | 7, 8, 9, 10, 11, 12, 13, 14 | 1.2500 | {biases} | compact-1 | 128 | 1 / 1 |",
        "By five-fold cross-validation.", manifest.fingerprint,
        "## How it behaves", "### irf\n\n| functionality | 0.5 |",
        "What it must not be used for", IRF.note, IRF.labels[0].definition,
    ):  # fmt: skip
        assert wanted in card


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_model_card_needs_the_weights(content: bytes | None, tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, {})
    (tmp_path / WEIGHTS_NAME).unlink()
    if content is not None:
        (tmp_path / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(BadInput, match="cannot be read"):
        write_model_card(
            tmp_path, manifest, data=[], licence="mit", languages=["zh"], measured="", command=""
        )
    assert not (tmp_path / "README.md").exists()


def test_model_card_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, {}).model_copy(update={"parity": ()})
    (tmp_path / "README.md").mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        write_model_card(
            tmp_path, manifest, data=[], licence="mit", languages=["zh"], measured="", command=""
        )
