"""What the command is asked."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from contract.inputs import Speaker
from contract.interaction import DialogueMode
from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.protocol import Dtype


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parse the command line; wrong options end the process with status 2."""
    parser = ArgumentParser(
        prog="ncal label",
        description="Label a folder of files on a cluster of Ray: Parquet, CSV and JSON lines, on "
        "this machine, s3://, gs:// or hdfs://. The output is Parquet; what lies there is done, "
        "so what was broken off goes on when the same command is run again.",
    )
    parser.add_argument("input", metavar="FOLDER", help="of files, or one file")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="empty, or of this job")
    parser.add_argument(
        "--ray",
        required=True,
        metavar="WHERE",
        help="auto, the cluster that this machine is in; local, one for this command, on this "
        "machine; or, where it is in several, the address of a head, HOST:6379",
    )
    _add_columns(parser)
    _add_answers(parser)
    _add_engines(parser)
    return parser.parse_args(arguments)


def _add_columns(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("the files").add_argument
    add("--text", metavar="COLUMN", help="the problem, or what is said (recognised)")
    add("--speaker", metavar="COLUMN", help="who says it (recognised)")
    add(
        "--dialogue",
        metavar="COLUMN",
        help="rows with the same value are one dialogue, in whatever files they lie (recognised; "
        "else each file is one)",
    )
    add("--order", metavar="COLUMN", help="the number of a turn in its dialogue (recognised)")
    add(
        "--whole-dialogues",
        action="store_true",
        help="no dialogue goes on in another file: then no row has to be moved",
    )
    for speaker in get_args(Speaker):
        add(
            f"--{speaker}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"what the speaker's column calls a {speaker}; may be repeated",
        )


def _add_answers(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("the labels").add_argument
    add("--task", help="by default the only one that fits the columns")
    add(
        "--prior",
        default="uniform",
        metavar="MIX",
        help="class mix that labels and probabilities are for: uniform (the default); training, "
        "that of the training data; or a share for each label, recall:0.6,identify:0.1,…",
    )
    add(
        "--mode",
        choices=get_args(DialogueMode),
        default="retrospective",
        help="read the turns after too, or as if they had not been said yet (retrospective)",
    )
    add("--prefix", default="ncal_", help="of the added columns (ncal_)")


def _add_engines(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("the engines").add_argument
    add(
        "--checkpoint",
        type=Path,
        default=BUNDLED_CHECKPOINT,
        metavar="DIR",
        help="the same on every node (the bundled one)",
    )
    add(
        "--engine",
        choices=("auto", "vllm", "openvino"),
        default="auto",
        help="auto takes vLLM where the cluster has GPUs, else OpenVINO",
    )
    add("--dtype", choices=get_args(Dtype), default="float32", help="arithmetic (float32)")
    add("--cpus", type=_read_count, metavar="N", help="cores of an engine (2; on a GPU 4)")
    add(
        "--gpus",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="GPUs of an engine of vLLM, also a part of one (1)",
    )
    add("--engines", type=_read_count, metavar="N", help="at most (as many as there is room for)")
    add(
        "--batched-tokens",
        type=_read_count,
        metavar="N",
        help="tokens that an engine computes at once (1024; on a GPU 8192)",
    )
    add(
        "--part-rows",
        type=_read_count,
        default=50_000,
        metavar="ROWS",
        help="rows of Parquet that an engine labels at a stretch: what a lost node costs (50000)",
    )


def _read_count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count
