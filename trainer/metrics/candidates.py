"""The most probable classes of images, in place of all: with thousands of classes, most of a table
of predictions is next to nothing.

An image's kept classes are its candidates. The other classes share what is left of its probability
equally.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np


@dataclass(frozen=True)
class TopClasses:
    """The most probable classes of n rows.

    Attributes:
        classes: (n, k) int64 class indices, the most probable first.
        probabilities: (n, k) float32 in 0 to 1; NaN in a row that is missing.
        count: the number of all classes.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    count: int

    def __len__(self) -> int:
        return len(self.classes)

    def rest(self) -> np.ndarray:
        """Return the probability of each class of a row that is not kept: (n,) float32.

        It is less than that of each class that is kept, also where what is left of 1 is a rounding
        error.
        """
        left = 1 - self.probabilities.sum(axis=1, dtype=np.float64)
        others = max(1, self.count - self.classes.shape[1])
        below = np.nextafter(self.probabilities.min(axis=1), np.float32(0))
        return np.minimum((np.maximum(left, 0) / others).astype(np.float32), below)


@dataclass(frozen=True)
class Candidates:
    """The true classes of n rows of which only some classes have a probability.

    It stands for (n,) class indices as the targets of a metric; column j of row i of its (n, k)
    probabilities is that of class `classes[i, j]`.

    Attributes:
        column: (n,) int64, the column of the true class, which is always a candidate.
        classes: (n, k) int64 class indices in ascending order; `count` in columns that a row does
            not need, whose probability is 0.
        count: the number of all classes.
    """

    column: np.ndarray
    classes: np.ndarray
    count: int
    ndim: ClassVar[int] = 1

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, rows: np.ndarray) -> "Candidates":
        return Candidates(self.column[rows], self.classes[rows], self.count)

    @property
    def truth(self) -> np.ndarray:
        """(n,) int64 true class indices."""
        return self.of(self.column)

    def of(self, columns: np.ndarray) -> np.ndarray:
        """Return the classes of (n,) columns, one a row: (n,) int64 class indices."""
        return self.classes[np.arange(len(self)), columns]


# (n,) class indices; (n, classes) bool for images with any number of classes; or Candidates.
Targets: TypeAlias = np.ndarray | Candidates


def columns_of(targets: Targets) -> np.ndarray:
    """Return the column of each row's true class, (n,) int64, if each row has exactly one class."""
    return targets.column if isinstance(targets, Candidates) else targets


def truth_of(targets: Targets) -> np.ndarray:
    """Return (n,) true class indices, or (n, classes) bool."""
    return targets.truth if isinstance(targets, Candidates) else targets


def count_of(targets: Targets, probabilities: np.ndarray) -> int:
    """Return the number of classes of targets and their (n, classes) probabilities."""
    return targets.count if isinstance(targets, Candidates) else probabilities.shape[1]


def top_classes(probabilities: np.ndarray, keep: int) -> TopClasses:
    """Keep the most probable classes of each row.

    Args:
        probabilities: (n, classes) in 0 to 1.
        keep: how many classes to keep, at most as many as there are.
    """
    kept = np.argpartition(-probabilities, keep - 1, axis=1)[:, :keep].astype(np.int64)
    kept.sort(axis=1)
    values = np.take_along_axis(probabilities, kept, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return TopClasses(
        np.take_along_axis(kept, order, axis=1),
        np.take_along_axis(values, order, axis=1).astype(np.float32),
        probabilities.shape[1],
    )


def certain(numbers: np.ndarray, count: int) -> TopClasses:
    """Return one class of each row, with probability 1.

    Args:
        numbers: (n,) class indices.
        count: the number of all classes.
    """
    return TopClasses(numbers[:, None], np.ones((len(numbers), 1), dtype=np.float32), count)


def joined(parts: Sequence[TopClasses]) -> np.ndarray:
    """Return the classes that at least one model kept of each row, in ascending order.

    Args:
        parts: one or more, of the same n rows; rows that a model lacks add nothing. With the true
            classes among them (`certain`), these are candidates as well, with what a model that did
            not keep them has left for them: their own probability would be an advantage over
            classes that the model did not keep either.

    Returns:
        (n, k) int64; the number of classes in columns that a row does not need.
    """
    count = parts[0].count
    kept = np.concatenate(
        [np.where(np.isnan(part.probabilities), count, part.classes) for part in parts], axis=1
    )
    kept.sort(axis=1)
    kept[:, 1:][kept[:, 1:] == kept[:, :-1]] = count
    kept.sort(axis=1)
    needed = int((kept < count).sum(axis=1).max(initial=1))
    return kept[:, :needed]


def spread(part: TopClasses, classes: np.ndarray) -> np.ndarray:
    """Return a model's probabilities of the joined classes: (n, k) float32; NaN in a row that it
    lacks.

    Args:
        part: what the model kept.
        classes: (n, k) as `joined` returns them.
    """
    count = part.count
    present = ~np.isnan(part.probabilities[:, 0])
    values = np.repeat(part.rest()[:, None], classes.shape[1], axis=1)
    values[classes == count] = 0
    # One search over all rows: a row's classes are between those of the row before and after it.
    offset = np.arange(len(classes))[:, None] * (count + 1)
    places = np.searchsorted((classes + offset).ravel(), (part.classes + offset).ravel())
    known = np.repeat(present, part.classes.shape[1])
    values.reshape(-1)[places[known]] = part.probabilities.ravel()[known]
    values[~present] = np.nan
    return values


# (n, classes) probabilities, or the most probable classes of n rows.
Predicted: TypeAlias = np.ndarray | TopClasses


def arrays_of(predicted: Predicted) -> list[np.ndarray]:
    """Return predictions as arrays, for a file."""
    if isinstance(predicted, np.ndarray):
        return [predicted]
    return [predicted.classes, predicted.probabilities]


def of_arrays(arrays: Sequence[np.ndarray], count: int) -> Predicted:
    """Return the predictions that `arrays_of` returned the arrays of; `count` is the number of all
    classes."""
    return arrays[0] if len(arrays) == 1 else TopClasses(arrays[0], arrays[1], count)


def concatenated(parts: Sequence[Predicted]) -> Predicted:
    """Return the rows of several predictions of one form, one after the other."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if arrays:
        return np.concatenate(arrays)
    tops = [part for part in parts if isinstance(part, TopClasses)]
    return TopClasses(
        np.concatenate([part.classes for part in tops]),
        np.concatenate([part.probabilities for part in tops]),
        tops[0].count,
    )


def true_among(truth: np.ndarray, classes: np.ndarray, count: int) -> Candidates:
    """Return the targets of rows whose candidates are known.

    Args:
        truth: (n,) true class indices, each of which is a candidate.
        classes: (n, k) as `joined` returns them.
        count: the number of all classes.
    """
    return Candidates((classes == truth[:, None]).argmax(axis=1), classes, count)


def scorable(predicted: Predicted, truth: np.ndarray) -> tuple[Targets, np.ndarray]:
    """Return the targets and the (n, classes) probabilities by which a metric scores predictions.

    Args:
        predicted: of n rows.
        truth: (n,) class indices, or (n, classes) bool.
    """
    if isinstance(predicted, np.ndarray):
        return truth, predicted
    classes = joined([predicted, certain(truth, predicted.count)])
    return true_among(truth, classes, predicted.count), spread(predicted, classes)


def decisions(decided: np.ndarray, truth: np.ndarray, count: int) -> tuple[Targets, np.ndarray]:
    """Return the targets and the probabilities by which a metric of classes scores decisions.

    Args:
        decided: (n,) class indices.
        truth: (n,) class indices.
        count: the number of all classes.
    """
    named = certain(decided, count)
    known = joined([named, certain(truth, count)])
    return true_among(truth, known, count), spread(named, known)


def narrowed(
    probabilities: np.ndarray,
    classes: np.ndarray,
    count: int,
    keep: int,
    unknown: np.ndarray | None = None,
) -> TopClasses:
    """Keep the most probable classes of rows of which some classes are known.

    Args:
        probabilities: (n, k) in 0 to 1.
        classes: (n, k) as `joined` returns them, with `keep` classes in each row, or more, that
            somebody kept.
        count: the number of all classes.
        keep: as for `top_classes`.
        unknown: (n, k) bool, the columns that nobody kept, such as those of true classes; None for
            none.
    """
    left_out = classes == count if unknown is None else (classes == count) | unknown
    top = top_classes(np.where(left_out, -1, probabilities), keep)
    return TopClasses(np.take_along_axis(classes, top.classes, axis=1), top.probabilities, count)


def mean_row(predicted: Predicted) -> Predicted:
    """Return the mean of n rows, in the form of the rows: one row."""
    if isinstance(predicted, np.ndarray):
        return predicted.mean(axis=0, keepdims=True, dtype=np.float64)
    rest = predicted.rest()
    more = predicted.probabilities.astype(np.float64) - rest[:, None]
    total = np.bincount(predicted.classes.ravel(), more.ravel(), minlength=predicted.count)
    mean = (total + rest.sum(dtype=np.float64)) / len(predicted)
    return top_classes(mean[None], predicted.classes.shape[1])


def repeated(predicted: Predicted, times: int) -> Predicted:
    """Return one row as many times as given."""
    if isinstance(predicted, np.ndarray):
        return np.repeat(predicted, times, axis=0)
    return TopClasses(
        np.repeat(predicted.classes, times, axis=0),
        np.repeat(predicted.probabilities, times, axis=0),
        predicted.count,
    )
