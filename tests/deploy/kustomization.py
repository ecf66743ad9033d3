"""As much of kustomize as deploy/kubernetes uses; a test holds it to the real one.

It is here because the real one is a Go program that comes with kubectl, which a machine
that tests need not have.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
KEYS = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}
CLUSTER_WIDE = {"Namespace"}
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}


def build(directory: Path, below: Sequence[Resource] = ()) -> list[Resource]:
    """Return what `kubectl kustomize` prints for the directory, in the files' order.

    A component changes the resources `below` it.
    """
    [kustomization] = _load(directory / "kustomization.yaml")
    unknown = kustomization.keys() - KEYS
    if unknown:
        raise NotImplementedError(f"{directory}: {', '.join(unknown)}")
    resources: list[Resource] = list(below)
    for name in kustomization.get("resources", ()):
        path = directory / name
        resources += build(path) if path.is_dir() else _load(path)
    for name in kustomization.get("components", ()):
        resources = build(directory / name, resources)
    for patch in kustomization.get("patches", ()):
        for change in _load(directory / patch["path"]):
            [target] = [resource for resource in resources if _key(resource) == _key(change)]
            resources[resources.index(target)] = _merge(target, change)
    for resource in resources:
        _set_images(resource, kustomization.get("images", ()))
        if "namespace" in kustomization and resource["kind"] not in CLUSTER_WIDE:
            resource["metadata"]["namespace"] = kustomization["namespace"]
    return resources


def _load(path: Path) -> list[Resource]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _key(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def _merge(old: Any, new: Any, field: str = "") -> Any:
    """Strategic merge: mappings by key, lists of named things by name, all else replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        merged = {key: _merge(value, new[key], key) for key, value in old.items() if key in new}
        return {**old, **new, **merged}
    if isinstance(old, list) and field in MERGE_KEYS:
        key = MERGE_KEYS[field]
        known = {entry[key]: entry for entry in old}
        for entry in new:
            known[entry[key]] = _merge(known.get(entry[key], {}), entry)
        return list(known.values())
    return new


def _set_images(resource: Resource, images: Any) -> None:
    if resource["kind"] != "Deployment":
        return
    for container in resource["spec"]["template"]["spec"]["containers"]:
        for image in images:
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"


def sort_named_lists(value: Any, field: str = "") -> Any:
    """Return the value with lists merged by name in the order of the names, to compare."""
    if isinstance(value, dict):
        return {key: sort_named_lists(child, key) for key, child in value.items()}
    if isinstance(value, list):
        children = [sort_named_lists(child) for child in value]
        if field in MERGE_KEYS:
            children.sort(key=lambda child: str(child[MERGE_KEYS[field]]))
        return children
    return value
