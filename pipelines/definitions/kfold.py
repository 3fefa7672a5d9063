"""The k-fold pipeline: wiring only."""

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
from pipelines.targets.base import Target

# The component functions by the name of their task: what a launcher fingerprints.
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


def build(defaults: Mapping[str, Any], target: Target) -> Any:
    """The pipeline, ready to compile.

    Args:
        defaults: a value for every parameter, as `Competition.pipeline_arguments` gives them and
            `root`: what a console's form begins with.
        target: says what each task runs on.
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
        blend: dict,
        submission: dict,
    ) -> KfoldOutputs:
        """Labelled images to out-of-fold predictions, a submission and a report.

        Args:
            root: where the data is, gs://bucket/prefix; empty for what data.root says. Relative
                paths are below it.
            name: of the competition.
            task: multiclass, binary or multilabel.
            metric: accuracy, macro_f1, roc_auc, log_loss or another of trainer/metrics.py.
            classes: the class names, in order.
            seed: decides the folds, the initial weights and the augmentation.
            data: the [data] section of a competition file, what the images are.
            records: its [records] section, how they are stored.
            folds: its [folds] section, how they are dealt.
            train: its [train] section, how training is cut into tasks.
            members: its [[members]] sections, a model recipe each.
            blend: its [blend] section, how their predictions become one.
            submission: its [submission] section, what is written.
        """
        checked = placed(
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
                blend=blend,
                submission=submission,
            ),
        )
        # It looks at what a cache does not know: the files.
        checked.set_caching_options(False)
        found = checked.outputs
        stored, dealt, described = preparation.prepare(
            placed, found, classes=classes, task=task, seed=seed
        )
        jobs = placed(
            "plan",
            plan_step(
                members=found["members"],
                folds=found["folds"],
                train=found["train"],
                records=found["records"],
                weights_digest=found["weights_digest"],
            ),
        )
        with dsl.ParallelFor(items=jobs.output, name="training") as job:
            trained = placed(
                "train",
                train_on_target(
                    job=job,
                    images=stored,
                    folds=dealt.outputs["table"],
                    statistics=described.outputs["statistics"],
                    task=task,
                    classes=classes,
                    metric=metric,
                    seed=seed,
                ),
            )
        blended = placed(
            "blend",
            blend_step(
                predictions=dsl.Collected(trained.outputs["predictions"]),
                folds=dealt.outputs["table"],
                images=stored,
                blend=found["blend"],
                classes=classes,
                metric=metric,
                seed=seed,
                blend_digest=found["blend_digest"],
            ),
        ).outputs["blended"]
        written = placed(
            "submission",
            submission_step(
                blended=blended,
                submission=found["submission"],
                classes=classes,
                sample_digest=found["sample_digest"],
            ),
        )
        page = placed(
            "report",
            report_step(
                name=name,
                blended=blended,
                images=stored,
                statistics=described.outputs["statistics"],
                audit=dealt.outputs["audit"],
                submission=written.outputs["csv"],
                classes=classes,
                metric=metric,
                members=found["members"],
                train=found["train"],
                seed=seed,
            ),
        )
        return KfoldOutputs(
            folds=dealt.outputs["table"],
            blended=blended,
            submission=written.outputs["csv"],
            report=page.outputs["page"],
            data_card=described.outputs["card"],
        )

    # kfp reads the defaults off the function.
    kfold_pipeline.__defaults__ = tuple(
        defaults[parameter] for parameter in inspect.signature(kfold_pipeline).parameters
    )
    made = dsl.pipeline(
        name="kfold",
        description="Labelled images to out-of-fold predictions, a submission and a report.",
    )
    return made(kfold_pipeline)
