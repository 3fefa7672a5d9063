"""The training of a GAN as a task: brings near what it needs, and keeps its checkpoints where they
outlive it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.storage import objects
from components.storage.shards import local_shards
from components.training.run_task import beside, kept
from trainer import runtime
from trainer.config.competition import Train
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse
from trainer.training.fit import gan_key, train_gan


def train(
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    images: str,
    folds: str,
    judge: str,
    classes: Sequence[str],
    seed: int,
    weights_digest: str,
    out: str,
) -> None:
    """Train a GAN, from where an earlier process left it.

    Args:
        recipe, settings: the sections gan and train. images, folds, judge: paths of the steps
            before.
        weights_digest: of the file of weights that features are taken of, "" for none.
        out: the folder to write.
    """
    gan, how = parse(GanRecipe, recipe, "gan"), parse(Train, settings, "train")
    inputs: dict[str, Any] = {
        "records": images,
        "folds_table": folds,
        "judge": judge,
        "classes": classes,
        "seed": seed,
    }
    compiled = os.environ.get(runtime.COMPILED)
    with (
        local_shards(images) as root,
        kept(
            how.checkpoints or beside(out), gan_key(gan, **inputs, weights_digest=weights_digest)
        ) as (work, mirror),
    ):
        train_gan(
            gan,
            **inputs,
            root=root,
            out=out,
            settings=how,
            work=work,
            compiled=Path(compiled) if compiled else None,
            near=objects.local_path,
            mirror=mirror,
        )
