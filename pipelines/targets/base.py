"""Where a pipeline runs, and the resources that each of its steps requests there.

`Target` is this machine or any Kubeflow Pipelines server; `targets/vertex.py` and `targets/gke.py`
request machines.
"""

import contextlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl

from components import LIGHT_IMAGE, TRAINING_IMAGE
from pipelines.targets.machines import TRAINING
from trainer.config.machine import Machine, Vertex
from trainer.errors import CompetitionError

# (vCPUs, GiB) of the steps that need more than `REST`: for decoding, near-duplicates and the
# report's pictures.
NEEDS = {
    "records": (4, 16),
    "join": (2, 8),
    "folds": (4, 16),
    "statistics": (4, 16),
    "blend": (4, 16),
    "report": (2, 16),
    "gallery": (2, 8),
}
REST = (1, 4)
# Retries of a step that does not train: nodes and networks fail.
RETRIES = 2
# The end of kfp's command that starts Python from a shell, and what stands there instead.
_START = "_KFP_RUNTIME=true python3 "
_EXEC = "export _KFP_RUNTIME=true\nexec python3 "


def needs(module: str, extra: str) -> None:
    """Check that a library which only some targets need is installed.

    Args:
        module: its import name.
        extra: the extra of this project that installs it.

    Raises:
        CompetitionError: it is not installed; the message has the pip command.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise CompetitionError(f"{module} is not installed: pip install '.[{extra}]'")


def replace_shell(steps: Iterable[Any]) -> None:
    """Make each step's Python replace the shell that kfp starts it from.

    A shell that waits for Python does not pass SIGTERM on, so training would never write its last
    checkpoint.

    Args:
        steps: components created with `dsl.component`; changed in place, once.

    Raises:
        RuntimeError: kfp's command has another form than the one that this project knows.
    """
    for step in steps:
        command = step.component_spec.implementation.container.command
        if _EXEC not in command[2]:
            if command[2].count(_START) != 1:
                raise RuntimeError(f"kfp starts Python in another way: {command[2]!r}")
            command[2] = command[2].replace(_START, _EXEC)


@dataclass(frozen=True)
class ContainerImages:
    """The container images; on a cluster each by digest, `registry/name@sha256:…`.

    Attributes:
        light: the image of the steps that do not train.
        training: the image of the steps that train.
    """

    light: str = LIGHT_IMAGE
    training: str = TRAINING_IMAGE


@dataclass(frozen=True)
class Target:
    """This machine, or a Kubeflow Pipelines backend that chooses the machine of each step.

    Attributes:
        machine: what training runs on.
        vertex: resources of the user's project on Vertex AI.
        images: the container images.
        environment: environment variables of each step, by step name. kfp's local cache does not
            notice a change in the code behind a step, so the local launcher puts a digest here.
        secret: a Kubernetes secret with the `key.json` of a Google account, for a cluster that
            gives its pods no account; "" for none.
        notify: who hears of a run that failed: on Vertex AI mail addresses, separated by commas; on
            a cluster a Kubernetes secret with the `url` of a webhook; "" for nobody.
    """

    machine: Machine = field(default_factory=Machine)
    vertex: Vertex = field(default_factory=Vertex)
    images: ContainerImages = field(default_factory=ContainerImages)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secret: str = ""
    notify: str = ""

    @property
    def at_once(self) -> int | None:
        """How many training jobs run at the same time; None for all of them."""
        return self.machine.at_once or None

    def ending(self, title: Any) -> contextlib.AbstractContextManager[Any]:
        """What all steps of a pipeline are in: an exit handler if somebody is notified.

        A pipeline with an exit handler has no outputs of its own.

        Args:
            title: the name of the competition; a pipeline parameter.
        """
        if not self.notify:
            return contextlib.nullcontext()
        task = self.notification(title)
        task.set_caching_options(False)
        return dsl.ExitHandler(task)

    def notification(self, title: Any) -> dsl.PipelineTask:
        """The last step of a run that somebody is notified of; arguments as for `ending`."""
        raise NotImplementedError(f"{type(self).__name__} notifies nobody")

    def variables(self, name: str) -> dict[str, str]:
        """The environment variables of a step."""
        return dict(self.environment.get(name, {}))

    def training(self, name: str, step: Any) -> Any:
        """The component of a training step, as this target runs it.

        Args:
            name: the name of the step.
            step: the component function.
        """
        return step

    def image(self, name: str) -> str:
        """The container image of a step."""
        return self.images.training if name in TRAINING else self.images.light

    def placed(self, name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Set the image, environment and resources of a step.

        Args:
            name: the name of the step.
            task: the step in the pipeline that is being defined; changed in place.

        Returns:
            `task`.
        """
        for variable, value in self.variables(name).items():
            task.set_env_variable(variable, value)
        image = self.image(name)
        if image not in (LIGHT_IMAGE, TRAINING_IMAGE):
            task.set_container_image(image)
        return task

    def retries(self, name: str) -> int:
        """How often a step that failed is started again."""
        return self.machine.restarts if name in TRAINING else RETRIES

    def retried(self, name: str, task: dsl.PipelineTask) -> None:
        """Set how often a step is retried."""
        # The check step is not retried: what it rejects once, it rejects again.
        retries = 0 if name == "check" else self.retries(name)
        if retries:
            task.set_retry(retries, backoff_duration="60s", backoff_factor=2.0)

    def request(self, task: dsl.PipelineTask, cpus: int, memory_gib: int) -> None:
        """Request vCPUs and GiB of memory for a step."""
        task.set_cpu_request(str(cpus)).set_cpu_limit(str(cpus))
        task.set_memory_request(f"{memory_gib}Gi").set_memory_limit(f"{memory_gib}Gi")
