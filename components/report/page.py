"""The report: one self-contained HTML file about how well the run did and where it errs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.html import render
from components.report import figures
from components.report import tables as facts
from components.report.images import augmented, fetched, nearest, pictures
from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, read_manifest
from trainer.config.member import Member
from trainer.events import emit
from trainer.metrics.candidates import Predicted, TopClasses
from trainer.metrics.names import HIGHER_IS_BETTER

# Errors, and random images, on the page.
_SHOWN = 24
# Classes in a table or a plot.
MOST_SHOWN = 200


@dataclass(frozen=True)
class ReportInputs:
    """What the report is about.

    Attributes:
        name: the competition's name.
        classes: class names in order.
        metric: the competition's metric.
        seed: the competition's seed.
        members: the members' recipes.
        blended: the folder that blending wrote.
        records: the records folder.
        root: the local folder with the records' shards.
        statistics: the JSON file of the statistics step.
        audit: the JSON file of the folds step's leak audit.
        submission: the submission file.
        price: of an hour of a training machine, 0 if it is not given.
    """

    name: str
    classes: Sequence[str]
    metric: str
    seed: int
    members: Sequence[Member]
    blended: str | Path
    records: str | Path
    root: str | Path
    statistics: str | Path
    audit: str | Path
    submission: str | Path
    price: float = 0.0


@dataclass(frozen=True)
class OutOfFold:
    """The blend's n out-of-fold rows.

    Attributes:
        table: the table of oof.parquet.
        predicted: (n, classes) in 0 to 1, or the most probable classes.
        targets: (n,) class indices, or (n, classes) bool.
        decided: the decided classes, in the form of `targets`.
        wrong: (n,) bool, whether the decision differs from the truth.
        confidence: (n,) probability of the decision in 0 to 1; if an image can have any number of
            classes, of the most confident wrong decision, or of the most confident one if none is
            wrong.
    """

    table: pd.DataFrame
    predicted: Predicted
    targets: np.ndarray
    decided: np.ndarray
    wrong: np.ndarray
    confidence: np.ndarray

    def complete(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the true classes, (n, classes) bool, and their probabilities; None if there are
        more than `MOST_SHOWN` classes, or not all are kept."""
        if not isinstance(self.predicted, np.ndarray) or self.predicted.shape[1] > MOST_SHOWN:
            return None
        is_one = self.targets
        if is_one.ndim == 1:
            is_one = is_one[:, None] == np.arange(self.predicted.shape[1])
        return is_one, self.predicted


def out_of_fold(blended: str | Path, classes: Sequence[str]) -> OutOfFold:
    """Read the out-of-fold rows that blending wrote.

    Args:
        blended: the folder that blending wrote.
        classes: class names in order.

    Raises:
        IntegrityError: the folder is incomplete or damaged.
    """
    task, count = read_manifest(blended)["task"], len(classes)
    table = pd.read_parquet(Path(blended) / tables.OOF)
    targets, decided = (
        tables.truth(table[column].to_numpy(), count, task) for column in ("target", "prediction")
    )
    predicted = tables.probabilities_of(table, classes)
    if isinstance(predicted, TopClasses):
        named = predicted.classes == decided[:, None]
        confidence = np.where(named, predicted.probabilities, 0).sum(axis=1)
    elif targets.ndim == 1:
        confidence = predicted[np.arange(len(table)), decided]
    else:
        differs = targets != decided
        certainty = np.where(decided, predicted, 1 - predicted)
        relevant = np.where(differs | ~differs.any(axis=1, keepdims=True), certainty, 0)
        confidence = relevant.max(axis=1, initial=0)
    wrong = targets != decided
    wrong = wrong.any(axis=1) if wrong.ndim == 2 else wrong
    return OutOfFold(table, predicted, targets, decided, wrong, confidence)


def write_report(run: ReportInputs, out: str | Path) -> None:
    """Write the page.

    Args:
        run: what the report is about.
        out: the HTML file to write.
    """
    about, stored = read_manifest(run.blended), read_manifest(run.records, only=(tables.EXAMPLES,))
    scores = json.loads((Path(run.blended) / tables.METRICS).read_text(encoding="utf-8"))
    oof = out_of_fold(run.blended, run.classes)
    history = tables.read_history(Path(run.blended) / tables.HISTORY)
    examples = tables.read_examples(run.records)
    audit = json.loads(Path(run.audit).read_text(encoding="utf-8"))
    statistics = json.loads(Path(run.statistics).read_text(encoding="utf-8"))
    wrong = np.flatnonzero(oof.wrong)
    worst = wrong[np.argsort(-oof.confidence[wrong], kind="stable")][:_SHOWN]
    drawn = np.sort(np.random.default_rng(run.seed).permutation(len(oof.table))[:_SHOWN])
    shown_rows = np.concatenate([worst, drawn])
    images = fetched(
        run.root,
        examples,
        oof.table["id"].iloc[shown_rows].tolist(),
        stored,
        nearest(stored["sizes"]),
    )
    captioned = pictures(images, oof.table, shown_rows, oof.confidence, run.classes, about["task"])
    train = examples[(examples["split"] == "train") & (examples["external"] == "")]
    page = render(
        Path(__file__).with_name("page.html"),
        name=run.name,
        metric=run.metric,
        better="higher is better" if HIGHER_IS_BETTER[run.metric] else "lower is better",
        scores=scores,
        rows=score_rows(scores),
        folds=len(scores["blend"]["folds"]),
        images=len(oof.table),
        wrong=len(wrong),
        statistics=statistics,
        audit=audit,
        curves=figures.learning_curves(history, run.metric),
        plots=_plots(run, oof, scores),
        chosen=[
            name for name, value in scores["members"].items() if value.get("validation") == "best"
        ],
        unscored=[name for name, value in scores["members"].items() if value["oof"] is None],
        **_of_classes(run, oof, audit),
        confused=_confused(run, oof),
        parts=_parts(run, oof, examples, stored),
        worst=captioned[: len(worst)],
        drawn=captioned[len(worst) :],
        augmented=augmented(run.root, examples, stored, run.members, run.seed),
        duplicates=facts.duplicate_sets(train),
        rejects=tables.read_rejects(Path(run.records) / tables.REJECTS).to_dict("records"),
        took=facts.durations(history, about["tasks"], run.price),
        versions=facts.versions(about["tasks"]),
        digests=facts.digests(run.records, run.blended, run.submission),
    )
    with atomic_write(out) as partial:
        partial.write_text(page, encoding="utf-8")
    emit(
        "note",
        "report",
        f"{len(page.encode()) / 1e6:.1f} MB, {len(wrong)} of {len(oof.table)} out-of-fold images"
        " are wrong",
    )


def score_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the score table: the scored members, then the blend, with the best score
    of each column marked; [] if there are no scores.

    Args:
        scores: the contents of metrics.json.
    """
    rows = [
        {"name": name, "is_blend": False, **value}
        for name, value in scores["members"].items()
        if value["oof"] is not None
    ]
    if not rows:
        return []
    rows.append(
        {
            "name": f"blend ({scores['blend']['method']}, nested)",
            "is_blend": True,
            **scores["blend"],
        }
    )
    best = max if HIGHER_IS_BETTER[scores["metric"]] else min
    best_folds = [
        best((value for value in values if value is not None), default=None)
        for values in zip(*(row["folds"] for row in rows), strict=True)
    ]
    best_oof = best(row["oof"] for row in rows)
    for row in rows:
        row["cells"] = [
            (value, value is not None and value == top)
            for value, top in zip(row["folds"], best_folds, strict=True)
        ]
        row["best"] = row["oof"] == best_oof
    return rows


def _plots(run: ReportInputs, oof: OutOfFold, scores: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots of the out-of-fold rows, by name, without those that do not apply."""
    if not len(oof.table):
        return {}
    plots = {}
    if complete := oof.complete():
        plots["curves"] = figures.curves(*complete, run.classes)
    plots["reliability"] = figures.reliability(scores["calibration"])
    if oof.targets.ndim == 1 and len(run.classes) <= MOST_SHOWN:
        plots["confusion"] = figures.confusion_matrix(oof.targets, oof.decided, run.classes)
    members = scores["diversity"]["names"]
    if len(members) > 1:
        plots["errors"] = figures.error_correlation(scores["diversity"]["errors"], members)
    if scores["blend"]["method"] == "best_alpha":
        plots["alpha"] = figures.alpha_curve(
            scores["blend"]["level2"]["trace"], run.metric, members
        )
    return plots


def _confused(run: ReportInputs, oof: OutOfFold) -> list[dict[str, Any]]:
    """Return the most frequent confusions, if the confusion matrix cannot show all numbers."""
    if oof.targets.ndim == 2 or len(run.classes) <= figures.MOST_NUMBERED:
        return []
    return facts.confused(oof.targets, oof.decided, run.classes)


def _of_classes(run: ReportInputs, oof: OutOfFold, audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of classes: `classes` has scores, `class_counts` images by fold; the
    `names` of all classes; and how many of an image are `kept`, 0 for all."""
    counts = [
        {"name": name, "images": sum(folds), "folds": folds}
        for name, folds in audit["class_counts"].items()
    ]
    scored = facts.per_class(oof.targets, oof.decided, run.classes) if len(oof.table) else []
    return {
        "classes": _lowest(scored, "f1"),
        "class_counts": _lowest(counts, "images"),
        "names": run.classes,
        "kept": oof.predicted.classes.shape[1] if isinstance(oof.predicted, TopClasses) else 0,
    }


def _lowest(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the rows of a table of classes: all, or the `MOST_SHOWN` with the lowest values of
    `key`, if there are more."""
    if len(rows) <= MOST_SHOWN:
        return rows
    return sorted(rows, key=lambda row: -1 if row[key] is None else row[key])[:MOST_SHOWN]


def _parts(
    run: ReportInputs, oof: OutOfFold, examples: pd.DataFrame, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the scores by tabular column and by group."""
    if not len(oof.table):
        return {"columns": {}, "groups": None}
    rows = examples[examples["split"] == "train"].set_index("id").loc[oof.table["id"]].reset_index()
    scored = facts.Scored(run.metric, oof.targets, oof.predicted, oof.decided)
    columns = [(name, True) for name in stored["numeric"]] + [
        (name, False) for name in stored["categorical"]
    ]
    return {
        "columns": {
            name: facts.by_column(scored, rows[tables.tabular(name)], numeric=numeric)
            for name, numeric in columns
        },
        "groups": facts.by_group(scored, rows["group"]),
    }
