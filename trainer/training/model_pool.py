"""The network of a training task and its engines: weights are made anew for each fold, the graph is
compiled once."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.artifacts import tables
from trainer.backends import program
from trainer.backends.devices import Device
from trainer.backends.program import Engine
from trainer.config.member import Member
from trainer.config.objective import Objective, fold_seed
from trainer.errors import StorageError, TrainingError
from trainer.input.batches import Labels
from trainer.models import backbones, classifier


class ModelPool:
    """As the title says; satisfies trainer.training.fold.Engines."""

    def __init__(
        self,
        member: Member,
        goal: Objective,
        device: Device,
        pixels: Mapping[str, Any],
        channels: int,
        near: Callable[[str], str],
    ) -> None:
        """
        Args:
            pixels: the statistics of the member's size, by fold. near: brings a file of weights
                near.
        """
        self.member, self.goal, self.device = member, goal, device
        self.pixels, self.channels, self.near = pixels, channels, near
        self.model: Any = None
        self.engines: dict[bool, tuple[Engine, list[np.ndarray]]] = {}

    def fresh(self, fold: int, labels: Labels) -> dict[str, list[np.ndarray]]:
        """The arrays that a fold begins with."""
        built = self._build(fold, labels)
        if self.model is None:
            self.model = built
        weights = [np.array(variable) for variable in built.variables]
        first = self.member.head_epochs > 0
        self.of(head_only=first)
        return {"model": weights, "optimizer": self.engines[first][1]}

    def need(self, fold: int, labels: Labels) -> None:
        """Have a network, whatever its weights."""
        if self.model is None:
            self.model = self._build(fold, labels)

    def of(self, *, head_only: bool) -> Engine:
        """The engine that trains the head only, or all; the one for all predicts, too."""
        self.model.get_layer(backbones.NAME).trainable = not head_only
        if head_only not in self.engines:
            exclusive = self.goal.task == "multiclass"
            side, on_device = self.member.side(), self.device.paints
            parts = (
                program.objective(self.member, exclusive=exclusive, side=side, on_device=on_device),
                program.predictor(self.member, side=side, on_device=on_device),
            )
            optimizer = classifier.optimizer(self.member, head_only=head_only)
            made: Engine
            if self.device.backend == "jax" and self.member.precision == "mixed_float16":
                raise TrainingError(
                    f"member {self.member.name!r}: precision = 'mixed_float16' goes with TensorFlow"
                    " on a single GPU only: take mixed_bfloat16"
                )
            if self.device.backend == "jax":
                from trainer.backends.jax import OnJax

                made = OnJax(self.model, optimizer, *parts)
            else:
                from trainer.backends.tensorflow import OnTensorFlow

                made = OnTensorFlow(self.model, optimizer, *parts)
            self.engines[head_only] = (
                made,
                [np.array(variable) for variable in optimizer.variables],
            )
        return self.engines[head_only][0]

    def begin(self, weights: list[np.ndarray], *, head_only: bool) -> Engine:
        """The same with these weights, and an optimizer that has done nothing yet."""
        made = self.of(head_only=head_only)
        program.restore(made, {"model": weights, "optimizer": self.engines[head_only][1]})
        return made

    def load(self, weights: list[np.ndarray]) -> None:
        """Put weights in place, to predict with or to save."""
        program.assign(self.model.variables, weights)
        self.ready().push()

    def ready(self) -> Engine:
        """The engine that predicts."""
        return self.of(head_only=False)

    def seen(self, fold: int) -> np.ndarray | None:
        """The images that the weights to begin with were trained on, as `seen_images` says them;
        None where nothing is said."""
        path = self._weights(fold)
        beside = path.removesuffix(".keras") + tables.SEEN
        if not path.endswith(".keras"):
            return None
        try:
            beside = self.near(beside)
        except StorageError as error:
            if "no such bucket or object" not in str(error):
                raise
            return None  # a model in a bucket that has none beside it
        if not os.path.isfile(beside):
            return None
        try:
            found: np.ndarray = np.load(beside, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise TrainingError(
                f"member {self.member.name!r}: {beside}: is no list of images ({error})"
            ) from None
        return found

    def _weights(self, fold: int) -> str:
        """The file of weights that a fold begins with, "" for none; it may still be far."""
        named = self.member.weights
        return (
            "" if named in ("", "imagenet", "noisy-student") else named.replace("{fold}", str(fold))
        )

    def _build(self, fold: int, labels: Labels) -> Any:
        pixels = (
            self.pixels["splits"]["train"]
            if fold == tables.NO_FOLD
            else self.pixels["folds"][str(fold)]
        )
        path = self._weights(fold)
        if path:
            path = self.near(path)
            if not os.path.isfile(path):
                raise TrainingError(
                    f"member {self.member.name!r}: weights = {path!r}: no such file"
                )
        return classifier.build(
            self.member,
            outputs=labels.targets.shape[1],
            size=self.member.side(),
            channels=self.channels,
            tabular=labels.tabular.shape[1],
            mean=np.asarray(pixels["mean"]),
            std=np.asarray(pixels["std"]),
            seed=fold_seed(self.goal.seed, self.member.name, fold),
            weights=path,
        )
