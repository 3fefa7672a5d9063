"""The page about a GAN's training, and its figures for the console."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from components.html import PALETTE, canvas, render, svg
from trainer.artifacts import tables
from trainer.artifacts.gan_files import EVALUATION, PICTURES
from trainer.artifacts.manifest import atomic_write, read_json, read_manifest
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse

# What is drawn over the steps: a plot each, of columns of the history by their names, and what real
# images have of it.
_PLOTS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("loss", {"discriminator_loss": "discriminator", "generator_loss": "generator"}, ""),
    (
        "discriminator right",
        {"real_right": "about real images", "generated_right": "about samples"},
        "",
    ),
    ("distance", {"frechet": "samples"}, "frechet"),
    ("precision, recall", {"precision": "precision", "recall": "recall"}, ""),
    ("diversity", {"diversity": "mean of the classes", "lowest": "least of them"}, "diversity"),
    ("of their class", {"class_accuracy": "samples"}, "accuracy"),
)


def fill(
    *, page: Any, metrics: Any, name: str, trained: str, recipe: Mapping[str, Any], seed: int
) -> None:
    """Write the page, and log the figures.

    Args:
        page: an artifact with a path. metrics: kfp's Metrics.
        trained: the folder of a finished training. recipe: the section gan.
    """
    folder = Path(trained)
    read_manifest(folder)
    found = read_json(folder / EVALUATION)
    write_page(folder, parse(GanRecipe, recipe, "gan"), found, name=name, seed=seed, out=page.path)
    figures = {
        key: found["samples"][key]
        for key in ("frechet", "precision", "recall", "diversity", "lowest")
    }
    figures |= {f"real_{key}": found["real"][key] for key in figures}
    if found["class_accuracy"] is not None:
        figures |= {
            "class_accuracy": found["samples"]["class_accuracy"],
            "class_accuracy_images": found["judged"],
        }
        figures["judge_accuracy"] = found["judge_accuracy"]
    figures["images"] = found["samples"]["images"]
    figures = {key: value for key, value in figures.items() if value is not None}
    for key, value in figures.items():
        metrics.log_metric(key, value)
    # kfp's local cache wants a file behind every output.
    with atomic_write(metrics.path) as partial:
        partial.write_text(json.dumps(figures), encoding="utf-8")


def write_page(
    folder: Path, gan: GanRecipe, found: Mapping[str, Any], *, name: str, seed: int, out: str | Path
) -> None:
    """Everything a person wants to see of a training, in one page that needs nothing else."""
    history = pd.read_csv(folder / tables.HISTORY)
    text = render(
        Path(__file__).with_name("page.html"),
        name=name,
        gan=gan,
        found=found,
        seed=seed,
        now=found["verdicts"].get(str(found["steps"]), []),
        before={
            step: found["verdicts"][str(step)]
            for step in sorted(map(int, found["verdicts"]))
            if step < found["steps"]
        },
        curves=curves(history, found),
        seconds=float(history["seconds"].iloc[-1]),
        pictures={file.partition(".")[0]: _embedded(folder / file) for file in PICTURES},
        classes=_classes(found),
    )
    with atomic_write(out) as partial:
        partial.write_text(text, encoding="utf-8")


def curves(history: pd.DataFrame, found: Mapping[str, Any]) -> str:
    """The history as plots, one SVG; a dashed line is what real images have."""
    drawn = [
        (title, names, real) for title, names, real in _PLOTS if set(names) <= set(history.columns)
    ]
    references = {**found["real"], "accuracy": found["judge_accuracy"]}
    with canvas(
        -(-len(drawn) // 2), 2, width=10, height=2.5 * -(-len(drawn) // 2), squeeze=False
    ) as (figure, axes):
        for place, (title, names, real) in zip(axes.flat, drawn, strict=False):
            for colour, (column, label) in zip(PALETTE, names.items(), strict=False):
                # One evaluation is a point, no line.
                place.plot(
                    history["step"],
                    history[column],
                    color=colour,
                    label=label,
                    marker="o",
                    markersize=3,
                )
            if real and references[real] is not None:
                place.axhline(
                    references[real], color=PALETTE[-1], linestyle="--", label="real images"
                )
            place.set_title(title, loc="left", fontsize=10)
            if title != "loss":
                # A generator's hinge loss is below nought where it does well.
                place.set_ylim(bottom=0)
            place.legend(frameon=False, fontsize=8)
        for place in axes.flat[len(drawn) :]:
            place.axis("off")
        return svg(figure)


def _classes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    right = found["class_accuracy"] or [None] * len(found["classes"])
    return [
        {"name": name, "right": share, "diversity": spread}
        for name, share, spread in zip(
            found["classes"], right, found["class_diversity"], strict=True
        )
    ]


def _embedded(path: Path) -> str:
    kind = "gif" if path.suffix == ".gif" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
