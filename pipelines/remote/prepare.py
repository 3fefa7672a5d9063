"""The checks of a remote run before anything is sent, and the compiled request."""

import dataclasses
import datetime
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components import class_list
from components.check.files import check_files
from components.training.plan import plan
from pipelines.definitions import fingerprint, registry
from pipelines.definitions.compilation import TARGETS, compile_pipeline, parameters, target
from pipelines.local import RUNS
from pipelines.remote.destination import Destination
from pipelines.remote.launcher import RemoteRun, RunRequest
from pipelines.remote.parameters import check_arguments
from pipelines.targets.base import ContainerImages, Target
from trainer import runtime
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.load import resolve_paths
from trainer.config.machine import Machine, Vertex
from trainer.errors import CompetitionError

COMPILED = {"vertex": "vertex", "kfp": "gke"}
# Hours after which the doctor gives up.
DOCTOR_HOURS = 0.5
# How many artifacts one input of a step on Vertex AI may receive.
MOST_ARTIFACTS = 100
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def prepare(
    competition: Competition | Gan,
    file: Path,
    where: Destination,
    out: Path,
    *,
    images: ContainerImages,
    labels: Mapping[str, str],
    experiment: str = "",
    cache: bool = True,
    notify: str = "",
) -> RunRequest:
    """Check all that can be checked on this machine, and compile the pipeline.

    Args:
        competition: as loaded from `file`, with the training machine to use.
        file: the competition file, for error messages.
        where: the destination of the run.
        out: the competition's results folder; the compiled pipeline goes there.
        images: the container images, by digest.
        labels: the labels of the run.
        experiment: the experiment that groups the run; "" for none.
        cache: whether the run may reuse finished steps of other runs.
        notify: who hears of a run that failed, as `Target.notify`; "" for nobody.

    Raises:
        CompetitionError: one line per problem.
        DataError: the data is not what the file says.
    """
    problems = [
        *_local_paths(competition, file),
        *_image_problems(images),
        *_label_problems(labels),
        *_notify_problems(notify, where.target),
    ]
    if experiment and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", experiment):
        problems.append(
            f"--experiment {experiment}: use lower-case letters, digits and -, at most 128"
        )
    if problems:
        raise CompetitionError("\n".join(problems))
    if where.target == "vertex":
        _check_artifacts(competition)
    summary = check_files(competition, file)
    kind, compiled = registry.of(competition), COMPILED[where.target]
    path = out / f"{kind}{TARGETS[compiled]}"
    # Steps stop at once in an image of other code: it could fail later, or do something else.
    variables = {runtime.WANTED_CODE: fingerprint.version(fingerprint.IN_IMAGES)}
    run_target = dataclasses.replace(
        target(compiled, competition.machine, images, competition.vertex),
        environment=dict.fromkeys(registry.wiring(kind).STEPS, variables),
        secret=where.secret,
        notify=notify.replace(" ", ""),
    )
    files: dict[str, str] = {}
    arguments = class_list.shortened(_arguments(competition, where), where.root, files.__setitem__)
    defaults = {**parameters(competition), "classes": arguments["classes"]}
    _compiled(path, kind, defaults, run_target)
    spec, *platforms = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if not cache:
        without_cache(spec)
    check_arguments(arguments, spec)
    return RunRequest(
        name=run_name(competition.name),
        title=competition.name,
        spec=spec,
        platforms=platforms[0] if platforms else {},
        arguments=arguments,
        labels=dict(labels),
        experiment=experiment,
        file=path,
        found=summary,
        vertex=competition.vertex,
        files=files,
    )


def _notify_problems(notify: str, target: str) -> Iterator[str]:
    if not notify:
        return
    if target == "vertex":
        for address in notify.replace(" ", "").split(","):
            if not re.fullmatch(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", address):
                yield f"--notify {address}: must be a mail address; several are separated by commas"
    elif not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", notify):
        yield (
            f"--notify {notify}: must be the name of a Kubernetes secret whose key `url` is the"
            " address of a webhook"
        )


def run_name(title: str) -> str:
    """A new name for a run, that both services accept."""
    moment = datetime.datetime.now(datetime.UTC)
    return f"{title.replace('_', '-')}-{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _compiled(path: Path, kind: str, defaults: Mapping[str, Any], run_target: Target) -> None:
    """Compile a pipeline to a file."""
    try:
        compile_pipeline(path, kind, defaults, run_target)
    except OSError as error:
        raise CompetitionError(
            f"{path}: cannot be created or written to: {error.strerror}"
        ) from None


def prepare_doctor(
    file: Competition | Gan | None, machine: Machine, where: Destination, images: ContainerImages
) -> RunRequest:
    """Compile the doctor's pipeline for a destination.

    Args:
        file: its section `[vertex]` applies; None for none.
        machine: the machine to look at.
        where: the destination of the run.
        images: the container images, by digest.

    Raises:
        CompetitionError: an image has no digest, or there is no such machine.
    """
    problems = list(_image_problems(images))
    if problems:
        raise CompetitionError("\n".join(problems))
    compiled = COMPILED[where.target]
    variables = {runtime.WANTED_CODE: fingerprint.version(fingerprint.IN_IMAGES)}
    run_target = dataclasses.replace(
        # What fails once fails again.
        target(
            compiled,
            dataclasses.replace(machine, retries=0, hours=DOCTOR_HOURS),
            images,
            file.vertex if file else None,
        ),
        environment={registry.DOCTOR: variables},
        secret=where.secret,
    )
    path = RUNS / registry.DOCTOR / f"doctor{TARGETS[compiled]}"
    _compiled(path, registry.DOCTOR, {}, run_target)
    spec, *platforms = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return RunRequest(
        name=run_name(registry.DOCTOR),
        title=registry.DOCTOR,
        spec=spec,
        platforms=platforms[0] if platforms else {},
        arguments={},
        labels={},
        experiment="",
        file=path,
        vertex=file.vertex if file else Vertex(),
    )


def _check_artifacts(competition: Competition | Gan) -> None:
    """Check that one step can receive the results of all training jobs.

    Vertex AI: "Maximum number of artifacts exceeded. Maximum allowed: 100"
    (kubeflow/pipelines#7513); the run would fail after the training.
    """
    if not isinstance(competition, Competition):
        return
    jobs = len(plan(competition.members, competition.folds, competition.train, competition.records))
    if jobs > MOST_ARTIFACTS:
        count = competition.folds.count
        enough = next(
            (
                size
                for size in range(competition.train.folds_per_task, count + 1)
                if len(competition.members) * -(-count // size) <= MOST_ARTIFACTS
            ),
            None,
        )
        remedy = f"set train.folds_per_task = {enough}" if enough else "train fewer members"
        raise CompetitionError(
            f"members: {jobs} training jobs, but a step on Vertex AI receives the results of at"
            f" most {MOST_ARTIFACTS}: {remedy}"
        )


def _arguments(competition: Competition | Gan, where: Destination) -> dict[str, Any]:
    values = parameters(competition)
    if not values["train"]["checkpoints"]:
        # The next run of the same training finds them there. They are next to the runs, so that one
        # lifecycle rule clears both.
        values["train"] = {**values["train"], "checkpoints": f"{where.root}/checkpoints"}
    return values


def _local_paths(competition: Competition | Gan, file: Path) -> Iterator[str]:
    """A problem for each path that a remote step cannot read."""
    for key, paths in registry.files(competition).items():
        for path in paths:
            if path and not path.startswith("gs://"):
                yield (
                    f"{file}: {key} = {path!r}: is only on this machine: copy it to a bucket, and"
                    " write its gs://… path here"
                )


def _image_problems(images: ContainerImages) -> Iterator[str]:
    for flag, name in (("light", images.light), ("training", images.training)):
        if not _DIGEST.fullmatch(name):
            yield (
                f"--image-{flag} {name} (or {runtime.IMAGES[flag]}): must name an image by"
                " digest, such as REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME@sha256:…; a tag may"
                " point to another image later"
            )


def _label_problems(labels: Mapping[str, str]) -> Iterator[str]:
    if len(labels) > 63:
        yield f"--label: {len(labels)} labels; at most 63 are allowed"
    for key, value in labels.items():
        if key.startswith("goog-") or key == "foldline":
            yield (
                f"--label {key}={value}: this key is reserved: goog-… for Google, foldline for the"
                " competition's name"
            )
        elif not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            yield (
                f"--label {key}={value}: use lower-case letters, digits, _ and -, at most 63 each;"
                " the key must start with a letter"
            )


def without_cache(spec: dict[str, Any]) -> None:
    """Switch off the reuse of steps of other runs, also inside loops.

    Args:
        spec: the compiled pipeline; changed in place.
    """
    for component in (spec["root"], *spec["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}


def competition_of(run: RemoteRun) -> Competition | Gan:
    """The competition or GAN file of a run, rebuilt from its arguments and its pipeline's defaults.

    Raises:
        CompetitionError: the run is not of a pipeline of this project.
        StorageError: the file of its classes is not in the bucket any more.
    """
    from trainer.config.schema import parse

    definitions = run.spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    values = {name: entry.get("defaultValue") for name, entry in definitions.items()} | dict(
        run.arguments
    )
    kind: Any = Competition if registry.of_parameters(values) == registry.KFOLD else Gan
    keys = {entry.name for entry in dataclasses.fields(kind)}
    values["classes"] = class_list.names(values.get("classes") or [])
    root = values.pop("root", "")
    if root and isinstance(values.get("data"), Mapping):
        values["data"] = {**values["data"], "root": root}
    parsed: Competition | Gan = parse(
        kind, {name: value for name, value in values.items() if name in keys}, run.name
    )
    return resolve_paths(parsed, parsed.data.root)


def shown(body: Mapping[str, Any], file: Path) -> str:
    """A request as text; the file's path stands in for the compiled pipeline.

    Args:
        body: the request.
        file: the compiled pipeline's YAML file.
    """
    return json.dumps(
        {**body, **{key: str(file) for key in ("pipelineSpec", "pipeline_spec") if key in body}},
        indent=2,
    )
