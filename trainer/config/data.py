"""The sections of the competition file that describe the data: `[data]`, `[records]`, `[folds]`."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config.schema import Problem, number, optional_text, placeholder_problems, short

BUCKET = r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
# Values in place of a fold number. In the folds table: an image that is left out, or that always
# trains and never validates. For a model: trained on all images, with none held out.
LEFT_OUT, ALWAYS_TRAINS, NO_FOLD = -1, -2, -3
# The keys that each source requires, and those that it also allows. Any other of these keys only
# applies to other sources.
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
    """`[[data.target_parts]]`: one of the parts that a label is made of, such as the mask, the
    gender and the age of a person.

    The class index counts the parts as digits, the last one fastest. Each part has either values or
    bins.

    column: column of the CSV train; or "{file}", the name of the image file without its extension.
    values: the values of the part in order; `*` in a value matches any text.
    bins: for a numeric column, the lower bounds of the second, third … range, in increasing order.
    """

    column: str
    values: list[str] = field(default_factory=list)
    bins: list[float] = field(default_factory=list)

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
class External:
    """`[[data.external]]`: labelled images from elsewhere, such as earlier years, in the same kind
    of source as the competition's own.

    name: name of the set, at most 63 letters, digits, _ and -; it is put before the ids of the set,
        as in "2019/ISIC_0000001".
    use: `train`, the images are in every training set and never validate; `folds`, they are split
        into folds like the competition's own.
    groups: `own`, a group of this set is unrelated to a group of the same name elsewhere; `shared`,
        it is the same group, for example the same patient.
    train: labels of the set, as in `[data]`.
    images: images of the set, as in `[data]`.
    id: column of the ids; "" if it has the same name as in `[data]`.
    target: column of the labels; "" if it has the same name as in `[data]`.
    group: column of the groups; "" if it has the same name as in `[data]`.
    """

    name: str
    use: Literal["train", "folds"] = "train"
    groups: Literal["own", "shared"] = "own"
    train: str = optional_text()
    images: str = optional_text()
    id: str = optional_text()
    target: str = optional_text()
    group: str = optional_text()

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if not re.fullmatch("[A-Za-z0-9_-]{1,63}", self.name):
            yield Problem(
                "name", f"= {self.name!r}: use letters, digits, _ and -, at most 63 characters"
            )


@dataclass(frozen=True, kw_only=True)
class Data:
    """`[data]`: where the labelled and the unlabelled images are.

    All paths are relative to `root`. A competition requires images without a label, in `test` or
    `test_images`; a GAN does not. What the other keys mean depends on `source`:

    - pixels: `train` and `test` are CSVs of pixel values, one image per row.
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

    source: kind of source, see above.
    root: folder that all other paths are relative to: relative to the competition file, absolute,
        or `gs://bucket/prefix`.
    train: file with the labelled images, see source.
    test: file with the unlabelled images, see source.
    id: column or feature with the ids, which must be unique.
    target: column or feature with the labels.
    separator: text between the classes of one label in a multilabel competition.
    target_parts: parts that make up the label, instead of `target`; for source = "files".
    group: column or feature with the group, such as a patient or a person: images of one group are
        never split over two folds. An empty cell is a group of its own, and so is a cell with NA,
        nan or null.
    image: feature with the JPEG; for source = "tfrecords".
    images: pattern of the labelled images, see source.
    validation_images: pattern of further labelled images, which join the training images; for
        source = "tfrecords".
    test_images: pattern of the unlabelled images, see source.
    numeric: numeric columns or features to store in the tables and records.
    categorical: categorical columns or features to store in the tables and records.
    external: `[[data.external]]`, labelled images from elsewhere.
    """

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


@dataclass(frozen=True, kw_only=True)
class Records:
    """`[records]`: how images are stored.

    sizes: sides in pixels, each 8 to 1024 and listed once; every image is stored in each of them.
    quality: JPEG quality, 1 to 100.
    shard_images: images per shard (TFRecord file), 1 to 1,000,000.
    fit: how an image that is not square becomes square: `stretch`, `crop` or `pad`.
    max_pixels: most pixels that a source image may have; a larger one is refused. It is also the
        most pixels that are decoded at the same time.
    on_bad_image: what happens if a labelled file is missing or is not a usable image: `fail` stops
        the run, `skip` leaves the file out and lists it in rejects.csv.
    max_bad_fraction: with `skip`, the largest fraction of the labelled images that may be left out,
        0 to 1; the run fails if there are more.
    parts: number of pipeline steps that share the work, 1 to 100.
    publish: `gs://bucket/prefix` to copy the finished records to; "" for no copy.
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
        """Yield the problems that involve several keys, or the form of a value."""
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            yield Problem("sizes", f"= {short(self.sizes)}: list at least one, each once")
        if self.publish and not re.fullmatch(BUCKET + r"(/[^/]+)+", self.publish):
            yield Problem("publish", f"= {self.publish!r}: must be gs://bucket/prefix")


@dataclass(frozen=True, kw_only=True)
class Folds:
    """`[folds]`: how the labelled images are split into folds.

    count: number of folds, 2 to 50.
    exclude: ids of images to leave out.
    exclude_file: file with more ids to leave out: one per line, or the first column of a CSV with
        the header `id`.
    duplicates: `group` puts byte-identical and near-duplicate images into the same fold; `drop`
        leaves out all but the first of them; `identical` groups byte-identical images and does not
        search for near-duplicates.
    strata: tabular columns to spread evenly over the folds, in addition to the class.
    bins: number of ranges with equally many images that a numeric column of strata is cut into, 2
        to 100.
    file: your own CSV with the columns id and fold, used as it is after the same audit: folds 0 to
        count - 1, -1 to leave an image out, -2 to train on it in every fold and never validate.
    """

    count: int = number(5, low=2, high=50)
    exclude: list[str] = field(default_factory=list)
    exclude_file: str = optional_text()
    duplicates: Literal["group", "drop", "identical"] = "group"
    strata: list[str] = field(default_factory=list)
    bins: int = number(4, low=2, high=100)
    file: str = optional_text()

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
