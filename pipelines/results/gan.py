"""The results of a finished run of the GAN's pipeline: a folder of files, and a table of scores.

Each file is written completely or not at all.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.artifacts import tables
from trainer.artifacts.gan_files import EVALUATION, FRAMES, GENERATOR, PICTURES, SAMPLES
from trainer.artifacts.manifest import atomic_write, read_json, read_manifest, write_json
from trainer.config.gan import Gan

# (step, output) of each output that `gather` needs, as in pipelines/results/kfold.py.
FETCHED = {
    "trained/": ("train-gan", "trained"),
    "page": ("gallery", "page"),
    "data_card": ("statistics", "card"),
}
_FOLDERS = {FRAMES: "step*.png", SAMPLES: "samples*.tfrec"}
_FILES = (*PICTURES, GENERATOR, tables.HISTORY)
_OTHERS = (tables.METRICS, "gan.html", "data_card.html", "gan.yaml")


def names(file: Gan) -> list[str]:
    """The names of the files that a run leaves, the one to look at first comes first."""
    return ["gan.html", *_FILES, *(name for name in _OTHERS if name != "gan.html"), *_FOLDERS]


def gather(
    file: Gan, outputs: Mapping[str, Path], out: Path, *, near: Callable[[str], str] = str
) -> dict[str, Any]:
    """Copy the results of a run into `out`.

    Args:
        file: as loaded.
        outputs: paths of the pipeline's outputs yaml, trained, page and data_card.
        out: the folder to write to.
        near: not used; the results of the k-fold pipeline need it.

    Returns:
        the contents of metrics.json: the evaluation of the samples.

    Raises:
        IntegrityError: an output is incomplete or damaged.
    """
    trained = outputs["trained"]
    read_manifest(trained)
    evaluation: dict[str, Any] = read_json(trained / EVALUATION)
    sources = {name: trained / name for name in _FILES}
    sources |= {
        "gan.html": outputs["page"],
        "data_card.html": outputs["data_card"],
        "gan.yaml": outputs["yaml"],
    }
    for folder in _FOLDERS:
        sources |= {f"{folder}/{path.name}": path for path in sorted((trained / folder).iterdir())}
    for name, source in sources.items():
        with atomic_write(out / name) as partial:
            shutil.copyfile(source, partial)
    # Remove what an earlier run left there, and no other files.
    for folder, pattern in _FOLDERS.items():
        for path in (out / folder).glob(pattern):
            if f"{folder}/{path.name}" not in sources:
                path.unlink()
    write_json(out / tables.METRICS, evaluation)
    return evaluation


def score_table(evaluation: Mapping[str, Any]) -> str:
    """The scores as text: samples next to real images, then the warnings of the last step.

    Args:
        evaluation: the contents of metrics.json.
    """
    rows = [("", "samples", "real images")]
    labels = {
        "frechet": evaluation["measure"],
        "precision": "precision",
        "recall": "recall",
        "diversity": "diversity",
    }
    for key, label in labels.items():
        # None if the classes have too few images for this measure.
        cells = [
            "–" if evaluation[kind][key] is None else f"{evaluation[kind][key]:.4g}"
            for kind in ("samples", "real")
        ]
        rows.append((label, *cells))
    if evaluation["class_accuracy"] is not None:
        rows.append(
            (
                "class accuracy",
                f"{evaluation['samples']['class_accuracy']:.1%}",
                f"{evaluation['judge_accuracy']:.1%}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{label:<{widths[0]}}  {samples:>{widths[1]}}  {real:>{widths[2]}}"
        for label, samples, real in rows
    ]
    # Runs of earlier versions did not record how many samples were judged.
    judged = (
        f"; class accuracy over {evaluation['judged']} samples"
        if evaluation["class_accuracy"] and "judged" in evaluation
        else ""
    )
    lines += [
        "",
        (
            f"{evaluation['samples']['images']} images of each kind, compared in the features of"
            f" {evaluation['features']}{judged}"
        ),
    ]
    verdicts = evaluation["verdicts"].get(str(evaluation["steps"]), [])
    return "\n".join([*lines, *(f"warning: {verdict}" for verdict in verdicts)])
