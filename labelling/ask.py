"""`ncal ask`: answers what is typed, or comes in lines, at once."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from contract.inputs import Kind
from contract.manifest import CheckpointError
from contract.priors import Mix
from contract.prompts import ContextWindow
from labelling.arguments import add_service, parse_with_service
from labelling.client import Client, ServedTask
from labelling.conversation import Conversation, LineError
from labelling.errors import ServiceFailure
from labelling.job import to_answer
from labelling.journal import Answer
from labelling.mixes import name_mix, settle
from labelling.own_service import open_service
from tables.errors import FileError

_DONE, _FAILED, _REFUSED, _INTERRUPTED = 0, 1, 2, 130
_PROMPT = "> "
_WELCOME = (
    "A problem a line; or a dialogue, a turn a line, as `T: …` and `S: …` (`师：…`, `生：…`). An "
    "empty line ends a dialogue, Ctrl-D ends this."
)


def main(arguments: Sequence[str]) -> int:
    """Answer until there are no more lines; exit status as that of `ncal label`."""
    options = parse_arguments(arguments)
    try:
        with open_service(options) as client:
            _Dialog(options, client).run(_read_lines(options))
    except (FileError, CheckpointError) as error:
        print(f"ask: {error}", file=sys.stderr)
        return _REFUSED
    except ServiceFailure as error:
        print(f"ask: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return _INTERRUPTED
    return _DONE


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parse the command line; wrong options end the process with status 2."""
    parser = ArgumentParser(
        prog="ncal ask",
        description="Answer problems, or a dialogue, line by line. Lines come from the terminal, "
        "from a pipe, or from the command itself. " + _WELCOME,
    )
    parser.add_argument("text", nargs="*", metavar="LINE", help="answer these lines and end")
    parser.add_argument("--task", help="what every line is asked for; else the line decides")
    parser.add_argument(
        "--prior",
        default="uniform",
        metavar="MIX",
        help="class mix that labels are for: uniform (the default), training, or a share for each "
        "label of the task",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object for each line")
    add_service(parser)
    return parse_with_service(parser, arguments)


def _read_lines(options: Namespace) -> Iterator[str]:
    if options.text:
        yield from options.text
        return
    if not sys.stdin.isatty():
        yield from iter(sys.stdin.readline, "")
        return
    with suppress(ImportError):
        import readline  # noqa: F401 (arrow keys and history for `input`)
    print(_WELCOME, file=sys.stderr)
    with suppress(EOFError):
        while True:
            yield input(_PROMPT)
    print(file=sys.stderr)


class _Dialog:
    """Asks for each line, and prints what is answered."""

    def __init__(self, options: Namespace, client: Client) -> None:
        self._client, self._json = client, options.json
        tasks = client.list_tasks()
        chosen = [task for task in tasks if options.task in (None, task.name)]
        if not chosen:
            names = ", ".join(task.name for task in tasks)
            raise FileError(f"--task {options.task}: is not served; one of {names}")
        self._tasks: dict[Kind, ServedTask] = {}
        for task in reversed(chosen):
            self._tasks[task.kind] = task
        self._mixes: dict[Kind, Mix] = {
            kind: name_mix(task, options.prior) for kind, task in self._tasks.items()
        }
        only: Kind | None = next(iter(self._tasks)) if len(self._tasks) == 1 else None
        turns = self._tasks.get("dialogue-turn")
        window = turns.window if turns else ContextWindow(0, 0)
        self._conversation = Conversation(window, only)
        self._before: str | None = None

    def run(self, lines: Iterator[str]) -> None:
        for line in lines:
            try:
                self._answer(line)
            except LineError as error:
                print(f"  {error}", file=sys.stderr)

    def _answer(self, line: str) -> None:
        asked = self._conversation.read(line)
        if asked is None:
            self._before = None
            return
        task, mix = self._tasks[asked.kind], self._mixes[asked.kind]
        results = self._client.classify(task, asked.items)
        answers = [settle(to_answer(result), task, mix) for result in results]
        if len(answers) > 1 and answers[0].get("label") not in (None, self._before):
            self._print(task, answers[0], is_before=True)
        self._print(task, answers[-1])
        if asked.kind == "dialogue-turn":
            self._before = answers[-1].get("label")

    def _print(self, task: ServedTask, answer: Answer, *, is_before: bool = False) -> None:
        if self._json:
            content: dict[str, Any] = {"task": task.name, **answer, "model": task.model}
            if is_before:
                content["is_turn_before"] = True
            print(json.dumps(content, ensure_ascii=False), flush=True)
            return
        lead = "  the turn before, with this after it: " if is_before else "  "
        print(lead + describe_answer(answer, task), flush=True)


def describe_answer(answer: Answer, task: ServedTask) -> str:
    """One line: the label with its names, how sure, and what else it may be."""
    if "error" in answer:
        return f"no label: {answer['error']}"
    label = answer["label"]
    english, chinese = task.names[label]
    line = f"{label}  {english} {chinese}  {answer['confidence']:.0%}"
    if answer["needs_review"]:
        others = [each for each in answer["prediction_set"] if each != label]
        line += f"  (look at it: {'may be ' + ', '.join(others) if others else 'unlike any'})"
    if answer["was_cut"]:
        line += "  (only a part was read)"
    return line
