"""The kfp component of the submission step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def submission(
    blended: dsl.Input[dsl.Dataset],
    submission: dict,
    classes: list,
    sample_digest: str,
    csv: dsl.Output[dsl.Dataset],
) -> None:
    """Write the submission file, and check it against the sample submission."""
    from trainer.events import step_scope

    with step_scope("submission"):
        from components import class_list
        from components.submission.write import write_submission
        from trainer.config.output import Submission
        from trainer.config.schema import parse

        write_submission(
            blended.path,
            parse(Submission, submission, "submission"),
            classes=class_list.names(classes),
            sample_digest=sample_digest,
            out=csv.path,
        )
