"""Vertex AI: training on a TPU, a GPU or a spot machine is a custom job."""

from typing import Any

from kfp import dsl

from pipelines.targets import machines
from pipelines.targets.base import NEEDS, REST, Target, needs
from pipelines.targets.machines import TRAINING
from trainer import runtime
from trainer.config.machine import Machine, Vertex

# The service fills this in: the service account of the pipeline's run. The name is part of the
# pipeline format (google-cloud-pipeline-components, `_placeholders.py`).
SERVICE_ACCOUNT = "{{$.pipeline_service_account}}"


# A custom job that ends with this status is restarted up to three times: "6, 134, 11 and 139 are
# internal errors" (docs.cloud.google.com/vertex-ai/docs/training/understanding-training-service).
RESTART_STATUS = 134


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
        from google_cloud_pipeline_components.v1.custom_job import (
            create_custom_training_job_from_component,
        )

        machine, vertex = self.machine, self.vertex
        host = machines.on_vertex(machine)
        job = create_custom_training_job_from_component(
            step,
            display_name=f"foldline-{name}",
            machine_type=host.machine_type,
            accelerator_type=host.accelerator_type,
            accelerator_count=host.accelerator_count or 1,
            boot_disk_type=host.disk_type,
            boot_disk_size_gb=machine.disk_gb,
            timeout=f"{round(machine.hours * 3600)}s",
            # Preemption of a spot machine counts as a worker restart: the job starts again and
            # resumes from its checkpoints.
            restart_job_on_worker_restart=machine.preemptible,
            strategy=(
                "SPOT" if machine.preemptible else "FLEX_START" if machine.flexible else "STANDARD"
            ),
            max_wait_duration=f"{round(machine.wait_hours * 3600)}s",
            service_account=SERVICE_ACCOUNT,
            env=[{"name": key, "value": value} for key, value in self.variables(name).items()],
            network=vertex.network,
            encryption_spec_key_name=vertex.encryption_key,
            **_reservation(machine),
            **_optional(vertex),
        )
        (pool,) = job.component_spec.inputs["worker_pool_specs"].default
        pool["container_spec"]["image_uri"] = self.images.training
        if host.topology:
            pool["machine_spec"]["tpu_topology"] = host.topology
        return job

    def notification(self, title: Any) -> dsl.PipelineTask:
        needs("google_cloud_pipeline_components", "vertex")
        from google_cloud_pipeline_components.v1.vertex_notification_email import (
            VertexNotificationEmailOp,
        )

        return VertexNotificationEmailOp(recipients=self.notify.split(","))

    def variables(self, name: str) -> dict[str, str]:
        if name not in TRAINING:
            return super().variables(name)
        return {
            **super().variables(name),
            runtime.EXPECTS: machines.expected(self.machine),
            runtime.RESTART_STATUS: str(RESTART_STATUS),
        }

    def placed(self, name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        training = name in TRAINING
        self.retried(name, task)
        if training and self._custom():
            return task
        super().placed(name, task)
        self.request(
            task, *(machines.cpu_needs(self.machine) if training else NEEDS.get(name, REST))
        )
        return task

    def _custom(self) -> bool:
        return machines.is_custom_job(self.machine)


def _reservation(machine: Machine) -> dict[str, Any]:
    if not machine.reservation:
        return {}
    return {
        "reservation_affinity_type": "SPECIFIC_RESERVATION",
        "reservation_affinity_key": "compute.googleapis.com/reservation-name",
        "reservation_affinity_values": [machine.reservation],
    }


def _optional(vertex: Vertex) -> dict[str, Any]:
    """Arguments whose absence is not an empty value."""
    arguments: dict[str, Any] = {}
    if vertex.network_attachment:
        arguments["psc_interface_config"] = {"network_attachment": vertex.network_attachment}
    if vertex.tensorboard:
        # The service reads event files from this folder; a training step copies its own there.
        arguments["tensorboard"] = vertex.tensorboard
        arguments["base_output_directory"] = dsl.PIPELINE_ROOT_PLACEHOLDER
    if vertex.persistent_resource:
        arguments["persistent_resource_id"] = vertex.persistent_resource
    return arguments
