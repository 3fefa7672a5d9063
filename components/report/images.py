"""The images of the report: errors, images drawn at random, and what the augmentation makes of
some."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import simplejpeg

from trainer.artifacts import tables
from trainer.config.member import Augment, Member
from trainer.input.augment import draw, epoch_draws
from trainer.input.shards import Images, load
from trainer.input.workers import Workers

_SIDE = 160
_QUALITY = 85
# Images whose augmentation is shown, and how often.
_SHOWN_AUGMENTED, _TIMES = 4, 5


@dataclass(frozen=True)
class Picture:
    """An image of the report with what is said under it."""

    id: str
    source: str
    truth: str
    predicted: str
    probability: float

    @property
    def right(self) -> bool:
        return self.truth == self.predicted


def pictures(
    images: Images,
    oof: pd.DataFrame,
    places: np.ndarray,
    confidence: np.ndarray,
    classes: Sequence[str],
    task: str,
) -> list[Picture]:
    """The images at `places` of the out-of-fold table, with truth and prediction.

    Args:
        images: those at `places`, in their order. oof: the blend's whole table. confidence: (n,) of
            its decisions.
    """
    workers = Workers(1)
    pixels = workers.decoded(images, range(len(images)))
    workers.close()
    return [
        Picture(
            id=str(oof["id"].iloc[place]),
            source=source(pixels[number]),
            truth=tables.names(int(oof["target"].iloc[place]), classes, task),
            predicted=tables.names(int(oof["prediction"].iloc[place]), classes, task),
            probability=float(confidence[place]),
        )
        for number, place in enumerate(places.tolist())
    ]


def source(pixels: np.ndarray) -> str:
    """An image as an address that holds it: (side, side, channels) uint8, made smaller where it is
    large."""
    side = pixels.shape[0]
    if side > _SIDE:
        pixels = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).reshape(
            _SIDE, _SIDE, -1
        )
    grey = pixels.shape[2] == 1
    packed = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels),
        quality=_QUALITY,
        colorspace="GRAY" if grey else "RGB",
        colorsubsampling="444",
    )
    return "data:image/jpeg;base64," + base64.b64encode(packed).decode()


def fetched(
    root: str | Path,
    examples: pd.DataFrame,
    ids: Sequence[str],
    about: Mapping[str, Any],
    size: int,
) -> Images:
    """Some training images in one size, in the order of `ids`, which may name one more than
    once."""
    rows = (
        examples[examples["split"] == "train"]
        .set_index("id", drop=False)
        .loc[list(dict.fromkeys(ids))]
    )
    images = load(root, rows, about, size=size)
    place_of = {id_: place for place, id_ in enumerate(rows["id"])}
    places = [place_of[id_] for id_ in ids]
    decoded = None if images.decoded is None else images.decoded[places]
    encoded = [images.encoded[place] for place in places]
    return Images(encoded, images.means[places], images.size, images.channels, decoded)


def nearest(sizes: Sequence[int]) -> int:
    """The stored size that is shown: the one nearest to what the page has room for."""
    return min(sizes, key=lambda size: abs(size - _SIDE))


def augmented(
    root: str | Path,
    examples: pd.DataFrame,
    about: Mapping[str, Any],
    members: Sequence[Member],
    seed: int,
) -> list[dict[str, Any]]:
    """For each different augmentation: some training images, as stored and as training sees them,
    again and again.

    Returns:
        names of the members that have it, and `rows`, a list an image of addresses: the original
        first.
    """
    train = examples[(examples["split"] == "train") & (examples["external"] == "")]
    ids = (
        train["id"]
        .iloc[np.linspace(0, len(train) - 1, min(_SHOWN_AUGMENTED, len(train))).astype(int)]
        .tolist()
    )
    kinds: list[tuple[Augment, int, list[str]]] = []
    for member in members:
        kind = member.augment, member.size or int(about["sizes"][0])
        alike = next((names for *one, names in kinds if tuple(one) == kind), None)
        if alike is not None:
            alike.append(member.name)
        elif member.augment != Augment():
            kinds.append((*kind, [member.name]))
    workers, found = Workers(1), []
    for augment, size, names in kinds:
        images = fetched(root, examples, ids, about, size)
        rows = [[source(one)] for one in workers.decoded(images, range(len(ids)))]
        for time in range(_TIMES):
            drawn = draw(
                augment,
                epoch_draws(augment, seed=seed, epoch=time, rows=len(ids)),
                size=size,
                means=images.means,
            )
            for row, one in zip(
                rows, workers.augmented(images, np.arange(len(ids)), drawn, augment), strict=True
            ):
                row.append(source(one))
        found.append({"names": names, "rows": rows})
    workers.close()
    return found
