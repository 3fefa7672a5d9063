"""What all remote runs have in common: what is checked before anything is sent, what a launcher can
do, what a run is."""

import dataclasses
import datetime
import json
import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from components.records.source import SourceSummary
from pipelines.compile import TARGETS, compile_pipeline, parameters, target
from pipelines.definitions import registry
from pipelines.local import fingerprint
from pipelines.remote.destination import Destination
from pipelines.targets.base import ContainerImages
from trainer import runtime
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.load import resolve_paths
from trainer.errors import CompetitionError

COMPILED = {"vertex": "vertex", "kfp": "gke"}
FINISHED = {"succeeded", "failed", "cancelled"}
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


@dataclass(frozen=True)
class RunRequest:
    """A run that has been checked and not been sent.

    name: of the run. spec, platforms: the two documents of the compiled pipeline, the second empty
    where there is none.
    arguments: of its parameters. found: what was seen of the data.
    """

    name: str
    competition: Competition | Gan
    spec: dict[str, Any]
    platforms: dict[str, Any]
    arguments: dict[str, Any]
    labels: dict[str, str]
    experiment: str
    file: Path
    found: SourceSummary


@dataclass(frozen=True)
class RunStep:
    """A task of a run. jobs: names by which its log is found."""

    name: str
    state: str
    error: str = ""
    jobs: tuple[str, ...] = ()
    started: str = ""


@dataclass(frozen=True)
class RemoteRun:
    """A run as its service tells it; state: waiting, running, succeeded, failed or cancelled."""

    name: str
    state: str
    created: str
    console: str
    error: str = ""
    tasks: tuple[RunStep, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    # URIs of the artifacts, by task and output; several for a loop's task.
    outputs: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    # What did not go as asked, though the run did.
    warning: str = ""


class Launcher(Protocol):
    """A service that runs pipelines. All of it raises RemoteError where the service refuses."""

    def check(self) -> list[str]:
        """Is the place there? Returns warnings."""

    def body(self, request: RunRequest) -> dict[str, Any]:
        """What would be sent."""

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run."""

    def get(self, name: str) -> RemoteRun:
        """A run with its tasks."""

    def latest(self, *, limit: int) -> list[RemoteRun]:
        """The latest runs of our pipelines, without their tasks."""

    def cancel(self, name: str) -> None:
        """Ask a run to end."""

    def logs(self, run: RemoteRun, task: RunStep, *, lines: int) -> Iterator[str]:
        """The last lines of a task's log, oldest first."""

    @property
    def schedules(self) -> str:
        """The page where schedules are paused and deleted."""

    def schedule(self, request: RunRequest, cron: str) -> str:
        """Start a run again and again; returns the schedule's name."""


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
) -> RunRequest:
    """Check all that can be checked here, and compile.

    Args:
        competition: as loaded from `file`, with the machine that is wanted.
        where: the run goes there.
        out: the competition's folder of results; the compiled pipeline is kept in it.
        images: by digest.
        labels: of the run.
        cache: whether finished tasks of other runs may be reused.

    Raises:
        CompetitionError: a line for each thing that is wrong. DataError: the data is not what the
            file says.
    """
    problems = [
        *_local_paths(competition, file),
        *_image_problems(images),
        *_label_problems(labels),
    ]
    if experiment and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", experiment):
        problems.append(
            f"--experiment {experiment}: use lower-case letters, digits and -, at most 128"
        )
    if problems:
        raise CompetitionError("\n".join(problems))
    found = registry.check_files(competition, file)
    kind, compiled = registry.of(competition), COMPILED[where.target]
    path = out / f"{kind}{TARGETS[compiled]}"
    # An image of other code would fail in the middle, or do something else.
    wanted = {runtime.WANTED_CODE: fingerprint.version(fingerprint.IN_IMAGES)}
    made = target(compiled, competition.machine, images)
    made = dataclasses.replace(
        made, environment=dict.fromkeys(registry.wiring(kind).STEPS, wanted), secret=where.secret
    )
    try:
        compile_pipeline(path, kind, parameters(competition), made)
    except OSError as error:
        raise CompetitionError(f"{path}: cannot be made or written to: {error.strerror}") from None
    spec, *more = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if not cache:
        without_cache(spec)
    arguments = _arguments(competition, where)
    check_arguments(arguments, spec)
    moment = datetime.datetime.now(datetime.UTC)
    return RunRequest(
        name=f"{competition.name.replace('_', '-')}-{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        competition=competition,
        spec=spec,
        platforms=more[0] if more else {},
        arguments=arguments,
        labels=dict(labels),
        experiment=experiment,
        file=path,
        found=found,
    )


def _arguments(competition: Competition | Gan, where: Destination) -> dict[str, Any]:
    values = parameters(competition)
    if not values["train"]["checkpoints"]:
        # Where the next run of the same training finds them; beside the runs, so that one lifecycle
        # rule clears both.
        values["train"] = {**values["train"], "checkpoints": f"{where.root}/checkpoints"}
    return values


def _local_paths(competition: Competition | Gan, file: Path) -> Iterator[str]:
    """Paths that a task elsewhere cannot read."""
    for key, paths in registry.files(competition).items():
        for path in paths:
            if path and not path.startswith("gs://"):
                yield (
                    f"{file}: {key} = {path!r}: is on this machine only: copy it to a bucket, and"
                    " name gs://… there"
                )


def _image_problems(images: ContainerImages) -> Iterator[str]:
    for flag, name in (("light", images.light), ("training", images.training)):
        if not _DIGEST.fullmatch(name):
            yield (
                f"--image-{flag} {name} (or FOLDLINE_IMAGE_{flag.upper()}): must name an image by"
                " digest, as REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME@sha256:…: a tag may be"
                " another image tomorrow"
            )


def _label_problems(labels: Mapping[str, str]) -> Iterator[str]:
    if len(labels) > 63:
        yield f"--label: {len(labels)} labels, and at most 63 are allowed"
    for key, value in labels.items():
        if key.startswith("goog-") or key == "foldline":
            yield (
                f"--label {key}={value}: this key is not yours: goog-… is Google's, foldline names"
                " the competition"
            )
        elif not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            yield (
                f"--label {key}={value}: use lower-case letters, digits, _ and -, a letter first,"
                " at most 63 each"
            )


def without_cache(spec: dict[str, Any]) -> None:
    """Let no task of a compiled pipeline be taken from another run, those inside loops included."""
    for component in (spec["root"], *spec["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}


def check_arguments(arguments: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Do the arguments fit the parameters of a compiled pipeline? The services take what does not,
    and fail later.

    Raises:
        CompetitionError: a line for each that is missing, unknown or of another type.
    """
    wanted = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    problems = [
        f"parameter {name}: is no parameter of the pipeline"
        for name in arguments
        if name not in wanted
    ]
    for name, definition in wanted.items():
        if name not in arguments:
            if not definition.get("isOptional") and "defaultValue" not in definition:
                problems.append(f"parameter {name}: is missing: the pipeline has no default for it")
            continue
        kind, value = definition["parameterType"], arguments[name]
        # A bool is an int to Python, and no number to the services.
        fits = isinstance(value, _TYPES[kind]) and (
            kind == "BOOLEAN" or not isinstance(value, bool)
        )
        if not fits:
            problems.append(f"parameter {name} = {value!r}: must be {kind}")
        elif not _is_json(value):
            problems.append(f"parameter {name}: holds a value that JSON has not, as NaN")
    if problems:
        raise CompetitionError("\n".join(problems))


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return (
        value is None
        or isinstance(value, str | int)
        or (isinstance(value, float) and math.isfinite(value))
    )


def competition_of(run: RemoteRun) -> Competition | Gan:
    """The file that a run was given, rebuilt from its arguments and the defaults of its pipeline.

    Raises:
        CompetitionError: it is a run of another pipeline.
    """
    from trainer.config.schema import parse

    definitions = run.spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    values = {name: one.get("defaultValue") for name, one in definitions.items()} | dict(
        run.arguments
    )
    kind: Any = Competition if registry.of_parameters(values) == registry.KFOLD else Gan
    known = {one.name for one in dataclasses.fields(kind)}
    root = values.pop("root", "")
    if root and isinstance(values.get("data"), Mapping):
        values["data"] = {**values["data"], "root": root}
    parsed: Competition | Gan = parse(
        kind, {name: value for name, value in values.items() if name in known}, run.name
    )
    return resolve_paths(parsed, parsed.data.root)


def shown(body: Mapping[str, Any], file: Path) -> str:
    """A request as text, with the compiled pipeline by its file."""
    return json.dumps(
        {**body, **{key: str(file) for key in ("pipelineSpec", "pipeline_spec") if key in body}},
        indent=2,
    )
