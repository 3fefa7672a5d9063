"""The value that becomes white in images of more than 8 bits, from a sample of them."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import PurePath

from components.parallel import Budget, in_order
from components.records.images import deep
from components.records.images.decode import BadImage, opened
from components.records.sources.files import read
from components.records.sources.patterns import MatchedFile, located
from components.records.types import subsets
from trainer.config.data import Data
from trainer.config.preparation import Records

# Files that are looked at in each subset, evenly spaced.
_SAMPLE = 128
# Formats that never have more than 8 bits a value.
_SHALLOW = {".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp"}


def resolved(data: Data, records: Records) -> Records:
    """Return the settings with a white level, if they have none: the largest number of as many bits
    as a sample of the training and test images uses; that of 16 bits if none has more than 8.

    Args:
        data: where the images are; only image files can have more than 8 bits.
        records: the settings.
    """
    if records.white_level or data.source != "files":
        return records
    highest = [value for value in in_order(_highest(records), _sample(data)) if value is not None]
    if not highest:
        return dataclasses.replace(records, white_level=deep.LARGEST)
    return dataclasses.replace(records, white_level=deep.suggested(max(highest)))


def _sample(data: Data) -> Iterator[MatchedFile]:
    for subset in subsets(data):
        pattern = subset.data.images if subset.split == "train" else subset.data.test_images
        files = [
            entry
            for entry in located(subset.data.root, pattern, follow=data.follow_links)
            if PurePath(entry.path).suffix.lower() not in _SHALLOW
        ]
        count = min(_SAMPLE, len(files))
        yield from (files[index * len(files) // count] for index in range(count))


def _highest(records: Records) -> Callable[[MatchedFile], int | None]:
    """Return a function that returns the largest value of a file of more than 8 bits; None for
    other files."""

    budget = Budget(records.max_pixels)

    def of(entry: MatchedFile) -> int | None:
        try:
            data = read(entry.path)
            with opened(data) as image:
                pixels = image.width * image.height
                if pixels > records.max_pixels or deep.bits(image, data) == 8:
                    return None
                with budget.claim(2 * pixels):
                    return deep.highest(image, data)
        # The step that converts the images reports a file that cannot be read.
        except (BadImage, ValueError, OSError):
            return None

    return of
