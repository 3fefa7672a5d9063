"""The k-fold pipeline: wiring only."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.blending.component import blend as blend_step
from components.folds.component import folds as folds_step
from components.records.component import cut as cut_step
from components.records.component import join as join_step
from components.records.component import records as records_step
from components.report.component import report as report_step
from components.statistics.component import statistics as statistics_step
from components.submission.component import submission as submission_step
from components.training.component import plan as plan_step
from components.training.component import train as train_step

# The component functions by the name of their task: what a launcher fingerprints.
STEPS = {
    "plan": plan_step,
    "cut": cut_step,
    "records": records_step,
    "join": join_step,
    "folds": folds_step,
    "statistics": statistics_step,
    "train": train_step,
    "blend": blend_step,
    "submission": submission_step,
    "report": report_step,
}


class Outputs(NamedTuple):
    folds: dsl.Dataset
    blended: dsl.Dataset
    submission: dsl.Dataset
    report: dsl.HTML
    data_card: dsl.HTML


def kfold(environment: Mapping[str, Mapping[str, str]] | None = None) -> Any:
    """The pipeline, ready to compile.

    Args:
        environment: variables for the task of each step, by its name. A launcher sets them whose cache would otherwise
            not see that the code behind a step has changed (kfp's local one).
    """

    def placed(name: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        for variable, value in (environment or {}).get(name, {}).items():
            task.set_env_variable(variable, value)
        return task

    @dsl.pipeline(name="kfold", description="Labelled images to out-of-fold predictions, a submission and a report.")
    def kfold_pipeline(
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
        source_digest: str = "",
        sample_digest: str = "",
        folds_digest: str = "",
        weights_digest: str = "",
        blend_digest: str = "",
    ) -> Outputs:
        """Labelled images to out-of-fold predictions, a submission and a report.

        Args:
            name: of the competition.
            task: multiclass, binary or multilabel.
            metric: accuracy, macro_f1, roc_auc, log_loss or another of trainer/metrics.py.
            classes: the class names, in order.
            seed: decides the folds, the initial weights and the augmentation.
            data: the [data] section of a competition file.
            records: its [records] section.
            folds: its [folds] section.
            train: its [train] section.
            members: its [[members]] sections.
            blend: its [blend] section.
            submission: its [submission] section.
            source_digest: of the bytes of the data files, so that a cache sees them change.
            sample_digest: of the bytes of the sample submission, likewise.
            folds_digest: of the bytes of the files that the [folds] section names, likewise.
            weights_digest: of the files of weights and of code that members name, likewise.
            blend_digest: of the tables of predictions that the [blend] section names, likewise.
        """
        parts = placed("cut", cut_step(records=records))
        with dsl.ParallelFor(items=parts.output, name="records") as part:
            converted = placed(
                "records",
                records_step(part=part, data=data, records=records, classes=classes, task=task, source_digest=source_digest),
            )
        stored = placed(
            "join",
            join_step(parts=dsl.Collected(converted.outputs["images"]), data=data, records=records, classes=classes, task=task),
        ).outputs["images"]
        dealt = placed("folds", folds_step(images=stored, folds=folds, classes=classes, seed=seed, file_digest=folds_digest))
        described = placed(
            "statistics",
            statistics_step(images=stored, folds=dealt.outputs["table"], audit=dealt.outputs["audit"], classes=classes),
        )
        tasks = placed("plan", plan_step(members=members, folds=folds, train=train, records=records))
        with dsl.ParallelFor(items=tasks.output, name="training") as item:
            trained = placed(
                "train",
                train_step(
                    task=item,
                    images=stored,
                    folds=dealt.outputs["table"],
                    statistics=described.outputs["statistics"],
                    kind=task,
                    classes=classes,
                    metric=metric,
                    seed=seed,
                    weights_digest=weights_digest,
                ),
            )
        blended = placed(
            "blend",
            blend_step(
                predictions=dsl.Collected(trained.outputs["predictions"]),
                folds=dealt.outputs["table"],
                images=stored,
                blend=blend,
                classes=classes,
                metric=metric,
                seed=seed,
                blend_digest=blend_digest,
            ),
        ).outputs["blended"]
        written = placed(
            "submission",
            submission_step(blended=blended, submission=submission, classes=classes, sample_digest=sample_digest),
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
                members=members,
                train=train,
                seed=seed,
            ),
        )
        return Outputs(
            folds=dealt.outputs["table"],
            blended=blended,
            submission=written.outputs["csv"],
            report=page.outputs["page"],
            data_card=described.outputs["card"],
        )

    return kfold_pipeline
