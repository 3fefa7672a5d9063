"""The kfp component of the doctor's step. It runs where training steps run."""

from kfp import dsl

from components import TRAINING_IMAGE


@dsl.component(base_image=TRAINING_IMAGE, packages_to_install=[], install_kfp_package=False)
def doctor(findings: dsl.Output[dsl.Markdown]) -> None:
    """Look at the machine that training would get; fails if a run would."""
    from trainer.events import emit, step_scope

    with step_scope("doctor"):
        from pathlib import Path

        from components.doctor.look import look
        from trainer.errors import TrainingError

        found = []
        for finding in look(Path(findings.path).parent):
            found.append(finding)
            emit("note", "doctor", str(finding))
        lines = "\n".join(map(str, found))
        Path(findings.path).write_text(f"```\n{lines}\n```\n", encoding="utf-8")
        bad = [finding.what for finding in found if not finding.good]
        if bad:
            raise TrainingError(f"{', '.join(bad)}: see the lines with BAD above")
