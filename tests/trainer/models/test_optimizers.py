import dataclasses
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.networks import build_classifier
from trainer.backends.program import compile_program
from trainer.config.member import Member, Optimizer
from trainer.config.network import Cnn, Head
from trainer.models.backbones import NAME
from trainer.models.optimizers import layer_rates, optimizer
from trainer.training import classifier_program

DECAY = 0.5
# Twelve convolutions: one in each group.
MEMBER = Member(
    name="m",
    epochs=1,
    weights="before.keras",
    cnn=Cnn(filters=[4] * 12, strides=[1] * 12),
    head=Head(hidden=[5], dropout=0.0),
    optimizer=Optimizer(kind="sgd", learning_rate=0.1, layer_decay=DECAY, momentum=0.0),
)


def network(member: Member = MEMBER) -> Any:
    return build_classifier(
        member,
        outputs=3,
        size=8,
        channels=1,
        mean=np.array([100.0]),
        std=np.array([50.0]),
        seed=2,
    )


def changes(member: Member) -> dict[str, np.ndarray]:
    """Take one step; return how much each trainable weight of the network has changed."""
    model = network(member)
    before = {variable.path: np.array(variable) for variable in model.trainable_variables}
    definition = classifier_program.define(
        member,
        model,
        optimizer(member, head_only=False),
        task="multiclass",
        augment_on_device=False,
    )
    generator = np.random.default_rng(0)
    arrays = {
        "pixels": generator.integers(0, 255, (6, 8, 8, 1)).astype(np.uint8),
        "tabular": np.zeros((6, 0), np.float32),
        "targets": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]],
        "weights": np.ones(6, np.float32),
    }
    compile_program(definition, "tensorflow").step(arrays, 0.1)
    return {
        variable.path: np.array(variable) - before[variable.path]
        for variable in model.trainable_variables
    }


def test_the_rate_falls_towards_the_input() -> None:
    model = network()
    rates = layer_rates(MEMBER, model)
    of_backbone = {id(variable) for variable in model.get_layer(NAME).trainable_variables}
    found = [
        rate
        for variable, rate in zip(model.trainable_variables, rates, strict=True)
        if id(variable) in of_backbone
    ]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (DECAY**12, DECAY)
    of_head = [
        rate
        for variable, rate in zip(model.trainable_variables, rates, strict=True)
        if id(variable) not in of_backbone
    ]
    assert of_head
    assert set(of_head) == {1.0}
    one_rate = dataclasses.replace(MEMBER, optimizer=Optimizer(kind="sgd"))
    assert layer_rates(one_rate, model) == []


def test_networks_inside_a_network_have_their_layers_counted() -> None:
    member = dataclasses.replace(MEMBER, backbone="MobileNetV3Small", size=32, cnn=Cnn())
    model = build_classifier(
        member, outputs=3, size=32, channels=3, mean=np.zeros(3), std=np.ones(3), seed=2
    )
    rates = sorted(set(layer_rates(member, model)))
    assert rates == [DECAY**power for power in range(12, -1, -1)]


def test_weights_of_a_subclassed_backbone_itself_are_the_slowest() -> None:
    class Positions(keras.Model):
        def build(self, shape: Any) -> None:
            self.embedding = self.add_weight(shape=shape[1:], name="embedding")
            self.out = keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            return self.out(inputs + self.embedding)

    pixels = keras.Input((8, 8, 1))
    inside = Positions()
    backbone = keras.Model(pixels, inside(pixels), name=NAME)
    outputs = keras.layers.Dense(3, name="head")(backbone(pixels))
    model = keras.Model(pixels, outputs)
    rates = dict(zip(map(id, model.trainable_variables), layer_rates(MEMBER, model), strict=True))
    assert rates[id(inside.embedding)] == DECAY**12
    assert rates[id(inside.out.kernel)] == DECAY**12
    assert rates[id(model.get_layer("head").kernel)] == 1


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_weight_takes_its_share_of_the_change(average: float) -> None:
    member = dataclasses.replace(
        MEMBER, optimizer=dataclasses.replace(MEMBER.optimizer, average=average)
    )
    whole = dataclasses.replace(
        member, optimizer=dataclasses.replace(member.optimizer, layer_decay=1.0)
    )
    slow, fast = changes(member), changes(whole)
    rates = layer_rates(member, network(member))
    assert len(rates) == len(fast)
    for (path, change), rate in zip(fast.items(), rates, strict=True):
        assert np.abs(change).max() > 0, path
        np.testing.assert_allclose(slow[path], rate * change, rtol=2e-2, atol=2e-7, err_msg=path)
