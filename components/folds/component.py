"""The kfp component of the folds step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def folds(
    images: dsl.Input[dsl.Dataset],
    folds: dict,
    classes: list,
    seed: int,
    file_digest: str,
    table: dsl.Output[dsl.Dataset],
    audit: dsl.Output[dsl.Artifact],
) -> None:
    """Write the folds table, and the audit that shows that the folds do not leak."""
    from trainer.events import step_scope

    with step_scope("folds"):
        from components import class_list
        from components.folds.make_folds import write_folds
        from trainer.config.preparation import Folds
        from trainer.config.schema import parse

        write_folds(
            images.path,
            parse(Folds, folds, "folds"),
            seed=seed,
            classes=class_list.names(classes),
            file_digest=file_digest,
            out=table.path,
            audit_out=audit.path,
        )
