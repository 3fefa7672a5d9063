"""A training job's network: fresh weights for each fold, compiled once for all of them."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.artifacts import tables
from trainer.artifacts.objective import Objective, fold_seed
from trainer.backends.devices import Device
from trainer.backends.program import Program, assign, compile_program, set_state
from trainer.config.known_backbones import is_published
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.errors import StorageError, TrainingError
from trainer.events import emit
from trainer.input.labels import Labels
from trainer.models import backbones, classifier, optimizers, pretrained
from trainer.training import classifier_program


class ModelPool:
    """The network and its programs: one trains the head alone, one everything."""

    def __init__(
        self,
        member: Member,
        objective: Objective,
        device: Device,
        pixels: Mapping[str, Any],
        channels: int,
        local_path: Callable[[str], str],
        steps: int = 0,
    ) -> None:
        """
        Args:
            member: the recipe.
            objective: the ML task and the seed.
            device: the devices that train.
            pixels: pixel statistics of the member's image size, as the statistics step wrote them.
            channels: of the stored images, 1 or 3.
            local_path: returns a local path for a path or `gs://` URI of weights.
            steps: about how many a fold's training has, the same for all jobs of the member.
        """
        self.member, self.objective, self.device = member, objective, device
        self.pixels, self.channels, self.local_path = pixels, channels, local_path
        self.steps = steps
        self.model: Any = None
        # By "head only": the program, and the optimizer's state before any step.
        self.programs: dict[bool, tuple[Program, list[np.ndarray]]] = {}

    def fresh(self, fold: int, labels: Labels) -> dict[str, list[np.ndarray]]:
        """The state that a fold starts with: its initial weights, and a new optimizer."""
        model = self._build(fold, labels)
        if self.model is None:
            self.model = model
        weights = [np.array(variable) for variable in model.variables]
        head_only = self.member.head_epochs > 0
        program = self.program(head_only=head_only)
        return _state(program, weights, self.programs[head_only][1])

    def ensure_model(self, fold: int, labels: Labels) -> None:
        """Build the network if there is none yet; its weights do not matter."""
        if self.model is None:
            self.model = self._build(fold, labels)

    def program(self, *, head_only: bool) -> Program:
        """The program that trains the head alone, or everything; the latter also predicts."""
        self.model.get_layer(backbones.NAME).trainable = not head_only
        if head_only not in self.programs:
            if self.device.backend == "jax" and self.member.precision == "mixed_float16":
                raise TrainingError(
                    f"member {self.member.name!r}: precision = 'mixed_float16': JAX trains "
                    "here, which does not scale losses: use mixed_bfloat16"
                )
            optimizer = optimizers.optimizer(self.member, head_only=head_only)
            definition = classifier_program.define(
                self.member,
                self.model,
                optimizer,
                task=self.objective.task,
                augment_on_device=self.device.augments,
                name="head_step" if head_only else "step",
            )
            program = compile_program(definition, self.device.backend)
            state = [np.array(variable) for variable in optimizer.variables]
            self.programs[head_only] = program, state
        return self.programs[head_only][0]

    def begin(self, weights: list[np.ndarray], *, head_only: bool) -> Program:
        """The program with these weights and a new optimizer."""
        program = self.program(head_only=head_only)
        set_state(program, _state(program, weights, self.programs[head_only][1]))
        return program

    def load(self, weights: list[np.ndarray]) -> Program:
        """The program that predicts, with these weights."""
        assign(self.model.variables, weights)
        program = self.program(head_only=False)
        program.push()
        return program

    def seen_images(self, fold: int) -> np.ndarray | None:
        """The images that the initial weights were trained on; None if no file lists them.

        Returns:
            (n,) uint64, as `tables.seen_images` returns them.
        """
        path = self._weights(fold)
        if not path.endswith(".keras"):
            return None
        try:
            path = self.local_path(path.removesuffix(".keras") + tables.SEEN)
        except StorageError as error:
            if "no such bucket or object" not in str(error):
                raise
            return None  # a model in a bucket, without the list
        if not os.path.isfile(path):
            return None
        try:
            images: np.ndarray = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise TrainingError(
                f"member {self.member.name!r}: {path}: not a valid {tables.SEEN} file ({error})"
            ) from None
        return images

    def _weights(self, fold: int) -> str:
        """Path or URI of the initial weights of a fold, "" for none."""
        weights = self.member.weights
        return "" if is_published(weights) else weights.replace("{fold}", str(fold))

    def _build(self, fold: int, labels: Labels) -> Any:
        splits, folds = self.pixels["splits"], self.pixels["folds"]
        pixels = splits["train"] if fold == NO_FOLD else folds[str(fold)]
        path = self._weights(fold)
        if path:
            path = self.local_path(path)
            if not os.path.isfile(path):
                raise TrainingError(
                    f"member {self.member.name!r}: weights = {path!r}: no such file"
                )
        inputs = classifier.Inputs(
            side=self.member.side(),
            channels=self.channels,
            tabular=labels.tabular.shape[1],
            mean=np.asarray(pixels["mean"]),
            std=np.asarray(pixels["std"]),
        )
        model = classifier.build(
            self.member,
            inputs,
            outputs=labels.outputs,
            seed=fold_seed(self.objective.seed, self.member.name, fold),
            steps=self.steps,
        )
        if loaded := pretrained.initialise(model, self.member, path):
            emit("note", "train", loaded)
        return model


def _state(
    program: Program, weights: list[np.ndarray], optimizer: list[np.ndarray]
) -> dict[str, list[np.ndarray]]:
    (update,) = program.definition.updates
    # An average starts at the weights themselves.
    networks = dict.fromkeys(program.definition.networks, weights)
    return {**networks, f"{update.network}_optimizer": optimizer}
