import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training.plan import plan
from trainer.competition import Folds, Member, Train
from trainer.errors import CompetitionError
from trainer.schema import parse


@given(st.integers(1, 4), st.integers(2, 9), st.integers(1, 9))
def test_every_member_trains_every_fold_once(members: int, count: int, folds_per_task: int) -> None:
    recipes = [Member(name=f"m{index}", epochs=3) for index in range(members)]
    tasks = plan(recipes, Folds(count=count), Train(folds_per_task=folds_per_task))
    trained = [(task["member"]["name"], fold) for task in tasks for fold in task["folds"]]
    assert trained == [(recipe.name, fold) for recipe in recipes for fold in range(count)]
    assert all(1 <= len(task["folds"]) <= folds_per_task for task in tasks)


def test_a_task_carries_the_whole_recipe_as_json() -> None:
    member = Member(name="m", epochs=3, dropout=0.25)
    (task,) = plan([member], Folds(count=2), Train(folds_per_task=2))
    assert parse(Member, json.loads(json.dumps(task))["member"], "member") == member


def test_two_members_of_one_name() -> None:
    with pytest.raises(CompetitionError, match="more than one is named 'm'"):
        plan([Member(name="m", epochs=3)] * 2, Folds(), Train())
