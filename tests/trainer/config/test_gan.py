from pathlib import Path
from typing import Any

import pytest

from trainer.config import competition
from trainer.config.gan import Features, Gan, GanRecipe
from trainer.config.load import load, load_competition
from trainer.config.schema import parse
from trainer.errors import CompetitionError

FILE: dict[str, Any] = {
    "name": "tiny_gan",
    "classes": ["a", "b"],
    "data": {"source": "pixels", "train": "train.csv", "target": "label"},
    "records": {"sizes": [32]},
    "judge": {"name": "judge", "epochs": 2},
    "gan": {"steps": 100},
}
TOML = """
name = "tiny_gan"
classes = ["a", "b"]
data = { source = "pixels", root = "data", train = "train.csv", target = "label" }
records = { sizes = [64] }
judge = { name = "judge", epochs = 2, weights = "../other/all.keras" }
gan = { steps = 100, features = { weights = "inception.keras" } }
"""


def problems(**changed: Any) -> str:
    with pytest.raises(CompetitionError) as caught:
        parse(Gan, {**FILE, **changed}, "f")
    return str(caught.value)


def test_a_file_is_read_with_its_paths_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "tiny.toml"
    path.parent.mkdir()
    path.write_text(TOML)
    file = load(path)
    assert isinstance(file, Gan)
    assert file.data.train == str(tmp_path / "runs" / "data" / "train.csv")
    assert file.judge.weights == str(tmp_path / "other" / "all.keras")
    assert file.gan.features.weights == str(tmp_path / "runs" / "inception.keras")
    assert (
        load(
            Path(competition.__file__).parents[2] / "pipelines" / "competitions" / "digits.toml"
        ).name
        == "digits"
    )


def test_a_command_of_competitions_says_that_this_is_none(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TOML)
    with pytest.raises(CompetitionError, match=r"tiny\.toml: is a GAN file"):
        load_competition(tmp_path / "tiny.toml")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "Tiny"}, "name = 'Tiny': use lower-case"),
        ({"classes": ["a"]}, "classes = ['a']: name at least two"),
        ({"classes": ["a", "a"]}, "classes names 'a' more than once"),
        ({"records": {"sizes": [28]}}, "records.sizes = [28]: must be [32] or [64]"),
        ({"records": {"sizes": [32, 64]}}, "records.sizes = [32, 64]: must be [32] or [64]"),
        (
            {"judge": {"name": "j", "epochs": 2, "size": 64}},
            "judge.size = 64: must be the stored size, 32",
        ),
        (
            {"judge": {"name": "j", "epochs": 2, "backbone": "InceptionV3"}},
            "'InceptionV3': requires images of at least 75",
        ),
        (
            {"judge": {"name": "j", "epochs": 2, "validation": "none"}},
            "judge.validation = 'none': must be 'last'",
        ),
        (
            {"judge": {"name": "j", "epochs": 2, "validation": "best"}},
            "judge.validation = 'best': must be 'last'",
        ),
        (
            {"judge": {"name": "j", "epochs": 2, "backbone": "mine:net"}},
            "judge.backbone = 'mine:net': must be a named backbone",
        ),
        (
            {"gan": {"steps": 10, "features": {"weights": "imagenet", "backbone": "InceptionV3"}}},
            "or set gan.features.size",
        ),
        (
            {
                "gan": {
                    "steps": 10,
                    "features": {"weights": "noisy-student", "backbone": "ResNet50"},
                }
            },
            "for EfficientNetB0 to B7",
        ),
        (
            {"judge": {"name": "j", "epochs": 2, "augment": {"crop": 16, "shift": 0.1}}},
            "judge.augment.crop = 16",
        ),
        ({"gan": {"steps": 0}}, "gan.steps = 0: must be a whole number from 1"),
        ({"gan": {"steps": 10, "stepz": 1}}, "gan.stepz is an unknown key; did you mean 'steps'?"),
        (
            {"gan": {"steps": 10, "steps_per_execution": 4, "evaluate_every": 4}},
            "gan.steps = 10: must be a multiple of",
        ),
        ({"gan": {"steps": 10, "diffaugment": ["cutout", "cutout"]}}, "gan.diffaugment"),
        (
            {"gan": {"steps": 10, "diffaugment": ["blur"]}},
            "gan.diffaugment[0] = 'blur': must be one of",
        ),
        (
            {"gan": {"steps": 10, "samples": 20}, "classes": list("abcdefghijkl")},
            "gan.samples = 20: must be at least 48, 4 per class",
        ),
        (
            {"gan": {"steps": 10, "features": {"backbone": "InceptionV3"}}},
            "gan.features.weights is missing",
        ),
        (
            {"gan": {"steps": 10, "features": {"weights": "a.h5"}}},
            "gan.features.backbone is missing",
        ),
        (
            {"gan": {"steps": 10, "features": {"weights": "a.keras", "size": 64}}},
            "gan.features.size = 64",
        ),
        (
            {
                "gan": {
                    "steps": 10,
                    "features": {"weights": "imagenet", "backbone": "InceptionV3", "size": 64},
                }
            },
            "requires images of at least 75",
        ),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], said: str) -> None:
    assert said in problems(**changed)


def test_images_without_a_label_are_a_competition_s_need_alone() -> None:
    parse(Gan, FILE, "f")
    for source in (
        {"source": "cifar10", "train": "data_batch_*"},
        {"source": "files", "images": "{class}/{id}.png"},
        {"source": "tfrecords", "images": "*.tfrec", "id": "id", "target": "class"},
    ):
        parse(Gan, {**FILE, "data": source}, "f")


def test_only_inception_s_features_make_an_fid() -> None:
    assert Features().measure() == "Fréchet distance"
    assert Features(weights="/a/mine.keras").measure() == "Fréchet distance"
    assert Features(backbone="ResNet50", weights="imagenet").measure() == "Fréchet distance"
    assert Features(backbone="InceptionV3", weights="/a/mine.h5").measure() == "Fréchet distance"
    assert (
        Features(backbone="InceptionV3", weights="imagenet").measure()
        == "FID (Keras's InceptionV3)"
    )
    assert (Features().name(), Features(weights="/a/mine.keras").name()) == (
        "the judge",
        "mine.keras",
    )


def test_a_step_s_operations_grow_with_what_it_does() -> None:
    small, large = (GanRecipe(steps=1, width=width).operations(32, 3) for width in (32, 64))
    assert 3 < large / small < 4
    assert GanRecipe(steps=1, batch_size=128).operations(32, 3) == 2 * GanRecipe(
        steps=1
    ).operations(32, 3)
    assert 3 < GanRecipe(steps=1).operations(64, 3) / GanRecipe(steps=1).operations(32, 3) < 6
