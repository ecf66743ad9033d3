"""Jobs and inputs for tests."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from bulk.job import Job
from bulk.rows.columns import Columns
from contract.priors import Mix
from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoints
from engine.protocol import EngineOptions

(CHECKPOINT,) = load_checkpoints([BUNDLED_CHECKPOINT])
FINGERPRINT = CHECKPOINT.manifest.fingerprint
OPTIONS = EngineOptions(
    dtype="float32", threads=1, max_batched_tokens=512, max_batched_items=64, kv_cache_mib=64,
    gpu_memory_fraction=0.9,
)  # fmt: skip


def make_job(folder: Path, **changes: Any) -> Job:
    """Problems of the folder `in`, by the bundled checkpoint, into the folder `out`."""
    fields: dict[str, Any] = {
        "input": str(folder / "in"),
        "output": str(folder / "out"),
        "checkpoint": BUNDLED_CHECKPOINT,
        "model": CHECKPOINT.name,
        "fingerprint": FINGERPRINT,
        "task": "timss",
        "columns": Columns("text"),
        "speakers": {},
        "mode": "retrospective",
        "mix": Mix("uniform", ()),
        "prefix": "ncal_",
        "part_rows": 50,
        "gathers": False,
        "engine": "openvino",
        "options": OPTIONS,
    }
    return Job(**fields | changes)


def write_problems(folder: Path, *, files: int, rows: int) -> list[str]:
    """Files of different problems below `in`; returns all texts."""
    texts = []
    for file in range(files):
        own = [f"第{file}题：{n}加上{n + 1}等于多少？" for n in range(rows)]
        path = folder / "in" / f"day={file % 3}" / f"{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pa.table({"text": own, "n": list(range(rows))}), path)
        texts += own
    return texts


def read_output(folder: Path) -> list[dict[str, Any]]:
    """All rows that were written, file by file."""
    return [
        row
        for path in sorted((folder / "out").rglob("*.parquet"))
        if not path.name.startswith(("_", "."))
        for row in pyarrow.parquet.read_table(path, partitioning=None).to_pylist()
    ]
