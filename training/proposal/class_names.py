"""Names of classes that a Parquet file of the Hugging Face hub keeps beside their numbers."""

import json
from collections.abc import Mapping
from pathlib import Path


def read_class_names(path: Path, column: str) -> Mapping[str, str]:
    """Number of a class, as text → its name; empty where the file does not say so.

    Such files have the features of the data set in their schema, a `ClassLabel` with its names.
    """
    if path.suffix.lower() != ".parquet":
        return {}
    from pyarrow import parquet  # the table was read with it by now

    stored = (parquet.read_schema(path).metadata or {}).get(b"huggingface")
    try:
        names = json.loads(stored or b"{}")["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(number): str(name) for number, name in enumerate(names)}
