"""The training benchmark: what it counts, what it trains on, and that a whole one runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.training.__main__ import compare
from benchmarks.training.cases import CASES, find_backbone
from benchmarks.training.cases import make_recipe as make_case_recipe
from benchmarks.training.measurement import SYSTEMS, Measurement, System
from benchmarks.training.worker import append_labels, choose_examples, run
from contract.labels import IRF, TIMSS
from engine.checkpoint import BUNDLED_CHECKPOINT
from tests.training.tiny import make_backbone, make_data, make_recipe
from tests.unmeasured import make_unmeasured_environment
from training.data.batches import build_encoder
from training.evaluation.preparation import prepare
from training.recipe.recipe import AugmentationRecipe, TrainRecipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    folder = tmp_path_factory.mktemp("benchmark")
    make_backbone(folder / "backbone")
    make_data(folder)
    return make_recipe(folder, optimisation={"epochs": 3})


def test_chosen_examples_hold_every_class_and_are_the_same_each_time(recipe: TrainRecipe) -> None:
    _, examples, _ = prepare(recipe)
    chosen = choose_examples(examples, 20)
    assert len({each.id for each in chosen}) == 20
    assert len({(each.task, each.label) for each in chosen}) == len(TIMSS.labels) + len(IRF.labels)
    assert chosen == choose_examples(examples, 20)
    with pytest.raises(ValueError, match="10 of 90 examples with 15 classes"):
        choose_examples(examples, 10)


def test_reference_sees_our_prompt_and_learns_the_label_alone(recipe: TrainRecipe) -> None:
    label_sets, examples, tokenizer = prepare(recipe)
    prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(examples)
    rows = append_labels(recipe, examples, label_sets, tokenizer)
    names = {labels.task: [label.data_label for label in labels.labels] for labels in label_sets}
    for example, prompt, row in zip(examples, prompts, rows, strict=True):
        length = len(prompt.token_ids)
        assert row["input_ids"][:length] == prompt.token_ids
        assert row["labels"][:length] == [-100] * length
        assert row["labels"][length:] == row["input_ids"][length:]
        assert row["labels"][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(row["labels"][length:-1]) == names[example.task][example.label]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_run_measures_every_epoch_but_the_first(
    system: System, recipe: TrainRecipe, tmp_path: Path
) -> None:
    measured = run(system, recipe, 32, tmp_path)
    label_sets, examples, tokenizer = prepare(recipe)
    chosen = choose_examples(examples, 32)
    prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(chosen)
    assert measured.prompt_tokens == sum(len(prompt.token_ids) for prompt in prompts)
    assert len(measured.epoch_s) == len(measured.epoch_cpu_s) == 2
    assert min(measured.epoch_s + measured.epoch_cpu_s) > 0.0
    assert measured.peak_bytes >= measured.bytes_before > 0


def test_ratios_are_those_of_the_medians() -> None:
    def make(system: System, epoch_s: list[float], peak_bytes: int) -> Measurement:
        return Measurement(
            system=system, items=10, prompt_tokens=1000, epoch_s=epoch_s,
            epoch_cpu_s=[2 * each for each in epoch_s], peak_bytes=peak_bytes,
        )  # fmt: skip

    runs = [
        make("ours", [1.0, 1.0, 9.0], 2**20),
        make("reference", [3.0, 4.0, 5.0], 2**21),
        make("reference-tuned", [0.5], 2**19),
    ]
    results = compare("case", runs, on_gpu=False)
    assert [result.ratio for result in results] == [4.0, 4.0, 0.5, 0.5, 0.5, 2.0]
    assert [result.is_met for result in results] == [True, True, True, False, False, False]
    assert results[0].ours == "1,000 tokens/s, 10.0 examples/s"
    assert len(compare("case", runs, on_gpu=True)) == 4  # no processor time


def test_recipes_of_all_cases_are_valid_and_read_back(tmp_path: Path) -> None:
    for case in [case for cases in CASES.values() for case in cases]:
        recipe = make_case_recipe(case, tmp_path, tmp_path, epochs=2)
        recipe.write(tmp_path / "recipe.yaml")
        assert TrainRecipe.read(tmp_path / "recipe.yaml") == recipe
        assert recipe.augmentation == AugmentationRecipe()  # would change what was counted


def test_missing_backbone_is_made_in_the_shape_of_the_bundled_checkpoint(tmp_path: Path) -> None:
    made = find_backbone(CASES["cpu"][0], tmp_path / "missing", tmp_path / "made")
    shapes = [
        {name: tensor.shape for name, tensor in load_file(folder / "model.safetensors").items()}
        for folder in (made, BUNDLED_CHECKPOINT)
    ]
    assert shapes[0].items() <= shapes[1].items()
    assert shapes[1].keys() - shapes[0].keys() == {"score.weight"}


@pytest.mark.slow
@pytest.mark.benchmark
def test_a_whole_benchmark_runs_without_the_shared_data(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    elsewhere = tmp_path / "elsewhere"  # no ../shared beside it
    elsewhere.mkdir()
    command = [
        sys.executable, "-m", "benchmarks.training", "--quick", "--only", "all weights",
        "--device", "cpu", "--backbone", str(tmp_path / "backbone"), "--output", "figures.json",
    ]  # fmt: skip
    environment = make_unmeasured_environment() | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| bundled model, all weights: ") == 6
    written = json.loads((elsewhere / "figures.json").read_text())
    (runs,) = written["runs"].values()
    assert [each["system"] for each in runs] == list(SYSTEMS)
    assert len(written["results"]) == 6
