"""Kubeflow Pipelines on Google Kubernetes Engine: nodes with accelerators."""

from kfp import dsl

from pipelines.targets import machines
from pipelines.targets.base import NEEDS, REST, TRAINING, Target, needs

_SECRET = "/var/run/foldline"


class GkeTarget(Target):
    """Kubeflow Pipelines on Google Kubernetes Engine.

    Sets node selectors, topology and tolerations for accelerators.
    """

    def placed(self, name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        needs("kfp.kubernetes", "cluster")
        from kfp import kubernetes

        super().placed(name, task)
        self.retried(name, task)
        if self.secret:
            kubernetes.use_secret_as_volume(task, secret_name=self.secret, mount_path=_SECRET)
            # Google's libraries read the key from here, also those of the kfp backend in the same
            # container.
            task.set_env_variable("GOOGLE_APPLICATION_CREDENTIALS", f"{_SECRET}/key.json")
        if name not in TRAINING:
            self.request(task, *NEEDS.get(name, REST))
            return task
        node = machines.on_gke(self.machine)
        if node.cpus:
            self.request(task, node.cpus, node.memory_gib)
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
