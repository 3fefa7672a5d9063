"""The kfp component of the last step of a run that somebody wants to hear of."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def notify(status: dsl.PipelineTaskFinalStatus, title: str) -> None:
    """Post a message to a webhook if the run failed."""
    from trainer.events import step_scope

    with step_scope("notify"):
        from components.notify.send import send_failure

        send_failure(
            title,
            state=status.state,
            run=status.pipeline_job_resource_name,
            message=status.error_message or "",
        )
