"""What the services do with the compiled pipelines: kfp's local runner checks no types."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.records.component import cut as cut_step
from components.training.component import plan as plan_step
from pipelines.definitions import registry
from pipelines.definitions.compilation import DEFAULTS, compile_pipeline, parameters, target
from pipelines.targets.base import Target
from tests.support.driver_types import problems, type_of
from tests.support.paths import ROOT
from trainer.config.load import read
from trainer.config.machine import Machine

GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.yaml"))
DIGITS = read(ROOT / "pipelines/competitions/digits.toml").pipeline_arguments()


def items(task: str, output: str) -> list[Any]:
    """What a task that feeds a loop really returns as its output."""
    if task == "cut":
        return cut_step.python_func(DIGITS["data"], DIGITS["records"], "digest", "")  # type: ignore[no-any-return]
    sections = {name: DIGITS[name] for name in ("members", "folds", "train", "records")}
    return plan_step.python_func(**sections, weights_digest="", keep=0)  # type: ignore[no-any-return]


def item_type(task: str, output: str) -> str:
    kinds = {type_of(item) for item in items(task, output)}
    assert len(kinds) == 1
    return kinds.pop()


def pipeline(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = next(yaml.safe_load_all(path.read_text()))
    return found


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_every_input_gets_the_type_that_its_source_gives(path: Path) -> None:
    assert problems(pipeline(path), item_type) == []


@pytest.mark.parametrize(
    ("kind", "machine"),
    [("gke", Machine(gpu="L4")), ("vertex", Machine(gpu="L4")), ("vertex", Machine(spot=True))],
)
def test_so_it_does_on_every_machine(tmp_path: Path, kind: str, machine: Machine) -> None:
    for read_file in map(read, DEFAULTS):
        path = compile_pipeline(
            tmp_path / "pipeline.yaml",
            registry.of(read_file),
            parameters(read_file),
            target(kind, machine),
        )
        assert problems(pipeline(path), item_type) == []


def test_the_checker_finds_what_a_service_would_refuse() -> None:
    spec = pipeline(ROOT / "tests/golden/kfold.yaml")
    loops = [
        name
        for name, component in spec["components"].items()
        if "train" in component.get("dag", {}).get("tasks", {})
    ]

    def changed(change: Any) -> list[str]:
        other = copy.deepcopy(spec)
        change(other)
        return problems(other, item_type)

    def untyped(other: Any) -> None:
        inputs = other["components"][loops[0]]["inputDefinitions"]["parameters"]
        (item,) = (name for name in inputs if name.endswith("loop-item"))
        inputs[item]["parameterType"] = "STRING"

    def no_list(other: Any) -> None:
        del other["components"]["comp-blend"]["inputDefinitions"]["artifacts"]["predictions"][
            "isArtifactList"
        ]

    def no_seed(other: Any) -> None:
        del other["root"]["dag"]["tasks"]["folds"]["inputs"]["parameters"]["seed"]

    def text_for_a_struct(other: Any) -> None:
        inputs = other["root"]["dag"]["tasks"]["blend"]["inputs"]["parameters"]
        inputs["blend"] = {"runtimeValue": {"constant": "{}"}}

    assert changed(untyped) == ["root/for-loop-2/train: job: expect STRUCT, got STRING"]
    assert changed(no_list) == [
        "root/blend: artifact predictions: one where a list is meant, or a list"
    ]
    assert changed(no_seed) == ["root/folds: seed has neither a value nor a default"]
    assert changed(text_for_a_struct) == ["root/blend: blend: expect STRUCT, got STRING"]


def test_loops_have_no_name_of_their_own(tmp_path: Path) -> None:
    """Before 2.16, a named loop's outputs are not found (kubeflow/pipelines#11964, #13239)."""
    for name, file in (("kfold", "digits"), ("gan", "digits_gan")):
        read_file = read(ROOT / f"pipelines/competitions/{file}.toml")
        path = compile_pipeline(tmp_path / "p.yaml", name, parameters(read_file), Target())
        tasks = pipeline(path)["root"]["dag"]["tasks"]
        loops = {
            key: task["taskInfo"]["name"]
            for key, task in tasks.items()
            if "parameterIterator" in task
        }
        assert loops
        assert all(key == told for key, told in loops.items())


@pytest.mark.parametrize("kind", ["gke", "vertex"])
@pytest.mark.parametrize("file", DEFAULTS, ids=lambda path: path.stem)
def test_a_run_that_somebody_hears_of_ends_with_a_step_of_its_own(
    tmp_path: Path, kind: str, file: Path
) -> None:
    read_file = read(file)
    who = "me@example.com,you@example.com" if kind == "vertex" else "my-webhook"
    notifying = dataclasses.replace(target(kind, Machine()), notify=who)
    path = compile_pipeline(
        tmp_path / "p.yaml", registry.of(read_file), parameters(read_file), notifying
    )
    documents = list(yaml.safe_load_all(path.read_text()))
    spec = documents[0]
    assert problems(spec, item_type) == []
    tasks = spec["root"]["dag"]["tasks"]
    (handler,) = (name for name in tasks if name.startswith("exit-handler"))
    (last,) = tasks.keys() - {handler}
    assert tasks[last]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert tasks[last]["cachingOptions"] == {}
    if kind == "vertex":
        recipients = tasks[last]["inputs"]["parameters"]["recipients"]["runtimeValue"]["constant"]
        assert recipients == who.split(",")
        return
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    (secret,) = executors[f"exec-{last}"]["secretAsEnv"]
    assert secret["secretName"] == who
    assert secret["keyToEnv"] == [{"envVar": "FOLDLINE_NOTIFY", "secretKey": "url"}]
