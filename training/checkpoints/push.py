"""A finished checkpoint goes to the Hugging Face hub."""

from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd

from training.checkpoints.work_folder import RECIPE_NAME
from training.errors import BadInput
from training.hub import name_hub_errors, open_hub


def check_pushable(name: str) -> None:
    """Raise BadInput for what would make the upload fail after hours of training."""
    with name_hub_errors(f"--push-to-hub {name}", "leave --push-to-hub out"):
        who = open_hub().whoami()
    owner = name.partition("/")[0]
    own = {str(who.get("name")), *(str(each.get("name")) for each in who.get("orgs") or [])}
    if "/" not in name or owner not in own:
        raise BadInput(
            f"--push-to-hub {name}: this token may write to {', '.join(sorted(own))}; name the "
            "repository as one of them/name"
        )


def push(folder: Path, name: str) -> str:
    """Upload a checkpoint in one commit; return its address.

    The repository is made if there is none, and private then. Of the paths in the recipe only
    the last part goes along: the others tell of somebody's machine. Raises BadInput with what to
    do; the checkpoint stays where it is.
    """
    remedy = f"upload it later with `hf upload {name} {folder}`"
    with name_hub_errors(f"--push-to-hub {name}", remedy):
        hub = open_hub()
        address = hub.create_repo(name, private=True, exist_ok=True)
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        hub.create_commit(
            name,
            [
                CommitOperationAdd(
                    path_in_repo=path.name,
                    path_or_fileobj=_strip_paths(path) if path.name == RECIPE_NAME else path,
                )
                for path in files
            ],
            commit_message="Checkpoint of NCAL Serve",
        )
    return str(address)


def _strip_paths(recipe: Path) -> bytes:
    """The recipe with names in place of whole paths."""
    fields = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    return yaml.safe_dump(_strip(fields), allow_unicode=True, sort_keys=False).encode()


def _strip(value: object) -> object:
    if isinstance(value, dict):
        return {key: _strip(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_strip(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
