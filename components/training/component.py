"""The kfp components of training: the plan, and one training job."""

from kfp import dsl

from components import LIGHT_IMAGE, TRAINING_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def plan(
    members: list, folds: dict, train: dict, records: dict, weights_digest: str, keep: int
) -> list[dict]:
    """The list of training jobs that the loop runs over."""
    from trainer.events import emit, step_scope

    with step_scope("plan"):
        from components.training.plan import plan as plan_jobs
        from trainer.config.machine import Train
        from trainer.config.member import Member
        from trainer.config.preparation import Folds, Records
        from trainer.config.schema import parse

        recipes = [
            parse(Member, member, f"members[{index}]") for index, member in enumerate(members)
        ]
        stored = parse(Records, records, "records")
        dealt = parse(Folds, folds, "folds")
        jobs = plan_jobs(
            recipes,
            dealt,
            parse(Train, train, "train"),
            stored,
            weights_digest=weights_digest,
            keep=keep,
        )
        emit(
            "note",
            "plan",
            f"{len(recipes)} members × {dealt.count} folds in {len(jobs)} training jobs",
        )
        return jobs


@dsl.component(base_image=TRAINING_IMAGE, packages_to_install=[], install_kfp_package=False)
def train(
    job: dict,
    images: dsl.Input[dsl.Dataset],
    folds: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    task: str,
    classes: list,
    metric: str,
    seed: int,
    predictions: dsl.Output[dsl.Model],
    scores: dsl.Output[dsl.Metrics],
) -> None:
    """Train one member on some folds; write models, out-of-fold and test predictions."""
    from trainer.events import step_scope

    with step_scope("train"):
        from components import class_list
        from components.training.run_job import run_job
        from components.training.summary import summarise
        from trainer.artifacts.manifest import write_json
        from trainer.artifacts.objective import Objective

        objective = Objective(
            task=task,
            classes=class_list.names(classes),
            metric=metric,
            seed=seed,
            keep=int(job["keep"]),
        )
        run_job(
            job,
            objective,
            images=images.path,
            folds=folds.path,
            statistics=statistics.path,
            out=predictions.path,
        )
        summary = summarise(predictions.path, images.path, objective)
        for name, value in summary.scores.items():
            scores.log_metric(name, value)
        predictions.metadata.update(summary.lineage)
        # kfp's local cache requires a file for every output. Other hosts of the same job must not
        # replace the first one's.
        if summary.lineage:
            write_json(scores.path, summary.scores)
