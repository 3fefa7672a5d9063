"""The optimizer of a recipe."""

from typing import Any

import keras

from trainer.config.member import Member


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
