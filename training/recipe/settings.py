"""Reading a YAML recipe into a checked, frozen model; `key.path=value` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from training.errors import BadInput


class Settings(BaseModel):
    """Base of all recipes: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, path: Path, overrides: Sequence[str] = ()) -> Self:
        """Read a recipe, apply overrides such as `loss.tc_weight=0.2`, validate.

        Raises BadInput that names the file, the key and the reason.
        """
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise BadInput(f"{path}: cannot be read as YAML: {reason}") from error
        if not isinstance(raw, dict):
            raise BadInput(f"{path}: a recipe is a mapping of keys to values")
        for override in overrides:
            raw = cls.apply_override(raw, override)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            reasons = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors()
            )
            raise BadInput(f"{path}: {reasons}") from error

    @classmethod
    def apply_override(cls, raw: dict[str, Any], override: str) -> dict[str, Any]:
        """Return the raw recipe with one `key.path=value` set."""
        _set_value(raw, override)
        return raw

    def write(self, path: Path) -> None:
        """Write the resolved recipe, every default spelled out."""
        text = yaml.safe_dump(self.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
        path.write_text(text, encoding="utf-8")


def _set_value(raw: dict[str, Any], override: str) -> None:
    key_path, separator, value = override.partition("=")
    if not separator:
        raise BadInput(f"override {override!r}: write it as key.path=value")
    *parents, key = key_path.split(".")
    target = raw
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise BadInput(f"override {override!r}: {parent} is not a mapping in the recipe")
        target = inner
    try:
        target[key] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BadInput(f"override {override!r}: the value is not YAML: {error}") from error
