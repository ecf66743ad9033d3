"""A data set of the Hugging Face hub as files: which of them train, calibrate and test.

Nothing but files is taken: no script of a data set is run. Where a data set has no table that
`tables` reads, the hub's own conversion to Parquet is taken.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from training.errors import BadInput
from training.hub import TIMEOUT_S, name_hub_errors, open_hub

Part = Literal["train", "dev", "test"]
_PARTS: dict[str, Part] = {
    "train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev",
    "val": "dev", "test": "test", "testing": "test",
}  # fmt: skip
_SUFFIXES = (".parquet", ".jsonl", ".csv", ".tsv", ".json", ".xlsx")
"""In the order of preference: a data set may hold the same rows in several forms."""
_CONVERTED = "refs/convert/parquet"
_NO_DATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")
_REMEDY = "download its files and name them in place of the id"


class HubData(NamedTuple):
    """The files of a data set on this machine, by what they are for, and where they come from."""

    parts: dict[Part, list[Path]]
    revision: str
    licence: str | None


def fetch_data(data_id: str, folder: Path) -> HubData:
    """Download the tables of a data set into `folder`; a second call finds them there.

    Raises BadInput if the hub cannot be reached, refuses, or has no table to train on.
    """
    hub = open_hub()
    with name_hub_errors(f"data set {data_id}", _REMEDY):
        info = hub.dataset_info(data_id, timeout=TIMEOUT_S)
        card: Mapping[str, Any] = dict(vars(info.card_data)) if info.card_data else {}
        names = [each.rfilename for each in info.siblings or []]
        revision, parts = info.sha or "main", sort_files(data_id, names, card)
        if not parts.get("train"):
            revision, parts = _find_converted(hub, data_id)
        paths: dict[Part, list[Path]] = {
            part: [
                Path(
                    hub.hf_hub_download(
                        data_id, name, repo_type="dataset", revision=revision, local_dir=folder
                    )
                )
                for name in chosen
            ]
            for part, chosen in parts.items()
        }
    licence = card.get("license")
    return HubData(paths, revision, licence if isinstance(licence, str) else None)


def sort_files(
    data_id: str, names: Sequence[str], card: Mapping[str, Any]
) -> dict[Part, list[str]]:
    """Which of the files of a data set belong to which part; without a `train` there is none.

    The data set's card says it, or the names of files and folders do; files that say nothing
    train, if none says `train`. Raises BadInput where the card has several configurations.
    """
    tables = [name for name in names if _is_table(name)]
    stated = _read_card(data_id, card)
    by_part: dict[Part, list[str]] = {}
    if stated is not None:
        for part, patterns in stated.items():
            by_part[part] = [n for n in tables if any(fnmatch(n, each) for each in patterns)]
    else:
        for name in tables:
            by_part.setdefault(_tell_part(name) or "train", []).append(name)
        if any(_tell_part(name) == "train" for name in tables):
            by_part["train"] = [n for n in by_part["train"] if _tell_part(n) == "train"]
    return _take_one_form(by_part)


def _find_converted(hub: HfApi, data_id: str) -> tuple[str, dict[Part, list[str]]]:
    try:
        info = hub.dataset_info(data_id, revision=_CONVERTED, timeout=TIMEOUT_S)
    except RevisionNotFoundError as error:
        raise BadInput(
            f"data set {data_id}: holds no table ({', '.join(_SUFFIXES)}), and the hub did not "
            f"convert it; {_REMEDY}"
        ) from error
    names = [each.rfilename for each in info.siblings or [] if _is_table(each.rfilename)]
    configurations = sorted({PurePosixPath(name).parts[0] for name in names})
    if len(configurations) > 1 and "default" not in configurations:
        raise _refuse_several(data_id, configurations)
    chosen = "default" if "default" in configurations else "".join(configurations)
    parts = sort_files(data_id, [name for name in names if name.startswith(f"{chosen}/")], {})
    if not parts.get("train"):
        raise BadInput(f"data set {data_id}: holds no part to train on; {_REMEDY}")
    return info.sha or _CONVERTED, parts


def _read_card(data_id: str, card: Mapping[str, Any]) -> dict[Part, list[str]] | None:
    """Part → patterns of file names, as the card's `configs` state them; None if it does not."""
    configurations = [c for c in card.get("configs") or [] if c.get("data_files")]
    if not configurations:
        return None
    defaults = [
        each
        for each in configurations
        if each.get("default") or each.get("config_name") == "default"
    ]
    if len(configurations) > 1 and not defaults:
        names = [str(each.get("config_name")) for each in configurations]
        raise _refuse_several(data_id, names)
    files = (defaults or configurations)[0]["data_files"]
    if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
        return {"train": [files] if isinstance(files, str) else [str(each) for each in files]}
    stated: dict[Part, list[str]] = {}
    for each in files:
        part, paths = _PARTS.get(str(each.get("split"))), each.get("path")
        if part is not None:
            stated.setdefault(part, []).extend([paths] if isinstance(paths, str) else paths)
    return stated


def _refuse_several(data_id: str, names: Sequence[str]) -> BadInput:
    return BadInput(
        f"data set {data_id}: has several configurations ({', '.join(names[:8])}); download the "
        "files of one and name them"
    )


def _is_table(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix in _SUFFIXES and path.name not in _NO_DATA and not hidden


def _tell_part(name: str) -> Part | None:
    """By the words of its path, the last one first."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((_PARTS[word] for word in reversed(words) if word in _PARTS), None)


def _take_one_form(by_part: Mapping[Part, Sequence[str]]) -> dict[Part, list[str]]:
    """Files of one suffix alone, in the order of their names: that of what is trained on."""
    training = {PurePosixPath(name).suffix for name in by_part.get("train", ())}
    suffix = next((each for each in _SUFFIXES if each in training), None)
    kept = {
        part: sorted(name for name in names if PurePosixPath(name).suffix == suffix)
        for part, names in by_part.items()
    }
    return {part: names for part, names in kept.items() if names}
