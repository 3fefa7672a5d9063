"""Reads a run on Vertex AI: its state, its steps, and where their logs and artifacts are."""

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pipelines.remote.launcher import RemoteRun, RunStep

_STATES = {
    "PIPELINE_STATE_QUEUED": "waiting",
    "PIPELINE_STATE_PENDING": "waiting",
    "PIPELINE_STATE_SUCCEEDED": "succeeded",
    "PIPELINE_STATE_FAILED": "failed",
    "PIPELINE_STATE_CANCELLED": "cancelled",
}
_TASK_STATES = {
    "PENDING": "waiting",
    "SKIPPED": "reused",
    "CANCEL_PENDING": "cancelling",
    "NOT_TRIGGERED": "not started",
}


def run_of(job: Any, console: str) -> RemoteRun:
    """Turn a PipelineJob of Vertex AI into a RemoteRun.

    Args:
        job: the PipelineJob message.
        console: the address of its page in the console.
    """
    from google.protobuf import json_format

    detail = json_format.MessageToDict(type(job).pb(job), use_integers_for_enums=False)
    tasks = detail.get("jobDetail", {}).get("taskDetails", [])
    # The entries of loops and of the pipeline itself are parents of others: they are not steps.
    parents = {task.get("parentTaskId") for task in tasks}
    leaves = [task for task in tasks if task.get("taskId") not in parents]
    outputs: dict[tuple[str, str], list[str]] = {}
    for task in leaves:
        for name, artifacts in task.get("outputs", {}).items():
            outputs.setdefault((_task_name(task), name), []).extend(
                entry["uri"] for entry in artifacts.get("artifacts", []) if entry.get("uri")
            )
    return RemoteRun(
        name=job.name.rpartition("/")[2],
        state=_STATES.get(detail.get("state", ""), "running"),
        created=detail.get("createTime", ""),
        console=console,
        error=detail.get("error", {}).get("message", ""),
        tasks=tuple(_task(task) for task in leaves),
        arguments=detail.get("runtimeConfig", {}).get("parameterValues", {}),
        spec=detail.get("pipelineSpec", {}),
        outputs=outputs,
    )


def _task_name(task: Mapping[str, Any]) -> str:
    return str(task.get("taskName", ""))


def _task(task: Mapping[str, Any]) -> RunStep:
    state = task.get("state", "")
    return RunStep(
        name=_task_name(task),
        state=_TASK_STATES.get(state, state.lower()),
        error=task.get("error", {}).get("message", ""),
        jobs=_jobs(task),
        started=task.get("startTime", task.get("createTime", "")),
    )


def _jobs(task: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of a step's custom jobs: its own, the failed attempts, and those it launched."""
    names: list[str] = []
    executor = task.get("executorDetail", {})
    container, custom = executor.get("containerDetail", {}), executor.get("customJobDetail", {})
    names += [container.get("mainJob", ""), *container.get("failedMainJobs", [])]
    names += [custom.get("job", ""), *custom.get("failedJobs", [])]
    launched = task.get("execution", {}).get("metadata", {}).get("output:gcp_resources", "")
    if isinstance(launched, str) and launched:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            names += [entry["resourceUri"] for entry in json.loads(launched)["resources"]]
    names += re.findall(r"job_id(?:%2F|%3D%22|/|=)(\d+)", task.get("error", {}).get("message", ""))
    return tuple(dict.fromkeys(name.rpartition("/")[2] for name in names if name))


def text_of(entry: Mapping[str, Any]) -> str:
    """The text of an entry of Cloud Logging; "" if it has none."""
    payload = entry.get("jsonPayload", {})
    return str(payload.get("message") or entry.get("textPayload") or "").rstrip()
