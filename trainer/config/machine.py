"""`[machine]`: what a training job runs on if it does not run on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.config.schema import Problem, number, optional_text


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`[machine]`: the machine of a training job when the pipeline is compiled for Vertex AI or a
    cluster; a run on this machine ignores it.

    pipelines/targets/machines.py lists the TPU slices and GPUs. With neither tpu nor gpu, a job
    runs on a CPU.

    tpu: TPU slice, such as "v5e-8"; cannot be combined with gpu.
    gpu: kind of GPU, such as "L4"; cannot be combined with tpu.
    gpus: number of GPUs, 1 to 16; requires gpu.
    cpus: vCPUs of a job on a CPU, or of a pod with GPUs on a cluster, 0 to 208; 0 for the default
        in that file.
    memory_gib: memory in GiB of a job on a CPU, or of a pod with GPUs on a cluster, 0 to 3000; 0
        for the default in that file.
    disk_gb: size of the machine's boot disk in GB, 100 to 64,000.
    spot: whether to use cheaper machines that may be taken away at any time; the job then resumes
        from its last checkpoint.
    hours: hours after which a training job is stopped, 0.1 to 168; a job on a plain CPU on Vertex
        AI has no such limit.
    retries: number of times that a failed training job is started again, 0 to 10.
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
        """Yield the problems that involve several keys, or the form of a value."""
        if self.tpu and self.gpu:
            yield Problem("gpu", f"= {self.gpu!r}: cannot be combined with tpu")
        if self.gpus > 1 and not self.gpu:
            yield Problem("gpus", f"= {self.gpus}: requires gpu")
        if self.tpu and (self.cpus or self.memory_gib):
            yield Problem("cpus", "and memory_gib cannot be combined with tpu: a slice has its own")
