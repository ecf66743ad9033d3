"""A checkpoint's tokenizer without transformers: what `contract.prompts` needs of it, no more.

transformers costs a second and 100 MiB to import, and reads the same files: `tokenizer.json`
by the same library, and a chat template, which jinja2 renders in a sandbox. A test holds
both to the same tokens.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

_TEMPLATE_NAME = "chat_template.jinja"
_CONFIG_NAME = "tokenizer_config.json"


class CheckpointTokenizer:
    """Token ids of texts, and the chat template of messages.

    Raises OSError or ValueError when a file of the folder is missing or malformed.
    """

    def __init__(self, folder: Path) -> None:
        config: dict[str, Any] = json.loads((folder / _CONFIG_NAME).read_text(encoding="utf-8"))
        self._tokenizer = _read_tokenizer(folder / "tokenizer.json")
        self._names = _read_special_tokens(config)
        self._template = _make_environment().from_string(_read_template(folder, config))

    def __call__(
        self,
        text: Sequence[str],
        *,
        add_special_tokens: bool,
        split_special_tokens: bool = False,
    ) -> Mapping[str, list[list[int]]]:
        """Return `input_ids` of each text; with `split_special_tokens` none of them becomes a
        control token, whatever it says."""
        if self._tokenizer.encode_special_tokens != split_special_tokens:
            self._tokenizer.encode_special_tokens = split_special_tokens
        encodings = self._tokenizer.encode_batch_fast(
            list(text), add_special_tokens=add_special_tokens
        )
        return {"input_ids": [encoding.ids for encoding in encodings]}

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, str]],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
    ) -> str:
        """Render the messages; ValueError if the template does not accept them."""
        if tokenize:
            raise ValueError("render first, then tokenize: a text must not become control tokens")
        try:
            return self._template.render(
                messages=list(conversation),
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._names,
            )
        except TemplateError as error:
            raise ValueError(f"the chat template failed ({type(error).__name__})") from error


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read_special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """`eos_token` and its like, which templates may name."""
    names: dict[str, str] = {}
    for name, token in config.items():
        if isinstance(token, dict):
            token = token.get("content")
        if name.endswith("_token") and isinstance(token, str):
            names[name] = token
    return names


def _read_template(folder: Path, config: dict[str, Any]) -> str:
    if (folder / _TEMPLATE_NAME).is_file():
        return (folder / _TEMPLATE_NAME).read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = {each["name"]: each["template"] for each in template}.get("default")
    if not isinstance(template, str):
        raise ValueError("it has no chat template")
    return template


class _Generation(Extension):
    """`{% generation %}` marks what an assistant wrote, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012  the library's own form

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _make_environment() -> ImmutableSandboxedEnvironment:
    """What chat templates count on, as transformers gives it to them."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _format_now
    return environment


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _format_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)
