"""What a run keeps is used again by the run it belongs to, and by no other."""

from pathlib import Path

import pytest
import yaml

from tests.training.tiny import make_data, make_recipe
from training.checkpoints.work_folder import check_work, claim_work
from training.errors import BadInput


def test_folds_of_before_they_were_grouped_are_told_from_grouped_ones(tmp_path: Path) -> None:
    make_data(tmp_path)
    random = make_recipe(tmp_path, backbone="someone/backbone")
    random.work.mkdir()
    claim_work(random)
    run = random.work / "run.yaml"
    stored = yaml.safe_load(run.read_text(encoding="utf-8"))
    del stored["recipe"]["evaluation"]["grouped"]
    run.write_text(yaml.safe_dump(stored), encoding="utf-8")
    check_work(random)
    grouped = make_recipe(tmp_path, backbone="someone/backbone", evaluation={"grouped": True})
    with pytest.raises(
        BadInput, match=r"another run trained \(evaluation\.grouped: False there, True now\)"
    ):
        check_work(grouped)
