"""The kfp face of the statistics step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def statistics(
    images: dsl.Input[dsl.Dataset],
    folds: dsl.Input[dsl.Dataset],
    statistics: dsl.Output[dsl.Artifact],
) -> None:
    """Exact pooled pixel statistics of each split and of each fold's training images."""
    from trainer.progress import step

    with step("statistics"):
        from components.statistics.pooled import statistics as write_statistics

        write_statistics(images.path, folds.path, out=statistics.path)
