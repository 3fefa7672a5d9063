"""Paths of a file made whole: by its root, and that by the folder the file stands in."""

import dataclasses
import os
import re
from pathlib import Path
from types import TracebackType

from trainer.config.data import BUCKET, Data, Folds
from trainer.config.known_backbones import is_published
from trainer.config.member import Member
from trainer.errors import CompetitionError


class PathResolver:
    """Makes paths whole; at the end of the `with` block all that are wrong are told together.

    Raises:
        CompetitionError: a path in Cloud Storage is none, or leads up: an object may be called
            `..`, and a copy of it on a disk would lie elsewhere.
    """

    def __init__(self, data: Data, folder: str) -> None:
        """
        Args:
            folder: an absolute one, or `gs://bucket/prefix`.
        """
        self._data, self._folder = data, folder
        self._problems: list[str] = []
        self._root = self._join(folder, data.root)

    def __enter__(self) -> "PathResolver":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._problems and error is None:
            raise CompetitionError("\n".join(self._problems))

    def below(self, path: str) -> str:
        """A path of the data."""
        return self._join(self._root, path) if path else path

    def beside(self, path: str) -> str:
        """A path of what was made, which is kept apart from what was given."""
        return self._join(self._folder, path)

    def data(self) -> Data:
        """The section [data]."""
        data = self._data
        return dataclasses.replace(
            data,
            root=self._root,
            train=self.below(data.train),
            test=self.below(data.test),
            external=[
                dataclasses.replace(external, train=self.below(external.train))
                for external in data.external
            ],
        )

    def folds(self, folds: Folds) -> Folds:
        """The section [folds]."""
        return dataclasses.replace(
            folds, file=self.below(folds.file), exclude_file=self.below(folds.exclude_file)
        )

    def member(self, member: Member) -> Member:
        """A recipe. Another run's models are "../../runs/digits/models/cnn/fold{fold}.keras"."""
        return dataclasses.replace(member, weights=self.weights(member.weights))

    def weights(self, named: str) -> str:
        """A file of weights, or a name of published ones as it is."""
        return named if is_published(named) else self.beside(named)

    def _join(self, above: str, path: str) -> str:
        if path.startswith("/") or not (path.startswith("gs://") or above.startswith("gs://")):
            return os.path.abspath(Path(above) / path)
        # Not os.path.join alone: a gs:// path is whole already, and the system does not know.
        whole = (path if path.startswith("gs://") else f"{above}/{path}").rstrip("/")
        if not re.fullmatch(BUCKET + r"(/[^/]+)*", whole) or {".", ".."} & set(whole.split("/")):
            self._problems.append(
                f"{path!r}: must be gs://bucket/path without . and .., or relative to"
                f" {self._folder}"
            )
        return whole
