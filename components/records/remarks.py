"""What a run should tell about its images: faults, depth, darkness, and what cannot be used."""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from trainer.config.preparation import Records
from trainer.errors import shown

# Images whose pixels are below this level, but for one in a few hundred, are nearly black.
_DARK = 16.0
# Share of nearly black images above which they are reported.
_MANY = 0.5


def remarks(examples: pd.DataFrame, rejects: pd.DataFrame, records: Records) -> Iterator[str]:
    """Yield what is remarkable about converted images.

    Args:
        examples: the examples table.
        rejects: the rejects table.
        records: as passed to `convert`.
    """
    faulty = examples[examples["fault"] != ""]
    if len(faulty):
        kinds = Counter(
            re.sub(r"^Warning: |\d+ ", "", text, flags=re.MULTILINE) for text in faulty["fault"]
        )
        listed = "; ".join(f"{kind}: {count}" for kind, count in kinds.most_common(5))
        yield (
            f"warning: {len(faulty)} JPEGs have faults that other tools ignore, too ({listed}), for"
            f" example {shown(faulty['id'].tolist()[:1])}: they are used"
        )
    deep = examples[examples["bits"] > 8]
    if len(deep):
        yield (
            f"{len(deep)} images have more than 8 bits a value: 0 to {records.white_level or 65535}"
            " becomes black to white (records.white_level)"
        )
    dark = _dark(examples, min(records.sizes))
    if dark.mean() > _MANY:
        advice = (
            ": set records.white_level to the largest value that the files have"
            if len(deep)
            else ": were they saved with too few bits?"
        )
        yield (
            f"warning: {int(dark.sum())} of {len(examples)} images are nearly black (levels below"
            f" {_DARK:.0f} of 255), for example {shown(examples['id'][dark].tolist()[:3])}{advice}"
        )
    bad_tests = rejects["id"][rejects["split"] == "test"].tolist()
    if bad_tests:
        yield (
            f"warning: {len(bad_tests)} test images cannot be used and get the mean prediction"
            f" (rejects.csv): {shown(bad_tests)}"
        )


def _dark(examples: pd.DataFrame, size: int) -> np.ndarray:
    """Return whether each image is nearly black: (n,) bool. Its mean plus three deviations is below
    a level that few pixels can then be above (Chebyshev's inequality)."""
    sums, squares = (
        np.array(examples[f"{name}_{size}"].tolist(), dtype=np.float64).sum(axis=1)
        for name in ("sum_c", "sumsq_c")
    )
    values = size * size * len(examples[f"sum_c_{size}"].iloc[0])
    mean = sums / values
    deviation = np.sqrt(np.maximum(squares / values - mean**2, 0))
    return np.asarray(mean + 3 * deviation < _DARK)
