"""Benchmark the blend and the report of a large competition.

python benchmarks/reporting.py
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sets import write_set

from components.blending.blend import blend
from components.folds.make_folds import write_folds
from components.report.page import ReportInputs, write_report
from components.statistics.summary import statistics
from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest
from trainer.config.augment import Augment
from trainer.config.member import Member
from trainer.config.output import Blend
from trainer.config.preparation import Folds

IMAGES, SIZE, MEMBERS = 30_000, 384, 2


def write_job(
    folder: Path, member: str, table: pd.DataFrame, classes: list[str], seed: int
) -> Path:
    """Write what a training job writes, with made-up predictions; return its folder.

    Args:
        folder: the folder to write to.
        member: the name of the member.
        table: n training images with their ids, targets and folds.
        classes: the names of the classes, which become the columns of the predictions.
        seed: the seed of the predictions.
    """
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(len(classes), 0.3), len(table)) * 0.5
    probabilities[np.arange(len(table)), table["target"]] += 0.5 * (
        generator.random(len(table)) < 0.9
    )
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = pd.concat(
        [table, pd.DataFrame(probabilities.astype(np.float32), columns=classes)], axis=1
    )
    tables.write_parquet(folder / tables.OOF, rows)
    test = pd.DataFrame({"id": [f"t{row}" for row in range(1000)], "fold": 0})
    tables.write_parquet(
        folder / tables.TEST, test.assign(**dict.fromkeys(classes, np.float32(1 / len(classes))))
    )
    history = pd.DataFrame(
        {
            "fold": np.repeat(np.arange(5), 20),
            "epoch": np.tile(np.arange(1, 21), 5),
            "learning_rate": 1e-3,
        }
    )
    history["loss"] = history["val_loss"] = 1 / history["epoch"]
    tables.write_csv(
        folder / tables.HISTORY, history.assign(val_macro_f1=0.8, seconds=60.0 * history["epoch"])
    )
    manifest = {
        "member": member,
        "task": "multiclass",
        "folds": list(range(5)),
        "validation": "last",
        "device": "CPU",
    }
    write_manifest(folder, {**manifest, "parameters": 1, "views": 1, "libraries": {}})
    return folder


def main() -> None:
    """Print the table."""
    print(f"\n## Blend and report of {IMAGES:,} images of {SIZE} × {SIZE}, {MEMBERS} members\n")
    print("| classes | blend, seconds | report, seconds | report, MB |")
    print("| ---: | ---: | ---: | ---: |")
    for count in (10, 104):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            classes = [f"class {number}" for number in range(count)]
            write_set(folder, IMAGES, SIZE, classes=count)
            records, files = (
                folder / "records",
                [folder / name for name in ("folds.csv", "audit.json", "s.json")],
            )
            write_folds(
                records,
                Folds(count=5, duplicates="identical"),
                seed=1,
                classes=classes,
                out=files[0],
                audit_out=files[1],
            )
            statistics(records, files[0], files[1], classes=classes, out=files[2])
            examples = tables.read_examples(records).query("split == 'train'")
            table = examples[["id", "target"]].merge(tables.read_folds(files[0]), on="id")
            jobs = [write_job(folder / f"m{k}", f"m{k}", table, classes, k) for k in range(MEMBERS)]
            started = time.perf_counter()
            blend(
                jobs,
                folds_table=files[0],
                records=records,
                blend=Blend(),
                classes=classes,
                metric="macro_f1",
                seed=1,
                out=folder / "blended",
            )
            blend_seconds = time.perf_counter() - started
            (folder / "submission.csv").write_text("id,label\n")
            inputs = ReportInputs(
                name="large",
                classes=classes,
                metric="macro_f1",
                seed=1,
                members=[
                    Member(name="m0", epochs=1, augment=Augment(rotation=20, hue=0.1, cutmix=0.5))
                ],
                blended=folder / "blended",
                records=records,
                root=records,
                statistics=files[2],
                audit=files[1],
                submission=folder / "submission.csv",
            )
            started = time.perf_counter()
            write_report(inputs, folder / "report.html")
            report_seconds = time.perf_counter() - started
            megabytes = (folder / "report.html").stat().st_size / 1e6
            assert (
                json.loads((folder / "blended" / tables.METRICS).read_text())["blend"]["oof"] > 0.5
            )
            print(f"| {count} | {blend_seconds:.1f} | {report_seconds:.1f} | {megabytes:.1f} |")


if __name__ == "__main__":
    main()
