"""The results of a finished run of the k-fold pipeline: a folder of files, and a table of scores.

Each file is written completely or not at all.
"""

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
# Model files, as `tables.model_file` names them, and the file of seen ids next to each.
_MODEL = re.compile(r"(all|fold\d+)\.(keras|npz|seen\.npy)")
# (step, output) of each output that `gather` needs, by its name there; folders end with /.
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
    tables.FOLDS,
    "metrics.json",
    "report.html",
    "data_card.html",
    "kfold.yaml",
)


def names(competition: Competition) -> list[str]:
    """The names of the files that a run leaves, the one to look at first comes first."""
    return [file_name(competition.submission), *_RESULTS]


def gather(
    competition: Competition,
    outputs: Mapping[str, Path],
    out: Path,
    *,
    near: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Copy the results of a run into `out`, and score the submission if there are answers.

    Args:
        competition: as loaded.
        outputs: paths of the pipeline's outputs yaml, folds, blended, submission, report and
            data_card.
        out: the folder to write to: the files that `names` lists, and the models.
        near: returns a local path for the path of a model file in the blend's manifest.

    Returns:
        the contents of metrics.json: the scores of blending, the sha256 of the submission, and
        `leaderboard`, its score, if there are answers.

    Raises:
        IntegrityError: an output is incomplete or damaged.
        DataError: the answers do not match the submission.
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
        tables.FOLDS: outputs["folds"],
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
    """Put each member's models and their files of seen ids into `folder`.

    They become `<member>/fold<k>.keras` (`.npz` if linear) and `<member>/fold<k>.seen.npy`, as hard
    links if the file system can, otherwise as copies. Models of an earlier run are removed; other
    files stay."""
    for path in folder.glob("*/*"):
        if _MODEL.fullmatch(path.name):
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # fails if it has other files
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
    """The scores as text: one line per member and one for the blend, one column per fold.

    The last line has the cross-validation score next to the leaderboard score, if there is one.
    """
    blend = metrics["blend"]
    rows = [*metrics["members"].items(), (f"blend by {blend['method']}, nested", blend)]
    folds = len(blend["folds"])
    table = [[metrics["metric"], *(f"fold {fold}" for fold in range(folds)), "out of fold"]]
    for name, value in rows:
        scores = (
            ["" if score is None else f"{score:.4f}" for score in (*value["folds"], value["oof"])]
            if value["oof"] is not None
            else []
        )
        best_epoch = value.get("validation") == "best" or any(
            metrics["members"][member].get("validation") == "best"
            for member in value.get("scored", [])
        )
        mark = " *" if best_epoch else ""
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
        cv = "none" if blend["oof"] is None else f"{blend['oof']:.4f}"
        lines.append(
            f"cross-validation {cv}   leaderboard {metrics['leaderboard']:.4f} (withheld answers)"
        )
    return "\n".join(lines)


def _notes(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Notes on the scores, by their mark in the table."""
    chosen = {value.get("validation") for value in metrics["members"].values()}
    notes = {
        "*": "best epoch chosen on the scored images: the score is slightly too good",
        "-": "trained on all images: no score",
    }
    return {mark: notes[mark] for mark, kind in (("*", "best"), ("-", "none")) if kind in chosen}
