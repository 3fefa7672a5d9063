import pytest

from trainer.config.augment import Augment, AugmentChoice
from trainer.config.member import Member
from trainer.config.schema import parse
from trainer.errors import CompetitionError


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"backbone": "EfficientNetB33"}, ["members.backbone", "did you mean 'EfficientNetB3'"]),
        (
            {"backbone": "Xception", "size": 64},
            ["requires images of at least 71 pixels, but these have 64"],
        ),
        ({"backbone": "efficientnet/EfficientNetB9"}, ["did you mean 'efficientnet/EfficientNetB"]),
        (
            {"backbone": "VGG16", "weights": "noisy-student"},
            ["only available for EfficientNetB0 to B7, not for 'VGG16'"],
        ),
        ({"weights": "imagenet"}, ["no such weights for backbone = 'cnn'"]),
        ({"backbone": "a.b:c", "weights": "imagenet"}, ["no such weights for backbone = 'a.b:c'"]),
        (
            {"backbone": "VGG16", "cnn": {"filters": [3], "strides": [1]}},
            ["only applies to backbone = 'cnn'"],
        ),
        ({"monitor": "auc"}, ["must be loss or one of accuracy, f1, macro_f1, weighted_f1"]),
        ({"patience": 3}, ["only applies to validation = 'best'"]),
        (
            {"validation": "none", "schedule": {"kind": "plateau"}},
            ["requires validation = 'best'"],
        ),
        ({"head_epochs": 2}, ["would freeze an untrained backbone"]),
        ({"schedule": {"kind": "plateau"}}, ["requires validation = 'best'"]),
        (
            {"schedule": {"kind": "ramp", "warmup_epochs": 1}},
            ["cannot be combined with kind = 'ramp'"],
        ),
        (
            {"validation": "none", "weights": "fold{fold}.keras"},
            ["there is no fold with validation = 'none'"],
        ),
        ({"backbone": "VGG16", "head_epochs": 2}, ["would freeze an untrained backbone"]),
        (
            {"tta": 4, "size": 32, "augment": {"crop": 24, "crop_at": "middle"}},
            ["all views would be identical"],
        ),
        ({"tta": 4}, ["all views would be identical"]),
        ({"tta": 4, "augment": {"cutmix": 0.5}}, ["all views would be identical"]),
        (
            {"tta": 4, "augment": {"cutmix": 0.5, "off_last": 2}},
            ["all views would be identical"],
        ),
        (
            {"sampler": "balanced", "loss": {"class_weights": "balanced"}},
            ["which shows each class equally often already"],
        ),
        ({"schedule": {"restarts": 5}}, ["schedule.restarts = 5: must be below epochs = 5"]),
        ({"loss": {"alpha": 0.5}}, ["only applies to kind = 'focal'"]),
        ({"augment": {"one_of": [{"weight": 0.0}]}}, ["no choice with a weight above 0"]),
        ({"augment": {"crop": 4}}, ["must be at least 8"]),
        ({"optimizer": {"layer_decay": 0.7}}, ["would slow down an untrained backbone; set weig"]),
        ({"augment": {"off_last": 1}}, ["off_last = 1: only applies to cutmix and mixup"]),
        (
            {"augment": {"mixup": 0.5, "off_last": 5}},
            ["augment.off_last = 5: must be below epochs = 5"],
        ),
        (
            {"backbone": "linear", "epochs": 0, "sampler": "balanced"},
            ["sampler cannot be combined"],
        ),
    ],
)
def test_what_does_not_go_together_is_named(keys: dict[str, object], words: list[str]) -> None:
    with pytest.raises(CompetitionError) as caught:
        parse(Member, {"name": "m", "epochs": 5, **keys}, "members")
    for word in words:
        assert word.replace("members.", "") in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {
            "backbone": "EfficientNetB3",
            "weights": "imagenet",
            "head_epochs": 2,
            "normalise": "backbone",
        },
        {"backbone": "efficientnet/EfficientNetB7", "weights": "noisy-student"},
        {"backbone": "mine.nets:wide", "weights": "gs://bucket/w.h5"},
        {"validation": "best", "patience": 3, "monitor": "log_loss"},
        {"tta": 4, "augment": {"one_of": [{"rotation": 10}]}},
        {"tta": 4, "augment": {"crop": 24}, "size": 32},
    ],
)
def test_what_goes_together_is_taken(keys: dict[str, object]) -> None:
    assert parse(Member, {"name": "m", "epochs": 5, **keys}, "members").name == "m"


def test_only_what_changes_an_image_counts_as_a_change() -> None:
    assert Member(
        name="m", epochs=1, augment=Augment(cutmix=1.0, fill="edge", interpolation="nearest")
    ).without_changes()
    for change in (
        Augment(rotation=1),
        Augment(crop=20),
        Augment(one_of=[AugmentChoice(hue=0.1)]),
        Augment(erase=0.1),
    ):
        assert not Member(name="m", epochs=1, augment=change).without_changes()


def test_what_the_network_sees() -> None:
    assert Member(name="m", epochs=1, size=32).side() == 32
    assert Member(name="m", epochs=1, size=32, augment=Augment(crop=24)).side() == 24
