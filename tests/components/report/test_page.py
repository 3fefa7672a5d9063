import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.blending.blend import blend
from components.report import console, figures
from components.report.page import ReportInputs, out_of_fold, write_report
from tests.support.tiny import Links, dealt
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest, write_json, write_manifest
from trainer.config.augment import Augment
from trainer.config.member import Member
from trainer.config.output import Blend

CLASSES = ["<i>0</i>", *"123456789"]


@pytest.fixture(scope="module")
def run(records_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Return the inputs of a report: real records and made-up predictions, blended as in a run."""
    folder = tmp_path_factory.mktemp("report")
    examples = tables.read_examples(records_folder).query("split == 'train'")
    inputs = dealt(records_folder, folder, classes=CLASSES)
    folds = tables.read_folds(inputs.folds_table)
    fold, targets = tables.fold_of(examples, folds), examples["target"].to_numpy()
    tasks = []
    for seed, member in enumerate(("m", "other")):
        predicted = targets.copy()
        predicted[[3, 50 + seed]] = (predicted[[3, 50 + seed]] + 1) % 10
        oof = pd.DataFrame({"id": examples["id"], "target": targets, "fold": fold})
        oof[CLASSES] = (
            np.eye(10)[predicted] * 0.85
            + np.random.default_rng(seed).dirichlet(np.ones(10), 120) * 0.15
        ).astype(np.float32)
        task = folder / member
        tables.write_parquet(task / tables.OOF, oof)
        test = pd.DataFrame({"id": ["t"], "fold": 0}).assign(
            **dict.fromkeys(CLASSES, np.float32(0.1))
        )
        tables.write_parquet(task / tables.TEST, test)
        history = pd.DataFrame(
            {"fold": np.repeat([0, 1, 2], 3), "epoch": [1, 2, 3] * 3, "learning_rate": 0.1}
        )
        history["loss"] = history["val_loss"] = 2 / history["epoch"]
        tables.write_csv(
            task / tables.HISTORY, history.assign(val_accuracy=0.9, seconds=60.0 * history["epoch"])
        )
        told = {
            "member": member,
            "task": "multiclass",
            "folds": [0, 1, 2],
            "validation": "last",
            "device": "CPU",
        }
        write_manifest(
            task,
            {**told, "parameters": 1234, "views": 1, "libraries": {"keras": "3.0"}, "models": []},
        )
        tasks.append(task)
    (folder / "submission.csv").write_text("id,label\nt,0\n")
    blend(
        tasks,
        folds_table=inputs.folds_table,
        records=records_folder,
        blend=Blend(calibration="temperature", resamples=100),
        classes=CLASSES,
        metric="accuracy",
        seed=1,
        out=folder / "blended",
    )
    return ReportInputs(
        name="tiny & small",
        classes=CLASSES,
        metric="accuracy",
        seed=1,
        members=[
            Member(name="m", epochs=1, augment=Augment(rotation=20, cutmix=0.5)),
            Member(name="other", epochs=1),
        ],
        blended=folder / "blended",
        records=records_folder,
        root=records_folder,
        statistics=inputs.statistics,
        audit=folder / "audit.json",
        submission=folder / "submission.csv",
        price=2.0,
    )


@pytest.fixture(scope="module")
def page(run: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(run, out)
    return out.read_text()


def test_the_page_needs_nothing_else(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.loads
    # Clip paths and markers refer to the page itself.
    assert all(value.startswith(("data:", "#")) for value in links.loads)
    assert not re.search(r"url\((?!#)|@import|<script", page)


def test_it_says_what_the_run_found(run: ReportInputs, page: str) -> None:
    scores = json.loads((Path(run.blended) / tables.METRICS).read_text())
    wrong = round(120 * (1 - scores["blend"]["oof"]))
    assert wrong > 0
    assert f"{scores['blend']['oof']:.4f}" in page
    assert f"{wrong}</b><span>of 120 images wrong" in page
    assert page.count('class="no">NO') == wrong + page.split("drawn at random")[1].count(
        'class="no">NO'
    )
    # The errors and 24 random images; for one augmentation 4 images, each as stored and changed
    # five times.
    assert len(re.findall(r"data:image/jpeg;base64,/9j/", page)) == wrong + 24 + 4 * 6


HEADINGS = [
    "Scores",
    "The blend",
    "Correlation of the members&#39; errors",
    "Other metrics of the blend",
    "Learning curves",
    "Confusion matrix",
    "Scores by class",
    "ROC and precision-recall",
    "Calibration of the probabilities",
    "The most confident errors",
    "Images drawn at random",
    "Augmentation: m",
    "Data",
    "Folds and leak audit",
    "Training time",
    "Versions and digests",
]


def test_it_has_every_part(page: str) -> None:
    found = re.findall(r"<h2>(.*?)</h2>", page)
    assert [html.unescape(one) for one in found] == [html.unescape(one) for one in HEADINGS]
    # Two members, three folds, three minutes each, at 2 per hour.
    assert "0.30 hours of training in all, 0.60 at train.hourly_price = 2 an hour" in page
    assert "Calibration by temperature, fitted on the other folds" in page
    assert "<td>keras</td><td>3.0</td>" in page
    assert page.count("<code>") == 3


def test_a_run_without_scores_has_a_page(run: ReportInputs, tmp_path: Path) -> None:
    blended = tmp_path / "blended"
    oof = pd.read_parquet(Path(run.blended) / tables.OOF)
    tables.write_parquet(blended / tables.OOF, oof.iloc[:0])
    history = tables.read_history(Path(run.blended) / tables.HISTORY).drop(
        columns=["val_loss", "val_accuracy"]
    )
    tables.write_csv(blended / tables.HISTORY, history)
    nothing = {"oof": None, "folds": [], "low": None, "high": None}
    scores = {
        "metric": "accuracy",
        "blend": {**nothing, "naive": None, "method": "mean", "weights": {"m": 1.0}, "scored": []},
        "methods": {},
        "members": {"m": {**nothing, "validation": "none"}},
        "metrics": {},
        "warnings": [],
    }
    write_json(blended / tables.METRICS, scores)
    tables.write_csv(blended / tables.OOF_CSV, oof.iloc[:0])
    write_manifest(blended, read_manifest(run.blended))
    write_report(dataclasses.replace(run, blended=blended), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "no score" in text
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "Learning curves",
        "Augmentation: m",
        *HEADINGS[-4:],
    ]
    assert "there is nothing to score" in console.markdown("x", blended, CLASSES)
    assert (
        console.roc(out_of_fold(blended, CLASSES))
        is console.confusion(out_of_fold(blended, CLASSES), len(CLASSES))
        is None
    )


def test_what_consoles_show(run: ReportInputs) -> None:
    from sklearn.metrics import auc, roc_auc_score

    oof = out_of_fold(run.blended, CLASSES)
    curve = console.roc(oof)
    assert curve is not None
    assert np.isfinite(curve.thresholds).all()
    assert auc(curve.false, curve.true) == pytest.approx(
        roc_auc_score(*(array.ravel() for array in oof.complete() or ())), abs=0.02
    )
    table = np.array(console.confusion(oof, len(CLASSES)))
    assert table.sum() == 120
    assert table.trace() == 120 - oof.wrong.sum()
    text = console.markdown("a|b <i>", run.blended, CLASSES)
    assert text.startswith("# a\\|b &lt;i>\n\n**0.9")
    assert "| m | " in text
    assert "Weights: m " in text


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (390, "light")])
def test_a_browser_shows_it_and_asks_for_nothing(
    page: str, browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    (tmp_path / "report.html").write_text(page)
    said, asked = [], []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((tmp_path / "report.html").as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [
        (tmp_path / "report.html").as_uri()
    ]
    # The page itself never scrolls sideways; wide tables scroll in their own containers.
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert tab.evaluate("document.images.length") > 24
    paper, ink = tab.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    dark = scheme == "dark"
    assert (_brightness(paper) < 64) is dark
    assert (_brightness(ink) > 192) is dark
    # Text in the plots uses the page's ink colour.
    letter = tab.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert letter == ink
    tab.close()


def _brightness(colour: str) -> float:
    return float(np.mean([int(value) for value in re.findall(r"\d+", colour)[:3]]))


def test_names_are_escaped(page: str) -> None:
    assert "tiny &amp; small" in page
    assert "<i>0</i>" not in page
    assert "&lt;i&gt;0" in page


def test_plots_take_their_ink_from_the_page(page: str) -> None:
    assert page.count("<svg") == 5
    assert "currentColor" in page
    assert "#010203" not in page
    # Text without a colour of its own is black, which is invisible on a dark page.
    texts = re.findall(r"<text [^>]*>", page)
    assert texts
    assert all("fill:" in text for text in texts)


def test_a_confusion_matrix_counts() -> None:
    svg = figures.confusion_matrix(
        np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1]), ["cat$^$", "$dog"]
    )
    assert "cat$^$" in svg
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [text for text in texts if text.isdigit()] == ["1", "1", "3"]


def test_a_confusion_matrix_of_many_classes_has_every_name_and_the_large_errors() -> None:
    classes = [f"class {number}" for number in range(104)]
    targets = np.repeat(np.arange(104), 20)
    predicted = targets.copy()
    predicted[:6], predicted[40] = 1, 3
    svg = figures.confusion_matrix(targets, predicted, classes)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [texts.count(name) for name in classes] == [2] * 104
    # Six of twenty gets a number, one of twenty only a colour.
    assert [text for text in texts if text.isdigit()] == ["6"]


def test_curves_of_many_classes_stay_small() -> None:
    generator = np.random.default_rng(0)
    is_one = generator.integers(0, 104, 5000)[:, None] == np.arange(104)
    svg = figures.curves(
        is_one, is_one * 0.3 + generator.random((5000, 104)), [str(number) for number in range(104)]
    )
    assert len(svg) < 1_500_000
    assert len(re.findall(r"area 0\.\d{3}", svg)) == 8
    two = figures.curves(
        np.eye(2, dtype=bool)[[0, 1, 0, 1]],
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]),
        ["a", "b"],
    )
    assert re.findall(r"(\w), area (\S+)<", two) == [("b", "0.750")]


def test_the_sweep_of_alpha_and_the_errors_of_members() -> None:
    assert "share of a$" in figures.alpha_curve([0.1, 0.2, 0.1], "accuracy", ["a$", "b"])
    svg = figures.error_correlation([[1.0, 0.25], [0.25, None]], ["a", "b"])
    assert re.findall(r"<text[^>]*>([^<]*)</text>", svg)[-4:] == ["1.00", "0.25", "0.25", "-"]


def test_plots_are_the_same_every_time() -> None:
    history = pd.DataFrame(
        {
            "member": "m",
            "fold": 0,
            "epoch": [1, 2],
            "loss": [2.0, 1.0],
            "val_loss": [2.0, 1.0],
            "val_accuracy": [0.5, 0.6],
        }
    )
    history["learning_rate"] = [0.1, 0.01]
    assert figures.learning_curves(history, "accuracy") == figures.learning_curves(
        history, "accuracy"
    )
