"""Kubeflow Pipelines on Google Kubernetes Engine: nodes with GPUs, and JobSets on TPUs."""

import copy
from typing import Any

from kfp import dsl

from components.jobset.manifest import Request
from pipelines.targets import machines
from pipelines.targets.base import NEEDS, REST, RETRIES, Target, needs, replace_shell
from pipelines.targets.machines import TRAINING
from trainer import runtime

_SECRET = "/var/run/foldline"


class GkeTarget(Target):
    """Kubeflow Pipelines on Google Kubernetes Engine.

    Sets node selectors and tolerations for GPUs. Training on a TPU is a JobSet, which a light step
    creates and waits for: the pod of a task may not use a TPU.
    """

    def training(self, name: str, step: Any) -> Any:
        if not self.machine.tpu:
            return step
        node = machines.on_gke(self.machine)
        request = Request(
            image=self.images.training,
            hosts=machines.hosts(self.machine),
            chips=node.count,
            resource=node.resource,
            selectors=node.selectors,
            tolerations=node.tolerations,
            seconds=round(self.machine.hours * 3600),
            wait_seconds=round(self.machine.wait_hours * 3600),
            restarts=self.machine.restarts,
            queue=self.machine.queue,
            environment={
                **super().variables(name),
                runtime.EXPECTS: machines.expected(self.machine),
            },
            secret=self.secret,
        )
        launcher = copy.deepcopy(step)
        container = launcher.component_spec.implementation.container
        container.image = self.images.light
        container.command = [
            "python3",
            "-m",
            "components.jobset.launch",
            request.text(),
            "--",
            *container.command,
        ]
        return launcher

    def notification(self, title: Any) -> dsl.PipelineTask:
        needs("kfp.kubernetes", "cluster")
        from kfp import kubernetes

        from components.notify.component import notify

        replace_shell([notify])
        task = self.placed("notify", notify(title=title))
        kubernetes.use_secret_as_env(
            task, secret_name=self.notify, secret_key_to_env={"url": runtime.NOTIFY}
        )
        return task

    def variables(self, name: str) -> dict[str, str]:
        if name not in TRAINING or self.machine.tpu:
            return super().variables(name)
        return {**super().variables(name), runtime.EXPECTS: machines.expected(self.machine)}

    def retries(self, name: str) -> int:
        # A JobSet restarts by itself.
        return RETRIES if self.machine.tpu else super().retries(name)

    def image(self, name: str) -> str:
        return self.images.light if self.machine.tpu else super().image(name)

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
        if name not in TRAINING or self.machine.tpu:
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
