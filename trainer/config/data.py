"""The sections of the competition file that say what the data is: `[data]`, `[records]`,
`[folds]`."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config.schema import Problem, number, optional_text, short

BUCKET = r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
# In place of a fold's number. In the folds table: left out altogether; trains always and never
# validates. Of a model: trained on all images, none is held out.
LEFT_OUT, ALWAYS_TRAINS, NO_FOLD = -1, -2, -3
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What each kind of source must have, and may have besides: any other key of these goes with another
# kind.
_NEEDS: dict[str, tuple[set[str], set[str]]] = {
    "pixels": ({"train", "target"}, {"test", "group", "numeric", "categorical"}),
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
class TargetPart:
    """`[[data.target_parts]]`: one of the things that a label is made of, as in masks: the mask,
    the gender, the age.

    column: of the table; or "{file}", the image file's name without its ending.
    values: what it may be, in order; `*` stands for anything. bins: the lower bounds of the second,
        third … range of a numeric column, in order. One of the two.

    A label's index counts the parts as digits, the last one fastest.
    """

    column: str
    values: list[str] = field(default_factory=list)
    bins: list[float] = field(default_factory=list)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if bool(self.values) == bool(self.bins):
            yield Problem("values", "or bins must be given, and not both")
        if sorted(set(self.bins)) != self.bins:
            yield Problem("bins", f"= {short(self.bins)}: must rise")

    def count(self) -> int:
        """How many values it takes."""
        return len(self.values) or len(self.bins) + 1


@dataclass(frozen=True, kw_only=True)
class External:
    """`[[data.external]]`: labelled images from elsewhere, as from earlier years; of the same kind
    as the competition's.

    use: `train`, they train always and never validate; `folds`, they are dealt into folds like the
    others.
    name: stands before their ids, as in "2019/ISIC_0000001".
    train, images: as in `[data]`. id, target, group: where they have other names than there.
    groups: `own`, the same name of a group there and here is chance; `shared`, it is the same
    patient."""

    name: str
    use: Literal["train", "folds"] = "train"
    groups: Literal["own", "shared"] = "own"
    train: str = optional_text()
    images: str = optional_text()
    id: str = optional_text()
    target: str = optional_text()
    group: str = optional_text()

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if not re.fullmatch("[A-Za-z0-9_-]{1,63}", self.name):
            yield Problem("name", f"= {self.name!r}: use letters, digits, _ and -, at most 63")


@dataclass(frozen=True, kw_only=True)
class Data:
    """`[data]`: where the labelled and the unlabelled images are.

    Paths are relative to `root`, a folder (relative to the competition file) or
    `gs://bucket/prefix`. `source` says what they are:

    pixels: `train` and `test` are CSVs of pixel values, a row an image.
    files: image files. `images` and `test_images` are patterns: `{id}` stands for the id that a row
        of the CSVs `train` and `test` has in the column `id`, `*` for anything in a name, `**/` for
        any folders: "train/**/{id}.*". A pattern with `{id}/{file}` takes every file of the folder
        that a row names. Without `train` the pattern says the label, "train/{class}/{id}.jpg", and
        the group where it has `{group}`. Without `test`, every file that fits is a test image.
    A competition needs images without a label, in `test` or `test_images`; a GAN does without.

    tfrecords: ready TFRecords, left where they are; `images`, `validation_images` (they join the
        training images) and `test_images` are patterns in which `{size}` is 192x192 and the like.
        `id`, `target`, `group`, `image`, `numeric` and `categorical` are names of features.
    cifar10: `train` (a pattern) and `test` are CIFAR-10's batches, python or binary.

    Of a multilabel competition a label names several classes, with `separator` between them.

    Images with the same text in the column `group` (a patient, a person) never stand in two folds;
    an empty cell is a group of its own, and so is one that says NA, nan or null. Columns named in
    `numeric` and `categorical` go with the images into the tables and records."""

    source: Literal["pixels", "files", "tfrecords", "cifar10"]
    root: str = "."
    train: str = optional_text()
    test: str = optional_text()
    id: str = optional_text()
    target: str = optional_text()
    separator: str = " "
    target_parts: list[TargetPart] = field(default_factory=list)
    group: str = optional_text()
    image: str = optional_text()
    images: str = optional_text()
    validation_images: str = optional_text()
    test_images: str = optional_text()
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    external: list[External] = field(default_factory=list)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        needs, allows = _NEEDS[self.source]
        for key in {name: None for keys in _NEEDS.values() for name in sorted(keys[0] | keys[1])}:
            value = getattr(self, key)
            if key in needs and not value:
                yield Problem(key, f"is missing: source = {self.source!r} needs it")
            elif value and key not in needs | allows:
                kinds = " or ".join(
                    repr(kind) for kind, keys in _NEEDS.items() if key in keys[0] | keys[1]
                )
                yield Problem(key, f"= {short(value)}: goes with source = {kinds} only")
        if self.root.startswith("gs:") and not re.fullmatch(BUCKET + r"(/[^/]+)*/?", self.root):
            yield Problem("root", f"= {self.root!r}: must be gs://bucket or gs://bucket/prefix")
        if self.source == "cifar10":
            for key in ("train", "test"):
                yield from _unknown_placeholders(key, getattr(self, key), set(), needed=set())
        for key in ("images", "validation_images", "test_images"):
            value = getattr(self, key)
            if value and (value.startswith("/") or ".." in value.split("/")):
                yield Problem(key, f"= {value!r}: must be a path below root, and no ..")
        names = [*self.numeric, *self.categorical]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("numeric", f"and categorical name {name!r} more than once")
        if self.source == "files":
            yield from self._problems_of_files()
        if self.source == "tfrecords":
            for key in ("images", "validation_images", "test_images"):
                yield from _unknown_placeholders(key, getattr(self, key), {"size"}, needed=set())
        externals = [external.name for external in self.external]
        for name in sorted({name for name in externals if externals.count(name) > 1}):
            yield Problem("external", f"has more than one set named {name!r}")
        for index, external in enumerate(self.external):
            for key, message in self.of(external).problems():
                yield Problem(f"external[{index}].{key}", message)
        for name in sorted(
            {*self.numeric, *self.categorical} & {"image", "image_name", "target", self.target}
        ):
            yield Problem(
                "numeric", f"or categorical names {name!r}, which is a feature of every record"
            )

    def _problems_of_files(self) -> Iterator[Problem]:
        if self.train:
            if not self.id:
                yield Problem("id", "is missing: the table needs it")
            if bool(self.target) == bool(self.target_parts):
                yield Problem("target", "or target_parts must be given, and not both")
            yield from _unknown_placeholders("images", self.images, {"id", "file"}, needed={"id"})
            if (
                any(part.column == "{file}" for part in self.target_parts)
                and "{file}" not in self.images
            ):
                yield Problem("target_parts", "name {file}, which images lacks")
        else:
            for key in ("target", "target_parts", "numeric", "categorical", "group"):
                if getattr(self, key):
                    yield Problem(
                        key,
                        f"= {short(getattr(self, key))}: goes with a table only, and data.train"
                        " names none",
                    )
            yield from _unknown_placeholders(
                "images", self.images, {"class", "group", "id"}, needed={"class", "id"}
            )
        if self.test and not self.id:
            yield Problem("id", "is missing: the table needs it")
        if self.test and not self.test_images:
            yield Problem("test_images", "is missing: data.test names images")
        yield from _unknown_placeholders("test_images", self.test_images, {"id"}, needed={"id"})

    def tests(self) -> tuple[str, str]:
        """The key that says where the images without a label are, and its value: "" where there are
        none."""
        key = "test_images" if self.source in ("files", "tfrecords") else "test"
        return key, getattr(self, key)

    def columns(self) -> dict[str, str]:
        """The columns of the labelled file, by what they are for."""
        single = {"id": self.id, "target": self.target, "group": self.group}
        return {purpose: name for purpose, name in single.items() if name}

    def of(self, external: External) -> "Data":
        """What an external set is made of, as data of its own with no test images."""
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


def _unknown_placeholders(
    key: str, pattern: str, allowed: set[str], *, needed: set[str]
) -> Iterator[Problem]:
    found = _PLACEHOLDER.findall(pattern)
    if pattern and (
        set(found) - allowed or needed - set(found) or (needed and len(found) != len(set(found)))
    ):
        wanted = ", ".join(f"{{{name}}}" for name in sorted(needed))
        may = ", ".join(f"{{{name}}}" for name in sorted(allowed - needed))
        say = (
            f"must have {wanted} in it, each once"
            if needed
            else f"may have {may or 'nothing'} of this kind in it"
        )
        yield Problem(
            key, f"= {pattern!r}: {say}" + (f"; {may} may be there too" if needed and may else "")
        )


@dataclass(frozen=True, kw_only=True)
class Records:
    """`[records]`: how images are stored.

    sizes: the sides in pixels; every image is stored in each. quality: of the JPEG. fit: how an
    image that is not square becomes so (`stretch`, `crop`, `pad`). max_pixels: a source image with
    more is refused, and no more than these are decoded at once. on_bad_image: what a labelled file
    that is missing or no usable image does to the run; one that is skipped stands in rejects.csv,
    and more than max_bad_fraction of them fail the run all the same. parts: tasks that share the
    work.
    publish: `gs://bucket/prefix` that the finished records are copied to.
    """

    sizes: list[int] = field(metadata={"low": 8, "high": 1024})
    quality: int = number(95, low=1, high=100)
    shard_images: int = number(2048, low=1, high=1_000_000)
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    max_pixels: int = number(100_000_000, low=1, high=10_000_000_000)
    on_bad_image: Literal["fail", "skip"] = "fail"
    max_bad_fraction: float = number(0.01, low=0, high=1)
    parts: int = number(1, low=1, high=100)
    publish: str = optional_text()

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            yield Problem("sizes", f"= {short(self.sizes)}: name at least one, each once")
        if self.publish and not re.fullmatch(BUCKET + r"(/[^/]+)+", self.publish):
            yield Problem("publish", f"= {self.publish!r}: must be gs://bucket/prefix")


@dataclass(frozen=True, kw_only=True)
class Folds:
    """`[folds]`: how many folds the labelled images are dealt into.

    exclude: ids that are left out altogether. exclude_file: a file that names more of them, a line
        each, or the first column of a CSV whose header is `id`.
    duplicates: `group`, byte-identical and near-duplicate images get one fold; `drop`, all but the
        first of them are left out; `identical`, near-duplicates are not looked for.
    strata: tabular columns to spread evenly besides the class; bins: how many ranges of equal size
    a numeric one is cut into.
    file: a CSV of the user's own, with the columns id and fold, that is taken as it is, after the
        same audit: folds from 0 to count - 1, -1 for left out, -2 for trains always and never
        validates.
    """

    count: int = number(5, low=2, high=50)
    exclude: list[str] = field(default_factory=list)
    exclude_file: str = optional_text()
    duplicates: Literal["group", "drop", "identical"] = "group"
    strata: list[str] = field(default_factory=list)
    bins: int = number(4, low=2, high=100)
    file: str = optional_text()

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        for key in ("exclude", "exclude_file"):
            value = getattr(self, key)
            if self.file and value:
                yield Problem(
                    key,
                    f"= {short(value)}: goes without file; give these ids the fold -1 in"
                    f" {self.file}",
                )
        if self.file and self.duplicates == "drop":
            yield Problem(
                "duplicates", "= 'drop': goes without file; give the copies the fold -1 in it"
            )
        if self.file and self.strata:
            yield Problem("strata", f"= {short(self.strata)}: goes without file")
