"""The GAN's pipeline: wiring only."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.gan.component import check_gan as check_step
from components.gan.component import gallery as gallery_step
from components.gan.component import train_gan as train_gan_step
from components.training.component import train as train_step
from pipelines.definitions import preparation
from pipelines.targets.base import Target

# The component functions by the name of their task: what a launcher fingerprints.
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


def build(defaults: Mapping[str, Any], target: Target) -> Any:
    """The pipeline, ready to compile.

    Args:
        defaults: a value for every parameter, as `Generative.pipeline_arguments` gives them and
            `root`.
        target: says what each task runs on.
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
        """Labelled images to a generator of more of them, judged by a classifier of the same
        images.

        Args:
            root: where the data is, gs://bucket/prefix; empty for what data.root says. Relative
                paths are below it.
            name: of the run's subject.
            classes: the class names, in order.
            seed: decides the folds, the initial weights and all that is drawn.
            data: the [data] section of a GAN's file, what the images are.
            records: its [records] section, how they are stored.
            folds: its [folds] section; the first fold is kept from the GAN and from its judge.
            judge: its [judge] section, the classifier that judges samples.
            gan: its [gan] section, both networks and their training.
            train: its [train] section, how training goes on after it was stopped.
        """
        checked = placed(
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
        # It looks at what a cache does not know: the files.
        checked.set_caching_options(False)
        found = checked.outputs
        stored, dealt, described = preparation.prepare(
            placed, found, classes=classes, task=TASK, seed=seed
        )
        judging = placed(
            "train",
            target.training("train", train_step)(
                job=found["judging"],
                images=stored,
                folds=dealt.outputs["table"],
                statistics=described.outputs["statistics"],
                task=TASK,
                classes=classes,
                metric=METRIC,
                seed=seed,
            ),
        ).outputs["predictions"]
        trained = placed(
            "train-gan",
            target.training("train-gan", train_gan_step)(
                recipe=found["gan"],
                settings=found["train"],
                images=stored,
                folds=dealt.outputs["table"],
                judge=judging,
                classes=classes,
                seed=seed,
                weights_digest=found["weights_digest"],
            ),
        ).outputs["trained"]
        shown = placed(
            "gallery", gallery_step(name=name, trained=trained, recipe=found["gan"], seed=seed)
        )
        return GanOutputs(
            trained=trained,
            judge=judging,
            page=shown.outputs["page"],
            data_card=described.outputs["card"],
        )

    # kfp reads the defaults off the function.
    gan_pipeline.__defaults__ = tuple(
        defaults[parameter] for parameter in inspect.signature(gan_pipeline).parameters
    )
    made = dsl.pipeline(
        name="gan",
        description="Labelled images to a generator of more of them, with samples and a page.",
    )
    return made(gan_pipeline)
