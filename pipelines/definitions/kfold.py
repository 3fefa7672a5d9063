"""The k-fold pipeline: wiring only."""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.blending.component import blend as blend_step
from components.check.component import check as check_step
from components.report.component import report as report_step
from components.submission.component import submission as submission_step
from components.training.component import plan as plan_step
from components.training.component import train as train_step
from pipelines.definitions import preparation
from pipelines.reference.form import describe_parameters
from pipelines.targets.base import Target
from trainer.config.competition import Competition

# The component functions by step name; a launcher fingerprints them.
STEPS = {
    "check": check_step,
    **preparation.STEPS,
    "plan": plan_step,
    "train": train_step,
    "blend": blend_step,
    "submission": submission_step,
    "report": report_step,
}


class KfoldOutputs(NamedTuple):
    folds: dsl.Dataset
    blended: dsl.Dataset
    submission: dsl.Dataset
    report: dsl.HTML
    data_card: dsl.HTML


# One long function, because kfp compiles a pipeline from the body of one.
def build(defaults: Mapping[str, Any], target: Target) -> Any:
    """Build the pipeline, ready to compile.

    Args:
        defaults: a value for every parameter: those of `Competition.pipeline_arguments`, and
            `root`. A console's form starts with them.
        target: where each step runs.

    Returns:
        the pipeline, as kfp's compiler takes it.
    """
    placed = target.placed
    train_on_target = target.training("train", train_step)

    def kfold_pipeline(
        root: str,
        name: str,
        task: str,
        metric: str,
        classes: list,
        seed: int,
        data: dict,
        records: dict,
        folds: dict,
        train: dict,
        members: list,
        predictions: dict,
        blend: dict,
        submission: dict,
    ) -> KfoldOutputs:
        """Turn labelled images into out-of-fold predictions, a submission and a report."""
        # kfp reads the steps off the calls, so a `with` over all of them would only indent them.
        ending = contextlib.ExitStack()
        ending.enter_context(target.ending(name))
        check_task = placed(
            "check",
            check_step(
                root=root,
                name=name,
                task=task,
                metric=metric,
                classes=classes,
                seed=seed,
                data=data,
                records=records,
                folds=folds,
                train=train,
                members=members,
                predictions=predictions,
                blend=blend,
                submission=submission,
            ),
        )
        # Never reused: it checks files, which the cache key does not cover.
        check_task.set_caching_options(False)
        settled = check_task.outputs
        stored_images, folds_task, statistics_task = preparation.prepare(
            placed, settled, classes=classes, task=task, seed=seed
        )
        jobs = placed(
            "plan",
            plan_step(
                members=settled["members"],
                folds=settled["folds"],
                train=settled["train"],
                records=settled["records"],
                weights_digest=settled["weights_digest"],
                keep=settled["keep"],
            ),
        )
        with dsl.ParallelFor(items=jobs.output, parallelism=target.at_once) as job:
            train_task = placed(
                "train",
                train_on_target(
                    job=job,
                    images=stored_images,
                    folds=folds_task.outputs["table"],
                    statistics=statistics_task.outputs["statistics"],
                    task=task,
                    classes=classes,
                    metric=metric,
                    seed=seed,
                ),
            )
        blended = placed(
            "blend",
            blend_step(
                predictions=dsl.Collected(train_task.outputs["predictions"]),
                members=settled["members"],
                folds=folds_task.outputs["table"],
                images=stored_images,
                blend=settled["blend"],
                classes=classes,
                metric=metric,
                seed=seed,
                blend_digest=settled["blend_digest"],
            ),
        ).outputs["blended"]
        submission_task = placed(
            "submission",
            submission_step(
                blended=blended,
                submission=settled["submission"],
                classes=classes,
                sample_digest=settled["sample_digest"],
            ),
        )
        report_task = placed(
            "report",
            report_step(
                name=name,
                blended=blended,
                images=stored_images,
                statistics=statistics_task.outputs["statistics"],
                audit=folds_task.outputs["audit"],
                submission=submission_task.outputs["csv"],
                classes=classes,
                metric=metric,
                members=settled["members"],
                train=settled["train"],
                seed=seed,
            ),
        )
        ending.close()
        if target.notify:
            return None  # type: ignore[return-value]  # its annotation is removed below
        return KfoldOutputs(
            folds=folds_task.outputs["table"],
            blended=blended,
            submission=submission_task.outputs["csv"],
            report=report_task.outputs["page"],
            data_card=statistics_task.outputs["card"],
        )

    if target.notify:
        del kfold_pipeline.__annotations__["return"]
    # kfp reads the parameters' descriptions and defaults from the function.
    kfold_pipeline.__doc__ = describe_parameters(kfold_pipeline, Competition)
    kfold_pipeline.__defaults__ = tuple(
        defaults[parameter] for parameter in inspect.signature(kfold_pipeline).parameters
    )
    decorate = dsl.pipeline(
        name="kfold",
        description="Turns labelled images into out-of-fold predictions, submission and report.",
    )
    return decorate(kfold_pipeline)
