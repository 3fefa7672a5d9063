"""The report: one HTML file that needs nothing else, about how well the run did and where it errs."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.pages import render
from components.report import plots
from trainer import tables
from trainer.manifest import read_manifest, whole_file
from trainer.metrics import HIGHER_IS_BETTER, decided
from trainer.progress import tell
from trainer.records import decode_example, read_shard

_SHOWN = 24
_SIDE = 192


@dataclass(frozen=True)
class Picture:
    """An image of the report with what is said under it."""

    id: str
    source: str
    truth: str
    predicted: str
    probability: float

    @property
    def right(self) -> bool:
        return self.truth == self.predicted


def write_report(
    *,
    name: str,
    blended: str | Path,
    records: str | Path,
    root: str | Path,
    statistics: str | Path,
    audit: str | Path,
    classes: Sequence[str],
    metric: str,
    seed: int,
    out: str | Path,
) -> None:
    """Write the page.

    Args:
        name: of the competition.
        blended: the folder that blending wrote.
        records: the records folder.
        root: the local folder that its shards lie below; the images shown come from them.
        statistics, audit: the JSON files of those steps.
        classes: the class names in order.
        metric: of the competition.
        seed: decides which images are drawn at random.
        out: the HTML file to write.
    """
    task = read_manifest(blended)["task"]
    about = read_manifest(records, only=(tables.EXAMPLES,))
    blended = Path(blended)
    scores = json.loads((blended / tables.METRICS).read_text(encoding="utf-8"))
    oof = pd.read_parquet(blended / tables.OOF)
    history = tables.read_history(blended / tables.HISTORY)
    probabilities = oof[list(classes)].to_numpy()
    targets = tables.truth(oof["target"].to_numpy(), len(classes), task)
    predicted = decided(targets, probabilities)
    wrong = np.flatnonzero((predicted != targets).reshape(len(oof), -1).any(axis=1))
    worst = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:_SHOWN]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(oof))[:_SHOWN])
    shown = _pictures(Path(records), Path(root), about, oof, task, probabilities, classes, np.concatenate([worst, drawn]))
    page = render(
        Path(__file__).with_name("page.html"),
        name=name,
        metric=metric,
        better="higher is better" if HIGHER_IS_BETTER[metric] else "lower is better",
        scores=scores,
        rows=_score_rows(scores),
        folds=len(scores["blend"]["folds"]),
        images=len(oof),
        wrong=len(wrong),
        pixels=json.loads(Path(statistics).read_text(encoding="utf-8"))["pixels"],
        audit=json.loads(Path(audit).read_text(encoding="utf-8")),
        curves=plots.learning_curves(history, metric),
        confusion=plots.confusion_matrix(targets, predicted, classes) if len(oof) and targets.ndim == 1 else "",
        chosen=[name for name, value in scores["members"].items() if value.get("validation") == "best"],
        unscored=[name for name, value in scores["members"].items() if value["oof"] is None],
        worst=shown[: len(worst)],
        drawn=shown[len(worst) :],
    )
    with whole_file(out) as partial:
        partial.write_text(page, encoding="utf-8")
    tell("note", "report", f"{len(page) / 1e6:.1f} MB, {len(wrong)} of {len(oof)} out-of-fold images are wrong")


def _score_rows(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the score table: the members, then the blend; the best of each column is marked."""
    rows = [{"name": name, "is_blend": False, **value} for name, value in scores["members"].items() if value["oof"] is not None]
    if not rows:
        return []
    rows.append({"name": f"blend ({scores['blend']['method']}, nested)", "is_blend": True, **scores["blend"]})
    best = max if HIGHER_IS_BETTER[scores["metric"]] else min
    best_folds = [best(values) for values in zip(*(row["folds"] for row in rows), strict=True)]
    best_oof = best(row["oof"] for row in rows)
    for row in rows:
        row["cells"] = [(value, value == top) for value, top in zip(row["folds"], best_folds, strict=True)]
        row["best"] = row["oof"] == best_oof
    return rows


def _pictures(
    records: Path,
    root: Path,
    about: dict[str, Any],
    oof: pd.DataFrame,
    task: str,
    probabilities: np.ndarray,
    classes: Sequence[str],
    places: np.ndarray,
) -> list[Picture]:
    """The images at `places` of the out-of-fold table, as stored in the size nearest to what is shown."""
    size = min(about["sizes"], key=lambda side: abs(side - _SIDE))
    examples = tables.read_examples(records)
    where = examples[examples["split"] == "train"].set_index("id").loc[oof["id"].to_numpy()[places]]
    shards, rows = where[f"shard_{size}"].tolist(), where[f"row_{size}"].tolist()
    wanted = set(zip(shards, rows, strict=True))
    jpegs: dict[tuple[str, int], bytes] = {}
    for shard in sorted(set(shards)):
        for row, payload in enumerate(read_shard(root / shard)):
            if (shard, row) in wanted:
                jpegs[shard, row] = decode_example(payload)[about["image_feature"]]  # type: ignore[assignment]  # bytes
    made = []
    for place, shard, row in zip(places, shards, rows, strict=True):
        best = int(probabilities[place].argmax())
        chosen = [name for name, value in zip(classes, probabilities[place], strict=True) if value >= 0.5]
        made.append(
            Picture(
                id=str(oof["id"].iloc[place]),
                source="data:image/jpeg;base64," + base64.b64encode(jpegs[shard, row]).decode(),
                truth=tables.names(int(oof["target"].iloc[place]), classes, task),
                predicted=" ".join(chosen) if task == "multilabel" else classes[best],
                probability=float(probabilities[place, best]),
            )
        )
    return made
