"""The report step as a plain function of paths and of the artifacts that consoles read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.report import console
from components.report.page import ReportInputs, out_of_fold, write_report
from components.storage.shards import local_shards
from trainer.artifacts.manifest import atomic_write, write_json
from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.schema import parse


def fill(
    *,
    page: Any,
    summary: Any,
    curves: Any,
    name: str,
    classes: Sequence[str],
    members: Sequence[dict[str, Any]],
    train: dict[str, Any],
    blended: str,
    records: str,
    **others: Any,
) -> None:
    """Write the page, the summary, and the curves of a run.

    Args:
        page: kfp's HTML artifact, or an object with a path.
        summary: kfp's Markdown artifact, or an object with a path.
        curves: kfp's ClassificationMetrics artifact.
        name: the competition's name.
        classes: class names in order.
        members: the section `members` of the competition file.
        train: the section `train` of the competition file.
        blended: the folder that blending wrote.
        records: the records folder.
        others: further fields of `ReportInputs`.
    """
    recipes = [parse(Member, member, "members") for member in members]
    price = parse(Train, train, "train").hourly_price
    with local_shards(records) as root:
        run = ReportInputs(
            name=name,
            classes=classes,
            members=recipes,
            blended=blended,
            records=records,
            root=root,
            price=price,
            **others,
        )
        write_report(run, page.path)
    with atomic_write(summary.path) as partial:
        partial.write_text(console.markdown(name, blended, classes), encoding="utf-8")
    oof = out_of_fold(blended, classes)
    roc, table = console.roc(oof), console.confusion(oof, len(classes))
    if roc is not None:
        curves.log_roc_curve(roc.false, roc.true, roc.thresholds)
    if table is not None:
        curves.log_confusion_matrix(list(classes), table)
    # kfp's local cache requires a file for every output.
    write_json(Path(curves.path), {"roc": roc and roc._asdict(), "confusion": table})
