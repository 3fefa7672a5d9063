"""Labels of a fold: targets, weights and tabular inputs, learnt from its training rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.objective import Objective
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.events import emit
from trainer.input import tabular


@dataclass(frozen=True)
class Labels:
    """The label of each image of a split, and its inputs other than pixels.

    Attributes:
        targets: (n, outputs) float32: one-hot for multiclass, one value per class for multilabel,
            the positive class for binary.
        weights: (n,) float32, the weight of each image in the loss.
        tabular: (n, columns) float32; no columns if the member uses none.
    """

    targets: np.ndarray
    weights: np.ndarray
    tabular: np.ndarray


def of_fold(
    member: Member,
    examples: pd.DataFrame,
    rows: np.ndarray,
    numeric: Sequence[str],
    goal: Objective,
) -> Labels:
    """Return the labels of all labelled images, for the model of one fold.

    Args:
        member: the recipe.
        examples: n labelled rows of the examples table.
        rows: (k,) positions of the training rows; class weights, scales and categories are computed
            from them alone.
        numeric: names of the numeric tabular columns.
        goal: the ML task and the classes.

    Raises:
        TrainingError: a sample weight is missing or negative, or all weights are 0.
    """
    target = examples["target"].to_numpy()
    classes = len(goal.classes)
    weights = np.ones(len(examples))
    if member.loss.class_weights != "none":
        class_weights = _class_weights(
            member, tables.memberships(target[rows], classes, goal.task), goal
        )
        # An image with several classes has their mean weight; one without a class, the mean of all.
        belongs = tables.memberships(target, classes, goal.task)
        belongs = np.where(belongs.any(axis=1, keepdims=True), belongs, True)
        weights *= belongs @ class_weights / belongs.sum(axis=1)
    if member.loss.sample_weight:
        values = examples[tables.tabular(member.loss.sample_weight)].to_numpy(dtype=np.float64)
        bad = rows[~(values[rows] >= 0)]
        if len(bad):
            raise TrainingError(
                f"loss.sample_weight: id {examples['id'].iloc[bad[0]]!r} has {values[bad[0]]} in"
                f" {member.loss.sample_weight!r}: must be a number of at least 0"
            )
        weights *= np.nan_to_num(values)
    # A mean weight of 1 over the training rows keeps the learning rate comparable.
    mean = float(weights[rows].mean())
    if mean <= 0:
        raise TrainingError(f"member {member.name!r}: all training images of a fold have weight 0")
    belongs = tables.memberships(target, classes, goal.task)
    targets = belongs[:, 1:] if goal.task == "binary" else belongs
    encoder = tabular.fit(examples, rows, member.tabular.columns, numeric)
    return Labels(
        targets.astype(np.float32),
        (weights / mean).astype(np.float32),
        tabular.encode(encoder, examples),
    )


def _class_weights(member: Member, belongs: np.ndarray, goal: Objective) -> np.ndarray:
    """Return (classes,) weights: those of the recipe, or in inverse proportion to the training
    images of each class."""
    if member.loss.class_weights == "given":
        return np.array(member.loss.weights)
    counts = belongs.sum(axis=0)
    present = counts > 0
    if not present.all():
        # All images of a rare class may be in the fold that is held out.
        emit(
            "note",
            "train",
            f"warning: {member.name}: no training image of this fold is of class"
            f" {goal.classes[int(np.argmin(present))]!r} ({int((~present).sum())} such classes)",
        )
    weights = len(belongs) / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0.0)
