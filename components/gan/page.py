"""The HTML page about a GAN's training, and its figures for the console."""

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

# The plots over steps: title, labels by column of the history, and the key of the same figure for
# real images ("" if there is none).
_PLOTS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("loss", {"discriminator_loss": "discriminator", "generator_loss": "generator"}, ""),
    (
        "discriminator accuracy",
        {"real_right": "on real images", "generated_right": "on samples"},
        "",
    ),
    ("distance", {"frechet": "samples"}, "frechet"),
    ("precision, recall", {"precision": "precision", "recall": "recall"}, ""),
    ("diversity", {"diversity": "mean over classes", "lowest": "lowest class"}, "diversity"),
    ("class accuracy", {"class_accuracy": "samples"}, "accuracy"),
)


def fill(
    *, page: Any, metrics: Any, name: str, trained: str, recipe: Mapping[str, Any], seed: int
) -> None:
    """Write the page, and log the figures.

    Args:
        page: kfp's HTML artifact, or an object with a path.
        metrics: kfp's Metrics artifact.
        name: the GAN's name.
        trained: the folder of a finished training.
        recipe: the section `gan` of the file.
        seed: the seed of the training.
    """
    folder = Path(trained)
    read_manifest(folder)
    evaluation = read_json(folder / EVALUATION)
    write_page(
        folder, parse(GanRecipe, recipe, "gan"), evaluation, name=name, seed=seed, out=page.path
    )
    figures = {
        key: evaluation["samples"][key]
        for key in ("frechet", "precision", "recall", "diversity", "lowest")
    }
    figures |= {f"real_{key}": evaluation["real"][key] for key in figures}
    if evaluation["class_accuracy"] is not None:
        figures |= {
            "class_accuracy": evaluation["samples"]["class_accuracy"],
            "class_accuracy_images": evaluation["judged"],
        }
        figures["judge_accuracy"] = evaluation["judge_accuracy"]
    figures["images"] = evaluation["samples"]["images"]
    figures = {key: value for key, value in figures.items() if value is not None}
    for key, value in figures.items():
        metrics.log_metric(key, value)
    # kfp's local cache requires a file for every output.
    with atomic_write(metrics.path) as partial:
        partial.write_text(json.dumps(figures), encoding="utf-8")


def write_page(
    folder: Path, gan: GanRecipe, found: Mapping[str, Any], *, name: str, seed: int, out: str | Path
) -> None:
    """Write one self-contained page about a training.

    Args:
        folder: of the finished training.
        gan: the recipe.
        found: the contents of evaluation.json.
        name: the GAN's name.
        seed: the seed of the training.
        out: the HTML file to write.
    """
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
    """Plot the history in one SVG, with a dashed line for real images.

    Args:
        history: one row per evaluation.
        found: the contents of evaluation.json.

    Returns:
        an `<svg>` element.
    """
    drawn = [
        (title, names, real) for title, names, real in _PLOTS if set(names) <= set(history.columns)
    ]
    references = {**found["real"], "accuracy": found["judge_accuracy"]}
    with canvas(
        -(-len(drawn) // 2), 2, width=10, height=2.5 * -(-len(drawn) // 2), squeeze=False
    ) as (figure, axes):
        for subplot, (title, names, real) in zip(axes.flat, drawn, strict=False):
            for colour, (column, label) in zip(PALETTE, names.items(), strict=False):
                # Markers, because a single evaluation is a point without a line.
                subplot.plot(
                    history["step"],
                    history[column],
                    color=colour,
                    label=label,
                    marker="o",
                    markersize=3,
                )
            if real and references[real] is not None:
                subplot.axhline(
                    references[real], color=PALETTE[-1], linestyle="--", label="real images"
                )
            subplot.set_title(title, loc="left", fontsize=10)
            if title != "loss":
                # Not for losses: a generator's hinge loss is negative if it does well.
                subplot.set_ylim(bottom=0)
            subplot.legend(frameon=False, fontsize=8)
        for subplot in axes.flat[len(drawn) :]:
            subplot.axis("off")
        return svg(figure)


def _classes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the page's table of classes."""
    accuracies = found["class_accuracy"] or [None] * len(found["classes"])
    return [
        {"name": name, "right": share, "diversity": spread}
        for name, share, spread in zip(
            found["classes"], accuracies, found["class_diversity"], strict=True
        )
    ]


def _embedded(path: Path) -> str:
    """Return an image file as a data URL."""
    kind = "gif" if path.suffix == ".gif" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
