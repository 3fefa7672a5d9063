"""The kfp component of the report step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def report(
    name: str,
    blended: dsl.Input[dsl.Dataset],
    images: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    audit: dsl.Input[dsl.Artifact],
    submission: dsl.Input[dsl.Dataset],
    classes: list,
    metric: str,
    members: list,
    train: dict,
    seed: int,
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    curves: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Write one HTML page about the run, and its figures for the console."""
    from trainer.events import step_scope

    with step_scope("report"):
        from components import class_list
        from components.report.write import fill

        fill(
            page=page,
            summary=summary,
            curves=curves,
            name=name,
            blended=blended.path,
            records=images.path,
            statistics=statistics.path,
            audit=audit.path,
            submission=submission.path,
            classes=class_list.names(classes),
            metric=metric,
            members=members,
            train=train,
            seed=seed,
        )
