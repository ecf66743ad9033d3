"""Data sets of the hub: their files are found, sorted and fetched; what fails is one line."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from tests.training.stand_in_hub import COMMIT, StandInHub, run_hub
from training.errors import BadInput
from training.proposal.hub_data import fetch_data, sort_files
from training.proposal.sources import find_sources
from training.recipe.recipe import ColumnNames

CSV = b"text,label\nlate again,delay\nbroken,damage\n"


@pytest.fixture(scope="module")
def served() -> Iterator[StandInHub]:
    with run_hub() as hub:
        yield hub


@pytest.fixture
def hub(served: StandInHub, monkeypatch: pytest.MonkeyPatch) -> StandInHub:
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    served.data_sets.clear()
    served.cards.clear()
    served.gated.clear()
    served.is_ill = False
    return served


def make_parquet(labels: list[int]) -> bytes:
    """As `datasets` writes it: classes are numbers, their names stand in the schema."""
    table = pyarrow.table({"text": [f"parcel {n}" for n in labels], "label": labels})
    features = '{"info": {"features": {"label": {"names": ["delay", "damage"]}}}}'
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({"huggingface": features}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("names", "card", "parts"),
    [
        (["train.csv", "test.csv"], {}, {"train": ["train.csv"], "test": ["test.csv"]}),
        (["a.csv", "b.csv", "README.md"], {}, {"train": ["a.csv", "b.csv"]}),
        (
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
             "data/validation-00000-of-00001.parquet", "dump.csv", ".cache/train.csv"],
            {},
            {"train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
             "dev": ["data/validation-00000-of-00001.parquet"]},
        ),
        (["train.jsonl", "train.parquet", "dev.jsonl"], {}, {"train": ["train.parquet"]}),
        (["script.py", "dataset_infos.json"], {}, {}),
        (
            ["x/one.csv", "x/two.csv", "x/three.csv"],
            {"configs": [{"config_name": "default", "data_files": [
                {"split": "train", "path": "x/o*.csv"},
                {"split": "test", "path": ["x/two.csv"]},
            ]}]},
            {"train": ["x/one.csv"], "test": ["x/two.csv"]},
        ),
        (["x/one.csv"], {"configs": [{"config_name": "a", "data_files": "x/*"}]},
         {"train": ["x/one.csv"]}),
    ],
)  # fmt: skip
def test_files_are_sorted_into_parts(
    names: list[str], card: dict[str, Any], parts: dict[str, list[str]]
) -> None:
    assert sort_files("a/b", names, card) == parts


def test_several_configurations_are_refused() -> None:
    card = {"configs": [{"config_name": name, "data_files": "*"} for name in ("en", "zh")]}
    with pytest.raises(BadInput, match=r"a/b: has several configurations \(en, zh\)"):
        sort_files("a/b", ["a.csv"], card)


def test_files_are_fetched_with_revision_and_licence(hub: StandInHub, tmp_path: Path) -> None:
    hub.data_sets["post/parcels"] = {"train.csv": CSV, "test.csv": CSV, "more/dev.csv": CSV}
    hub.cards["post/parcels"] = {"license": "cc-by-4.0"}
    fetched = fetch_data("post/parcels", tmp_path)
    assert fetched.parts["train"] == [tmp_path / "train.csv"]
    assert fetched.parts["dev"] == [tmp_path / "more" / "dev.csv"]
    assert fetched.parts["test"][0].read_bytes() == CSV
    assert (fetched.revision, fetched.licence) == (COMMIT, "cc-by-4.0")


def test_what_has_no_table_is_taken_as_the_hub_converted_it(
    hub: StandInHub, tmp_path: Path
) -> None:
    hub.data_sets["post/parcels"] = {"script.py": b""}
    converted = {
        "default/train/0000.parquet": make_parquet([0, 1, 1]),
        "other/train/0.parquet": b"",
    }
    hub.data_sets["post/parcels@refs/convert/parquet"] = converted
    fetched = fetch_data("post/parcels", tmp_path)
    assert fetched.parts == {"train": [tmp_path / "default" / "train" / "0000.parquet"]}
    sources = find_sources(
        "post/parcels", task="parcels", columns=ColumnNames(), dev=None, test=None, folder=tmp_path
    )
    assert [record.data_label for record in sources.records] == ["0", "1", "1"]
    assert sources.class_names == {"0": "delay", "1": "damage"}
    assert sources.origin == f"post/parcels, revision {COMMIT[:12]}"


def test_files_of_ones_own_go_before_the_data_set_s(hub: StandInHub, tmp_path: Path) -> None:
    hub.data_sets["post/parcels"] = {"train.csv": CSV, "test.csv": CSV}
    (tmp_path / "mine.csv").write_bytes(CSV)
    sources = find_sources(
        "post/parcels", task="parcels", columns=ColumnNames(), dev=None,
        test=tmp_path / "mine.csv", folder=tmp_path / "data",
    )  # fmt: skip
    assert [each.path.name for each in sources.test] == ["mine.csv"]
    assert (
        sources.test[0].columns
        == sources.train[0].columns
        == ColumnNames(text="text", label="label")
    )


def test_what_the_hub_refuses_is_one_line(hub: StandInHub, tmp_path: Path) -> None:
    hub.data_sets["post/scripted"] = {"script.py": b""}
    hub.gated.add("post/gated")
    for name, reason in (
        ("post/none", "none of that name, or it is private"),
        ("post/gated", "asks for consent"),
        ("post/scripted", "holds no table .* did not convert it; download its files"),
    ):
        with pytest.raises(BadInput, match=f"data set {name}: .*{reason}") as caught:
            fetch_data(name, tmp_path)
        assert "\n" not in str(caught.value)
    hub.is_ill = True
    with pytest.raises(BadInput, match="the hub answered 500; download its files"):
        fetch_data("post/ill", tmp_path)


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_hub() as hub:
        address = hub.address  # nobody listens there any more
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(BadInput, match=f"the hub at {address} cannot be reached") as caught:
        fetch_data("post/parcels", tmp_path)
    assert "set HF_ENDPOINT" in str(caught.value) and "\n" not in str(caught.value)
