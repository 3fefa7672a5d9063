"""Reads a run of a Kubeflow Pipelines server: its pipeline, its steps and its artifacts."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.storage import objects
from pipelines.definitions import registry
from pipelines.remote.launcher import RunStep

PIPELINES = (registry.KFOLD, registry.GAN, registry.DOCTOR)
STATES = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "cancelled",
    "PENDING": "waiting",
    "SKIPPED": "succeeded",
}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The most attempts of a step: the highest machine.retries, and 1.
_TRIES = 11
# The Argo templates of a step's pod: with and without retries, and if the pod has its own labels.
_TEMPLATES = ("retry-system-container-impl", "system-container-impl")


def documents(spec: Any) -> tuple[dict[str, Any], set[str]]:
    """The pipeline of a run, and the names of its steps.

    Args:
        spec: the `pipeline_spec` of the server's answer.

    Returns:
        {} and an empty set if it is not a pipeline of this project.
    """
    spec = dict(spec or {})
    spec = dict(spec.get("pipeline_spec", spec))
    if name_of(spec) not in PIPELINES:
        return {}, set()
    dags = [spec["root"], *spec.get("components", {}).values()]
    return spec, {
        name
        for dag in dags
        for name, task in dag.get("dag", {}).get("tasks", {}).items()
        if _is_leaf(task, spec)
    }


def name_of(spec: Mapping[str, Any]) -> str:
    """The name of a pipeline."""
    return str(spec.get("pipelineInfo", spec.get("pipeline_info", {})).get("name", ""))


def _is_leaf(task: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    component = task.get("componentRef", task.get("component_ref", {})).get("name", "")
    return "dag" not in spec.get("components", {}).get(component, {})


def tasks(details: list[Any], names: set[str]) -> Iterator[RunStep]:
    """The steps of a run.

    Args:
        details: the server's task details; loops and the pipeline itself have entries, too.
        names: the names of the steps.
    """
    for detail in details:
        if detail.display_name not in names:
            continue
        nodes = [child.pod_name for child in detail.child_tasks or [] if child.pod_name]
        pods = [pod for node in nodes for pod in _pods(node, detail.display_name)]
        yield RunStep(
            name=detail.display_name,
            state=STATES.get(detail.state or "", (detail.state or "running").lower()),
            error=detail.error.message if detail.error and detail.error.message else "",
            jobs=tuple(pods),
            started=detail.start_time.isoformat() if detail.start_time else "",
        )


def _pods(node: str, task: str) -> list[str]:
    """The names that a step's pod may have, the likeliest first.

    The server reports the name of an Argo node, `{workflow}-{number}`; the pod's name has the
    template's name between the two. If a step has retries, this node is the parent of its attempts;
    the number of an attempt is a hash of the attempt's name. The names of nodes in a loop are not
    known.

    Args:
        node: the name of the Argo node.
        task: the name of the step.
    """
    workflow, _, number = node.rpartition("-")
    # With --notify, all steps are in an exit handler.
    hashes = [
        fnv1a(f"{workflow}.root.{inside}{task}.executor({attempt})")
        for inside in ("", "exit-handler-1.")
        for attempt in reversed(range(_TRIES))
    ]
    retried = [f"{workflow}-retry-system-container-impl-{value}" for value in hashes]
    return [*retried, *(f"{workflow}-{template}-{number}" for template in _TEMPLATES), node]


def fnv1a(text: str) -> int:
    """The 32-bit FNV-1a hash of Fowler, Noll and Vo, which Argo uses to number its nodes."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def artifacts(root: str, pipeline: str, run_id: str) -> dict[tuple[str, str], list[str]]:
    """The URIs of a run's artifacts, by (step, output).

    kfp's driver names them `{root}/{pipeline}/{run}/{step}/{uuid}/{output}`.
    """
    base = f"{root}/{pipeline}/{run_id}/"
    uris_by_output: dict[tuple[str, str], set[str]] = {}
    for entry in objects.listing(base):
        step, salt, *rest = entry.uri.removeprefix(base).split("/")
        if rest and UUID.fullmatch(salt):
            uris_by_output.setdefault((step, rest[0]), set()).add(f"{base}{step}/{salt}/{rest[0]}")
    return {key: sorted(uris) for key, uris in uris_by_output.items()}
