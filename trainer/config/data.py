"""The sections of the competition file that describe the data: `[data]` and its subsections."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config.schema import (
    Flag,
    Number,
    Problem,
    Section,
    Text,
    placeholder_problems,
    short,
)

BUCKET = r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
# The keys that each source requires, and those that it also allows. Any other of these keys only
# applies to other sources.
_NEEDS: dict[str, tuple[set[str], set[str]]] = {
    "pixels": ({"train", "target"}, {"test", "id", "group", "numeric", "categorical"}),
    "files": (
        {"images"},
        {
            "test_images",
            "train",
            "test",
            "id",
            "target",
            "group",
            "numeric",
            "categorical",
            "target_parts",
        },
    ),
    "tfrecords": (
        {"images", "id", "target"},
        {"test_images", "validation_images", "image", "group", "numeric", "categorical"},
    ),
    "cifar10": ({"train"}, {"test"}),
}


@dataclass(frozen=True, kw_only=True)
class TargetPart(Section):
    """`[[data.target_parts]]`: one of the parts that a label is made of, such as the mask, the
    gender and the age of a person.

    The class index counts the parts as digits, the last one fastest. Each part has either values or
    bins.

    ```toml
    [[data.target_parts]]
    column = "{file}"
    values = ["mask*", "incorrect_mask", "normal"]

    [[data.target_parts]]
    column = "age"
    bins = [30, 60]
    ```
    """

    column: Text
    """Column of the CSV `train` with this part; or `{file}`, the name of the image file without its
    extension."""
    values: list[Text] = field(default_factory=list)
    """Values of the part, in order; `*` in a value matches any text."""
    bins: list[Number] = field(default_factory=list)
    """For a numeric column, the lower bounds of the second, third … range, in increasing order."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if bool(self.values) == bool(self.bins):
            yield Problem("values", "or bins must be given, and not both")
        if sorted(set(self.bins)) != self.bins:
            yield Problem("bins", f"= {short(self.bins)}: must be in increasing order")

    def count(self) -> int:
        """Return the number of values of this part."""
        return len(self.values) or len(self.bins) + 1


@dataclass(frozen=True, kw_only=True)
class External(Section):
    """`[[data.external]]`: labelled images from elsewhere, such as earlier years, in the same kind
    of source as the competition's own.

    ```toml
    [[data.external]]
    name = "2019"
    train = "2019/train.csv"
    images = "2019/{id}.jpg"
    groups = "shared"
    ```
    """

    name: Text
    """Name of the set, at most 63 letters, digits, _ and -. It is put before the ids of the set, as
    in "2019/ISIC_0000001"."""
    use: Literal["train", "folds"] = "train"
    """How the images are used: `train`, in every training set and never for validation; `folds`,
    split into folds like the competition's own."""
    groups: Literal["own", "shared"] = "own"
    """What a group of this set has in common with a group of the same name elsewhere: `own`,
    nothing; `shared`, it is the same group, for example the same patient."""
    train: Text = ""
    """Labels of the set, as `train` in `[data]`."""
    images: Text = ""
    """Images of the set, as `images` in `[data]`."""
    id: Text = ""
    """Column of the ids; "" if it has the same name as in `[data]`."""
    target: Text = ""
    """Column of the labels; "" if it has the same name as in `[data]`."""
    group: Text = ""
    """Column of the groups; "" if it has the same name as in `[data]`."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if not re.fullmatch("[A-Za-z0-9_-]{1,63}", self.name):
            yield Problem(
                "name", f"= {self.name!r}: use letters, digits, _ and -, at most 63 characters"
            )


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """`[data]`: where the labelled and the unlabelled images are.

    All paths are relative to `root`. A competition requires images without a label, in `test` or
    `test_images`; a GAN does not. What the other keys mean depends on `source`:

    - pixels: `train` and `test` are CSVs of pixel values, one image per row, in numbered columns
      (pixel0, pixel1, …) or in columns named by row and column (1x1, 1x2, …). Where a file has a
      column `id`, or one named id, that is the id of an image; otherwise it is the number of its
      row, from 1.
    - files: `images` and `test_images` are patterns for image files. `{id}` stands for the id that
      a row of the CSV `train` or `test` has in the column `id`, `*` for any part of a name, and
      `**/` for any folders: "train/**/{id}.*". A pattern with `{id}/{file}` matches every file in
      the folder that a row names. Without `train` the label is part of the path,
      "train/{class}/{id}.jpg", and so is the group if the pattern has `{group}`. Without `test`,
      every file that matches `test_images` is a test image.
    - tfrecords: finished TFRecords, which are read where they are. `images`, `validation_images`
      and `test_images` are patterns in which `{size}` matches 192x192 and the like. `id`, `target`,
      `group`, `image`, `numeric` and `categorical` are names of features.
    - cifar10: `train` (a pattern) and `test` are the batches of CIFAR-10, in the Python or the
      binary version.

    ```toml
    [data]
    source = "files"
    root = "data"
    train = "train.csv"
    id = "image"
    target = "label"
    group = "patient"
    images = "train/{id}.jpg"
    test_images = "test/{id}.jpg"
    ```
    """

    source: Literal["pixels", "files", "tfrecords", "cifar10"]
    """How the images are stored: `pixels`, `files`, `tfrecords` or `cifar10`, as described
    above."""
    root: Text = "."
    """Folder that all other paths are relative to: relative to the competition file, absolute, or
    `gs://bucket/prefix`."""
    train: Text = ""
    """File with the labelled images; what it holds depends on `source`."""
    test: Text = ""
    """File with the images to predict; what it holds depends on `source`. For image files it is a
    CSV with the ids and with the columns of `numeric` and `categorical`; without those it may be
    left out."""
    id: Text = ""
    """Column or feature with the ids of the images, each of which must be unique."""
    target: Text = ""
    """Column or feature with the labels."""
    separator: Text = " "
    """Text between the classes of one label in a multilabel competition."""
    target_parts: list[TargetPart] = field(default_factory=list)
    """`[[data.target_parts]]`: the parts that make up the label, instead of `target`; for source =
    "files"."""
    group: Text = ""
    """Column or feature with the group, such as a patient or a person: images of one group are
    never split over two folds. An empty cell, NA, nan or null is a group of its own."""
    image: Text = ""
    """Feature with the JPEG; for source = "tfrecords"."""
    follow_links: Flag = False
    """Follow symbolic links that lead out of `root`. Links to files and folders below it are always
    followed."""
    images: Text = ""
    """Pattern of the labelled image files, such as `train/{class}/{id}.jpg`."""
    validation_images: Text = ""
    """Pattern of further labelled images, which join the training images; for source =
    "tfrecords"."""
    test_images: Text = ""
    """Pattern of the image files to predict, such as `test/{id}.jpg`."""
    numeric: list[Text] = field(default_factory=list)
    """Numeric columns or features to store beside the images, for `tabular`, `strata` and
    `sample_weight`."""
    categorical: list[Text] = field(default_factory=list)
    """Categorical columns or features to store beside the images, for `tabular` and `strata`."""
    external: list[External] = field(default_factory=list)
    """`[[data.external]]`: labelled images from elsewhere."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        needs, allows = _NEEDS[self.source]
        for key in {name: None for keys in _NEEDS.values() for name in sorted(keys[0] | keys[1])}:
            value = getattr(self, key)
            if key in needs and not value:
                yield Problem(key, f"is missing: source = {self.source!r} requires it")
            elif value and key not in needs | allows:
                kinds = " or ".join(
                    repr(kind) for kind, keys in _NEEDS.items() if key in keys[0] | keys[1]
                )
                yield Problem(key, f"= {short(value)}: only applies to source = {kinds}")
        if self.root.startswith("gs:") and not re.fullmatch(BUCKET + r"(/[^/]+)*/?", self.root):
            yield Problem("root", f"= {self.root!r}: must be gs://bucket or gs://bucket/prefix")
        if self.source == "cifar10":
            for key in ("train", "test"):
                yield from placeholder_problems(key, getattr(self, key), set(), needed=set())
        for key in ("images", "validation_images", "test_images"):
            value = getattr(self, key)
            if value and (value.startswith("/") or ".." in value.split("/")):
                yield Problem(key, f"= {value!r}: must be a path below root, without ..")
        names = [*self.numeric, *self.categorical]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("numeric", f"and categorical name {name!r} more than once")
        if self.source == "files":
            yield from self._files_problems()
        if self.source == "tfrecords":
            for key in ("images", "validation_images", "test_images"):
                yield from placeholder_problems(key, getattr(self, key), {"size"}, needed=set())
        externals = [external.name for external in self.external]
        for name in sorted({name for name in externals if externals.count(name) > 1}):
            yield Problem("external", f"has more than one set named {name!r}")
        for index, external in enumerate(self.external):
            for key, message in self.of(external).problems():
                yield Problem(f"external[{index}].{key}", message)
        features = {"image", "image_name", "target", self.target}
        for name in sorted(set(names) & features):
            yield Problem(
                "numeric", f"or categorical names {name!r}, which is a feature of every record"
            )

    def _files_problems(self) -> Iterator[Problem]:
        if self.train:
            if not self.id:
                yield Problem("id", "is missing: train requires it")
            if bool(self.target) == bool(self.target_parts):
                yield Problem("target", "or target_parts must be given, and not both")
            yield from placeholder_problems("images", self.images, {"id", "file"}, needed={"id"})
            uses_file = any(part.column == "{file}" for part in self.target_parts)
            if uses_file and "{file}" not in self.images:
                yield Problem("target_parts", "use {file}, but images does not contain it")
        else:
            for key in ("target", "target_parts", "numeric", "categorical", "group"):
                if value := getattr(self, key):
                    text = "requires a CSV of labels, but train is not set"
                    yield Problem(key, f"= {short(value)}: {text}")
            yield from placeholder_problems(
                "images", self.images, {"class", "group", "id"}, needed={"class", "id"}
            )
        if self.test and not self.id:
            yield Problem("id", "is missing: test requires it")
        for key in ("numeric", "categorical"):
            if getattr(self, key) and self.test_images and not self.test:
                yield Problem(
                    "test",
                    f"is missing: {key} requires a CSV with these columns for the test images, in"
                    " which a cell may be empty",
                )
        if self.test and not self.test_images:
            yield Problem("test_images", "is missing: test requires it")
        yield from placeholder_problems("test_images", self.test_images, {"id"}, needed={"id"})

    def tests(self) -> tuple[str, str]:
        """Return the key that locates the images without a label, and its value ("" if it is not
        set)."""
        key = "test_images" if self.source in ("files", "tfrecords") else "test"
        return key, getattr(self, key)

    def columns(self) -> dict[str, str]:
        """Return the columns of the labelled images, by purpose: id, target, group."""
        single = {"id": self.id, "target": self.target, "group": self.group}
        return {purpose: name for purpose, name in single.items() if name}

    def of(self, external: External) -> "Data":
        """Return an external set as data of its own, without test images."""
        return dataclasses.replace(
            self,
            train=external.train,
            images=external.images,
            id=external.id or self.id,
            target=external.target or self.target,
            group=external.group or self.group,
            test="",
            test_images="",
            validation_images="",
            external=[],
        )
