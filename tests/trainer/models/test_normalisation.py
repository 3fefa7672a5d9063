import keras
import numpy as np
import pytest

from trainer.config.member import Member
from trainer.config.network import Tabular
from trainer.models import classifier, normalisation
from trainer.models.classifier import Inputs

INPUTS = Inputs(side=32, channels=3, mean=np.full(3, 100.0), std=np.full(3, 50.0), tabular=2)


def normalisations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            found += normalisations(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer)
    return found


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, 0.9), (200, 0.9), (400, 0.95), (2000, 0.99), (100_000, 0.99)]
)
def test_the_momentum_follows_the_steps_of_the_training(steps: int, expected: float) -> None:
    assert normalisation.momentum(steps) == pytest.approx(expected)


def built(backbone: str, steps: int) -> set[float]:
    member = Member(
        name="m",
        backbone=backbone,
        tabular=Tabular(columns=["a", "b"], layers=[4], batch_norm=True),
    )
    network = classifier.build(member, INPUTS, outputs=3, seed=0, steps=steps)
    return {round(layer.momentum, 6) for layer in normalisations(network)}


def test_a_published_network_and_a_tabular_tower_get_it() -> None:
    # 0.999 is that of the library's MobileNetV2.
    assert built("MobileNetV2", 0) == {0.999, 0.99}
    assert built("MobileNetV2", 400) == {0.95}


def test_a_backbone_of_the_user_keeps_its_own() -> None:
    assert built("tests.trainer.models.test_normalisation:own_backbone", 400) == {0.77, 0.95}


def own_backbone(pixels):  # type: ignore[no-untyped-def]  # a symbolic tensor
    features = keras.layers.Conv2D(4, 3, strides=8)(pixels)
    return keras.layers.BatchNormalization(momentum=0.77)(features)
