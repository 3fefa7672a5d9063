"""The kfp face of the blending step."""

from typing import List  # noqa: UP035  # kfp knows artifact lists by this name only

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def blend(
    predictions: dsl.Input[List[dsl.Model]],  # noqa: UP006
    folds: dsl.Input[dsl.Dataset],
    images: dsl.Input[dsl.Dataset],
    blend: dict,
    classes: list,
    metric: str,
    seed: int,
    blend_digest: str,
    blended: dsl.Output[dsl.Dataset],
    scores: dsl.Output[dsl.Metrics],
) -> None:
    """The members' predictions as one, with nested scores."""
    from trainer.events import step_scope

    with step_scope("blend"):
        from components.blending.blend import blend as blend_members
        from trainer.artifacts.manifest import write_json
        from trainer.config.output import Blend
        from trainer.config.schema import parse

        method = parse(Blend, blend, "blend")
        found = blend_members(
            [task.path for task in predictions],
            folds_table=folds.path,
            records=images.path,
            blend=method,
            classes=classes,
            metric=metric,
            seed=seed,
            out=blended.path,
            digest=blend_digest,
        )
        for measure, value in found["metrics"].items():
            if value["oof"] is not None:
                scores.log_metric(f"{measure}_out_of_fold", value["oof"])
        # kfp's local cache wants a file behind every output.
        write_json(scores.path, found)
