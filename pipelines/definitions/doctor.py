"""The doctor's pipeline: one step on the machine that training would get. Wiring only."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from components.doctor.component import doctor as doctor_step
from pipelines.targets.base import Target

# The component functions by step name; a launcher fingerprints them.
STEPS = {"doctor": doctor_step}


def build(defaults: Mapping[str, Any], target: Target) -> Any:
    """Build the pipeline, ready to compile.

    Args:
        defaults: no value: it has no parameters.
        target: where the step runs.

    Returns:
        the pipeline, as kfp's compiler takes it.
    """
    assert not defaults

    @dsl.pipeline(name="doctor", description="Looks at the machine that training would get.")
    def doctor_pipeline() -> None:
        task = target.placed("doctor", target.training("doctor", doctor_step)())
        # A machine of an hour ago says nothing of the next one.
        task.set_caching_options(False)

    return doctor_pipeline
