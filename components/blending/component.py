"""The kfp face of the blending step."""

from typing import List  # noqa: UP035  # kfp knows artifact lists by this name only

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def blend(
    predictions: dsl.Input[List[dsl.Model]],  # noqa: UP006
    folds: dsl.Input[dsl.Dataset],
    blend: dict,
    classes: list,
    metric: str,
    blended: dsl.Output[dsl.Dataset],
    scores: dsl.Output[dsl.Metrics],
) -> None:
    """The members' predictions as one, with nested scores."""
    from trainer.progress import step

    with step("blend"):
        from components.blending.blend import blend as blend_members
        from trainer.competition import Blend
        from trainer.manifest import write_json
        from trainer.schema import parse

        method = parse(Blend, blend, "blend")
        paths = [task.path for task in predictions]
        found = blend_members(paths, folds_table=folds.path, blend=method, classes=classes, metric=metric, out=blended.path)
        scores.log_metric(f"{metric}_out_of_fold", found["blend"]["oof"])
        # kfp's local cache wants a file behind every output.
        write_json(scores.path, found)
