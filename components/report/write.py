"""What the report's component does, as a function of plain paths and of the artifacts that consoles
read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.report import console
from components.report.page import ReportInputs, out_of_fold, write_report
from components.storage.shards import local_shards
from trainer.artifacts.manifest import atomic_write, write_json
from trainer.config.competition import Train
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
        page, summary: artifacts with a path. curves: kfp's ClassificationMetrics.
        members, train: sections of the competition file. others: as `Run` takes them.
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
    drawn, table = console.roc(oof), console.confusion(oof)
    if drawn is not None:
        curves.log_roc_curve(drawn.false, drawn.true, drawn.thresholds)
    if table is not None:
        curves.log_confusion_matrix(list(classes), table)
    # kfp's local cache wants a file behind every output.
    write_json(Path(curves.path), {"roc": drawn and drawn._asdict(), "confusion": table})
