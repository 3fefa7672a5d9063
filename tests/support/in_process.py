"""The steps of the k-fold pipeline, called one after the other in this process.

What the launcher and kfp add (processes, caches, events) is left out, and with it most of the time.
"""

from pathlib import Path
from typing import Any, NamedTuple

from components.blending.blend import blend
from components.check.resolve import resolve_competition
from components.folds.make_folds import write_folds
from components.records.convert import convert
from components.records.merge import join_and_publish
from components.statistics.card import write_card
from components.statistics.summary import statistics
from components.submission.write import write_submission
from components.training.plan import plan
from components.training.run_job import run_job
from trainer.artifacts.objective import Objective
from trainer.config.data import Data
from trainer.config.load import load_competition
from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.output import Blend, Submission
from trainer.config.preparation import Folds, Records
from trainer.config.schema import parse


class Outputs(NamedTuple):
    """Where the artifacts of a run are."""

    records: Path
    folds: Path
    audit: Path
    card: Path
    blended: Path
    submission: Path


def run_in_process(file: Path, out: Path) -> Outputs:
    """Run a competition file; its artifacts go below `out`."""
    arguments = load_competition(file).pipeline_arguments()
    resolved = resolve_competition(arguments, "")
    classes, task, metric = (arguments[name] for name in ("classes", "task", "metric"))
    seed: int = arguments["seed"]
    data, records = parse(Data, resolved.data, "data"), parse(Records, resolved.records, "records")
    folds, train = parse(Folds, resolved.folds, "folds"), parse(Train, resolved.train, "train")
    options: dict[str, Any] = {"classes": classes, "task": task}
    parts = [out / f"part{number}" for number in range(records.parts)]
    digest = resolved.source_digest
    for number, part in enumerate(parts):
        convert(data, records, **options, source_digest=digest, part=number, out=part)
    images = out / "images"
    join_and_publish(parts, data, records, **options, out=images)
    paths = {name: out / name for name in ("folds.csv", "audit.json", "statistics.json")}
    write_folds(
        images,
        folds,
        seed=seed,
        classes=classes,
        file_digest=resolved.folds_digest,
        out=paths["folds.csv"],
        audit_out=paths["audit.json"],
    )
    summary = statistics(
        images,
        paths["folds.csv"],
        paths["audit.json"],
        classes=classes,
        out=paths["statistics.json"],
    )
    write_card(summary, images, paths["folds.csv"], out=out / "card.html")
    members = [parse(Member, member, "members") for member in resolved.members]
    jobs = plan(
        members, folds, train, records, weights_digest=resolved.weights_digest, keep=resolved.keep
    )
    predictions = [out / f"predictions{number}" for number in range(len(jobs))]
    for job, folder in zip(jobs, predictions, strict=True):
        run_job(
            job,
            Objective(task=task, classes=classes, metric=metric, seed=seed, keep=resolved.keep),
            images=str(images),
            folds=str(paths["folds.csv"]),
            statistics=str(paths["statistics.json"]),
            out=str(folder),
        )
    blend(
        [str(folder) for folder in predictions],
        folds_table=str(paths["folds.csv"]),
        records=str(images),
        blend=parse(Blend, resolved.blend, "blend"),
        classes=classes,
        metric=metric,
        seed=seed,
        out=str(out / "blended"),
        digest=resolved.blend_digest,
        planned={member.name: member.validation for member in members},
    )
    write_submission(
        str(out / "blended"),
        parse(Submission, resolved.submission, "submission"),
        classes=classes,
        sample_digest=resolved.sample_digest,
        out=str(out / "submission.csv"),
    )
    return Outputs(
        records=images,
        folds=paths["folds.csv"],
        audit=paths["audit.json"],
        card=out / "card.html",
        blended=out / "blended",
        submission=out / "submission.csv",
    )
