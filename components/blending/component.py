"""The kfp component of the blending step."""

from typing import List  # noqa: UP035  # kfp knows artifact lists by this name only

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def blend(
    predictions: dsl.Input[List[dsl.Model]],  # noqa: UP006
    members: list,
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
    """Blend the members' predictions, with nested scores."""
    from trainer.events import step_scope

    with step_scope("blend"):
        from components import class_list
        from components.blending.blend import blend as blend_members
        from trainer.artifacts.manifest import write_json
        from trainer.config.output import Blend
        from trainer.config.schema import parse

        method = parse(Blend, blend, "blend")
        result = blend_members(
            [job.path for job in predictions],
            planned={member["name"]: member["validation"] for member in members},
            folds_table=folds.path,
            records=images.path,
            blend=method,
            classes=class_list.names(classes),
            metric=metric,
            seed=seed,
            out=blended.path,
            digest=blend_digest,
        )
        for measure, value in result["metrics"].items():
            if value["oof"] is not None:
                scores.log_metric(f"{measure}_out_of_fold", value["oof"])
        blended.metadata.update(
            {
                "members": ", ".join(result["members"]),
                "metric": metric,
                # kfp's metadata has no null.
                "score": str(result["blend"].get("oof")),
            }
        )
        # kfp's local cache requires a file for every output.
        write_json(scores.path, result)
