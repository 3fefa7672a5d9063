"""Every environment variable that Foldline reads or sets, with its meaning.

`docs/development.md` lists the same names. No other module spells one of them.
"""

import os
import sys
import tempfile
from pathlib import Path


def child_environment() -> dict[str, str]:
    """Return the variables of Python and of the system with which a child process is started.

    The working folder is not searched for modules: it may have folders named like Foldline's
    packages. Text is UTF-8, whatever the locale. Temporary files go where this process can write.
    """
    own = str(Path(__file__).resolve().parents[1])
    paths = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": tempfile.gettempdir(),
    }


def search_working_folder() -> None:
    """Let the user's own modules in the working folder be imported, after all others."""
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)


# Set by the launcher for the steps of a run.

EVENTS = "FOLDLINE_EVENTS"
"""Path of the file that every step appends its events to as JSON lines. Unset: steps only print."""

LAUNCHER = "FOLDLINE_LAUNCHER"
"""Path of a file that the launcher keeps locked. A step ends itself when the lock is released."""

CODE = "FOLDLINE_CODE"
"""Digest of the code that a step can reach. It makes kfp's local cache notice a change of code."""

WANTED_CODE = "FOLDLINE_WANTED_CODE"
"""Code version that the launcher checked the run with. A step in an image of other code stops."""

IMAGE_CODE = "FOLDLINE_IMAGE_CODE"
"""Code version that a container image was built from. The Dockerfile sets it."""

WORK = "FOLDLINE_WORK"
"""Folder for unfinished work, such as checkpoints, that outlives a killed step."""

COMPILED = "FOLDLINE_COMPILED"
"""Folder in which JAX keeps compiled networks for the next training job."""

JOBS = "FOLDLINE_JOBS"
"""How many training jobs a local run works on side by side. Each waits for its share of the GPUs,
or for the TPU. Unset, as in a container of a cluster: a job has all devices that it finds."""

# Set by a target for training on a service.

EXPECTS = "FOLDLINE_EXPECTS"
"""The devices that a training job was promised: `cpu`, `gpu:N` or `tpu:N`, as JAX counts them. A
job that finds others ends at once."""

RESTART_STATUS = "FOLDLINE_RESTART_STATUS"
"""Exit status with which a job that was preempted asks to be started again; 75 if unset."""

NOTIFY = "FOLDLINE_NOTIFY"
"""Address of a webhook that the last step of a run posts to if the run failed."""

# Set by the user for training.

THREADS = "FOLDLINE_THREADS"
"""Threads of a training job, 1 to 1024. It decides the last bits of the results."""

COORDINATOR = "FOLDLINE_COORDINATOR"
"""`host:port` of the first of several processes that train together on JAX."""

PROCESSES = "FOLDLINE_PROCESSES"
"""How many processes train together. Requires FOLDLINE_COORDINATOR."""

PROCESS = "FOLDLINE_PROCESS"
"""Which of these processes this one is, from 0. Requires FOLDLINE_COORDINATOR."""

# Set by the user for remote runs; flags of `foldline submit` override them.

BUCKET = "FOLDLINE_BUCKET"
"""Bucket for the artifacts of remote runs: a name, or `gs://bucket/prefix`."""

SERVICE_ACCOUNT = "FOLDLINE_SERVICE_ACCOUNT"
"""Google service account that a run on Vertex AI uses."""

KUBERNETES_ACCOUNT = "FOLDLINE_KUBERNETES_ACCOUNT"
"""Kubernetes service account that a run on a cluster uses."""

KUBERNETES_SECRET = "FOLDLINE_KUBERNETES_SECRET"
"""Kubernetes secret with a Google account's `key.json`, for clusters without workload identity."""

NAMESPACE = "FOLDLINE_NAMESPACE"
"""Namespace on a Kubeflow Pipelines server that has several users."""

KFP_TOKEN = "FOLDLINE_KFP_TOKEN"
"""Bearer token for a Kubeflow Pipelines server."""

KFP_TOKEN_COMMAND = "FOLDLINE_KFP_TOKEN_COMMAND"
"""Command that prints such a token, for servers whose tokens expire. It is run again every few
minutes, without a shell."""

IMAGE_LIGHT = "FOLDLINE_IMAGE_LIGHT"
"""Image, by digest, of every step but training."""

IMAGE_TRAINING = "FOLDLINE_IMAGE_TRAINING"
"""Image, by digest, of the training steps."""

IMAGES = {"light": IMAGE_LIGHT, "training": IMAGE_TRAINING}
"""The variable of each kind of image."""

# Set for the project's own tests.

HARDWARE = "FOLDLINE_HARDWARE"
"""Folder in place of `/` in which accelerators are looked for, for machines that are made up."""

CONTAINER_TEST = "FOLDLINE_CONTAINER_TEST"
"""Set by `make container-test`: the container tests run instead of being skipped."""
