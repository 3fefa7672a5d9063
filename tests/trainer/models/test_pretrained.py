"""Test weight files in each format, written here as the original tools write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.networks import build_classifier
from trainer.config.member import Member
from trainer.config.network import Cnn
from trainer.errors import TrainingError

SHAPE: dict[str, Any] = {
    "size": 32,
    "channels": 3,
    "mean": np.full(3, 120.0),
    "std": np.full(3, 60.0),
}


def build(member: Member, weights: str = "", outputs: int = 3, seed: int = 1) -> Any:

    return build_classifier(member, outputs=outputs, seed=seed, weights=weights, **SHAPE)


def backbone_weights(network: Any) -> list[np.ndarray]:
    from trainer.models.backbones import NAME

    return list(network.get_layer(NAME).get_weights())


CNN = Member(name="m", epochs=1, cnn=Cnn(filters=[4, 5], strides=[2, 1]))


def test_another_runs_member_with_another_head(tmp_path: Path) -> None:
    source = build(CNN, outputs=7, seed=5)
    source.get_layer("standardize").set_weights([np.zeros(3), np.ones(3)])
    source.save(tmp_path / "fold0.keras")
    found = build(CNN, str(tmp_path / "fold0.keras"))
    for ours, theirs in zip(backbone_weights(found), backbone_weights(source), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fresh = build(CNN)
    np.testing.assert_array_equal(
        found.get_layer("logits").get_weights()[0], fresh.get_layer("logits").get_weights()[0]
    )
    # Pixels are standardised with the recipe's statistics, not those of the other run.
    np.testing.assert_array_equal(found.get_layer("standardize").get_weights()[0], SHAPE["mean"])


def test_weights_of_keras_3(tmp_path: Path) -> None:
    from trainer.models.backbones import NAME

    source = build(CNN, seed=5)
    source.get_layer(NAME).save_weights(tmp_path / "m.weights.h5")
    found = build(CNN, str(tmp_path / "m.weights.h5"))
    for ours, theirs in zip(backbone_weights(found), backbone_weights(source), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def write_legacy(network: Any, path: Path) -> None:
    """Write an HDF5 weights file as Keras 2 did.

    It has one group per layer and one array per weight, both listed in attributes.
    """
    import h5py

    with h5py.File(path, "w") as file:
        layers = [layer for layer in network.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.3.1"
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0".encode() for variable in layer.weights]
            group.attrs["weight_names"] = names
            for name, variable in zip(names, layer.weights, strict=True):
                group.create_dataset(name.decode(), data=np.array(variable))
    assert layers


@pytest.mark.parametrize("backbone", ["efficientnet/EfficientNetB0", "EfficientNetB0"])
def test_the_packages_own_files_fit_both_kinds_of_efficientnet(
    tmp_path: Path, backbone: str
) -> None:
    from trainer.models import backbones

    package = Member(
        name="m", epochs=1, backbone="efficientnet/EfficientNetB0", normalise="backbone"
    )
    source = build(package, seed=5)
    inner = source.get_layer(backbones.NAME)
    # Batch-normalisation statistics that no new network has.
    random = np.random.default_rng(0)
    inner.set_weights(
        [
            np.abs(w + random.normal(0, 0.05, w.shape)).astype(np.float32) if w.ndim == 1 else w
            for w in inner.get_weights()
        ]
    )
    write_legacy(inner, tmp_path / "efficientnet-b0_noisy-student_notop.h5")
    target = Member(name="m", epochs=1, backbone=backbone, normalise="backbone")
    found = build(target, str(tmp_path / "efficientnet-b0_noisy-student_notop.h5"))
    pixels = random.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    features = [
        np.asarray(
            network.get_layer(backbones.NAME)(np.asarray(network.get_layer("standardize")(pixels)))
        )
        for network in (source, found)
    ]
    np.testing.assert_allclose(features[0], features[1], atol=1e-5 * np.abs(features[0]).max())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    other = build(Member(name="m", epochs=1, cnn=Cnn(filters=[9, 9], strides=[2, 1])))
    other.save(tmp_path / "other.keras")
    with pytest.raises(TrainingError, match=r"other\.keras.*no weights in it fit backbone = 'cnn'"):
        build(CNN, str(tmp_path / "other.keras"))
    (tmp_path / "broken.keras").write_bytes(b"PK no")
    with pytest.raises(TrainingError, match=r"broken\.keras"):
        build(CNN, str(tmp_path / "broken.keras"))
    (tmp_path / "broken.h5").write_bytes(b"no")
    with pytest.raises(TrainingError, match=r"broken\.h5"):
        build(CNN, str(tmp_path / "broken.h5"))


def test_noisy_student_weights_are_asked_for_by_the_packages_own_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from efficientnet.weights import NS_WEIGHTS_HASHES

    from trainer.models import pretrained

    asked: list[tuple[Any, ...]] = []

    def fetch(name: str, origin: str, *, cache_subdir: str, file_hash: str) -> str:
        asked.append((name, origin, file_hash))
        return str(tmp_path / name)

    monkeypatch.setattr("keras.utils.get_file", fetch)
    path = pretrained.noisy_student(Member(name="m", epochs=1, backbone="EfficientNetB4"))
    assert path.endswith("efficientnet-b4_noisy-student_notop.h5")
    ((name, origin, digest),) = asked
    assert origin.endswith("/" + name)
    assert digest == NS_WEIGHTS_HASHES["efficientnet-b4"][1]


def test_layers_without_names_fit_in_every_build(tmp_path: Path) -> None:
    # Xception's shortcut layers have no fixed names, and a training job builds one network per
    # fold.
    member = Member(name="m", epochs=1, backbone="MobileNetV2", normalise="backbone")
    source = build(member, seed=5)
    source.save(tmp_path / "fold0.keras")
    for _ in range(2):
        found = build(member, str(tmp_path / "fold0.keras"))
        for ours, theirs in zip(backbone_weights(found), backbone_weights(source), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    unnamed = [layer.name for layer in build(CNN).layers]
    assert unnamed == [layer.name for layer in build(CNN).layers]


def test_a_file_that_brings_a_normalisation_changes_no_pixels(tmp_path: Path) -> None:
    import keras

    from trainer.models.backbones import NAME

    member = Member(name="m", epochs=1, backbone="EfficientNetB0", normalise="backbone")
    source = build(member, seed=5)
    inner = next(layer for layer in source.get_layer(NAME).layers if isinstance(layer, keras.Model))
    norm = next(layer for layer in inner.layers if isinstance(layer, keras.layers.Normalization))
    norm.adapt_mean.assign(np.array([0.485, 0.456, 0.406]))
    norm.adapt_variance.assign(np.array([0.229, 0.224, 0.225]) ** 2)
    write_legacy(inner, tmp_path / "efficientnetb0_notop.h5")
    found = build(member, str(tmp_path / "efficientnetb0_notop.h5"))
    inner = next(layer for layer in found.get_layer(NAME).layers if isinstance(layer, keras.Model))
    norm = next(layer for layer in inner.layers if isinstance(layer, keras.layers.Normalization))
    pixels = np.random.default_rng(0).uniform(0, 1, (1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(norm(pixels)), pixels, atol=1e-6)


def test_a_model_that_carries_code_is_refused(tmp_path: Path) -> None:
    """A Lambda layer is Python code inside the file: loading it would run it."""
    import keras

    inputs = keras.Input((8,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "evil.keras")
    with pytest.raises(TrainingError, match="evil.keras'.*[Ll]ambda"):
        build(CNN, str(tmp_path / "evil.keras"))


def test_a_list_of_images_that_carries_objects_is_refused(tmp_path: Path) -> None:
    from trainer.artifacts.objective import Objective
    from trainer.training.model_pool import ModelPool

    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "fold0.keras").write_bytes(b"")
    np.save(tmp_path / "fold0.seen.npy", np.array([Runs()], dtype=object), allow_pickle=True)
    member = Member(name="m", epochs=1, weights=str(tmp_path / "fold0.keras"))
    goal = Objective(task="multiclass", classes=["a", "b"], metric="accuracy", seed=1)
    networks = ModelPool(member, goal, None, {}, 3, str)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="fold0.seen.npy: not a valid .seen.npy file"):
        networks.seen_images(0)
    assert not (tmp_path / "ran").exists()
