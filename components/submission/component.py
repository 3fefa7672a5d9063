"""The kfp face of the submission step."""

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
    """The submission file, checked against the sample."""
    from trainer.events import step_scope

    with step_scope("submission"):
        from components.submission.write import write_submission
        from trainer.config.output import Submission
        from trainer.config.schema import parse

        write_submission(
            blended.path,
            parse(Submission, submission, "submission"),
            classes=classes,
            sample_digest=sample_digest,
            out=csv.path,
        )
