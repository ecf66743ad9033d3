"""What an operator may set: environment (`NCAL_…`), or command line."""

import difflib
import importlib.util
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as ParsingError

from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.cores import count_usable_cores

Protocol = Literal["systemone", "vllm", "tei"]


class SettingsError(Exception):
    """The settings are wrong; the message is one line that names the remedy."""


class Settings(BaseSettings):
    """Every field is `--field-name` on the command line and `NCAL_FIELD_NAME` in the environment.

    The command line wins over the environment.
    """

    model_config = SettingsConfigDict(
        env_prefix="NCAL_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_prog_name="ncal serve",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
    )

    checkpoint: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(BUNDLED_CHECKPOINT,), min_length=1
    )
    """Checkpoint directory, or `NAME=DIRECTORY` to call it otherwise than its manifest does; give
    it several times (or separated by commas) to serve several, one engine each."""
    default_model: str | None = None
    """Name or fingerprint of the checkpoint that answers where a request names none; without it
    each task is answered by the first `checkpoint` that serves it."""
    shadow_model: str | None = None
    """Name or fingerprint of a checkpoint that reads along: its answers are compared in the
    metrics with those that are given, and nobody sees them."""
    shadow_share: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of the items that it reads too, while the engines have nothing else to do."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    page: bool = True
    """Serve the page at `/`; `--no-page` leaves the API alone, with `/docs`."""

    engine: Literal["auto", "vllm", "openvino"] = "auto"
    """What computes: vLLM, made for GPUs, or OpenVINO, made for CPUs. `auto` takes vLLM where it
    is installed and sees a GPU, else OpenVINO."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the engine. float32 is what exports are proven with; take bfloat16 for a
    7B on a GPU."""
    engine_threads: int = Field(default_factory=count_usable_cores, ge=1)
    """CPU threads of each engine; by default as many as this process may use cores, by its
    affinity and the quota of its container. HTTP and tokenizing share the cores with them."""
    max_batched_tokens: int = Field(default=1024, ge=64)
    """Prompt tokens that the engine computes at once: a live turn may have to wait for them. The
    embedded engine has them in two steps side by side. On a CPU more is slower, the caches no
    longer hold a step; on a GPU more is faster in bulk."""
    max_batched_items: int = Field(default=128, ge=1)
    """Items in one step of the engine."""
    kv_cache_mib: int = Field(default=256, ge=16)
    """Memory for the key/value cache of each vLLM engine on a CPU."""
    gpu_memory_fraction: float = Field(default=0.9, gt=0.0, le=1.0)
    """Share of the GPU's memory for weights and cache, divided among the engines."""

    default_prior: Literal["uniform", "training"] = "uniform"
    """Class mix that answers are for where a request does not say: `uniform` assumes nothing of the
    traffic; `training` is right for traffic like the training data, and worse for any other."""

    max_waiting_items: int = Field(default=8192, ge=1)
    """Items that may wait for each engine; beyond it requests are refused with 503."""
    max_waiting_tokens: int = Field(default=1_048_576, ge=1)
    """Prompt tokens that may wait for each engine; beyond it requests are refused with 503."""

    max_wait_s: float = Field(default=0.45, gt=0.0)
    """Longest wait for the engine that a single item or a live turn is accepted for; when
    the queue promises more, it is refused with 503 at once."""

    head_timeout_s: float = Field(default=10.0, gt=0.0)
    """A connection that has not sent the whole head of a request by then is closed."""
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """Largest request body; streams have no such limit."""
    max_buffered_bytes: int = Field(default=64 * 1024 * 1024, ge=2048)
    """Bytes of all bodies that are being read at once, half of them of one client; beyond it
    requests are refused with 503. At least twice `max_body_bytes`."""
    body_timeout_s: float = Field(default=60.0, gt=0.0)
    """A body that has not come whole by then is refused, whatever deadline the request names."""
    max_body_values: int = Field(default=131_072, ge=1024)
    """Most names and values in the JSON of a body; a batch needs about ten for each turn."""
    max_batch_items: int = Field(default=2048, ge=1)
    """Most items of a batch request."""
    max_text_characters: int = Field(default=20_000, ge=1)
    """Longest text of a problem or of a turn."""
    max_context_turns: int = Field(default=64, ge=0)
    """Most turns given before, and after, a dialogue turn."""
    max_json_depth: int = Field(default=16, ge=4)
    """Deepest nesting of a request body."""

    max_line_bytes: int = Field(default=1024 * 1024, ge=1024)
    """Longest line of a stream; a longer one is answered with an error and skipped."""
    max_streams: int = Field(default=64, ge=1)
    """Most streams open at once."""
    max_client_streams: int = Field(default=32, ge=1)
    """Most of them of one client."""
    stream_idle_timeout_s: float = Field(default=300.0, gt=0.0)
    """A stream whose client sends nothing but blank lines for this long is ended."""
    stall_timeout_s: float = Field(default=60.0, gt=0.0)
    """A client that takes nothing of its answer for this long is gone."""
    max_dialogue_turns: int = Field(default=2000, ge=1)
    """Most turns of a dialogue that is sent whole."""
    max_live_sessions: int = Field(default=1000, ge=1)
    """Most live dialogues open at once."""
    max_client_live_sessions: int = Field(default=500, ge=1)
    """Most of them of one client."""
    max_live_turns: int = Field(default=20_000, ge=1)
    """Most turns of a live dialogue."""
    max_live_message_bytes: int = Field(default=128 * 1024, ge=1024)
    """Largest message of a live dialogue."""
    live_idle_timeout_s: float = Field(default=300.0, gt=0.0)
    """A live dialogue in which nothing, not even a ping, is heard for this long is ended."""

    protocols: Annotated[tuple[Protocol, ...], NoDecode] = ("systemone", "vllm", "tei")
    """Foreign protocols that are spoken too, parted by commas; an empty text for none."""

    max_upload_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Largest body of `/files/read` and `/files/write`."""
    max_uploads: int = Field(default=16, ge=1)
    """Most files sent at once; beyond it they are refused with 503."""
    max_client_uploads: int = Field(default=8, ge=1)
    """Most of them of one client; beyond it they are refused with 429."""
    max_upload_workers: int = Field(default=2, ge=1)
    """Most of them that are worked on at once, each by a process of its own; of those who wait,
    the client with the fewest is next."""

    api_key_hashes: str = ""
    """`name:sha256` of each API key, parted by commas; `ncal key` makes them.
    Without any key everybody may call."""
    api_key_file: Path | None = None
    """File with such an entry a line."""
    admin_paths: bool = False
    """Serve `/admin/…`, by which a key with the scope `admin` loads and drops checkpoints and
    changes the default; not without keys."""
    checkpoint_folder: Path | None = None
    """Folder below which the checkpoints lie that `POST /admin/load` may load; without it none."""
    max_models: int = Field(default=4, ge=1)
    """Most checkpoints loaded at once by `POST /admin/load`; with `admin_paths` a GPU's memory is
    divided among so many."""
    allow_no_key: bool = False
    """Listen on an address others can reach although no key is set."""
    open_metrics: bool = False
    """Show `/metrics` without a key."""
    rate_limit_items_per_s: float = Field(default=0.0, ge=0.0)
    """Items a second each client may send in the long run; 0 sets no limit."""
    rate_limit_burst_items: int = Field(default=1000, ge=1)
    """Items a client may send at once after a pause."""
    redis_url: str = Field(default="", repr=False)
    """Redis in which all replicas count rate limits and quotas together, as
    redis://host:6379/0; without one each replica counts for itself. Needs the extra `redis`."""
    redis_timeout_s: float = Field(default=0.1, gt=0.0)
    """Longest wait of a request for Redis; then each replica counts for itself until it answers."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose web pages may call, parted by commas; none by default."""

    request_timeout_s: float = Field(default=60.0, gt=0.0)
    """Deadline of a request that does not name one with `X-Request-Timeout`."""
    max_request_timeout_s: float = Field(default=600.0, gt=0.0)
    """Latest deadline a request may name."""
    canary_timeout_s: float = Field(default=5.0, gt=0.0)
    """The canary, a test inference, fails when the engine takes longer."""
    canary_interval_s: float = Field(default=5.0, gt=0.0)
    """An engine that has answered nothing for this long gets a canary, whether or not anybody
    asks for readiness."""
    canary_cache_s: float = Field(default=1.0, ge=0.0)
    """What an engine has answered, a canary or real work, proves readiness for this long; then
    a probe runs a canary of its own."""
    max_canary_failures: int = Field(default=12, ge=0)
    """An engine that fails so many canaries in a row hangs, and the process exits with 4, for its
    supervisor to start it again; 0 waits for ever."""
    drain_timeout_s: float = Field(default=25.0, ge=0.0)
    """After SIGTERM accepted work may take this long to finish."""
    stop_with_stdin: bool = False
    """Stop as after SIGTERM when standard input ends: for programs that start a service for
    themselves, so that it ends with them however they end."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`info` logs a line a request; no level ever logs what was sent."""
    check: bool = False
    """Only check settings, keys and checkpoints; end with 0 if they are in order, else with 2."""

    @field_validator("checkpoint", "cors_origins", "protocols", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// (with TLS) or unix://")
        if value and importlib.util.find_spec("redis") is None:
            raise ValueError(
                "needs the package redis; install it with the extra: `pip install '.[redis]'`"
            )
        return value

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.max_request_timeout_s < self.request_timeout_s:
            raise ValueError("max_request_timeout_s must not be less than request_timeout_s")
        if self.max_buffered_bytes < 2 * self.max_body_bytes:
            raise ValueError("max_buffered_bytes must be at least twice max_body_bytes")
        return self


def read_settings(arguments: list[str]) -> Settings:
    """Read settings from command line and environment; SettingsError when one is wrong."""
    _refuse_misspelt_variables()
    try:
        return Settings(_cli_parse_args=arguments)  # type: ignore[call-arg]
    except ParsingError as error:
        reason = str(error).removeprefix("error parsing CLI: ")
        raise SettingsError(f"{reason}; `ncal serve --help` lists the options") from error
    except ValidationError as error:
        raise SettingsError("; ".join(map(_describe, error.errors()))) from error


def _refuse_misspelt_variables() -> None:
    """A misspelt variable would silently leave a default in force."""
    known = ["NCAL_" + name.upper() for name in Settings.model_fields]
    for name in os.environ:
        if name.startswith("NCAL_") and name not in known:
            for match in difflib.get_close_matches(name, known, n=1, cutoff=0.85):
                raise SettingsError(f"{name} is no setting; did you mean {match}?")


def _describe(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    flag = "--" + name.replace("_", "-")
    prefix = f"{flag} (or NCAL_{name.upper()}): " if name else ""
    return prefix + str(error["msg"]).removeprefix("Value error, ")
