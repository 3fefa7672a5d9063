from pathlib import Path
from typing import Any

import pytest

from pipelines.results import gan
from tests.support.tiny import write_gan
from trainer.config.gan import Gan
from trainer.config.load import load
from trainer.errors import IntegrityError

FOUND: dict[str, Any] = {
    "steps": 100,
    "measure": "Fréchet distance",
    "features": "the judge",
    "samples": {
        "frechet": 12.345,
        "precision": 0.9,
        "recall": 0.5,
        "diversity": 0.8,
        "images": 40,
        "class_accuracy": 0.95,
    },
    "real": {"frechet": 1.0, "precision": 0.99, "recall": 0.98, "diversity": 1.0, "images": 40},
    "judge_accuracy": 0.985,
    "class_accuracy": [0.9, 1.0],
    "judged": 60,
    "verdicts": {"50": ["divergence: then"], "100": ["mode collapse: now"]},
}


def test_the_table_has_samples_beside_real_images() -> None:
    lines = gan.score_table(FOUND).splitlines()
    assert lines[0].split() == ["samples", "real", "images"]
    assert lines[1].split() == ["Fréchet", "distance", "12.35", "1"]
    assert lines[5].split() == ["class", "accuracy", "95.0%", "98.5%"]
    assert lines[-2:] == [
        "40 images of each kind, compared in the features of the judge; class accuracy over 60"
        " samples",
        "warning: mode collapse: now",
    ]


def test_what_an_earlier_version_left_can_be_shown() -> None:
    assert "class accuracy over" not in gan.score_table(
        {key: value for key, value in FOUND.items() if key != "judged"}
    )


def test_what_cannot_be_told_of_so_few_images_is_a_dash() -> None:
    none = {kind: {**FOUND[kind], "diversity": None} for kind in ("samples", "real")}
    assert gan.score_table({**FOUND, **none}).splitlines()[4].split() == ["diversity", "–", "–"]


def test_without_classes_there_is_no_share_of_them() -> None:
    assert "class accuracy" not in gan.score_table({**FOUND, "class_accuracy": None})


def outputs(finished: Path) -> dict[str, Path]:
    (root,) = (finished / "pipeline_root").glob("gan-*")
    return {
        "trained": root / "train-gan" / "trained",
        "page": root / "gallery" / "page",
        "data_card": root / "statistics" / "card",
        "yaml": finished / "gan.yaml",
    }


def test_what_an_earlier_run_left_goes(finished_gan: Path, tmp_path: Path) -> None:
    file = load(write_gan(tmp_path / "data"))
    assert isinstance(file, Gan)
    out = tmp_path / "out"
    (out / "grids").mkdir(parents=True)
    (out / "grids" / "step00099999.png").write_bytes(b"")
    found = gan.gather(file, outputs(finished_gan), out)
    assert found["steps"] == 48
    assert sorted(path.name for path in (out / "grids").iterdir()) == [
        "step00000024.png",
        "step00000048.png",
    ]
    assert all((out / name).exists() for name in gan.names(file))
    assert len(set(gan.names(file))) == len(gan.names(file))


def test_an_output_that_is_not_whole_is_no_result(finished_gan: Path, tmp_path: Path) -> None:
    import shutil

    trained = Path(shutil.copytree(outputs(finished_gan)["trained"], tmp_path / "trained"))
    (trained / "grid.png").write_bytes(b"")
    file = load(write_gan(tmp_path / "data"))
    assert isinstance(file, Gan)
    with pytest.raises(IntegrityError, match=r"grid\.png"):
        gan.gather(file, {**outputs(finished_gan), "trained": trained}, tmp_path / "out")
