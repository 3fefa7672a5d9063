"""Labels of a fold: targets, weights and tabular inputs, learnt from its training rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.objective import Objective
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.input import tabular


@dataclass(frozen=True)
class Labels:
    """The label of each image of a split, and its inputs other than pixels.

    Attributes:
        targets: (n, outputs) float32, one value per class for multilabel, the positive class for
            binary; or (n,) class indices for multiclass.
        weights: (n,) float32, the weight of each image in the loss.
        tabular: (n, columns) float32; no columns if the member uses none.
        classes: the number of classes if the targets are class indices.
        absent: (k,) int64 classes that are weighted but have no training image.
    """

    targets: np.ndarray
    weights: np.ndarray
    tabular: np.ndarray
    classes: int = 0
    absent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def outputs(self) -> int:
        """The number of values that a network predicts for an image."""
        return self.classes or self.targets.shape[1]

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """Return the (k,) int64 classes of rows of which each has one."""
        targets = self.targets[rows]
        return (targets if self.classes else targets[:, 0]).astype(np.int64)

    def targets_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the targets of (k,) rows as a network predicts them: (k, outputs) float32, one-hot
        for multiclass. All rows at once would be too much memory with thousands of classes."""
        if not self.classes:
            return self.targets[rows]
        return (self.targets[rows, None] == np.arange(self.classes)).astype(np.float32)


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
    weights, absent = np.ones(len(examples)), np.zeros(0, np.int64)
    if member.loss.class_weights != "none":
        class_weights, absent = _class_weights(member, target[rows], goal)
        if goal.task == "multilabel":
            # An image with several classes has their mean weight; one without, the mean of all.
            belongs = tables.memberships(target, classes, goal.task)
            belongs = np.where(belongs.any(axis=1, keepdims=True), belongs, True)
            weights *= belongs @ class_weights / belongs.sum(axis=1)
        else:
            weights *= class_weights[target]
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
    targets = target
    if goal.task != "multiclass":
        belongs = tables.memberships(target, classes, goal.task)
        targets = (belongs[:, 1:] if goal.task == "binary" else belongs).astype(np.float32)
    encoder = tabular.fit(examples, rows, member.tabular.columns, numeric)
    return Labels(
        targets,
        (weights / mean).astype(np.float32),
        tabular.encode(encoder, examples),
        classes if goal.task == "multiclass" else 0,
        absent,
    )


def _class_weights(
    member: Member, target: np.ndarray, goal: Objective
) -> tuple[np.ndarray, np.ndarray]:
    """Return (classes,) weights, and the classes without an image: the weights of the recipe, or in
    inverse proportion to the training images of each class; `target` is the column of these images.
    """
    if member.loss.class_weights == "given":
        return np.array(member.loss.weights), np.zeros(0, np.int64)
    classes = len(goal.classes)
    counts = np.bincount(tables.pairs(target, classes, goal.task)[1], minlength=classes)
    present = counts > 0
    weights = len(target) / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0.0), np.flatnonzero(~present)
