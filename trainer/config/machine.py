"""`[machine]`: what a training task runs on, where it does not run here."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.config.schema import Problem, number, optional_text


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`[machine]`: read when the pipeline is compiled for Vertex AI or a cluster; a run on this
    machine takes what is here.

    tpu: a slice, as "v5e-8"; or gpu: a kind, as "L4", and gpus: how many; neither is a CPU.
    pipelines/targets/machines.py has them all. cpus, memory_gib: of a CPU task, or of a pod with
    GPUs on a cluster; 0 is what the same table says.
    disk_gb: of a machine's boot disk. spot: cheaper machines that may be taken away at any time; a
    task then goes on from its last checkpoint. hours: after so many a training task is ended; a
    plain CPU task on Vertex AI has no such limit.
    retries: how often a task that failed is tried again.
    """

    tpu: str = optional_text()
    gpu: str = optional_text()
    gpus: int = number(1, low=1, high=16)
    cpus: int = number(0, low=0, high=208)
    memory_gib: int = number(0, low=0, high=3000)
    disk_gb: int = number(200, low=100, high=64_000)
    spot: bool = False
    hours: float = number(24.0, low=0.1, high=168)
    retries: int = number(1, low=0, high=10)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if self.tpu and self.gpu:
            yield Problem("gpu", f"= {self.gpu!r}: goes without tpu")
        if self.gpus > 1 and not self.gpu:
            yield Problem("gpus", f"= {self.gpus}: goes with gpu")
        if self.tpu and (self.cpus or self.memory_gib):
            yield Problem("cpus", "and memory_gib go without tpu: a slice has its own")
