"""The GAN's pipeline: wiring only."""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.gan.component import check_gan as check_step
from components.gan.component import gallery as gallery_step
from components.gan.component import train_gan as train_gan_step
from components.training.component import train as train_step
from pipelines.definitions import preparation
from pipelines.reference.form import describe_parameters
from pipelines.targets.base import Target
from trainer.config.gan import Gan

# The component functions by step name; a launcher fingerprints them.
STEPS = {
    "check": check_step,
    **preparation.STEPS,
    "train": train_step,
    "train-gan": train_gan_step,
    "gallery": gallery_step,
}
TASK, METRIC = "multiclass", "accuracy"


class GanOutputs(NamedTuple):
    trained: dsl.Model
    judge: dsl.Model
    page: dsl.HTML
    data_card: dsl.HTML


# One long function, because kfp compiles a pipeline from the body of one.
def build(defaults: Mapping[str, Any], target: Target) -> Any:
    """Build the pipeline, ready to compile.

    Args:
        defaults: a value for every parameter: those of `Gan.pipeline_arguments`, and `root`.
        target: where each step runs.

    Returns:
        the pipeline, as kfp's compiler takes it.
    """
    placed = target.placed

    def gan_pipeline(
        root: str,
        name: str,
        classes: list,
        seed: int,
        data: dict,
        records: dict,
        folds: dict,
        judge: dict,
        gan: dict,
        train: dict,
    ) -> GanOutputs:
        """Train a generator of labelled images, judged by a classifier of the same images."""
        # kfp reads the steps off the calls, so a `with` over all of them would only indent them.
        ending = contextlib.ExitStack()
        ending.enter_context(target.ending(name))
        check_task = placed(
            "check",
            check_step(
                root=root,
                name=name,
                classes=classes,
                seed=seed,
                data=data,
                records=records,
                folds=folds,
                judge=judge,
                gan=gan,
                train=train,
            ),
        )
        # Never reused: it checks files, which the cache key does not cover.
        check_task.set_caching_options(False)
        settled = check_task.outputs
        stored_images, folds_task, statistics_task = preparation.prepare(
            placed, settled, classes=classes, task=TASK, seed=seed
        )
        judge_model = placed(
            "train",
            target.training("train", train_step)(
                job=settled["judging"],
                images=stored_images,
                folds=folds_task.outputs["table"],
                statistics=statistics_task.outputs["statistics"],
                task=TASK,
                classes=classes,
                metric=METRIC,
                seed=seed,
            ),
        ).outputs["predictions"]
        generator = placed(
            "train-gan",
            target.training("train-gan", train_gan_step)(
                recipe=settled["gan"],
                settings=settled["train"],
                images=stored_images,
                folds=folds_task.outputs["table"],
                judge=judge_model,
                classes=classes,
                seed=seed,
                weights_digest=settled["weights_digest"],
            ),
        ).outputs["trained"]
        gallery_task = placed(
            "gallery", gallery_step(name=name, trained=generator, recipe=settled["gan"], seed=seed)
        )
        ending.close()
        if target.notify:
            return None  # type: ignore[return-value]  # its annotation is removed below
        return GanOutputs(
            trained=generator,
            judge=judge_model,
            page=gallery_task.outputs["page"],
            data_card=statistics_task.outputs["card"],
        )

    if target.notify:
        del gan_pipeline.__annotations__["return"]
    # kfp reads the parameters' descriptions and defaults from the function.
    gan_pipeline.__doc__ = describe_parameters(gan_pipeline, Gan)
    gan_pipeline.__defaults__ = tuple(
        defaults[parameter] for parameter in inspect.signature(gan_pipeline).parameters
    )
    decorate = dsl.pipeline(
        name="gan",
        description="Trains a generator of labelled images; gives samples and an HTML page.",
    )
    return decorate(gan_pipeline)
