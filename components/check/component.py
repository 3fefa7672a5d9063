"""The kfp component of the check step."""

from typing import NamedTuple

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def check(
    root: str,
    name: str,
    task: str,
    metric: str,
    classes: list,
    seed: int,
    data: dict,
    records: dict,
    folds: dict,
    train: dict,
    members: list,
    predictions: dict,
    blend: dict,
    submission: dict,
) -> NamedTuple(  # type: ignore[valid-type]  # kfp reads it so
    "Checked",
    [
        ("data", dict),
        ("records", dict),
        ("folds", dict),
        ("train", dict),
        ("members", list),
        ("keep", int),
        ("blend", dict),
        ("submission", dict),
        ("source_digest", str),
        ("classes_digest", str),
        ("sample_digest", str),
        ("folds_digest", str),
        ("weights_digest", str),
        ("blend_digest", str),
    ],
):
    """Check all parameters; return them with absolute paths, and digests of the files they name."""
    from trainer.events import step_scope

    with step_scope("check"):
        from components.check.resolve import resolve_competition

        sections = {
            "data": data,
            "records": records,
            "folds": folds,
            "train": train,
            "predictions": predictions,
            "blend": blend,
            "submission": submission,
        }
        scalars = {"name": name, "task": task, "metric": metric, "classes": classes, "seed": seed}
        return resolve_competition({**scalars, **sections, "members": members}, root)
