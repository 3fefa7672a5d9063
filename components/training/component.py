"""The kfp faces of the training step: the plan, and one task of it."""

from kfp import dsl

from components import LIGHT_IMAGE, TRAINING_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def plan(members: list, folds: dict, train: dict, records: dict, weights_digest: str) -> list:
    """The list of training tasks that the loop runs over."""
    from trainer.events import emit, step_scope

    with step_scope("plan"):
        from components.training.plan import plan as plan_tasks
        from trainer.config.competition import Train
        from trainer.config.data import Folds, Records
        from trainer.config.member import Member
        from trainer.config.schema import parse

        recipes = [
            parse(Member, member, f"members[{index}]") for index, member in enumerate(members)
        ]
        stored = parse(Records, records, "records")
        dealt = parse(Folds, folds, "folds")
        tasks = plan_tasks(
            recipes, dealt, parse(Train, train, "train"), stored, weights_digest=weights_digest
        )
        emit(
            "note",
            "plan",
            f"{len(recipes)} members × {dealt.count} folds in {len(tasks)} training tasks",
        )
        return tasks


@dsl.component(base_image=TRAINING_IMAGE, packages_to_install=[], install_kfp_package=False)
def train(
    task: dict,
    images: dsl.Input[dsl.Dataset],
    folds: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    kind: str,
    classes: list,
    metric: str,
    seed: int,
    predictions: dsl.Output[dsl.Model],
) -> None:
    """Models of one member for some folds, with their out-of-fold and test predictions."""
    from trainer.events import step_scope

    with step_scope("train"):
        from components.training.run_task import train as train_models

        train_models(
            task,
            images=images.path,
            folds=folds.path,
            statistics=statistics.path,
            kind=kind,
            classes=classes,
            metric=metric,
            seed=seed,
            weights_digest=task["weights_digest"],
            out=predictions.path,
        )
