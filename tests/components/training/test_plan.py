import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training.plan import plan
from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.network import Head
from trainer.config.preparation import NO_FOLD, Folds, Records
from trainer.config.schema import parse
from trainer.errors import CompetitionError

STORED = Records(sizes=[64, 32])


@given(st.integers(1, 4), st.integers(2, 9), st.integers(1, 9))
def test_every_member_trains_every_fold_once(members: int, count: int, folds_per_task: int) -> None:
    recipes = [Member(name=f"m{index}", epochs=3) for index in range(members)]
    tasks = plan(recipes, Folds(count=count), Train(folds_per_task=folds_per_task), STORED)
    trained = [(task["member"]["name"], fold) for task in tasks for fold in task["folds"]]
    assert trained == [(recipe.name, fold) for recipe in recipes for fold in range(count)]
    assert all(1 <= len(task["folds"]) <= folds_per_task for task in tasks)


def test_a_task_carries_the_whole_recipe_as_json() -> None:
    member = Member(name="m", epochs=3, head=Head(dropout=0.25))
    (task,) = plan([member], Folds(count=2), Train(folds_per_task=2), STORED)
    # If the file gives no size, the first size of the stored images is used.
    assert parse(Member, json.loads(json.dumps(task))["member"], "member") == dataclasses.replace(
        member, size=64
    )


def test_a_member_of_all_images_is_one_task() -> None:
    members = [Member(name="final", epochs=3, validation="none"), Member(name="m", epochs=3)]
    tasks = plan(members, Folds(count=3), Train(folds_per_task=2, backend="jax"), STORED)
    assert [(task["member"]["name"], task["folds"]) for task in tasks] == [
        ("final", [NO_FOLD]),
        ("m", [0, 1]),
        ("m", [2]),
    ]
    assert all(task["settings"]["backend"] == "jax" for task in tasks)


def test_two_members_of_one_name() -> None:
    with pytest.raises(CompetitionError, match="more than one is named 'm'"):
        plan([Member(name="m", epochs=3)] * 2, Folds(), Train(), STORED)
