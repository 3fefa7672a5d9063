"""The entry point of a GAN's training."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from trainer.artifacts import tables
from trainer.artifacts.objective import GanArtifacts
from trainer.config.gan import GanRecipe
from trainer.training.jobs.context import RunContext, started
from trainer.training.jobs.keys import results_key


def train_gan(
    recipe: GanRecipe,
    artifacts: GanArtifacts,
    classes: Sequence[str],
    seed: int,
    run: RunContext,
) -> None:
    """Train a GAN on the images of all folds but the first; write samples, pictures and figures.

    A process that was killed resumes from its last checkpoint, on a CPU with the same results to
    the last bit. `trainer/artifacts/gan_files.py` names the files in `run.out`.

    Args:
        recipe: the section `[gan]`.
        artifacts: the input files.
        classes: class names, in order.
        seed: decides initial weights and all random draws.
        run: folders, settings and callbacks.

    Raises:
        IntegrityError: an input file is damaged.
        Preempted: the process received SIGTERM; a checkpoint is written.
        TrainingError: a loss is not finite, weights do not fit, or there are too few images.
    """
    with started(run, batch_size=recipe.batch_size, holder="a GAN") as active:
        # After `started`: this imports Keras.
        from trainer.gan.training import GanTraining

        training = GanTraining(recipe, artifacts, classes, seed, active)
        try:
            training.run()
        finally:
            training.close()
    active.checkpoints.remove()


def gan_key(
    recipe: GanRecipe,
    artifacts: GanArtifacts,
    classes: Sequence[str],
    seed: int,
    weights_digest: str = "",
) -> str:
    """A digest, 24 hex digits, that names the folder of a GAN's checkpoints.

    Arguments as for `train_gan` and `trainer.training.jobs.keys.job_key`.
    """
    # The judge counts by its predictions: its model file contains a date.
    files = [
        Path(artifacts.records) / tables.EXAMPLES,
        Path(artifacts.folds_table),
        Path(artifacts.judge) / tables.OOF,
    ]
    values = [dataclasses.asdict(recipe), list(classes), seed, weights_digest]
    return results_key("trainer.gan.fit", values, files)
