"""What the images of a fold are to the loss: targets, weights and tabular inputs, learnt from its
training rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.config.member import Member
from trainer.config.objective import Objective
from trainer.errors import TrainingError
from trainer.input import tabular


@dataclass(frozen=True)
class Labels:
    """What each image of a split is, and what the network sees of it in addition to its pixels.

    Attributes:
        targets: (n, outputs) float32: one-hot for multiclass, one value a class for multilabel, the
            positive class for binary.
        weights: (n,) float32, of each image in the loss.
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
    """The labels of all labelled images.

    Args:
        examples: n labelled rows of the examples table.
        rows: (k,) the positions of those that train: class weights, scales and categories come from
            them alone.
        numeric: which tabular columns are numbers.
        goal: its task and classes.

    Raises:
        TrainingError: a class that is to be weighed has no training image, or a sample weight is
            missing or negative.
    """
    target = examples["target"].to_numpy()
    classes = len(goal.classes)
    weights = np.ones(len(examples))
    if member.loss.class_weights != "none":
        of_classes = _class_weights(
            member, tables.memberships(target[rows], classes, goal.task), goal
        )
        # Of several classes an image has the mean weight; of none, the mean of all.
        belongs = tables.memberships(target, classes, goal.task)
        belongs = np.where(belongs.any(axis=1, keepdims=True), belongs, True)
        weights *= belongs @ of_classes / belongs.sum(axis=1)
    if member.loss.sample_weight:
        given = examples[tables.tabular(member.loss.sample_weight)].to_numpy(dtype=np.float64)
        bad = rows[~(given[rows] >= 0)]
        if len(bad):
            raise TrainingError(
                f"loss.sample_weight: id {examples['id'].iloc[bad[0]]!r} has {given[bad[0]]} in"
                f" {member.loss.sample_weight!r}: it must be a number, not below 0"
            )
        weights *= np.nan_to_num(given)
    # A mean of 1 over the training rows leaves the learning rate what it is.
    mean = float(weights[rows].mean())
    if mean <= 0:
        raise TrainingError(f"member {member.name!r}: all training images of a fold weigh 0")
    belongs = tables.memberships(target, classes, goal.task)
    targets = belongs[:, 1:] if goal.task == "binary" else belongs
    encoder = tabular.fit(examples, rows, member.tabular.columns, numeric)
    return Labels(
        targets.astype(np.float32),
        (weights / mean).astype(np.float32),
        tabular.encode(encoder, examples),
    )


def _class_weights(member: Member, belongs: np.ndarray, goal: Objective) -> np.ndarray:
    """(classes,): those given, or in inverse proportion to the training images."""
    if member.loss.class_weights == "given":
        return np.array(member.loss.weights)
    counts = belongs.sum(axis=0)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        raise TrainingError(
            f"member {member.name!r}: no training image of a fold is of class"
            f" {goal.classes[empty[0]]!r}, so class_weights = 'balanced' has no weight for it: take"
            " fewer folds, or give the weights"
        )
    return np.asarray(len(belongs) / (len(counts) * counts))
