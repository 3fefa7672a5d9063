from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support import gans
from tests.support.networks import build_classifier
from trainer.config.gan import Features
from trainer.config.member import Member
from trainer.config.network import Cnn, Head
from trainer.errors import TrainingError
from trainer.gan.quality import feature_extractor
from trainer.models import backbones


def classifier(path: Path, head: Head | None = None, *, outputs: int = 10) -> keras.Model:
    recipe = Member(
        name="judge",
        size=32,
        epochs=1,
        cnn=Cnn(filters=[4, 6], strides=[2, 2]),
        head=head or Head(hidden=[7], pooling="flatten"),
    )
    made = build_classifier(
        recipe,
        outputs=outputs,
        size=32,
        channels=1,
        mean=np.array([30.0]),
        std=np.array([60.0]),
        seed=1,
    )
    made.save(path)
    return made


def test_features_are_what_the_last_layer_sees(tmp_path: Path) -> None:
    made = classifier(tmp_path / "judge.keras")
    images, _ = gans.enlarged(310)
    found, logits = feature_extractor.of_model(tmp_path / "judge.keras", classes=10).look(images)
    assert found.shape == (310, 7)
    assert logits is not None
    expected = np.asarray(made(images.astype(np.float32)))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    kernel, bias = made.get_layer("logits").get_weights()
    np.testing.assert_allclose(found @ kernel + bias, expected, atol=1e-4)


def test_several_masks_of_dropout_have_the_same_features(tmp_path: Path) -> None:
    classifier(tmp_path / "judge.keras", Head(hidden=[5], samples=3))
    found, logits = feature_extractor.of_model(tmp_path / "judge.keras", classes=10).look(
        gans.enlarged(4)[0]
    )
    assert found.shape == (4, 5)
    assert logits is not None
    assert logits.shape == (4, 10)


def test_a_model_of_other_classes_gives_features_alone(tmp_path: Path) -> None:
    classifier(tmp_path / "other.keras", outputs=3)
    found, logits = feature_extractor.of_model(tmp_path / "other.keras").look(gans.enlarged(4)[0])
    assert (found.shape, logits) == ((4, 7), None)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.keras").write_bytes(b"no model")
    with pytest.raises(TrainingError, match=r"bad\.keras: is not a readable model"):
        feature_extractor.of_model(tmp_path / "bad.keras")
    flat = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten()])
    flat.save(tmp_path / "flat.keras")
    with pytest.raises(TrainingError, match="has no dense layer"):
        feature_extractor.of_model(tmp_path / "flat.keras")


def test_a_model_of_other_inputs_is_named(tmp_path: Path) -> None:
    grey, other = keras.Input((32, 32, 1)), keras.Input((4,))
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(grey), other])
    keras.Model([grey, other], keras.layers.Dense(2)(joined)).save(tmp_path / "two.keras")
    with pytest.raises(TrainingError, match=r"two\.keras: has inputs .*\(None, 4\)\]; expected"):
        feature_extractor.of_model(tmp_path / "two.keras")
    classifier(tmp_path / "grey.keras")
    judge = feature_extractor.of_model(tmp_path / "grey.keras", classes=10)
    wanted = Features(weights=str(tmp_path / "grey.keras"))
    with pytest.raises(
        TrainingError,
        match=r"gan.features.weights = .*: takes images of 1 channels, but the data has 3",
    ):
        feature_extractor.named(wanted, side=32, channels=3, judge=judge, local_path=here)


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    inputs = keras.Input((32, 32, 1))
    outputs = keras.layers.Dense(2)(
        keras.layers.Flatten()(keras.layers.Lambda(lambda pixels: pixels * 2)(inputs))
    )
    keras.Model(inputs, outputs).save(tmp_path / "code.keras")
    with pytest.raises(TrainingError, match=r"code\.keras: is not a readable model"):
        feature_extractor.of_model(tmp_path / "code.keras")


def here(path: str) -> str:
    return path


def chosen(
    wanted: Features, judge: feature_extractor.Judge, *, local_path: Callable[[str], str] = here
) -> feature_extractor.Judge:
    return feature_extractor.named(wanted, side=32, channels=1, judge=judge, local_path=local_path)


def test_the_network_that_the_file_names_is_taken(tmp_path: Path) -> None:
    classifier(tmp_path / "judge.keras")
    judge = feature_extractor.of_model(tmp_path / "judge.keras", classes=10)
    assert chosen(Features(), judge) is judge
    classifier(tmp_path / "other.keras", Head(hidden=[9]))
    asked: list[str] = []

    def near(uri: str) -> str:
        asked.append(uri)
        return str(tmp_path / "other.keras")

    assert chosen(Features(weights="gs://b/other.keras"), judge, local_path=near).look(
        gans.enlarged(2)[0]
    )[0].shape == (2, 9)
    assert asked == ["gs://b/other.keras"]
    with pytest.raises(TrainingError, match="no such file"):
        chosen(Features(weights=str(tmp_path / "gone.keras")), judge)


def test_a_backbone_with_a_file_of_weights(tmp_path: Path) -> None:
    """Enlarge images of one channel and 32 pixels for a network of three channels and 40 pixels."""
    recipe = Member(name="m", backbone="MobileNetV2", size=40, epochs=1, normalise="backbone")
    made = build_classifier(
        recipe, outputs=2, size=40, channels=3, mean=np.zeros(3), std=np.ones(3), seed=4
    )
    whole = made.get_layer(backbones.NAME)
    whole.save_weights(tmp_path / "mobile.weights.h5")
    classifier(tmp_path / "judge.keras")
    judge = feature_extractor.of_model(tmp_path / "judge.keras", classes=10)
    wanted = Features(backbone="MobileNetV2", weights=str(tmp_path / "mobile.weights.h5"), size=40)
    images, _ = gans.enlarged(3)
    found, logits = chosen(wanted, judge).look(images)
    assert (found.shape, logits) == ((3, 1280), None)
    pixels = np.asarray(
        keras.ops.image.resize(
            np.repeat(images, 3, axis=3).astype(np.float32), (40, 40), interpolation="bilinear"
        )
    )
    expected = np.asarray(whole(pixels / 127.5 - 1)).mean(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
