import keras
import numpy as np
import pytest
from keras import ops

from tests.support import gans
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse
from trainer.gan import networks, state, step
from trainer.gan.losses import discriminator_loss, generator_loss, scaled
from trainer.gan.spectral_norm import Bounded


def recipe(**changed: object) -> GanRecipe:
    return parse(GanRecipe, {**gans.SMALL, **changed}, "gan")


def made(gan: GanRecipe, side: int, channels: int) -> tuple[keras.Model, keras.Model]:
    shape = {"side": side, "channels": channels, "classes": 10, "seed": 5}
    return networks.generator(gan, **shape), networks.discriminator(gan, **shape)


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (32, 3), (64, 3)])
@pytest.mark.parametrize("conditional", [True, False])
def test_shapes_and_ranges(side: int, channels: int, conditional: bool) -> None:
    gan = recipe(conditional=conditional)
    generator, discriminator = made(gan, side, channels)
    latent, labels = (
        np.random.default_rng(0).standard_normal((6, gan.latent), np.float32),
        np.arange(6, dtype=np.int32),
    )
    images = np.asarray(generator([latent, labels]))
    assert images.shape == (6, side, side, channels)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1
    assert np.asarray(discriminator([images, labels])).shape == (6,)


def test_the_class_decides_only_where_it_is_given() -> None:
    latent = np.random.default_rng(0).standard_normal((2, 8), np.float32)[[0, 0]]
    labels = np.array([1, 2], np.int32)
    for conditional in (True, False):
        generator, discriminator = made(recipe(conditional=conditional), 32, 1)
        images = np.asarray(generator([latent, labels]))
        assert np.array_equal(images[0], images[1]) != conditional
        logits = np.asarray(discriminator([images[[0, 0]], labels]), dtype=np.float64)
        # The same image twice: rows of a batch differ in their last bit at most.
        assert (abs(logits[0] - logits[1]) < 1e-6 * abs(logits[0])) != conditional


def test_weights_begin_as_the_paper_says_and_differ() -> None:
    generator, discriminator = made(recipe(width=32), 64, 3)
    kernels = [
        np.array(variable)
        for network in (generator, discriminator)
        for variable in network.variables
        if variable.name == "kernel"
    ]
    assert len(kernels) == 11
    for kernel in kernels:
        assert kernel.std() == pytest.approx(0.02, rel=0.2)
    flat = [tuple(kernel.ravel()[:8]) for kernel in kernels]
    assert len(set(flat)) == len(flat)
    again, _ = made(recipe(width=32), 64, 3)
    assert all(
        np.array_equal(*both)
        for both in zip(generator.get_weights(), again.get_weights(), strict=True)
    )


def test_no_batch_normalisation_where_the_paper_has_none() -> None:
    generator, discriminator = made(recipe(), 32, 1)
    names = [
        layer.name
        for network in (generator, discriminator)
        for layer in network.layers
        if "norm" in layer.name
    ]
    assert names == ["norm0", "norm1", "norm2", "norm1", "norm2"]


def test_spectral_normalisation_bounds_every_weight_of_the_discriminator() -> None:
    """No matrix that a layer multiplies by has a singular value above one, by power iteration."""
    gan = recipe(spectral_norm=True, steps=40)
    trained = gans.networks(gan)
    gans.trained(gans.program(trained), gan)
    layers = [
        layer
        for layer in trained.networks[state.DISCRIMINATOR].layers
        if isinstance(layer, Bounded)
    ]
    assert {layer.layer.name for layer in layers} == {"down0", "down1", "down2", "logit", "embed"}
    for layer in layers:
        kernel = np.array(layer.kernel(training=False))
        assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(
            1.0, abs=0.05
        ), layer.name
        assert np.linalg.norm(
            np.array(layer.layer.kernel).reshape(-1, kernel.shape[-1]), 2
        ) != pytest.approx(1.0, abs=0.05)


def test_losses_are_those_of_the_papers() -> None:
    real, fake = np.array([2.0, -0.5], np.float32), np.array([-3.0, 0.25], np.float32)
    arrays = {
        "pixels": np.zeros((2, 4, 4, 1), np.uint8),
        "labels": np.zeros(2, np.int32),
        "labels_second": np.zeros(2, np.int32),
        "latent_first": np.zeros((2, 3), np.float32),
        "latent_second": np.ones((2, 3), np.float32),
    }

    def generate(inputs: list[np.ndarray]) -> object:
        return ops.zeros((2, 4, 4, 1)) + 0.5

    def discriminate(inputs: list[object]) -> object:
        # Real pixels of 0 become -1; generated pixels are 0.5.
        images = inputs[0]
        return ops.convert_to_tensor(real if float(ops.min(images)) < 0 else fake)  # type: ignore[arg-type]

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    loss, *right = discriminator_loss(recipe(), generate, discriminate, arrays)
    assert float(loss) == pytest.approx(
        float(-np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()), rel=1e-5
    )
    assert [float(share) for share in right] == [0.5, 0.5]
    assert float(generator_loss(recipe(), generate, discriminate, arrays)) == pytest.approx(
        float(-np.log(sigmoid(fake)).mean()), rel=1e-5
    )
    hinge = recipe(loss="hinge")
    loss, *_ = discriminator_loss(hinge, generate, discriminate, arrays)
    assert float(loss) == pytest.approx((0 + 1.5) / 2 + (0 + 1.25) / 2)
    assert float(generator_loss(hinge, generate, discriminate, arrays)) == pytest.approx(
        -fake.mean()
    )


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (64, 3)])
def test_operations_are_counted_as_the_layers_do_them(side: int, channels: int) -> None:
    """Count multiply-adds from the shapes of the kernels and of the feature maps."""
    gan = recipe(conditional=False, width=8)
    counted = []
    for network in made(gan, side, channels):
        total = 0
        for layer in network.layers:
            if isinstance(layer, keras.layers.Conv2DTranspose):
                total += (
                    layer.kernel.shape[0]
                    * layer.kernel.shape[1]
                    * layer.input.shape[1] ** 2
                    * np.prod(layer.kernel.shape[2:])
                )
            elif isinstance(layer, keras.layers.Conv2D):
                total += layer.output.shape[1] ** 2 * np.prod(layer.kernel.shape)
            elif isinstance(layer, keras.layers.Dense):
                total += np.prod(layer.kernel.shape)
        counted.append(float(total))
    assert gan.multiply_adds(side, channels) == pytest.approx(tuple(counted))


def test_pixels_survive_the_way_there_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = np.asarray(scaled(pixels))
    assert (images.min(), images.max()) == (-1, 1)

    class Echo:
        def predict(self, arrays):  # type: ignore[no-untyped-def]
            return images

    assert np.array_equal(step.sample(Echo(), pixels, pixels), pixels)
