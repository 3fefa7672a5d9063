"""The images of the report: errors, random images, and examples of the augmentation."""

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
from trainer.config.augment import Augment
from trainer.config.member import Member
from trainer.input.augment import draw, epoch_draws
from trainer.input.shards import Images, load
from trainer.input.workers import Workers

# Side of a shown image in pixels, at most.
_SIDE = 160
_QUALITY = 85
# Images whose augmentation is shown, and augmented versions of each.
_SHOWN_AUGMENTED, _TIMES = 4, 5


@dataclass(frozen=True)
class Picture:
    """An image of the report and its caption.

    Attributes:
        id: the image's id.
        source: the image as a data URL.
        truth: names of its classes.
        predicted: names of the decided classes.
        probability: confidence in the decision, 0 to 1.
    """

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
    """Return the images at the rows `places` of the out-of-fold table, with truth and prediction.

    Args:
        images: the images at `places`, in this order.
        oof: the blend's out-of-fold table of n rows.
        places: (k,) row numbers.
        confidence: (n,) probability of each decision, 0 to 1.
        classes: class names in order.
        task: the competition's task.
    """
    workers = Workers(1)
    pixels = workers.decoded(images, range(len(images)))
    workers.close()
    return [
        Picture(
            id=str(oof["id"].iloc[row]),
            source=source(pixels[number]),
            truth=tables.names(int(oof["target"].iloc[row]), classes, task),
            predicted=tables.names(int(oof["prediction"].iloc[row]), classes, task),
            probability=float(confidence[row]),
        )
        for number, row in enumerate(places.tolist())
    ]


def source(pixels: np.ndarray) -> str:
    """Return an image as a data URL of a JPEG, shrunk to at most `_SIDE` pixels.

    Args:
        pixels: (side, side, channels) uint8, with 1 or 3 channels.
    """
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
    """Load training images in one size.

    Args:
        root: the local folder with the shards.
        examples: the examples table.
        ids: ids of the images, in the order of the result; repeats are allowed.
        about: the records folder's manifest.
        size: the stored size, in pixels.
    """
    rows = (
        examples[examples["split"] == "train"]
        .set_index("id", drop=False)
        .loc[list(dict.fromkeys(ids))]
    )
    images = load(root, rows, about, size=size)
    position_of = {id_: position for position, id_ in enumerate(rows["id"])}
    positions = [position_of[id_] for id_ in ids]
    decoded = None if images.decoded is None else images.decoded[positions]
    encoded = [images.encoded[position] for position in positions]
    return Images(encoded, images.means[positions], images.size, images.channels, decoded)


def nearest(sizes: Sequence[int]) -> int:
    """Return the stored size nearest to the size of an image on the page."""
    return min(sizes, key=lambda size: abs(size - _SIDE))


def augmented(
    root: str | Path,
    examples: pd.DataFrame,
    about: Mapping[str, Any],
    members: Sequence[Member],
    seed: int,
) -> list[dict[str, Any]]:
    """Show each distinct augmentation on a few training images.

    Args:
        root: the local folder with the shards.
        examples: the examples table.
        about: the records folder's manifest.
        members: the members' recipes.
        seed: of the augmentation's draws.

    Returns:
        for each augmentation, the `names` of its members, and `rows`, one list of data URLs per
        image: the original, then `_TIMES` augmented versions.
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
        same = next((names for *other, names in kinds if tuple(other) == kind), None)
        if same is not None:
            same.append(member.name)
        elif member.augment != Augment():
            kinds.append((*kind, [member.name]))
    workers, results = Workers(1), []
    for augment, size, names in kinds:
        images = fetched(root, examples, ids, about, size)
        rows = [[source(pixels)] for pixels in workers.decoded(images, range(len(ids)))]
        for time in range(_TIMES):
            drawn = draw(
                augment,
                epoch_draws(augment, seed=seed, epoch=time, rows=len(ids)),
                size=size,
                means=images.means,
            )
            for row, pixels in zip(
                rows, workers.augmented(images, np.arange(len(ids)), drawn, augment), strict=True
            ):
                row.append(source(pixels))
        results.append({"names": names, "rows": rows})
    workers.close()
    return results
