"""What the command is asked."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from contract.inputs import Speaker
from contract.interaction import DialogueMode
from engine.checkpoint import BUNDLED_CHECKPOINT
from tables.files import SUFFIXES
from tables.table import FORMATS


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parse the command line; wrong options end the process with status 2, as ever."""
    parser = ArgumentParser(
        prog="ncal label",
        description="Label every row of files: with a column that says who speaks each is a turn "
        "of a dialogue, without one a maths problem. What was broken off goes on when the same "
        "command is run again. Millions of rows: `ncal label --ray auto --help`, on a cluster.",
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"or a folder of them: {', '.join(SUFFIXES)}",
    )
    _add_columns(parser)
    _add_answers(parser)
    _add_output(parser)
    add_service(parser)
    return parse_with_service(parser, arguments)


def _add_columns(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("the file").add_argument
    add("--sheet", help="of a workbook (the first that is shown)")
    add("--text", metavar="COLUMN", help="the problem, or what is said (recognised)")
    add("--speaker", metavar="COLUMN", help="who says it (recognised)")
    add(
        "--dialogue",
        metavar="COLUMN",
        help="neighbours with the same value are one dialogue (recognised; else all rows are)",
    )
    add(
        "--compare",
        metavar="COLUMN",
        help="labels that people gave: say how far the model agrees, with Cohen's kappa",
    )
    for speaker in get_args(Speaker):
        add(
            f"--{speaker}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"what the speaker's column calls a {speaker}; may be repeated",
        )
    add("--encoding", help="of the file and of what is written (recognised)")
    add("--delimiter", help="of CSV (recognised; in .tsv a tab)")


def _add_answers(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("the labels").add_argument
    add("--task", help="by default the only one that fits the columns")
    add(
        "--prior",
        default="estimate",
        metavar="MIX",
        help="class mix that labels and probabilities are for: estimate, from the file's own "
        "answers (the default); uniform; training, that of the training data; or a share for each "
        "label, recall:0.6,identify:0.1,…",
    )
    add(
        "--mode",
        choices=get_args(DialogueMode),
        default="retrospective",
        help="read the turns after too, or as if they had not been said yet (retrospective)",
    )


def _add_output(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("what is written").add_argument
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="NAME.labelled.csv beside NAME.csv by default; of several files a folder",
    )
    add("--format", choices=FORMATS, help="that of the file by default, of a transcript csv")
    add("--prefix", default="ncal_", help="of the added columns (ncal_)")
    add(
        "--structure",
        type=Path,
        metavar="FILE",
        help="also the IRF structure of each dialogue, as JSON lines",
    )
    add(
        "--review",
        type=Path,
        metavar="FILE",
        help="also what a person should look at, least sure first, and a random sample of the "
        "rest; .xlsx, .csv or .jsonl",
    )
    add(
        "--review-sample",
        type=int,
        default=50,
        metavar="ROWS",
        help="how many of the rest (50)",
    )
    add(
        "--rank",
        type=Path,
        metavar="FILE",
        help="also which rows a person should label next: close calls, of every class, unlike one "
        "another; rows with a label in --compare's column are left out",
    )
    add("--rank-rows", type=int, default=100, metavar="ROWS", help="how many of them (100)")
    add("--seed", type=int, default=0, help="of the sample and of the rank (0)")
    add("--overwrite", action="store_true", help="replace an output that exists")
    add("--restart", action="store_true", help="forget what an earlier run has begun")


def add_service(parser: ArgumentParser) -> None:
    """Which service answers; `open_service` reads it."""
    group = parser.add_argument_group("the service")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--checkpoint",
        type=Path,
        default=BUNDLED_CHECKPOINT,
        metavar="DIR",
        help="what to serve meanwhile (the bundled one)",
    )
    where.add_argument(
        "--url", help="a service that runs; its key in the environment, as NCAL_API_KEY"
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="which checkpoint of a service at --url, by name or fingerprint (its default)",
    )
    group.add_argument(
        "--patience",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for one that is busy or away (300)",
    )


def parse_with_service(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse options, those of `add_service` among them."""
    options = parser.parse_args(arguments)
    if options.model is not None and not options.url:
        parser.error("--model chooses among the checkpoints of a service: name it with --url")
    return options
