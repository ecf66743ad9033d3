"""A grid on a tiny decoder: paired cells, kept folds, and tables that follow from the figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.tiny import make_backbone, make_data, make_recipe, make_taught
from training.__main__ import main
from training.errors import BadInput
from training.evaluation.ablation_grid import Grid
from training.reporting.ablation_report import Ablation, Cost, Measured, describe_ablation

pytestmark = pytest.mark.slow

PRESETS = "ce,ncal"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    make_backbone(folder / "backbone")
    make_data(folder)
    path = folder / "recipe.yaml"
    make_recipe(folder, optimisation={"epochs": 1}, report_to=[]).write(path)
    return path


@pytest.fixture(scope="module")
def results(recipe: Path) -> Path:
    path = recipe.parent / "results" / "RESULTS.md"
    command = ["ablate", "--recipe", str(recipe), "--presets", PRESETS, "--seeds", "0,1"]
    assert main([*command, "--results", str(path)]) == 0
    return path


def _tables(text: str) -> dict[str, list[list[str]]]:
    """Heading → cells of the table below it."""
    tables: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            tables.setdefault(heading, []).append(cells)
    return tables


def test_every_row_has_its_figures(results: Path) -> None:
    text = results.read_text(encoding="utf-8")
    tables = _tables(text)
    assert set(tables) == {
        "Which setting helps", "timss/retrospective", "irf/retrospective", "irf/live",
        "Collapse and cost",
    }  # fmt: skip
    for name in ("timss/retrospective", "irf/live"):
        header, _, *rows = tables[name]
        assert [row[0] for row in rows] == [
            "ce", "ce, uncorrected", "ncal", "ncal, uncorrected"
        ]  # fmt: skip
        assert header[2:4] == ["less ce", "less ce, uncorrected"]
        assert rows[0][2] == "–" == rows[1][3]
    collapse = tables["Collapse and cost"]
    assert len(collapse) == 2 + 2 and all(float(cell) >= 0 for cell in collapse[2][1:])
    assert "of 90 examples, 2 seeds, 1 epoch, backbone backbone; " in text
    for option in (f"--presets {PRESETS} ", "--seeds 0,1 ", f"--results {results}\n"):
        assert option in text


def test_tables_state_what_the_folds_hold(recipe: Path, results: Path) -> None:
    """Recomputed from the kept folds by other means, for one row."""
    tables = _tables(results.read_text(encoding="utf-8"))
    recalls = []
    for seed in (0, 1):
        folder = recipe.parent / "work" / "ce" / f"seed-{seed}"
        folds = [np.load(folder / f"fold-{fold}.npz") for fold in (0, 1)]
        answers = np.concatenate([fold["retrospective"][:, :7].argmax(axis=1) for fold in folds])
        corrected = [(f["retrospective"] - f["shift"])[:, :7].argmax(axis=1) for f in folds]
        recalls.append((answers, np.concatenate(corrected)))
    from training.evaluation.folds import split_folds
    from training.evaluation.preparation import prepare
    from training.recipe.recipe import TrainRecipe

    _, examples, _ = prepare(TrainRecipe.read(recipe))
    numbers = split_folds(examples, 2, 0)
    order = np.concatenate([np.flatnonzero(numbers == fold) for fold in (0, 1)])
    labels = np.array([examples[i].label for i in order])
    problems = np.array([examples[i].task == "timss" for i in order])
    for row, column in ((2, 1), (3, 0)):
        expected = np.mean([
            np.mean([
                np.mean(answers[column][problems & (labels == label)] == label)
                for label in range(7)
            ])
            for answers in recalls
        ])  # fmt: skip
        stated = float(tables["timss/retrospective"][row][1].split()[0])
        assert stated == pytest.approx(expected, abs=5e-4)


def test_sentences_say_what_the_intervals_say(results: Path) -> None:
    text = results.read_text(encoding="utf-8")
    tables = _tables(text)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == 3  # TC alone is `ncal` against `ce`, which stands already
    ncal = next(line for line in lines if line.startswith("- `ncal` against `ce`"))
    difference = tables["irf/live"][4][2]
    low, high = (float(each) for each in difference.split("[")[1].rstrip("]").split(","))
    verdict = "higher" if low > 0 else "lower" if high < 0 else "no difference shown"
    assert f"irf/live {verdict}, {difference}" in ncal


def test_what_one_part_does_by_itself_has_its_sentence(tmp_path: Path) -> None:
    """Settings that differ in the collapse term alone, or in the teacher alone."""
    path = tmp_path / "recipe.yaml"
    make_taught(tmp_path).write(path)
    presets = ["ce", "logit-adjusted", "logit-adjusted-tc", "recommended"]
    grid = Grid.read(path, [], presets=presets, seeds=["0"])
    hits = np.zeros((4, 1, 8), dtype=bool)
    hits[1:, :, ::2] = hits[3] = True  # half right but for `ce`; with the teacher all
    ends = {"nc1": 1.0, "nc2_norms": 1.0, "nc2_angles": 1.0}
    found = Ablation(
        path=path,
        overrides=(),
        recipes={cell.setting: cell.recipe for cell in grid.cells},
        seeds=(0,),
        items=8,
        sets={"timss/retrospective": Measured(tuple(presets), hits, np.repeat([0, 1], 4), (1,))},
        collapse={preset: {"timss": ends} for preset in presets},
        costs=dict.fromkeys(presets, Cost(1.0, 1.0)),
    )
    text = describe_ablation(found, [])
    lines = [line for line in text.splitlines() if " alone, " in line]
    assert [line.split(":")[0] for line in lines] == [
        "- TC alone, `logit-adjusted-tc` against `logit-adjusted`",
        "- Teacher alone, `recommended` against `logit-adjusted-tc`",
    ]
    assert "no difference shown, +0.000" in lines[0] and "higher, +0.500" in lines[1]
    shares = [row[-1] for row in _tables(text)["Which setting helps"][2:]]
    assert shares == ["–", "–", "–", "timss 0.5, 8 unlabelled timss texts"]


def test_a_finished_grid_trains_nothing(
    recipe: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("training.evaluation.crossvalidate.fit", refuse)
    command = ["ablate", "--recipe", str(recipe), "--presets", PRESETS]
    again = recipe.parent / "work" / "results.md"
    assert main([*command, "--seeds", "0,1"]) == 0
    text = results.read_text(encoding="utf-8")
    assert again.read_text(encoding="utf-8") == text.replace(str(results), str(again))
    with pytest.raises(AssertionError, match="trained again"):
        main([*command, "--seeds", "0,1,2"])


def test_cells_differ_in_what_they_are_named_for(recipe: Path) -> None:
    grid = Grid.read(recipe, ["prompt.max_tokens=48"], presets=["ce", "ncal"], seeds=["3", "5"])
    tempered = Grid.read(recipe, [], presets=["logit-adjusted+loss.tau=0.5"], seeds=["0"]).cells[0]
    assert (tempered.recipe.loss.name, tempered.recipe.loss.tau) == ("logit-adjusted", 0.5)
    assert tempered.recipe.work.parent.name == "logit-adjusted-loss.tau-0.5"
    untouched = Grid.read(recipe, [], presets=["logit-adjusted"], seeds=["0"]).cells[0]
    assert untouched.recipe.loss.tau == 1.0
    assert [(cell.setting, cell.seed) for cell in grid.cells] == [
        ("ce", 3), ("ncal", 3), ("ce", 5), ("ncal", 5),
    ]  # fmt: skip
    for cell in grid.cells:
        assert cell.recipe.optimisation.seed == cell.seed
        assert cell.recipe.evaluation == grid.base.evaluation
        assert cell.recipe.prompt.max_tokens == 48
        assert bool(cell.recipe.loss.tc_weight) == (cell.setting == "ncal")
    assert len({cell.recipe.work for cell in grid.cells}) == 4


@pytest.mark.parametrize(
    ("presets", "seeds", "reason"),
    [
        ("ce,nonsense", "0", "no preset 'nonsense'; there are: ce, "),
        ("ce,ce", "0", "names one twice"),
        ("ce,ncal+loss.tc_weight=0", "0", "ce and ncal+loss.tc_weight=0 are the same setting"),
        ("ce,ncal", "0,one", "'one' is not a whole number"),
        ("ce,", "0", "or none"),
        ("ce,ncal+loss.tau=x", "0", "loss.tau"),
    ],
)
def test_a_wrong_grid_is_refused(recipe: Path, presets: str, seeds: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        Grid.read(recipe, [], presets=presets.split(","), seeds=seeds.split(","))
    assert reason in str(caught.value)


def test_check_counts_the_cells(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ablate", "--check", "--recipe", str(recipe), "--presets", "ce,ncal"]
    assert main([*command, "--seeds", "7,8"]) == 0
    assert "4 cells" in capsys.readouterr().out
    assert not (recipe.parent / "work" / "ce" / "seed-7").exists()


def test_a_cell_of_another_recipe_is_refused(
    recipe: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", "--recipe", str(recipe), "--presets", PRESETS, "--seeds", "0,1"]
    assert main([*command, "optimisation.learning_rate=0.5"]) == 2
    message = capsys.readouterr().err
    assert "optimisation.learning_rate: 0.01 there, 0.5 now" in message
    assert "choose another `work`" in message
    assert json.loads(json.dumps(message)).count("\n") == 1
