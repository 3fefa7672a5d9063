"""Tabular columns as numbers: scaled, imputed and encoded by a fold's training rows alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainer.artifacts.tables import tabular


@dataclass(frozen=True)
class Encoder:
    """What the training rows of a fold say about columns.

    scales: a numeric column to its mean and standard deviation over the rows that have a value.
    categories: a categorical column to every category in the order of its inputs; known: those that
    the training rows have."""

    scales: Mapping[str, tuple[float, float]]
    categories: Mapping[str, Sequence[str]]
    known: Mapping[str, frozenset[str]]

    @property
    def width(self) -> int:
        """How many inputs there are: two a numeric column, one a category and one for those
        unknown."""
        return 2 * len(self.scales) + sum(len(names) + 1 for names in self.categories.values())


def fit(
    examples: pd.DataFrame, rows: np.ndarray, columns: Sequence[str], numeric: Sequence[str]
) -> Encoder:
    """Learn the scales and categories of `columns`.

    Args:
        examples: labelled rows of the examples table. Their categories decide how many inputs there
            are, the same in each fold; one that no training row of this fold has counts as unknown.
        rows: (n,) the positions of the fold's training rows.
        columns: in the order of the inputs. numeric: which of them, and maybe others, are numbers.
    """
    scales, categories, known = {}, {}, {}
    train = examples.iloc[rows]
    for name in columns:
        values = train[tabular(name)]
        if name in numeric:
            mean, std = float(values.mean()), float(values.std(ddof=0))
            # A column that is empty or never varies says nothing: it is 0 everywhere.
            scales[name] = (
                mean if np.isfinite(mean) else 0.0,
                std if np.isfinite(std) and std > 0 else 1.0,
            )
        else:
            categories[name] = sorted(set(examples[tabular(name)]))
            known[name] = frozenset(values)
    return Encoder(scales, categories, known)


def encode(encoder: Encoder, examples: pd.DataFrame) -> np.ndarray:
    """(n, width) float32: each numeric column in standard deviations from its mean, 0 where it is
    missing, and 1 in a second input where it is; each category as one-hot, a missing value ("")
    being one like any other, and the last input for those that the training rows lack."""
    parts = []
    for name, (mean, std) in encoder.scales.items():
        values = examples[tabular(name)].to_numpy(dtype=np.float64)
        missing = np.isnan(values)
        parts.append(np.stack([np.where(missing, 0.0, (values - mean) / std), missing], axis=1))
    for name, names in encoder.categories.items():
        place = {
            category: index
            for index, category in enumerate(names)
            if category in encoder.known[name]
        }
        found = np.array(
            [place.get(category, len(names)) for category in examples[tabular(name)]],
            dtype=np.int64,
        )
        parts.append(np.eye(len(names) + 1)[found])
    if not parts:
        return np.zeros((len(examples), 0), np.float32)
    return np.concatenate(parts, axis=1).astype(np.float32)
