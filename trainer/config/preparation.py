"""The sections of the competition file that say how images are prepared: `[records]`, `[folds]`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainer.config.data import BUCKET
from trainer.config.schema import Number, OrWord, Problem, Section, Text, Whole, Within, short

# Values in place of a fold number. In the folds table: an image that is left out, or that always
# trains and never validates. For a model: trained on all images, with none held out.
LEFT_OUT, ALWAYS_TRAINS, NO_FOLD = -1, -2, -3


@dataclass(frozen=True, kw_only=True)
class Records(Section):
    """`[records]`: how images are stored.

    ```toml
    [records]
    sizes = [224]
    fit = "crop"
    on_bad_image = "skip"
    ```
    """

    sizes: list[Annotated[Whole, Within(8, 1024, "pixels")]]
    """Sides of the stored images, each listed once; every image is stored in each of them, and each
    member trains on one."""
    quality: Annotated[Whole, Within(1, 100)] = 95
    """JPEG quality of the stored images."""
    shard_images: Annotated[Whole, Within(1, 1_000_000, "images")] = 2048
    """Images per shard, a TFRecord file."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """How an image that is not square becomes square: `stretch` changes its proportions, `crop`
    cuts its longer side, `pad` adds black."""
    max_pixels: Annotated[Whole, Within(1, 10_000_000_000, "pixels")] = 100_000_000
    """Most pixels that a source image may have; a larger one is refused. It is also the most that
    are decoded at the same time."""
    white_level: Annotated[Whole, Within(0, 2**32 - 1), OrWord("auto")] = 0
    """Value that becomes white in images of more than 8 bits; `auto`, or 0, takes the largest
    number of as many bits as a sample of the training and test images uses, such as 4095. An image
    with a larger value cannot be used."""
    on_bad_image: Literal["fail", "skip"] = "fail"
    """What happens if a labelled file is missing or is not a usable image: `fail` stops the run,
    `skip` leaves the file out and lists it in rejects.csv."""
    max_bad_fraction: Annotated[Number, Within(0, 1)] = 0.01
    """With `skip`, the largest fraction of the labelled images that may be left out; the run fails
    if there are more."""
    on_bad_test_image: Literal["fail", "prior"] = "fail"
    """What happens if a test image is missing or is not a usable image: `fail` stops the run,
    `prior` gives it the mean of the other test images' predictions."""
    parts: Annotated[Whole, Within(1, 100)] = 1
    """Number of pipeline steps that share the work."""
    publish: Text = ""
    """`gs://bucket/prefix` that the finished records are copied to; "" for no copy."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            yield Problem("sizes", f"= {short(self.sizes)}: list at least one size, and none twice")
        if self.publish and not re.fullmatch(BUCKET + r"(/[^/]+)+", self.publish):
            yield Problem("publish", f"= {self.publish!r}: must be gs://bucket/prefix")


@dataclass(frozen=True, kw_only=True)
class Folds(Section):
    """`[folds]`: how the labelled images are split into folds.

    ```toml
    [folds]
    count = 5
    duplicates = "group"
    ```
    """

    count: Annotated[Whole, Within(2, 50)] = 5
    """Number of folds, and so of models per member."""
    exclude: list[Text] = field(default_factory=list)
    """Ids of labelled images to leave out."""
    exclude_file: Text = ""
    """File with more ids to leave out: one per line, or the first column of a CSV with the header
    `id`."""
    duplicates: Literal["group", "drop", "identical"] = "group"
    """What happens with duplicates: `group` puts identical and near-duplicate images into the same
    fold; `drop` leaves out all but the first of them; `identical` groups identical images and does
    not search for near-duplicates."""
    strata: list[Text] = field(default_factory=list)
    """Tabular columns to spread evenly over the folds, in addition to the class."""
    bins: Annotated[Whole, Within(2, 100)] = 4
    """Number of ranges with equally many images that a numeric column of `strata` is cut into."""
    file: Text = ""
    """Your own folds: a CSV with the columns id and fold, used as it is after the same audit. Folds
    are 0 to count - 1; -1 leaves an image out, -2 trains on it in every fold and never
    validates."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        for key in ("exclude", "exclude_file"):
            value = getattr(self, key)
            if self.file and value:
                yield Problem(
                    key,
                    f"= {short(value)}: cannot be combined with file; give these ids the fold -1 in"
                    f" {self.file}",
                )
        if self.file and self.duplicates == "drop":
            yield Problem(
                "duplicates",
                "= 'drop': cannot be combined with file; give the copies the fold -1 in it",
            )
        if self.file and self.strata:
            yield Problem("strata", f"= {short(self.strata)}: cannot be combined with file")
