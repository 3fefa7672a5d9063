"""Test the page on a GAN's training: as a browser shows it and as a console prints it."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.gan import page
from tests.support.tiny import Links
from trainer.artifacts.manifest import read_json
from trainer.config.gan import GanRecipe

RECIPE = GanRecipe(
    steps=48,
    batch_size=16,
    latent=8,
    width=4,
    evaluate_every=24,
    samples=40,
    diffaugment=["cutout"],
)


def trained(finished: Path) -> Path:
    (found,) = (finished / "pipeline_root").glob("gan-*/train-gan/trained")
    return found


def written(folder: Path, out: Path, **changed: Any) -> str:
    page.write_page(
        folder,
        RECIPE,
        {**read_json(folder / "evaluation.json"), **changed},
        name="a<b",
        seed=3,
        out=out,
    )
    return out.read_text()


def test_the_page_needs_nothing_else_and_escapes_what_users_name(
    finished_gan: Path, tmp_path: Path
) -> None:
    text = written(trained(finished_gan), tmp_path / "page.html")
    links = Links()
    links.feed(text)
    assert [link for link in links.loads if not link.startswith(("data:", "#"))] == []
    assert "<h1>a&lt;b</h1>" in text
    assert text.count("data:image/png;base64,") == 3
    assert text.count("data:image/gif;base64,") == 1
    assert "40 samples compared with 40 real images" in text
    assert "compiled once" in text
    assert "differentiable augmentation: cutout" in text


def test_what_is_wrong_stands_on_top_and_what_was_wrong_below(
    finished_gan: Path, tmp_path: Path
) -> None:
    said = {"24": ["divergence: then"], "48": ["mode collapse: now"]}
    text = written(trained(finished_gan), tmp_path / "page.html", verdicts=said)
    top, _, below = text.partition("<h2>Samples</h2>")
    assert "mode collapse: now" in top
    assert "divergence: then" not in top
    assert "step 24: divergence: then" in below


def test_without_classes_the_distance_is_the_headline(finished_gan: Path, tmp_path: Path) -> None:
    found = read_json(trained(finished_gan) / "evaluation.json")
    text = written(trained(finished_gan), tmp_path / "page.html", class_accuracy=None)
    assert f'<div class="headline">{found["samples"]["frechet"]:.3g}</div>' in text
    assert "FID" not in re.sub(r"base64,[^\"]*", "", text)


def test_curves_of_one_evaluation_are_drawn(finished_gan: Path) -> None:
    folder = trained(finished_gan)
    history = pd.read_csv(folder / "history.csv")
    text = page.curves(history.iloc[:1], read_json(folder / "evaluation.json"))
    assert text.startswith("<svg")
    assert "real images" in text


def test_a_loss_below_zero_is_seen(finished_gan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator's hinge loss is negative when the generator does well."""
    folder = trained(finished_gan)
    history = pd.read_csv(folder / "history.csv").assign(generator_loss=-0.5)
    limits: list[tuple[float, float]] = []
    monkeypatch.setattr(
        page, "svg", lambda figure: limits.extend(axis.get_ylim() for axis in figure.axes) or ""
    )
    page.curves(history, read_json(folder / "evaluation.json"))
    assert limits[0][0] < -0.5
    assert limits[1][0] == 0


def test_a_console_gets_the_figures(finished_gan: Path) -> None:
    (metrics,) = (finished_gan / "pipeline_root").glob("gan-*/gallery/metrics")
    figures = json.loads(metrics.read_text())
    found = read_json(trained(finished_gan) / "evaluation.json")
    assert figures["frechet"] == found["samples"]["frechet"]
    assert figures["real_frechet"] == found["real"]["frechet"]
    assert figures["class_accuracy"] == found["samples"]["class_accuracy"]
    assert figures["images"] == 40


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_whole(
    finished_gan: Path, browser: Any, tmp_path: Path, dark: bool
) -> None:
    written(trained(finished_gan), tmp_path / "page.html")
    view = browser.new_page(
        viewport={"width": 400, "height": 800}, color_scheme="dark" if dark else "light"
    )
    wrong: list[str] = []
    view.on("pageerror", lambda error: wrong.append(str(error)))
    view.goto((tmp_path / "page.html").as_uri())
    sizes = view.eval_on_selector_all(
        "img", "all => all.map(one => [one.naturalWidth, one.clientWidth])"
    )
    assert len(sizes) == 4
    assert all(natural > 0 and 0 < shown <= 400 for natural, shown in sizes)
    assert view.evaluate("document.documentElement.scrollWidth") <= 400
    view.close()
    assert wrong == []
