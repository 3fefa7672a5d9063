from typing import Any

import numpy as np
import pytest

from tests.support.networks import build_classifier
from trainer.config import known_backbones
from trainer.config.member import Member
from trainer.errors import TrainingError

# The smallest of each family: all of them together would take minutes.
SMALLEST = [
    "EfficientNetB0",
    "EfficientNetV2B0",
    "ConvNeXtTiny",
    "DenseNet121",
    "ResNet50",
    "ResNet50V2",
    "MobileNet",
    "MobileNetV2",
    "NASNetMobile",
    "MobileNetV3Small",
    "Xception",
    "InceptionV3",
    "VGG16",
    "efficientnet/EfficientNetB0",
]
# Of these, those with the most layers: each takes as long as all the others.
LARGEST = ("EfficientNetV2B0", "ConvNeXtTiny", "DenseNet121", "NASNetMobile", "InceptionV3")
MEAN, STD = np.array([120.0, 110.0, 100.0]), np.array([60.0, 55.0, 50.0])


def member(backbone: str, **keys: Any) -> Member:
    return Member(name="m", epochs=1, backbone=backbone, **keys)


def reference(backbone: str, pixels: np.ndarray) -> np.ndarray:
    """Preprocess pixels as the library does.

    It uses `preprocess_input` or the layers of the network itself.
    """
    import keras

    name = backbone.removeprefix(known_backbones.PACKAGE_PREFIX)
    modules = {
        "EfficientNetV2": "efficientnet_v2",
        "ConvNeXt": "convnext",
        "DenseNet": "densenet",
        "MobileNetV3": "mobilenet_v3",
        "MobileNetV2": "mobilenet_v2",
        "MobileNet": "mobilenet",
        "NASNet": "nasnet",
        "Xception": "xception",
        "InceptionV3": "inception_v3",
        "InceptionResNetV2": "inception_resnet_v2",
        "VGG16": "vgg16",
        "VGG19": "vgg19",
    }
    if name.startswith("ResNet"):
        module = "resnet_v2" if name.endswith("V2") else "resnet"
        return np.asarray(getattr(keras.applications, module).preprocess_input(pixels.copy()))
    if name.startswith("EfficientNetB"):
        # The same as torchvision's, in the package's own function and in Keras's layers with
        # ImageNet's weights.
        return np.asarray(keras.applications.densenet.preprocess_input(pixels.copy()))
    if name.startswith(("EfficientNetV2", "ConvNeXt", "MobileNetV3")):
        network = getattr(keras.applications, name)(
            include_top=False, weights=None, input_shape=pixels.shape[1:]
        )
        first = next(
            n
            for n, layer in enumerate(network.layers)
            if isinstance(layer, keras.layers.Conv2D | keras.Sequential)
        )
        before = [
            layer
            for layer in network.layers[1:first]
            if not isinstance(layer, keras.layers.ZeroPadding2D)
        ]
        assert before
        for layer in before:
            pixels = np.asarray(layer(pixels))
        return pixels
    module = next(value for key, value in modules.items() if name.startswith(key))
    return np.asarray(getattr(keras.applications, module).preprocess_input(pixels.copy()))


@pytest.mark.parametrize("backbone", [*SMALLEST, "EfficientNetV2S", "VGG19", "ResNet101"])
def test_pixels_are_those_that_the_weights_want(backbone: str) -> None:
    random = np.random.default_rng(0)
    pixels = random.uniform(0, 255, (2, 80, 80, 3)).astype(np.float32)
    wanted = known_backbones.pixels(backbone, "backbone", MEAN, STD)
    shown = pixels[..., ::-1] if wanted.bgr else pixels
    ours = (shown - np.array(wanted.mean)) / np.array(wanted.std)
    np.testing.assert_allclose(ours, reference(backbone, pixels), atol=2e-3)


def test_every_classifier_of_keras_has_a_name_here() -> None:
    import inspect

    import keras

    theirs = {
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value)
        and name[0].isupper()
        and "include_top" in inspect.signature(value).parameters
    }
    ours = {name for family in known_backbones.FAMILIES for name in family.names}
    assert ours == theirs
    for family in known_backbones.FAMILIES:
        for name in family.names:
            options = inspect.signature(getattr(keras.applications, name)).parameters
            assert family.optional_preprocessing == ("include_preprocessing" in options), name


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param(name, marks=pytest.mark.acceptance) if name in LARGEST else name
        for name in SMALLEST
    ],
)
def test_a_network_of_each_family_computes_what_the_library_does(backbone: str) -> None:
    import keras

    from trainer.models import backbones

    family = known_backbones.family(backbone)
    assert family is not None
    side = max(48, family.smallest)
    keras.utils.clear_session()
    recipe = member(backbone, normalise="backbone")
    network = build_classifier(recipe, outputs=3, size=side, channels=3, mean=MEAN, std=STD, seed=1)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    logits = np.asarray(network(pixels))
    assert logits.shape == (2, 3)
    assert np.isfinite(logits).all()
    # The library's inner network, applied to pixels that the library preprocessed.
    backbone_model = network.get_layer(backbones.NAME)
    standardised = np.asarray(network.get_layer("standardize")(pixels))
    features = np.asarray(backbone_model(standardised))
    inner = next((layer for layer in backbone_model.layers if isinstance(layer, keras.Model)), None)
    if backbone == "EfficientNetB0":
        # The network's own first layers are neutral, and the layers before them undo the rest.
        scaled = np.asarray(backbone_model.get_layer("as_given")(standardised))
        seen = np.asarray(inner.get_layer(inner.layers[1].name)(scaled))
        np.testing.assert_allclose(seen, reference(backbone, pixels), atol=1e-4)
    elif inner is not None:
        np.testing.assert_allclose(
            features, np.asarray(inner(reference(backbone, pixels))), rtol=1e-3, atol=1e-3
        )
    else:
        np.testing.assert_allclose(
            features, np.asarray(backbone_model(reference(backbone, pixels))), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [("data", [1.0, 1.0, 1.0]), ("none", [180 / 255, 165 / 255, 150 / 255])],
)
def test_pixels_by_the_data_or_by_nothing(normalise: Any, expected: list[float]) -> None:

    for backbone in ("cnn", "VGG16"):
        network = build_classifier(
            member(backbone, normalise=normalise),
            outputs=2,
            size=32,
            channels=3,
            mean=MEAN,
            std=STD,
            seed=1,
        )
        pixels = np.broadcast_to((MEAN + STD).astype(np.float32), (1, 32, 32, 3))
        np.testing.assert_allclose(
            np.asarray(network.get_layer("standardize")(pixels))[0, 0, 0], expected, rtol=1e-5
        )


def test_grey_images_are_shown_three_times() -> None:

    network = build_classifier(
        member("MobileNetV2"),
        outputs=2,
        size=32,
        channels=1,
        mean=np.array([99.0]),
        std=np.array([9.0]),
        seed=1,
    )
    assert network.input_shape == (None, 32, 32, 1)
    assert np.isfinite(np.asarray(network(np.full((1, 32, 32, 1), 7.0, np.float32)))).all()


def wide(pixels):  # type: ignore[no-untyped-def]
    """A backbone defined by a user."""
    import keras

    return keras.layers.BatchNormalization(name="norm")(
        keras.layers.Conv2D(5, 3, name="own")(pixels)
    )


def flat(pixels):  # type: ignore[no-untyped-def]
    """A backbone that returns no feature map."""
    import keras

    return keras.layers.Flatten()(pixels)


def test_a_function_is_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from trainer.models import backbones

    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
    shape: dict[str, Any] = {
        "outputs": 2,
        "size": 16,
        "channels": 3,
        "mean": MEAN,
        "std": STD,
        "seed": 1,
    }
    network = build_classifier(member("mine:wide"), **shape)
    assert network.get_layer(backbones.NAME).get_layer("own").filters == 5
    with pytest.raises(TrainingError, match="must return a feature map"):
        build_classifier(member("mine:flat"), **shape)
    with pytest.raises(TrainingError, match="nosuch:net.*is it installed"):
        build_classifier(member("nosuch:net"), **shape)
    with pytest.raises(TrainingError, match="has no attribute 'deep'"):
        build_classifier(member("mine:deep"), **shape)


def test_weights_that_cannot_be_fetched_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:

    def refuse(*_: object, **__: object) -> str:
        raise Exception(
            "URL fetch failure on https://example.invalid: None -- refused"
        )  # as Keras does

    monkeypatch.setattr("keras.src.applications.vgg16.file_utils.get_file", refuse)
    with pytest.raises(
        TrainingError, match="weights = 'imagenet' could not be downloaded.*name a file"
    ):
        build_classifier(
            member("VGG16", weights="imagenet"),
            outputs=2,
            size=32,
            channels=3,
            mean=MEAN,
            std=STD,
            seed=1,
        )
