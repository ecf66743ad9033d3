"""`ncal models`: what checkpoints there are and what each can do."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from contract.manifest import (
    GRAPH_NAME,
    MANIFEST_NAME,
    CheckpointError,
    Manifest,
    Parity,
    read_manifest,
)
from engine.checkpoint import BUNDLED_CHECKPOINT

_DONE, _REFUSED = 0, 2


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parse the command line; wrong options end the process with status 2."""
    parser = ArgumentParser(
        prog="ncal models",
        description="List the bundled checkpoint and those in the folders that are named. Only "
        "manifests are read; `ncal serve` checks the weights.",
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="searched with all that lies below"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Print every checkpoint; returns 2 when a folder or a manifest cannot be used."""
    faults: list[str] = []
    described: list[str] = []
    for directory in [BUNDLED_CHECKPOINT, *_search(parse_arguments(arguments).folders, faults)]:
        try:
            described.append(_describe(directory))
        except (CheckpointError, OSError) as error:
            faults.append(str(error))
    print("\n\n".join(described))
    for fault in faults:
        print(f"ncal models: {fault}", file=sys.stderr)
    return _REFUSED if faults else _DONE


def _search(folders: Sequence[Path], faults: list[str]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        directories = find_checkpoints(folder)
        if not directories:
            faults.append(f"{folder}: holds no {MANIFEST_NAME}; name a folder of checkpoints")
        found += directories
    return found


def find_checkpoints(folder: Path) -> list[Path]:
    """The folder itself, or all below it, that hold a manifest."""
    return sorted(path.parent for path in folder.rglob(MANIFEST_NAME))


def _describe(directory: Path) -> str:
    manifest = read_manifest(directory, verify_weights=False)
    megabytes = sum(path.stat().st_size for path in directory.iterdir() if path.is_file()) / 1e6
    note = ", the bundled one" if directory == BUNDLED_CHECKPOINT else ""
    return "\n".join(
        [
            f"{manifest.name} {manifest.fingerprint}, {megabytes:,.1f} MB{note}",
            f"  folder   {directory}",
            *_title("tasks", _describe_tasks(manifest)),
            *_title("engines", _describe_engines(manifest, directory)),
        ]
    )


def _title(title: str, lines: list[str]) -> list[str]:
    return [f"  {title if not index else '':7}  {line}" for index, line in enumerate(lines)]


def _describe_tasks(manifest: Manifest) -> list[str]:
    sets = [task.label_set for task in manifest.tasks]
    return [f"{each.task}: {each.kind}, {len(each.labels)} labels" for each in sets]


def _describe_engines(manifest: Manifest, directory: Path) -> list[str]:
    lines = [_describe_parity(parity) for parity in manifest.parity] or ["not proven on any"]
    if not (directory / GRAPH_NAME).exists():
        lines.append(
            f"no {GRAPH_NAME}: vLLM alone runs it; `ncal export --onnx-only {directory}` adds it"
        )
    return lines


def _describe_parity(parity: Parity) -> str:
    return (
        f"{parity.engine}, {parity.dtype}: probabilities within "
        f"{parity.max_probability_difference:.1g} of transformers', "
        f"{parity.changed_label_share:.1%} other labels ({parity.items:,} items)"
    )
