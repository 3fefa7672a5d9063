"""The optimizer of a recipe."""

from collections.abc import Iterator
from typing import Any

import keras

from trainer.config.member import Member
from trainer.models.backbones import NAME

# Groups of a backbone's layers that have one learning rate each; the large ViTs' have as many
# blocks.
_GROUPS = 12


def optimizer(member: Member, *, head_only: bool) -> keras.optimizers.Optimizer:
    """The optimizer of a recipe. Its learning rate is a variable that each step sets.

    Args:
        member: the recipe.
        head_only: for the epochs in which the backbone is frozen.
    """
    recipe = member.optimizer
    options: dict[str, Any] = {
        "learning_rate": member.head_learning_rate if head_only else recipe.learning_rate,
        "global_clipnorm": recipe.clip_norm or None,
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    if recipe.kind == "adam":
        optimizer = keras.optimizers.Adam(**options)
    elif recipe.kind == "adamw":
        optimizer = keras.optimizers.AdamW(weight_decay=recipe.weight_decay, **options)
    else:
        optimizer = keras.optimizers.SGD(
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay or None,
            **options,
        )
    if recipe.kind != "adam":
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "power"])
    if member.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def layer_rates(member: Member, network: keras.Model) -> list[float]:
    """Return the learning rate of each trainable weight, as a share of the optimizer's.

    Args:
        member: the recipe, for `optimizer.layer_decay`.
        network: as `classifier.build` returns it.

    Returns:
        a number from 0 to 1 for each of `network.trainable_variables`; none if all are 1.
    """
    decay = member.optimizer.layer_decay
    if decay == 1:
        return []
    backbone = network.get_layer(NAME)
    layers = list(_layers_with_weights(backbone))
    # Weights of a model itself, such as the embedding of positions, are next to its input.
    rates = {id(variable): decay**_GROUPS for variable in backbone.trainable_variables}
    for number, layer in enumerate(layers):
        from_last = _GROUPS - number * _GROUPS // len(layers)
        rates |= {id(variable): decay**from_last for variable in layer.trainable_variables}
    return [rates.get(id(variable), 1.0) for variable in network.trainable_variables]


def _layers_with_weights(model: keras.Model) -> Iterator[Any]:
    """Yield the layers that learn, from the input on, also those of models inside."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_with_weights(layer)
        elif layer.trainable_variables:
            yield layer
