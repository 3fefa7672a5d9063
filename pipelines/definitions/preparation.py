"""The steps that both pipelines begin with, after their check: from a source to records, folds and
statistics. Wiring only."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl

from components.folds.component import folds as folds_step
from components.records.component import cut as cut_step
from components.records.component import join as join_step
from components.records.component import records as records_step
from components.statistics.component import statistics as statistics_step

# The component functions by the name of their task.
STEPS = {
    "cut": cut_step,
    "records": records_step,
    "join": join_step,
    "folds": folds_step,
    "statistics": statistics_step,
}


class Prepared(NamedTuple):
    """The outputs of these steps."""

    images: Any
    folds: Any
    statistics: Any


def prepare(
    placed: Callable[[str, Any], Any], found: Any, *, classes: Any, task: Any, seed: Any
) -> Prepared:
    """The tasks, inside a pipeline.

    Args:
        placed: of a target. found: outputs of the check: data, records and folds, with digests of
            their files.
        classes, task, seed: parameters of the pipeline, or values.
    """
    parts = placed(
        "cut",
        cut_step(
            data=found["data"], records=found["records"], source_digest=found["source_digest"]
        ),
    )
    with dsl.ParallelFor(items=parts.output, name="records") as part:
        converted = placed(
            "records",
            records_step(part=part, classes=classes, task=task),
        )
    stored = placed(
        "join",
        join_step(
            parts=dsl.Collected(converted.outputs["images"]),
            data=found["data"],
            records=found["records"],
            classes=classes,
            task=task,
        ),
    ).outputs["images"]
    dealt = placed(
        "folds",
        folds_step(
            images=stored,
            folds=found["folds"],
            classes=classes,
            seed=seed,
            file_digest=found["folds_digest"],
        ),
    )
    described = placed(
        "statistics",
        statistics_step(
            images=stored,
            folds=dealt.outputs["table"],
            audit=dealt.outputs["audit"],
            classes=classes,
        ),
    )
    return Prepared(stored, dealt, described)
