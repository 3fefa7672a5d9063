"""What can be said about a competition before anything runs: cheap, and without TensorFlow or kfp."""

from pathlib import Path
from typing import NamedTuple

from components.records import pixels
from components.submission import sample
from trainer.competition import Competition
from trainer.errors import CompetitionError


class Found(NamedTuple):
    """How many images the files hold."""

    train: int
    test: int


def check_files(competition: Competition, file: str | Path) -> Found:
    """Look at the files that a competition names: are they there, have they the columns, do the ids agree?

    Cells are not read: a bad pixel or label is found by the records step, which names it.

    Args:
        competition: as loaded.
        file: the competition file, for the error.

    Raises:
        CompetitionError: a key names a file that is not there, or a size that is not the images'.
        DataError: a file lacks a column, or the sample submission's ids are not the test images'.
    """
    named = {
        "data.train": competition.data.train,
        "data.test": competition.data.test,
        "submission.sample": competition.submission.sample,
        "leaderboard.answers": competition.leaderboard.answers,
    }
    missing = [f"{file}: {key} = {path!r}: no such file" for key, path in named.items() if path and not Path(path).is_file()]
    if missing:
        raise CompetitionError("\n".join(missing))
    for path, columns in ((competition.data.train, competition.data.columns()), (competition.data.test, {})):
        side = pixels.side(path, columns=columns)
        if side != competition.records.size:
            raise CompetitionError(
                f"{file}: records.size = {competition.records.size}: the images of {path} are {side} × {side}: set it to {side}"
            )
    found = Found(pixels.count(competition.data.train), pixels.count(competition.data.test))
    wanted = sample.read(competition.submission.sample)
    test_ids = (str(row) for row in range(1, found.test + 1))
    sample.check_ids(wanted, competition.submission.sample, test_ids, competition.data.test)
    return found
