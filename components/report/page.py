"""The report: one HTML file that needs nothing else, about how well the run did and where it errs."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from components.report import plots
from trainer import tables
from trainer.manifest import read_manifest, whole_file
from trainer.metrics import HIGHER_IS_BETTER
from trainer.progress import tell
from trainer.records import decode_example, read_shard

_SHOWN = 24


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
        records: the records folder; the images shown come from it.
        statistics, audit: the JSON files of those steps.
        classes: the class names in order.
        metric: of the competition.
        seed: decides which images are drawn at random.
        out: the HTML file to write.
    """
    read_manifest(blended)
    read_manifest(records)
    blended = Path(blended)
    scores = json.loads((blended / tables.METRICS).read_text(encoding="utf-8"))
    oof = pd.read_parquet(blended / tables.OOF)
    history = tables.read_history(blended / tables.HISTORY)
    probabilities = oof[list(classes)].to_numpy()
    predicted = probabilities.argmax(axis=1)
    targets = oof["target"].to_numpy()
    wrong = np.flatnonzero(predicted != targets)
    worst = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:_SHOWN]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(oof))[:_SHOWN])
    shown = _pictures(Path(records), oof, probabilities, classes, np.concatenate([worst, drawn]))
    page = _template().render(
        name=name,
        metric=metric,
        better="higher is better" if HIGHER_IS_BETTER[metric] else "lower is better",
        scores=scores,
        rows=_score_rows(scores),
        folds=len(scores["blend"]["folds"]),
        images=len(oof),
        wrong=len(wrong),
        statistics=json.loads(Path(statistics).read_text(encoding="utf-8")),
        audit=json.loads(Path(audit).read_text(encoding="utf-8")),
        curves=plots.learning_curves(history),
        confusion=plots.confusion_matrix(targets, predicted, classes),
        worst=shown[: len(worst)],
        drawn=shown[len(worst) :],
    )
    with whole_file(out) as partial:
        partial.write_text(page, encoding="utf-8")
    tell("note", "report", f"{len(page) / 1e6:.1f} MB, {len(wrong)} of {len(oof)} out-of-fold images are wrong")


def _score_rows(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the score table: the members, then the blend; the best of each column is marked."""
    rows = [{"name": name, "is_blend": False, **value} for name, value in scores["members"].items()]
    rows.append({"name": f"blend ({scores['blend']['method']}, nested)", "is_blend": True, **scores["blend"]})
    best = max if HIGHER_IS_BETTER[scores["metric"]] else min
    best_folds = [best(values) for values in zip(*(row["folds"] for row in rows), strict=True)]
    best_oof = best(row["oof"] for row in rows)
    for row in rows:
        row["cells"] = [(value, value == top) for value, top in zip(row["folds"], best_folds, strict=True)]
        row["best"] = row["oof"] == best_oof
    return rows


def _pictures(
    records: Path, oof: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], places: np.ndarray
) -> list[Picture]:
    """The images at `places` of the out-of-fold table, as stored."""
    examples = tables.read_examples(records)
    where = examples[examples["split"] == "train"].set_index("id").loc[oof["id"].to_numpy()[places]]
    wanted = {(str(shard), int(row)) for shard, row in zip(where["shard"], where["row"], strict=True)}
    jpegs: dict[tuple[str, int], bytes] = {}
    for shard in sorted({shard for shard, _ in wanted}):
        for row, payload in enumerate(read_shard(records / shard)):
            if (shard, row) in wanted:
                jpegs[shard, row] = decode_example(payload)["image"]  # type: ignore[assignment]  # bytes, by the schema
    made = []
    for place, shard, row in zip(places, where["shard"], where["row"], strict=True):
        best = int(probabilities[place].argmax())
        made.append(
            Picture(
                id=str(oof["id"].iloc[place]),
                source="data:image/jpeg;base64," + base64.b64encode(jpegs[str(shard), int(row)]).decode(),
                truth=classes[int(oof["target"].iloc[place])],
                predicted=classes[best],
                probability=float(probabilities[place, best]),
            )
        )
    return made


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
