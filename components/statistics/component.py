"""The kfp component of the statistics step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def statistics(
    images: dsl.Input[dsl.Dataset],
    folds: dsl.Input[dsl.Dataset],
    audit: dsl.Input[dsl.Artifact],
    classes: list,
    statistics: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    card: dsl.Output[dsl.HTML],
) -> None:
    """Compute exact pooled pixel statistics, and write a card about the data set."""
    from trainer.events import step_scope

    with step_scope("statistics"):
        from components import class_list
        from components.statistics.card import write_card
        from components.statistics.summary import figures
        from components.statistics.summary import statistics as write_statistics
        from trainer.artifacts.manifest import write_json

        results = write_statistics(
            images.path,
            folds.path,
            audit.path,
            classes=class_list.names(classes),
            out=statistics.path,
        )
        for name, value in figures(results).items():
            metrics.log_metric(name, value)
        # A cache regards a step as unfinished if its metrics have no file.
        write_json(metrics.path, figures(results))
        write_card(results, images.path, folds.path, out=card.path)
