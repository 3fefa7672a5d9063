"""Reads competition files and GAN files: TOML to checked sections with absolute paths."""

import dataclasses
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar, cast

from trainer.config.competition import Competition
from trainer.config.data import BUCKET, Data
from trainer.config.gan import Gan
from trainer.config.known_backbones import is_published
from trainer.config.member import Member
from trainer.config.preparation import Folds
from trainer.config.schema import parse
from trainer.errors import CompetitionError

File = TypeVar("File", bound=Competition | Gan)
# The names and the positions in lists that lead to a key.
Place: TypeAlias = tuple[str | int, ...]


class PathResolver:
    """Makes paths absolute; at the end of the `with` block all wrong paths are reported together.

    Raises:
        CompetitionError: a path in Cloud Storage is invalid or contains `..`. An object may be
            named `..`, and its local copy would then be outside its folder.
    """

    def __init__(self, data: Data, folder: str) -> None:
        """
        Args:
            data: the section [data].
            folder: the folder of the file: absolute, or `gs://bucket/prefix`.
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
        """Return a path relative to data.root as an absolute one; "" stays ""."""
        return self._join(self._root, path) if path else path

    def beside(self, path: str) -> str:
        """Return a path relative to the folder of the file, such as results of another run, as an
        absolute one."""
        return self._join(self._folder, path)

    def data(self) -> Data:
        """Return the section [data] with absolute paths."""
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
        """Return the section [folds] with absolute paths."""
        return dataclasses.replace(
            folds, file=self.below(folds.file), exclude_file=self.below(folds.exclude_file)
        )

    def member(self, member: Member) -> Member:
        """Return a member with an absolute path of weights.

        The models of another run are, for example, "../../runs/digits/models/cnn/fold{fold}.keras".
        """
        return dataclasses.replace(member, weights=self.weights(member.weights))

    def weights(self, weights: str) -> str:
        """Return an absolute path of weights; the names of published weights stay as they are."""
        return weights if is_published(weights) else self.beside(weights)

    def _join(self, parent: str, path: str) -> str:
        if path.startswith("/") or not (path.startswith("gs://") or parent.startswith("gs://")):
            return os.path.abspath(Path(parent) / path)
        # os.path.join does not know that a gs:// path is absolute.
        uri = (path if path.startswith("gs://") else f"{parent}/{path}").rstrip("/")
        if not re.fullmatch(BUCKET + r"(/[^/]+)*", uri) or {".", ".."} & set(uri.split("/")):
            self._problems.append(
                f"{path!r}: must be gs://bucket/path without . and .., or relative to"
                f" {self._folder}"
            )
        return uri


def load(path: str | Path) -> Competition | Gan:
    """Read and check a competition file or a GAN file (one with a section `[gan]`).

    Args:
        path: the TOML file. Relative paths in it are relative to its folder.

    Raises:
        CompetitionError: every problem found, one per line, with file, key, value and remedy.
    """
    return resolve_paths(read(path), os.path.abspath(Path(path).parent))


def load_competition(path: str | Path) -> Competition:
    """Read and check a file as `load` does; it must be a competition file.

    Args:
        path: the TOML file. Relative paths in it are relative to its folder.

    Raises:
        CompetitionError: as for `load`; or it is a GAN file.
    """
    file = read(path)
    if isinstance(file, Gan):
        raise CompetitionError(
            f"{path}: is a GAN file, which has no submission and no leaderboard: name a competition"
            " file"
        )
    return resolve_paths(file, os.path.abspath(Path(path).parent))


def read(path: str | Path) -> Competition | Gan:
    """Read and check a file as `load` does, but leave its paths as they are."""
    text, table = _read_toml(Path(path))
    line = Lines(text).find
    if "gan" in table:
        return parse(Gan, table, str(path), line)
    return parse(Competition, table, str(path), line)


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text and the keys of a TOML file.

    Raises:
        CompetitionError: there is no such file, or it is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise CompetitionError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        # Not only invalid TOML: also a number with thousands of digits, brackets nested thousands
        # deep, or an impossible path.
        hint = ""
        if "Cannot overwrite a value" in str(error):
            hint = "; a section that may occur several times has double brackets, as in [[members]]"
        raise CompetitionError(f"{path}: not valid TOML: {error}{hint}") from None
    except FileNotFoundError:
        raise CompetitionError(f"{path}: no such competition file") from None
    except OSError as error:
        raise CompetitionError(f"{path}: cannot be read: {error.strerror}") from None


def resolve_paths(file: File, folder: str) -> File:
    """Return the file with absolute paths.

    Data paths are relative to `data.root`, which is relative to `folder`.

    Args:
        file: as `read` returns it.
        folder: an absolute path, or `gs://bucket/prefix`.

    Raises:
        CompetitionError: a path in Cloud Storage is malformed, or contains `..`.
    """
    with PathResolver(file.data, folder) as paths:
        if isinstance(file, Gan):
            return cast(File, _resolved_gan(file, paths))
        return cast(File, _resolved_competition(file, paths))


def _resolved_competition(file: Competition, paths: PathResolver) -> Competition:
    # Predictions of other tools are not part of the data: their paths are relative to the file.
    external = [
        dataclasses.replace(one, oof=paths.beside(one.oof), test=paths.beside(one.test))
        for one in file.blend.external
    ]
    sample, answers = file.submission.sample, file.leaderboard.answers
    return dataclasses.replace(
        file,
        data=paths.data(),
        submission=dataclasses.replace(file.submission, sample=paths.below(sample)),
        folds=paths.folds(file.folds),
        blend=dataclasses.replace(file.blend, external=external),
        leaderboard=dataclasses.replace(file.leaderboard, answers=paths.below(answers)),
        members=[paths.member(member) for member in file.members],
    )


def _resolved_gan(file: Gan, paths: PathResolver) -> Gan:
    weights = paths.weights(file.gan.features.weights)
    features = dataclasses.replace(file.gan.features, weights=weights)
    return dataclasses.replace(
        file,
        data=paths.data(),
        folds=paths.folds(file.folds),
        judge=paths.member(file.judge),
        gan=dataclasses.replace(file.gan, features=features),
    )


class Lines:
    """The lines of a TOML file that has been read without an error.

    The parser of the standard library keeps no lines, so it reads the file once more, one statement
    at a time.
    """

    def __init__(self, text: str) -> None:
        """
        Args:
            text: the text of the file.
        """
        self._text = text
        self._lines: dict[Place, int] = {}

    def find(self, key: str) -> int | None:
        """Return the line, from 1, of a key, or of the nearest table around a key that is missing.

        Args:
            key: the key with its section, such as `members[0].epochs`.

        Returns:
            None if the file has none of the tables around it either.
        """
        if not self._lines:
            self._lines = _positions(self._text)
        place: Place = tuple(
            int(index) if index else name
            for index, name in re.findall(r"\[(\d+)\]|([^.\[\]]+)", key)
        )
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place)


def _positions(text: str) -> dict[Place, int]:
    """Return the first line of each key and table."""
    found: dict[Place, int] = {}
    entries: dict[Place, int] = {}
    table: Place = ()
    for line, statement in _statements(text):
        held = tomllib.loads(statement)
        if statement.startswith("["):
            table = _table(held, entries)
            found.setdefault(table[:-1] if isinstance(table[-1], int) else table, line)
            held = {}
        for place in ((), *_places(held)):
            if table + place:
                found.setdefault(table + place, line)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with its first line; one may have several lines."""
    start, lines = 1, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if not lines and (not bare or bare.startswith("#")):
            continue
        start = start if lines else number
        lines.append(line)
        if bare.endswith((",", "[")):
            continue  # in a list of thousands of lines, only the last can end it
        try:
            tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError:
            continue
        yield start, "\n".join(lines).lstrip()
        lines = []


def _table(header: dict[str, Any], entries: dict[Place, int]) -> Place:
    """Return the place that a header opens, and count the entries of lists of tables.

    Args:
        header: the header, as it is read alone.
        entries: the number of entries of each list so far; is changed.
    """
    place: Place = ()
    inner: Any = header
    while inner and isinstance(inner, dict):
        ((name, inner),) = inner.items()
        place += (name,)
        if isinstance(inner, list):
            entries[place] = entries.get(place, 0) + 1
        if place in entries:
            place += (entries[place] - 1,)
    return place


def _places(value: Any) -> Iterator[Place]:
    """Yield the place of each key and entry in a value."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for name, inner in entries:
        yield (name,)
        for place in _places(inner):
            yield (name, *place)
