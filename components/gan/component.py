"""The kfp components of the GAN's steps: the check, the training and the page."""

from typing import NamedTuple

from kfp import dsl

from components import LIGHT_IMAGE, TRAINING_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def check_gan(
    root: str,
    name: str,
    classes: list,
    seed: int,
    data: dict,
    records: dict,
    folds: dict,
    judge: dict,
    gan: dict,
    train: dict,
) -> NamedTuple(  # type: ignore[valid-type]  # kfp reads it so
    "Checked",
    [
        ("data", dict),
        ("records", dict),
        ("folds", dict),
        ("gan", dict),
        ("train", dict),
        ("judging", dict),
        ("source_digest", str),
        ("classes_digest", str),
        ("folds_digest", str),
        ("weights_digest", str),
    ],
):
    """Check all parameters; return them with absolute paths, and digests of the files they name."""
    from trainer.events import step_scope

    with step_scope("check"):
        from components.check.resolve import resolve_gan

        sections = {
            "data": data,
            "records": records,
            "folds": folds,
            "judge": judge,
            "gan": gan,
            "train": train,
        }
        return resolve_gan({"name": name, "classes": classes, "seed": seed, **sections}, root)


@dsl.component(base_image=TRAINING_IMAGE, packages_to_install=[], install_kfp_package=False)
def train_gan(
    recipe: dict,
    settings: dict,
    images: dsl.Input[dsl.Dataset],
    folds: dsl.Input[dsl.Dataset],
    judge: dsl.Input[dsl.Model],
    classes: list,
    seed: int,
    weights_digest: str,
    trained: dsl.Output[dsl.Model],
) -> None:
    """Train a generator; write samples, pictures, and how close they are to real images."""
    from trainer.events import step_scope

    with step_scope("train-gan"):
        from components import class_list
        from components.gan.run_training import run_training

        run_training(
            {"gan": recipe, "train": settings},
            {"records": images.path, "folds_table": folds.path, "judge": judge.path},
            classes=class_list.names(classes),
            seed=seed,
            weights_digest=weights_digest,
            out=trained.path,
        )


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def gallery(
    name: str,
    trained: dsl.Input[dsl.Model],
    recipe: dict,
    seed: int,
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Write an HTML page about the training, and its figures for the console."""
    from trainer.events import step_scope

    with step_scope("gallery"):
        from components.gan.page import fill

        fill(page=page, metrics=metrics, name=name, trained=trained.path, recipe=recipe, seed=seed)
