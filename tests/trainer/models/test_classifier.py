from typing import Any

import numpy as np
import pytest

from tests.support.networks import build_classifier
from trainer.config.member import Member, Optimizer
from trainer.config.network import Cnn, Head, Tabular
from trainer.models.optimizers import optimizer

MEMBER = Member(name="m", cnn=Cnn(filters=[4, 8], strides=[2, 1]), epochs=2)
SHAPE: dict[str, Any] = {"outputs": 10, "size": 8, "channels": 1}
STATISTICS: dict[str, Any] = {"mean": np.array([100.0]), "std": np.array([50.0])}


@pytest.fixture(scope="module")
def model():  # type: ignore[no-untyped-def]
    from trainer.backends import devices

    devices.prepare()
    from trainer.models import classifier as model

    return model


def test_pixels_are_standardised_by_the_statistics_of_the_fold(model) -> None:  # type: ignore[no-untyped-def]
    layer = model.Standardize()
    layer.build((None, 8, 8, 2))
    layer.set_weights([np.array([10.0, 20.0]), np.array([2.0, 4.0])])
    out = np.asarray(layer(np.full((1, 8, 8, 2), 30.0, np.float32)))
    np.testing.assert_allclose(out[0, 0, 0], [10, 2.5])
    assert not layer.trainable_weights


def test_a_seed_decides_every_weight(model) -> None:  # type: ignore[no-untyped-def]
    same, again, other = (
        build_classifier(MEMBER, seed=seed, **STATISTICS, **SHAPE) for seed in (1, 1, 2)
    )
    for a, b in zip(same.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    kernels = [network.get_layer("logits").get_weights()[0] for network in (same, other)]
    assert not np.array_equal(*kernels)


def test_a_channel_that_never_varies_does_not_divide_by_zero(model) -> None:  # type: ignore[no-untyped-def]
    network = build_classifier(MEMBER, mean=np.array([7.0]), std=np.array([0.0]), seed=1, **SHAPE)
    assert np.isfinite(network.predict(np.full((2, 8, 8, 1), 7.0, np.float32), verbose=0)).all()


@pytest.mark.parametrize("pooling", ["average", "max", "gem", "flatten"])
def test_a_saved_model_loads_in_safe_mode_and_agrees(model, tmp_path, pooling: Any) -> None:  # type: ignore[no-untyped-def]
    import keras

    member = Member(
        name="m", epochs=1, head=Head(pooling=pooling, hidden=[16], samples=3, dropout=0.5)
    )
    network = build_classifier(member, seed=1, **STATISTICS, **SHAPE)
    network.save(tmp_path / "m.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(
        network.predict(pixels, verbose=0), loaded.predict(pixels, verbose=0)
    )


def test_generalised_mean_pooling_is_the_papers(model) -> None:  # type: ignore[no-untyped-def]
    features = np.random.default_rng(0).uniform(0, 3, (2, 4, 5, 6)).astype(np.float32)
    layer = model.GeneralisedMean()
    np.testing.assert_allclose(
        np.asarray(layer(features)), (features**3).mean(axis=(1, 2)) ** (1 / 3), rtol=1e-5
    )
    layer.set_weights([np.array(1.0)])
    np.testing.assert_allclose(np.asarray(layer(features)), features.mean(axis=(1, 2)), rtol=1e-5)
    assert len(layer.trainable_weights) == 1
    # Features of zero or less are raised to a power, too.
    assert np.isfinite(np.asarray(layer(np.full((1, 2, 2, 1), -1.0, np.float32)))).all()


def test_multi_sample_dropout_averages_masks_of_one_layer(model) -> None:  # type: ignore[no-untyped-def]
    several = Member(name="m", epochs=1, head=Head(samples=8, dropout=0.5))
    network = build_classifier(several, seed=1, **STATISTICS, **SHAPE)
    single = build_classifier(
        Member(name="m", epochs=1, head=Head(dropout=0.5)), seed=1, **STATISTICS, **SHAPE
    )
    assert network.count_params() == single.count_params()
    pixels = np.random.default_rng(0).uniform(0, 255, (64, 8, 8, 1)).astype(np.float32)
    plain = np.asarray(network(pixels, training=False))
    spread = [
        np.asarray(made(pixels, training=True) - made(pixels, training=False)).std()
        for made in (network, single)
    ]
    # The mean of 8 independent masks has about 1 / sqrt(8) of the deviation of one mask.
    assert 0.25 < spread[0] / spread[1] < 0.5
    np.testing.assert_allclose(
        plain, np.asarray(single(pixels, training=False)), rtol=1e-4, atol=1e-5
    )


def test_the_head_of_the_digits_notebook(model) -> None:  # type: ignore[no-untyped-def]
    member = Member(name="m", epochs=1, head=Head(pooling="flatten", hidden=[1024], dropout=0.5))
    network = build_classifier(member, seed=1, **STATISTICS, **SHAPE)
    assert network.get_layer("hidden0").units == 1024
    assert network.get_layer("logits").get_weights()[0].shape == (1024, 10)


@pytest.mark.parametrize(
    "tabular", [Tabular(columns=["a"], layers=[7]), Tabular(columns=["a"], preset="melanoma")]
)
def test_columns_join_the_features(model, tabular: Tabular) -> None:  # type: ignore[no-untyped-def]
    member = Member(name="m", epochs=1, tabular=tabular)
    network = build_classifier(member, tabular=5, seed=1, **STATISTICS, **SHAPE)
    pixels = np.zeros((3, 8, 8, 1), np.float32)
    first = np.asarray(network([pixels, np.zeros((3, 5), np.float32)]))
    second = np.asarray(network([pixels, np.eye(5, dtype=np.float32)[:3]]))
    assert first.shape == (3, 10)
    assert not np.allclose(first, second)
    if tabular.preset:
        assert [network.get_layer(f"tabular{n}").units for n in range(2)] == [512, 128]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_weight_decay_leaves_biases_and_norms_alone(model, kind: Any) -> None:  # type: ignore[no-untyped-def]
    member = Member(
        name="m",
        epochs=1,
        optimizer=Optimizer(kind=kind, weight_decay=0.1, clip_norm=1.0, accumulate=2, average=0.9),
    )
    network = build_classifier(member, seed=1, **STATISTICS, **SHAPE)
    made = optimizer(member, head_only=False)
    made.build(network.trainable_variables)
    decayed = {
        variable.name
        for variable in network.trainable_variables
        if made.weight_decay and made._use_weight_decay(variable)
    }
    assert decayed == (set() if kind == "adam" else {"kernel"})
    assert made.gradient_accumulation_steps == 2
    assert made.global_clipnorm == 1.0


def test_half_precision_computes_in_it_and_gives_logits_in_full(model) -> None:  # type: ignore[no-untyped-def]
    import keras

    try:
        member = Member(name="m", epochs=1, precision="mixed_bfloat16", head=Head(pooling="gem"))
        network = build_classifier(member, seed=1, **STATISTICS, **SHAPE)
        out = network(np.zeros((1, 8, 8, 1), np.float32))
        assert keras.backend.standardize_dtype(out.dtype) == "float32"
        assert network.get_layer("backbone").get_layer("conv0").compute_dtype == "bfloat16"
        assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")
