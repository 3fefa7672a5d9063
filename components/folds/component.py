"""The kfp face of the folds step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def folds(
    images: dsl.Input[dsl.Dataset],
    folds: dict,
    classes: list,
    seed: int,
    table: dsl.Output[dsl.Dataset],
    audit: dsl.Output[dsl.Artifact],
) -> None:
    """The folds table, and the audit that shows it does not leak."""
    from trainer.progress import step

    with step("folds"):
        from components.folds.assign import write_folds
        from trainer.competition import Folds, parse

        count = parse(Folds, folds, "folds").count
        write_folds(images.path, count=count, seed=seed, classes=classes, out=table.path, audit_out=audit.path)
