"""Vertex AI: training on a TPU, a GPU or a spot machine is a custom job."""

from typing import Any

from kfp import dsl

from pipelines.targets import machines
from pipelines.targets.base import NEEDS, REST, TRAINING, Target, needs

# The service fills this in: the service account of the pipeline's run. The name is part of the
# pipeline format (google-cloud-pipeline-components, `_placeholders.py`).
SERVICE_ACCOUNT = "{{$.pipeline_service_account}}"


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
            service_account=SERVICE_ACCOUNT,
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
        self.retried(name, task)
        if training and self._custom():
            return task
        super().placed(name, task)
        self.request(
            task, *(machines.cpu_needs(self.machine) if training else NEEDS.get(name, REST))
        )
        return task

    def _custom(self) -> bool:
        return bool(self.machine.tpu or self.machine.gpu or self.machine.spot)
