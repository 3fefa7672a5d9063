"""What a source gives for each row of its table."""

from typing import NamedTuple

import numpy as np


class Image(NamedTuple):
    """One image: its id, label and group as text ("" where there is none), (side, side, 1 or 3) uint8 pixels."""

    id: str
    label: str
    group: str
    pixels: np.ndarray


class Rejected(NamedTuple):
    """A row whose image cannot be used: its file ("" where there is none), why, and the file's size in bytes."""

    id: str
    file: str
    reason: str
    bytes: int
