import numpy as np
import pytest

from trainer.competition import Augment, Member

MEMBER = Member(name="m", filters=[4, 8], strides=[2, 1], epochs=2, warmup_epochs=0.5, augment=Augment())
SHAPE = {"classes": 10, "size": 8, "channels": 1}


@pytest.fixture(scope="module")
def model():  # type: ignore[no-untyped-def]
    from trainer import accelerator

    accelerator.prepare()
    from trainer import model

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
        model.build(MEMBER, mean=np.array([100.0]), std=np.array([50.0]), seed=seed, **SHAPE) for seed in (1, 1, 2)
    )
    for a, b in zip(same.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert not np.array_equal(same.get_layer("conv0").get_weights()[0], other.get_layer("conv0").get_weights()[0])


def test_a_channel_that_never_varies_does_not_divide_by_nought(model) -> None:  # type: ignore[no-untyped-def]
    network = model.build(MEMBER, mean=np.array([7.0]), std=np.array([0.0]), seed=1, **SHAPE)
    assert np.isfinite(network.predict(np.full((2, 8, 8, 1), 7.0, np.float32), verbose=0)).all()


def test_a_saved_model_loads_in_safe_mode_and_agrees(model, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import keras

    network = model.build(MEMBER, mean=np.array([100.0]), std=np.array([50.0]), seed=1, **SHAPE)
    network.save(tmp_path / "m.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(network.predict(pixels, verbose=0), loaded.predict(pixels, verbose=0))


@pytest.mark.parametrize("pooling", ["flatten", "average"])
def test_the_schedule_warms_up_and_decays(model, pooling: str) -> None:  # type: ignore[no-untyped-def]
    member = Member(name="m", filters=[4], strides=[2], epochs=10, warmup_epochs=2, learning_rate=0.01, pooling=pooling)
    network = model.build(member, mean=np.array([0.0]), std=np.array([1.0]), seed=1, **SHAPE)
    model.compile_for(network, member, steps_per_epoch=5)
    # The optimizer's own schedule, step by step.
    rates = [float(network.optimizer._learning_rate(step)) for step in range(51)]
    assert max(rates) == pytest.approx(0.01, rel=1e-3)
    assert int(np.argmax(rates)) == 10
    assert rates[0] < 0.001
    assert rates[50] == pytest.approx(0.0001, rel=1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
