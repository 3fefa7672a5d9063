"""What a finished run leaves for a person: a folder of files, each whole, and a table of scores."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.submission.write import file_name, score_answers
from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, read_manifest, sha256, write_json
from trainer.config.competition import Competition

MODELS = "models"
# As tables.model_file names them, and what stands beside each.
_MODEL = re.compile(r"(all|fold\d+)(\.keras|" + re.escape(tables.SEEN) + ")")
# (task, output) of what results are made of, by the name that `gather` knows; what is a folder ends
# with /.
FETCHED = {
    "folds": ("folds", "table"),
    "blended/": ("blend", "blended"),
    "submission": ("submission", "csv"),
    "report": ("report", "page"),
    "data_card": ("statistics", "card"),
}
_RESULTS = (
    "oof.csv",
    "test.csv",
    "folds.csv",
    "metrics.json",
    "report.html",
    "data_card.html",
    "kfold.yaml",
)


def names(competition: Competition) -> list[str]:
    """The files that a run leaves, the first to look at first."""
    return [file_name(competition.submission), *_RESULTS]


def gather(
    competition: Competition,
    outputs: Mapping[str, Path],
    out: Path,
    *,
    near: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Copy the results of a run into `out`, and score the submission where there are answers.

    Args:
        competition: as loaded.
        outputs: where the pipeline's outputs are: yaml, folds, blended, submission, report,
            data_card.
        out: gets the files that `names` lists.
        near: gives a local path for one that the blend's manifest has of a model.

    Returns:
        what metrics.json holds: that of blending, the submission's sha256, and `leaderboard` where
        there are answers.

    Raises:
        IntegrityError: an output is not whole. DataError: the answers do not fit.
    """
    blended = outputs["blended"]
    about = read_manifest(blended)
    metrics = json.loads((blended / tables.METRICS).read_text(encoding="utf-8"))
    answers = competition.leaderboard.answers
    if answers:
        metrics["leaderboard"] = score_answers(
            outputs["submission"],
            answers,
            competition.submission,
            classes=competition.classes,
            metric=competition.metric,
            task=competition.task,
        )
    sources = {
        file_name(competition.submission): outputs["submission"],
        tables.OOF_CSV: blended / tables.OOF_CSV,
        tables.TEST_CSV: blended / tables.TEST_CSV,
        "folds.csv": outputs["folds"],
        "report.html": outputs["report"],
        "data_card.html": outputs["data_card"],
        "kfold.yaml": outputs["yaml"],
    }
    for name, source in sources.items():
        with atomic_write(out / name) as partial:
            shutil.copyfile(source, partial)
    metrics["submission"] = sha256(out / file_name(competition.submission))
    write_json(out / tables.METRICS, metrics)
    for stale in {"submission.csv", "submission.csv.gz"} - set(sources):
        (out / stale).unlink(missing_ok=True)
    _gather_models(about["models"], out / MODELS, near)
    return metrics


def _gather_models(
    models: Mapping[str, Mapping[str, str]], folder: Path, near: Callable[[str], str]
) -> None:
    """Each member's models as `<member>/fold<k>.keras`, and what they have seen beside them: the
    same files, by another name where the disk can. Those of an earlier run go, and nothing else
    that may lie there."""
    for path in folder.glob("*/*"):
        if _MODEL.fullmatch(path.name):
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # only where nothing else is in it
    for member, files in models.items():
        (folder / member).mkdir(parents=True, exist_ok=True)
        saved = [Path(path) for path in files.values()]
        for path in (*saved, *(model.with_suffix(tables.SEEN) for model in saved)):
            source = near(str(path))
            try:
                os.link(source, folder / member / path.name)
            except OSError:
                shutil.copyfile(source, folder / member / path.name)


def score_table(metrics: Mapping[str, Any]) -> str:
    """The scores as text: a line a member and the blend, a column a fold, and cross-validation
    beside the leaderboard."""
    blend = metrics["blend"]
    rows = [*metrics["members"].items(), (f"blend by {blend['method']}, nested", blend)]
    folds = len(blend["folds"])
    table = [[metrics["metric"], *(f"fold {fold}" for fold in range(folds)), "out of fold"]]
    for name, value in rows:
        scores = (
            [f"{score:.4f}" for score in (*value["folds"], value["oof"])]
            if value["oof"] is not None
            else []
        )
        chosen = value.get("validation") == "best" or any(
            metrics["members"][member].get("validation") == "best"
            for member in value.get("scored", [])
        )
        mark = " *" if chosen else ""
        table.append([name + mark, *(scores or ["-"] * (folds + 1))])
    first, *others = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = [
        f"{name:<{first}}  "
        + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, others, strict=True))
        for name, *cells in table
    ]
    lines += [f"{mark}: {text}" for mark, text in _notes(metrics).items()]
    if "leaderboard" in metrics:
        lines.append("")
        honest = "none" if blend["oof"] is None else f"{blend['oof']:.4f}"
        lines.append(
            f"cross-validation {honest}   leaderboard {metrics['leaderboard']:.4f} (withheld"
            " answers)"
        )
    return "\n".join(lines)


def _notes(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What a reader must know of the scores, by the mark in the table."""
    chosen = {value.get("validation") for value in metrics["members"].values()}
    notes = {
        "*": "epochs chosen by the very images that are scored: a little too good",
        "-": "trained on all images: no score",
    }
    return {mark: notes[mark] for mark, kind in (("*", "best"), ("-", "none")) if kind in chosen}
