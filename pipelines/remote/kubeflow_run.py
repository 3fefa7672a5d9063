"""What a Kubeflow Pipelines server tells of a run, as ours, and what a run left in its bucket."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.storage import objects
from pipelines.definitions import registry
from pipelines.remote.launcher import RunStep

PIPELINES = (registry.KFOLD, registry.GAN)
STATES = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "cancelled",
    "PENDING": "waiting",
    "SKIPPED": "succeeded",
}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# As many as a task is tried at most.
_TRIES = 11
# The template of a task's pod: with and without retries, and with labels of its own.
_TEMPLATES = ("retry-system-container-impl", "system-container-impl")


def documents(spec: Any) -> tuple[dict[str, Any], set[str]]:
    """The pipeline of a run, {} where it is not ours, and the names of its tasks."""
    spec = dict(spec or {})
    spec = dict(spec.get("pipeline_spec", spec))
    if name_of(spec) not in PIPELINES:
        return {}, set()
    dags = [spec["root"], *spec.get("components", {}).values()]
    return spec, {
        name
        for one in dags
        for name, task in one.get("dag", {}).get("tasks", {}).items()
        if _is_leaf(task, spec)
    }


def name_of(spec: Mapping[str, Any]) -> str:
    """The name of a pipeline."""
    return str(spec.get("pipelineInfo", spec.get("pipeline_info", {})).get("name", ""))


def _is_leaf(task: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    component = task.get("componentRef", task.get("component_ref", {})).get("name", "")
    return "dag" not in spec.get("components", {}).get(component, {})


def tasks(details: list[Any], names: set[str]) -> Iterator[RunStep]:
    for one in details:
        if one.display_name not in names:
            continue
        nodes = [child.pod_name for child in one.child_tasks or [] if child.pod_name]
        pods = [pod for node in nodes for pod in _pods(node, one.display_name)]
        yield RunStep(
            name=one.display_name,
            state=STATES.get(one.state or "", (one.state or "running").lower()),
            error=one.error.message if one.error and one.error.message else "",
            jobs=tuple(pods),
            started=one.start_time.isoformat() if one.start_time else "",
        )


def _pods(node: str, task: str) -> list[str]:
    """Names that the pod of a task may have, the likeliest first.

    The server names a node of Argo's, `{workflow}-{number}`; a pod has its template's name between
    the two. Where a task may be tried again the node stands above its tries, each of which has a
    number of its own, made of its name. What the names of a loop's nodes are is not known here."""
    workflow, _, number = node.rpartition("-")
    tries = [
        fnv1a(f"{workflow}.root.{task}.executor({attempt})") for attempt in reversed(range(_TRIES))
    ]
    retried = [f"{workflow}-retry-system-container-impl-{of_try}" for of_try in tries]
    return [*retried, *(f"{workflow}-{template}-{number}" for template in _TEMPLATES), node]


def fnv1a(text: str) -> int:
    """The 32-bit FNV-1a hash of Fowler, Noll and Vo, by which Argo numbers its nodes."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def artifacts(root: str, pipeline: str, run_id: str) -> dict[tuple[str, str], list[str]]:
    """URIs of what a run left below its root: `{root}/{pipeline}/{run}/{task}/{uuid}/{output}`, as
    the driver names them."""
    base = f"{root}/{pipeline}/{run_id}/"
    found: dict[tuple[str, str], set[str]] = {}
    for entry in objects.listing(base):
        task, salt, *rest = entry.uri.removeprefix(base).split("/")
        if rest and UUID.fullmatch(salt):
            found.setdefault((task, rest[0]), set()).add(f"{base}{task}/{salt}/{rest[0]}")
    return {key: sorted(uris) for key, uris in found.items()}
