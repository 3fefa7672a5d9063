"""`foldline leaderboard`: submit results, and compare their scores with cross-validation."""

import csv
import datetime
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.submission import sample, upload
from components.submission.upload import Board, Entry
from components.submission.verify import check_file
from components.submission.write import file_name
from pipelines.definitions import fingerprint
from trainer.artifacts import tables
from trainer.artifacts.csv_rows import read_rows
from trainer.artifacts.manifest import atomic_write, sha256
from trainer.config.competition import Competition
from trainer.errors import CompetitionError, DataError, LeaderboardError

HISTORY = "leaderboard.csv"
PAGE = "leaderboard.html"
COLUMNS = (
    "time",
    "competition",
    "sha256",
    "code",
    "cv",
    "public",
    "private",
    "ref",
    "status",
    "message",
)
Row = dict[str, str]
# The smallest number of submissions for which a rank correlation is shown.
_LEAST = 3


def submit(
    competition: Competition,
    out: Path,
    *,
    message: str = "",
    again: bool = False,
    say: Callable[[str], None],
) -> None:
    """Check the submission of a run, upload it, wait for its score, and add it to the history.

    Args:
        competition: as loaded; its section [leaderboard] names the leaderboard.
        out: the run's folder.
        message: shown next to the submission; "" for the cross-validation score and code version.
        again: submit even if the same file was submitted before.
        say: called with each line of text for the user.

    Raises:
        CompetitionError: leaderboard.competition is not set.
        DataError: there is no submission, or the service would reject it.
        LeaderboardError: the service rejected it; the message has the reason.
    """
    settings = competition.leaderboard
    if not settings.competition:
        raise CompetitionError(
            "leaderboard.competition is not set: it must be the last part of the competition's"
            " address on kaggle.com"
        )
    path = out / file_name(competition.submission)
    if not path.is_file():
        raise DataError(f"{path}: no such submission: run the competition first")
    expected = sample.read(competition.submission.sample)
    rows = check_file(
        path, expected, competition.submission, competition.classes, task=competition.task
    )
    digest, history = sha256(path), read(out)
    previous = [
        row
        for row in history
        if row["sha256"] == digest and row["competition"] == settings.competition
    ]
    earlier = next((row for row in previous if row["status"] != "error"), None)
    if earlier is not None and not again:
        public = earlier["public"] or "none yet"
        say(
            f"{path}: already submitted at {earlier['time']}, public score {public}; use --again to"
            " submit it again"
        )
        return
    cv = _cross_validation(out, digest, say)
    row = dict.fromkeys(COLUMNS, "") | {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "competition": settings.competition,
        "sha256": digest,
        "code": fingerprint.version(),
        "cv": "" if cv is None else f"{cv:.9g}",
    }
    row["message"] = (
        message or f"foldline {row['code']}, {competition.metric} {row['cv'] or 'without a score'}"
    )
    say(f"{path}: valid, {rows} rows; submitting to {settings.competition}")
    with upload.board(settings.competition, settings.timeout_seconds) as board:
        row["ref"] = str(board.submit(path, path.name, row["message"]))
        # Written before the score is known: a submission that counts must not be lost.
        row["status"] = "pending"
        _write(out, [*history, row])
        say(f"submission {row['ref']} accepted; waiting for its score")
        entry = board.wait(int(row["ref"]), settings.timeout_seconds)
    row.update(_score_columns(entry))
    _write(out, [*history, row])
    write_page(
        competition,
        [line for line in [*history, row] if line["competition"] == settings.competition],
        out,
    )
    _print_outcome(entry, row, settings.timeout_seconds, say)


def _print_outcome(
    entry: upload.Entry, row: Mapping[str, str], timeout: float, say: Callable[[str], None]
) -> None:
    if entry.status == "error":
        raise LeaderboardError(
            f"kaggle.com could not score submission {entry.ref}:"
            f" {entry.error or 'no reason given'}" + (f"; {entry.url}" if entry.url else "")
        )
    if entry.status == "pending":
        say(f"no score after {timeout:g} seconds: check later with `foldline leaderboard list`")
        return
    say(
        f"public {row['public'] or 'none'}, private {row['private'] or 'none'}, cross-validation"
        f" {row['cv'] or 'none'}"
    )


def _cross_validation(out: Path, digest: str, say: Callable[[str], None]) -> float | None:
    """The nested cross-validation score of the run that wrote the submission.

    Args:
        out: the run's folder.
        digest: sha256 of the submission.
        say: called with a warning if the submission is not the one that the run wrote.

    Returns:
        None if the submission was changed since, or the run has no such score.

    Raises:
        DataError: the run's folder has no readable scores.
    """
    path = out / tables.METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        cv, scored_digest = metrics["blend"]["oof"], metrics["submission"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: has no scores of a run ({type(error).__name__}): run the competition again"
        ) from None
    if scored_digest != digest:
        say("warning: the submission was changed after the run: it has no cross-validation score")
        return None
    return None if cv is None else float(cv)


def show(competition: Competition, out: Path, *, say: Callable[[str], None]) -> None:
    """Request the scores that are still missing, and show all submissions as a table and a page.

    Args:
        competition: as loaded; its section [leaderboard] names the leaderboard.
        out: the run's folder.
        say: called with each text for the user.

    Raises:
        LeaderboardError: scores are missing and the service did not give them; raised after the
            table is shown.
    """
    all_rows = read(out)
    history = [row for row in all_rows if row["competition"] == competition.leaderboard.competition]
    if not history:
        say(
            f"{out / HISTORY}: no submission to"
            f" {competition.leaderboard.competition or 'any competition'} yet"
        )
        return
    # Private scores appear when a competition ends.
    unscored = [
        row
        for row in history
        if row["ref"] and row["status"] != "error" and not (row["public"] and row["private"])
    ]
    failure: LeaderboardError | None = None
    try:
        if unscored:
            with upload.board(
                unscored[0]["competition"], competition.leaderboard.timeout_seconds
            ) as board:
                _refresh(board, unscored)
    except LeaderboardError as error:
        failure = error
    _write(out, all_rows)
    write_page(competition, history, out)
    say(table(history))
    coefficient = correlation(history)
    if coefficient is not None:
        say(
            f"\nrank correlation of cross-validation and public score: {coefficient:.3f}, over"
            f" {len(pairs(history))} submissions"
        )
    say(f"\n{out / PAGE}")
    if failure is not None:
        raise failure


def _refresh(board: Board, rows: list[Row]) -> None:
    for row in rows:
        row.update(_score_columns(board.look(int(row["ref"]))))


def _score_columns(entry: Entry) -> Row:
    """The columns of the history that the service fills in."""
    scores = {"public": entry.public, "private": entry.private}
    return {
        "status": entry.status,
        **{name: "" if value is None else f"{value:.9g}" for name, value in scores.items()},
    }


def read(out: Path) -> list[Row]:
    """The submission history of a run's folder, oldest first; [] if nothing was submitted.

    Raises:
        DataError: the file has other columns, or a score is not a number.
    """
    path = out / HISTORY
    if not path.is_file():
        return []
    header, *rows = list(read_rows(path)) or [[]]
    if header != list(COLUMNS) or any(len(row) != len(COLUMNS) for row in rows):
        raise DataError(
            f"{path}: the columns must be {', '.join(COLUMNS)}: move the file away to start a new"
            " history"
        )
    history = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    for number, entry in enumerate(history, start=1):
        for name in ("cv", "public", "private", "ref"):
            if entry[name] and not _is_number(entry[name]):
                raise DataError(
                    f"{path}: row {number}, column {name!r}: {entry[name]!r} is not a number"
                )
    return history


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _write(out: Path, rows: list[Row]) -> None:
    with (
        atomic_write(out / HISTORY) as partial,
        open(partial, "w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def pairs(rows: list[Row]) -> list[tuple[float, float]]:
    """(cross-validation score, public score) of each submission that has both."""
    return [(float(row["cv"]), float(row["public"])) for row in rows if row["cv"] and row["public"]]


def correlation(rows: list[Row]) -> float | None:
    """Spearman's rank correlation of cross-validation and public score, from -1 to 1.

    None for fewer than three submissions with both scores, or if one of the scores is constant.
    """
    from scipy.stats import spearmanr

    points = pairs(rows)
    if len(points) < _LEAST or any(len(set(values)) == 1 for values in zip(*points, strict=True)):
        return None
    return float(spearmanr(*zip(*points, strict=True)).statistic)


def table(rows: list[Row]) -> str:
    """The history as text."""
    cells = [["time", "cv", "public", "private", "status", "code", "file"]]
    cells += [
        [
            row["time"],
            *(
                f"{float(row[name]):.5f}" if row[name] else "-"
                for name in ("cv", "public", "private")
            ),
            row["status"],
            row["code"],
            row["sha256"][:8],
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def write_page(competition: Competition, rows: list[Row], out: Path) -> None:
    """Write leaderboard.html: the table, and a plot of public scores over cross-validation scores.

    Args:
        competition: as loaded.
        rows: the history of this competition.
        out: the run's folder.
    """
    from components import html

    values: Mapping[str, Any] = {
        "name": competition.name,
        "metric": competition.metric,
        "rows": rows,
        "correlation": correlation(rows),
        "plot": _plot(pairs(rows), competition.metric),
    }
    page = html.render(Path(sample.__file__).with_name("leaderboard.html"), **values)
    with atomic_write(out / PAGE) as partial:
        partial.write_text(page, encoding="utf-8")


def _plot(points: list[tuple[float, float]], metric: str) -> str:
    from components.html import INK, PALETTE, canvas, svg

    if not points:
        return ""
    with canvas(1, 1, width=6, height=5) as (figure, axes):
        axes.plot(*zip(*points, strict=True), "o", color=PALETTE[0])
        for number, point in enumerate(points, start=1):
            axes.annotate(str(number), point, xytext=(5, 5), textcoords="offset points", fontsize=9)
        low, high = min(map(min, points)), max(map(max, points))
        axes.plot(
            [low, high], [low, high], color=INK, linewidth=0.6, linestyle=":", label="no difference"
        )
        axes.set(xlabel=f"cross-validation, {metric}", ylabel="public score")
        axes.legend(frameon=False)
        return svg(figure)
