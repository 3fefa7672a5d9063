"""Converts tabular columns to numbers: scaled, imputed and encoded with a fold's training rows
alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainer.artifacts.tables import tabular


@dataclass(frozen=True)
class Encoder:
    """The encoding of columns, learnt from the training rows of a fold.

    Attributes:
        scales: for each numeric column, its mean and standard deviation over the rows that have a
            value.
        categories: for each categorical column, all categories in the order of their inputs.
        known: for each categorical column, the categories that occur in the training rows.
    """

    scales: Mapping[str, tuple[float, float]]
    categories: Mapping[str, Sequence[str]]
    known: Mapping[str, frozenset[str]]

    @property
    def width(self) -> int:
        """The number of inputs: two per numeric column; for a categorical column one per category,
        and one for unknown categories."""
        return 2 * len(self.scales) + sum(len(names) + 1 for names in self.categories.values())


def fit(
    examples: pd.DataFrame, rows: np.ndarray, columns: Sequence[str], numeric: Sequence[str]
) -> Encoder:
    """Learn the scales and categories of columns.

    Args:
        examples: labelled rows of the examples table. Their categories determine the number of
            inputs, which is the same in each fold; a category without a training row in this fold
            counts as unknown.
        rows: (n,) positions of the fold's training rows.
        columns: names of the columns, in the order of the inputs.
        numeric: names of the numeric columns; it may contain others, too.
    """
    scales, categories, known = {}, {}, {}
    train = examples.iloc[rows]
    for name in columns:
        values = train[tabular(name)]
        if name in numeric:
            mean, std = float(values.mean()), float(values.std(ddof=0))
            # An empty or constant column carries no information: its input is 0 everywhere.
            scales[name] = (
                mean if np.isfinite(mean) else 0.0,
                std if np.isfinite(std) and std > 0 else 1.0,
            )
        else:
            categories[name] = sorted(set(examples[tabular(name)]))
            known[name] = frozenset(values)
    return Encoder(scales, categories, known)


def encode(encoder: Encoder, examples: pd.DataFrame) -> np.ndarray:
    """Return the inputs of the network: (n, width) float32.

    A numeric column gives its value in standard deviations from the mean (0 if it is missing), and
    a second input that is 1 if it is missing. A categorical column is one-hot; a missing value ("")
    is a category like any other, and the last input is for categories that the training rows lack.

    Args:
        encoder: as `fit` returns it.
        examples: n rows of the examples table.
    """
    parts = []
    for name, (mean, std) in encoder.scales.items():
        values = examples[tabular(name)].to_numpy(dtype=np.float64)
        missing = np.isnan(values)
        parts.append(np.stack([np.where(missing, 0.0, (values - mean) / std), missing], axis=1))
    for name, names in encoder.categories.items():
        input_of = {
            category: index
            for index, category in enumerate(names)
            if category in encoder.known[name]
        }
        indices = np.array(
            [input_of.get(category, len(names)) for category in examples[tabular(name)]],
            dtype=np.int64,
        )
        parts.append(np.eye(len(names) + 1)[indices])
    if not parts:
        return np.zeros((len(examples), 0), np.float32)
    return np.concatenate(parts, axis=1).astype(np.float32)
