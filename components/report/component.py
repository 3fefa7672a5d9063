"""The kfp face of the report step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def report(
    name: str,
    blended: dsl.Input[dsl.Dataset],
    images: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    audit: dsl.Input[dsl.Artifact],
    classes: list,
    metric: str,
    seed: int,
    page: dsl.Output[dsl.HTML],
) -> None:
    """One HTML page about the run."""
    from trainer.progress import step

    with step("report"):
        from components.report.page import write_report
        from components.shards import local_shards

        with local_shards(images.path) as root:
            write_report(
                name=name,
                blended=blended.path,
                records=images.path,
                root=root,
                statistics=statistics.path,
                audit=audit.path,
                classes=classes,
                metric=metric,
                seed=seed,
                out=page.path,
            )
