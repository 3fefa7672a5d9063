"""Where a pipeline runs, and the resources that each of its steps requests there.

`Target` is this machine or any Kubeflow Pipelines server; `VertexTarget` and `GkeTarget` request
machines.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl

from components import LIGHT_IMAGE, TRAINING_IMAGE
from pipelines.targets import machines
from trainer.config.machine import Machine
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
_SECRET = "/var/run/foldline"
# The steps that run on the training machine.
TRAINING = ("train", "train-gan")


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
        images: the container images.
        environment: environment variables of each step, by step name. kfp's local cache does not
            notice a change in the code behind a step, so the local launcher puts a digest here.
        secret: a Kubernetes secret with the `key.json` of a Google account, for a cluster that
            gives its pods no account; "" for none.
    """

    machine: Machine = field(default_factory=Machine)
    images: ContainerImages = field(default_factory=ContainerImages)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secret: str = ""

    def training(self, name: str, step: Any) -> Any:
        """The component of a training step, as this target runs it.

        Args:
            name: the name of the step.
            step: the component function.
        """
        return step

    def placed(self, name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Set the image, environment and resources of a step.

        Args:
            name: the name of the step.
            task: the step in the pipeline that is being defined; changed in place.

        Returns:
            `task`.
        """
        for variable, value in self.environment.get(name, {}).items():
            task.set_env_variable(variable, value)
        image = self.images.training if name in TRAINING else self.images.light
        if image not in (LIGHT_IMAGE, TRAINING_IMAGE):
            task.set_container_image(image)
        return task

    def _retried(self, name: str, task: dsl.PipelineTask) -> None:
        # The check step is not retried: what it rejects once, it rejects again.
        retries = self.machine.retries if name in TRAINING else 0 if name == "check" else RETRIES
        if retries:
            task.set_retry(retries, backoff_duration="60s", backoff_factor=2.0)

    def _resources(self, task: dsl.PipelineTask, cpus: int, memory_gib: int) -> None:
        task.set_cpu_request(str(cpus)).set_cpu_limit(str(cpus))
        task.set_memory_request(f"{memory_gib}Gi").set_memory_limit(f"{memory_gib}Gi")


class VertexTarget(Target):
    """Vertex AI.

    Training on a TPU, a GPU or a spot machine is a custom job, because only a custom job can
    request them; all other steps are plain pipeline tasks. A custom job is one machine. It runs as
    the pipeline's own service account.
    """

    def training(self, name: str, step: Any) -> Any:
        if not self._custom():
            return step
        needs("google_cloud_pipeline_components", "vertex")
        from google_cloud_pipeline_components import _placeholders
        from google_cloud_pipeline_components.v1.custom_job import (
            create_custom_training_job_from_component,
        )

        host = machines.on_vertex(self.machine)
        job = create_custom_training_job_from_component(
            step,
            display_name=f"foldline-{name}",
            machine_type=host.machine_type,
            accelerator_type=host.accelerator_type,
            accelerator_count=host.accelerator_count or 1,
            boot_disk_size_gb=self.machine.disk_gb,
            timeout=f"{round(self.machine.hours * 3600)}s",
            # Preemption of a spot machine counts as a worker restart: the job starts again and
            # resumes from its checkpoints.
            restart_job_on_worker_restart=self.machine.spot,
            strategy="SPOT" if self.machine.spot else "STANDARD",
            service_account=_placeholders.SERVICE_ACCOUNT_PLACEHOLDER,
            env=[
                {"name": name, "value": value}
                for name, value in self.environment.get(name, {}).items()
            ],
        )
        (pool,) = job.component_spec.inputs["worker_pool_specs"].default
        pool["container_spec"]["image_uri"] = self.images.training
        if host.topology:
            pool["machine_spec"]["tpu_topology"] = host.topology
        return job

    def placed(self, name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        training = name in TRAINING
        self._retried(name, task)
        if training and self._custom():
            return task
        super().placed(name, task)
        self._resources(
            task, *(machines.cpu_needs(self.machine) if training else NEEDS.get(name, REST))
        )
        return task

    def _custom(self) -> bool:
        return bool(self.machine.tpu or self.machine.gpu or self.machine.spot)


class GkeTarget(Target):
    """Kubeflow Pipelines on Google Kubernetes Engine.

    Sets node selectors, topology and tolerations for accelerators.
    """

    def placed(self, name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        needs("kfp.kubernetes", "cluster")
        from kfp import kubernetes

        super().placed(name, task)
        self._retried(name, task)
        if self.secret:
            kubernetes.use_secret_as_volume(task, secret_name=self.secret, mount_path=_SECRET)
            # Google's libraries read the key from here, also those of the kfp backend in the same
            # container.
            task.set_env_variable("GOOGLE_APPLICATION_CREDENTIALS", f"{_SECRET}/key.json")
        if name not in TRAINING:
            self._resources(task, *NEEDS.get(name, REST))
            return task
        node = machines.on_gke(self.machine)
        if node.cpus:
            self._resources(task, node.cpus, node.memory_gib)
        for label, value in node.selectors.items():
            kubernetes.add_node_selector(task, label, value)
        for key, value in node.tolerations.items():
            kubernetes.add_toleration(
                task,
                key=key,
                operator="Equal" if value else "Exists",
                value=value or None,
                effect="NoSchedule",
            )
        if node.resource:
            task.set_accelerator_type(node.resource).set_accelerator_limit(node.count)
        kubernetes.set_timeout(task, round(self.machine.hours * 3600))
        return task
