"""The steps between the check and training, shared by both pipelines. Wiring only.

They turn the source into records, folds and statistics.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl

from components.folds.component import folds as folds_step
from components.records.component import cut as cut_step
from components.records.component import join as join_step
from components.records.component import records as records_step
from components.statistics.component import statistics as statistics_step

# The component functions by step name.
STEPS = {
    "cut": cut_step,
    "records": records_step,
    "join": join_step,
    "folds": folds_step,
    "statistics": statistics_step,
}


class Prepared(NamedTuple):
    """The results of these steps.

    Attributes:
        images: the records folder, an output of the join step.
        folds: the folds step, with the outputs `table` and `audit`.
        statistics: the statistics step, with the outputs `statistics` and `card`.
    """

    images: Any
    folds: Any
    statistics: Any


def prepare(
    placed: Callable[[str, Any], Any], settled: Any, *, classes: Any, task: Any, seed: Any
) -> Prepared:
    """Add the steps to the pipeline that is being defined.

    Args:
        placed: the target's `placed`.
        settled: the outputs of the check step: the sections data, records and folds, and the
            digests of their files.
        classes: the class names; a pipeline parameter or a value.
        task: multiclass, binary or multilabel; a pipeline parameter or a value.
        seed: decides the folds; a pipeline parameter or a value.
    """
    parts = placed(
        "cut",
        cut_step(
            data=settled["data"],
            records=settled["records"],
            source_digest=settled["source_digest"],
            classes_digest=settled["classes_digest"],
        ),
    )
    with dsl.ParallelFor(items=parts.output) as part:
        converted = placed(
            "records",
            records_step(part=part, classes=classes, task=task),
        )
    images = placed(
        "join",
        join_step(
            parts=dsl.Collected(converted.outputs["images"]),
            data=settled["data"],
            records=settled["records"],
            classes=classes,
            task=task,
        ),
    ).outputs["images"]
    folds = placed(
        "folds",
        folds_step(
            images=images,
            folds=settled["folds"],
            classes=classes,
            seed=seed,
            file_digest=settled["folds_digest"],
        ),
    )
    statistics = placed(
        "statistics",
        statistics_step(
            images=images,
            folds=folds.outputs["table"],
            audit=folds.outputs["audit"],
            classes=classes,
        ),
    )
    return Prepared(images, folds, statistics)
