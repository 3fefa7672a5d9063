"""The training of a GAN as a pipeline step."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.storage.shards import local_shards
from components.training.run_job import run_context
from trainer.artifacts.objective import GanArtifacts
from trainer.backends.hardware import checked
from trainer.config.gan import GanRecipe
from trainer.config.machine import Train
from trainer.config.schema import parse
from trainer.gan.fit import gan_key, train_gan


def run_training(
    sections: Mapping[str, Any],
    artifacts: Mapping[str, str],
    *,
    classes: Sequence[str],
    seed: int,
    weights_digest: str,
    out: str,
) -> None:
    """Train a GAN; resumes from the checkpoints of an earlier process.

    Args:
        sections: the sections `gan` and `train` of the GAN file.
        artifacts: paths of the outputs of earlier steps: `records`, `folds_table` and `judge`.
        classes: the class names, in order.
        seed: the seed of the GAN file.
        weights_digest: a digest of the weights file of the feature extractor; "" for none.
        out: the folder to write.
    """
    recipe = parse(GanRecipe, sections["gan"], "gan")
    settings = parse(Train, sections["train"], "train")
    # Before anything is downloaded: a wrong machine costs money as long as it works.
    checked()
    with local_shards(artifacts["records"]) as root:
        files = GanArtifacts(**artifacts, root=root)
        key = gan_key(recipe, files, classes, seed, weights_digest)
        with run_context(out, settings, key) as run:
            train_gan(recipe, files, classes, seed, run)
