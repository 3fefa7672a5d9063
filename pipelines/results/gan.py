"""What a finished run of the GAN's pipeline leaves for a person: a folder of files, each whole, and
its figures."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.artifacts import tables
from trainer.artifacts.gan_files import EVALUATION, FRAMES, GENERATOR, PICTURES, SAMPLES
from trainer.artifacts.manifest import atomic_write, read_json, read_manifest, write_json
from trainer.config.gan import Gan

# As pipelines/results/kfold.py has it.
FETCHED = {
    "trained/": ("train-gan", "trained"),
    "page": ("gallery", "page"),
    "data_card": ("statistics", "card"),
}
_FOLDERS = {FRAMES: "step*.png", SAMPLES: "samples*.tfrec"}
_FILES = (*PICTURES, GENERATOR, tables.HISTORY)
_OTHERS = (tables.METRICS, "gan.html", "data_card.html", "gan.yaml")


def names(file: Gan) -> list[str]:
    """The files that a run leaves, the first to look at first."""
    return ["gan.html", *_FILES, *(name for name in _OTHERS if name != "gan.html"), *_FOLDERS]


def gather(
    file: Gan, outputs: Mapping[str, Path], out: Path, *, near: Callable[[str], str] = str
) -> dict[str, Any]:
    """Copy the results of a run into `out`.

    Args:
        file: as loaded. outputs: where the pipeline's outputs are: yaml, trained, page, data_card.
            near: not needed here.

    Returns:
        what metrics.json holds: the evaluation of the samples.

    Raises:
        IntegrityError: an output is not whole.
    """
    trained = outputs["trained"]
    read_manifest(trained)
    found: dict[str, Any] = read_json(trained / EVALUATION)
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
    # What an earlier run left there goes, and nothing else that may lie there.
    for folder, pattern in _FOLDERS.items():
        for path in (out / folder).glob(pattern):
            if f"{folder}/{path.name}" not in sources:
                path.unlink()
    write_json(out / tables.METRICS, found)
    return found


def score_table(found: Mapping[str, Any]) -> str:
    """The figures as text: samples beside real images, and what is wrong."""
    columns = [("", "samples", "real images")]
    named = {
        "frechet": found["measure"],
        "precision": "precision",
        "recall": "recall",
        "diversity": "diversity",
    }
    for key, name in named.items():
        # Of classes with too few images nothing can be said.
        shown = [
            "–" if found[kind][key] is None else f"{found[kind][key]:.4g}"
            for kind in ("samples", "real")
        ]
        columns.append((name, *shown))
    if found["class_accuracy"] is not None:
        columns.append(
            (
                "of their class",
                f"{found['samples']['class_accuracy']:.1%}",
                f"{found['judge_accuracy']:.1%}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    lines = [
        f"{name:<{widths[0]}}  {samples:>{widths[1]}}  {real:>{widths[2]}}"
        for name, samples, real in columns
    ]
    # What a run of an earlier version left has not the number.
    asked = (
        f"; {found['judged']} samples asked for by their class"
        if found["class_accuracy"] and "judged" in found
        else ""
    )
    lines += [
        "",
        (
            f"{found['samples']['images']} of each kind compared in features of"
            f" {found['features']}{asked}"
        ),
    ]
    last = found["verdicts"].get(str(found["steps"]), [])
    return "\n".join([*lines, *(f"warning: {verdict}" for verdict in last)])
