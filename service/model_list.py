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
    options = parse_arguments(arguments)
    status = _DONE
    print(_describe(BUNDLED_CHECKPOINT, note=", the bundled one"))
    for folder in options.folders:
        directories = find_checkpoints(folder)
        if not directories:
            print(f"ncal models: {folder}: holds no {MANIFEST_NAME}; name a folder of checkpoints",
                  file=sys.stderr)  # fmt: skip
            status = _REFUSED
        for directory in directories:
            try:
                print("\n" + _describe(directory))
            except CheckpointError as error:
                print(f"ncal models: {error}", file=sys.stderr)
                status = _REFUSED
    return status


def find_checkpoints(folder: Path) -> list[Path]:
    """The folder itself, or all below it, that hold a manifest."""
    return sorted(path.parent for path in folder.rglob(MANIFEST_NAME))


def _describe(directory: Path, note: str = "") -> str:
    manifest = read_manifest(directory, verify_weights=False)
    megabytes = sum(path.stat().st_size for path in directory.iterdir() if path.is_file()) / 1e6
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
