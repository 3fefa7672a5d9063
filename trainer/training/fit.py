"""The entry point of training: one member on some of its folds."""

from collections.abc import Sequence

from trainer.artifacts.objective import Artifacts, Objective
from trainer.backends.devices import this_process
from trainer.config.known_backbones import LINEAR
from trainer.config.member import Member
from trainer.training.jobs.context import RunContext, started
from trainer.training.linear import train_linear


def train_folds(
    member: Member,
    folds: Sequence[int],
    artifacts: Artifacts,
    objective: Objective,
    run: RunContext,
) -> None:
    """Train one model per fold on the images of the other folds; predict that fold and the test
    set.

    Each image is decoded once for all models and views that see it. Rows carry the id of their
    record; nothing depends on row order. A process that was killed resumes from its last
    checkpoint, on a CPU with the same results to the last bit.

    Writes oof.parquet, test.parquet, history.csv, a model file for each fold (`tables.model_file`),
    `<model>.seen.npy`, tensorboard/ and manifest.json to `run.out`.

    Args:
        member: the recipe.
        folds: the folds to train, each at most once; [NO_FOLD] for one model of all images.
        artifacts: the input files.
        objective: the ML task, classes, metric and seed.
        run: folders, settings and callbacks.

    Raises:
        IntegrityError: an input file is damaged.
        Preempted: the process received SIGTERM; a checkpoint is written.
        TrainingError: a fold is smaller than a batch, the loss is not finite, or weights do not
            fit.
    """
    if member.backbone == LINEAR:
        if not this_process():
            # Of several processes, the first one fits it.
            train_linear(member, folds, artifacts, objective, run.out)
        return
    batch_size = 0 if member.per_device else member.batch_size
    with started(run, batch_size=batch_size, holder=f"member {member.name}") as active:
        # After `started`: this imports Keras.
        from trainer.training.job import TrainingJob

        job = TrainingJob(member, folds, artifacts, objective, active)
        try:
            job.run()
            # The first process writes the results: the others keep their checkpoints until then.
            active.all_gather(0)
        finally:
            job.close()
    active.checkpoints.remove()
