"""What a DCGAN's generator and discriminator minimise.

Images are in -1 to 1 here, as tanh returns them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from trainer.config.gan import GanRecipe
from trainer.gan import diffaugment

Arrays = Mapping[str, Any]
# From [latent, labels] to images; from [images, labels] to logits.
Network = Callable[[Sequence[Any]], Any]


def discriminator_loss(
    recipe: GanRecipe, generator: Network, discriminator: Network, arrays: Arrays
) -> tuple[Any, Any, Any]:
    """The discriminator's loss, and how often it is right.

    Args:
        recipe: the loss: non_saturating (Goodfellow et al., arXiv:1406.2661, section 3) or hinge
            (Lim and Ye, arXiv:1705.02894).
        generator: from latent vectors and classes to images.
        discriminator: from images and classes to logits.
        arrays: of one step, as `trainer.gan.step.draw` returns them, with `pixels` and `labels`.

    Returns:
        the loss; the share of real images with a logit above 0; the share of generated images with
        a logit below 0.
    """
    labels = arrays["labels"]
    generated = ops.stop_gradient(generator([arrays["latent_first"], labels]))
    images = (
        diffaugment.apply(scaled(arrays["pixels"]), arrays, "real"),
        diffaugment.apply(generated, arrays, "first"),
    )
    # In separate batches, so that batch normalisation does not tell them apart.
    real, fake = (discriminator([batch, labels]) for batch in images)
    if recipe.loss == "hinge":
        loss = ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))
    else:
        loss = ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
    real_right = ops.mean(ops.cast(real > 0, "float32"))
    generated_right = ops.mean(ops.cast(fake < 0, "float32"))
    return loss, real_right, generated_right


def generator_loss(
    recipe: GanRecipe, generator: Network, discriminator: Network, arrays: Arrays
) -> Any:
    """The generator's loss, before a discriminator that was just updated.

    Arguments as for `discriminator_loss`.
    """
    labels = arrays["labels_second"]
    images = generator([arrays["latent_second"], labels])
    logits = discriminator([diffaugment.apply(images, arrays, "second"), labels])
    return -ops.mean(logits) if recipe.loss == "hinge" else ops.mean(ops.softplus(-logits))


def scaled(pixels: Any) -> Any:
    """Pixels of 0 to 255 as float32 in -1 to 1."""
    return ops.cast(pixels, "float32") / 127.5 - 1.0
