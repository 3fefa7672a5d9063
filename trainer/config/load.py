"""Reads competition files and GAN files: TOML to checked sections with absolute paths."""

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any, TypeVar, cast

from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.paths import PathResolver
from trainer.config.schema import parse
from trainer.errors import CompetitionError

File = TypeVar("File", bound=Competition | Gan)


def load(path: str | Path) -> Competition | Gan:
    """Read and check a competition file or a GAN file (one with a section `[gan]`).

    Args:
        path: the TOML file. Relative paths in it are relative to its folder.

    Raises:
        CompetitionError: every problem found, one per line, with file, key, value and remedy.
    """
    return resolve_paths(read(path), os.path.abspath(Path(path).parent))


def load_competition(path: str | Path) -> Competition:
    """As `load`, for a file that must be a competition's.

    Raises:
        CompetitionError: as `load`, or it is a GAN's.
    """
    table = read_toml(path)
    if "gan" in table:
        raise CompetitionError(
            f"{path}: is a GAN file, which has no submission and no leaderboard: name a competition"
            " file"
        )
    file = parse(Competition, table, str(path))
    return resolve_paths(file, os.path.abspath(Path(path).parent))


def read(path: str | Path) -> Competition | Gan:
    """As `load`, but with the paths as they are in the file."""
    table = read_toml(path)
    if "gan" in table:
        return parse(Gan, table, str(path))
    return parse(Competition, table, str(path))


def read_toml(path: str | Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        CompetitionError: there is no such file, or it is not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CompetitionError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        # Besides invalid TOML: a number with thousands of digits, brackets nested thousands deep,
        # an impossible path.
        raise CompetitionError(f"{path}: not valid TOML: {error}") from None
    except FileNotFoundError:
        raise CompetitionError(f"{path}: no such competition file") from None
    except OSError as error:
        raise CompetitionError(f"{path}: cannot be read: {error.strerror}") from None


def resolve_paths(file: File, folder: str) -> File:
    """The file with absolute paths: below its `data.root`, which is relative to `folder`.

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
