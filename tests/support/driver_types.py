"""The rules by which the driver of Kubeflow Pipelines accepts a task's inputs, applied to types.

Source: kubeflow/pipelines, backend/src/v2/driver/resolve.go, `resolveInputs` (2.14.0 to 2.17.0). An
input of type STRING takes every value; what is not text becomes its JSON text. An input of any
other type takes values of its own type only: text is refused, and never parsed. An integer and a
double are both numbers. An item of a loop is checked twice: as the input of the loop's own
component, which may turn it into text, and as the input of each task in the loop.
"""

from collections.abc import Callable, Mapping
from typing import Any

NUMBERS = {"NUMBER_INTEGER", "NUMBER_DOUBLE"}
# The type of an item of a list: by the task and the output that the list comes from.
ItemType = Callable[[str, str], str]


def type_of(value: object) -> str:
    """The parameter type of a JSON value."""
    if isinstance(value, bool):
        return "BOOLEAN"
    for kind, name in ((str, "STRING"), (int | float, "NUMBER_DOUBLE"), (list, "LIST")):
        if isinstance(value, kind):  # type: ignore[arg-type]  # a union is one
            return name
    assert isinstance(value, dict), value
    return "STRUCT"


def problems(spec: Mapping[str, Any], item_type: ItemType) -> list[str]:
    """What the driver would refuse in a compiled pipeline, a line each; [] if it runs."""
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    found: list[str] = []
    _Walk(spec["components"], item_type, found).dag(
        "root", spec["root"], {name: one["parameterType"] for name, one in inputs.items()}
    )
    return found


class _Walk:
    def __init__(
        self, components: Mapping[str, Any], item_type: ItemType, found: list[str]
    ) -> None:
        self.components, self.item_type, self.found = components, item_type, found

    def dag(self, place: str, component: Mapping[str, Any], given: Mapping[str, str]) -> None:
        """Check the tasks of a component; `given` has the types of its inputs' values."""
        tasks = component["dag"]["tasks"]
        for name, task in tasks.items():
            where = f"{place}/{name}"
            called = self.components[task["componentRef"]["name"]]
            self._artifacts(where, task, called, component, tasks)
            values = {
                parameter: self._source(where, parameter, source, given, tasks)
                for parameter, source in task.get("inputs", {}).get("parameters", {}).items()
            }
            iterator = task.get("parameterIterator")
            item = iterator["itemInput"] if iterator else ""
            items = iterator["items"].get("inputParameter", "") if iterator else ""
            definitions = called.get("inputDefinitions", {}).get("parameters", {})
            accepted = self._accept(where, values, definitions, leave_out={item})
            if iterator:
                if accepted.pop(items) != "LIST":
                    self.found.append(f"{where}: {items} is no LIST")
                produced = task["inputs"]["parameters"][items]["taskOutputParameter"]
                item_type = self.item_type(produced["producerTask"], produced["outputParameterKey"])
                accepted = self._accept(
                    where, {**accepted, item: item_type}, definitions, leave_out={items}
                )
            if "dag" in called:
                self.dag(where, called, accepted)
                self._outputs(where, called, looped=iterator is not None)

    def _source(
        self,
        where: str,
        parameter: str,
        source: Mapping[str, Any],
        given: Mapping[str, str],
        tasks: Mapping[str, Any],
    ) -> str:
        """The type of the value that an input receives."""
        assert "parameterExpressionSelector" not in source, f"{where}: no rule for an expression"
        if "componentInputParameter" in source:
            return given[source["componentInputParameter"]]
        if "runtimeValue" in source:
            return type_of(source["runtimeValue"]["constant"])
        if "taskFinalStatus" in source:
            return "TASK_FINAL_STATUS"
        produced = source["taskOutputParameter"]
        producer = self.components[tasks[produced["producerTask"]]["componentRef"]["name"]]
        outputs = producer["outputDefinitions"]["parameters"]
        return str(outputs[produced["outputParameterKey"]]["parameterType"])

    def _accept(
        self,
        where: str,
        values: Mapping[str, str],
        definitions: Mapping[str, Any],
        *,
        leave_out: set[str],
    ) -> dict[str, str]:
        """The types of the values after the driver's check and conversion."""
        accepted = dict(values)
        for name in values.keys() - definitions.keys():
            self.found.append(f"{where}: there is no input {name}")
        for name, definition in definitions.items():
            wanted = definition["parameterType"]
            if name in leave_out:
                continue
            if name not in values:
                if not definition.get("isOptional") and "defaultValue" not in definition:
                    self.found.append(f"{where}: {name} has neither a value nor a default")
                continue
            actual = values[name]
            if wanted == "STRING":
                accepted[name] = "STRING"
            elif not (wanted == actual or {wanted, actual} <= NUMBERS):
                self.found.append(f"{where}: {name}: expect {wanted}, got {actual}")
        return accepted

    def _artifacts(
        self,
        where: str,
        task: Mapping[str, Any],
        called: Mapping[str, Any],
        parent: Mapping[str, Any],
        tasks: Mapping[str, Any],
    ) -> None:
        """Check that every artifact input has a source that gives one or many, as it takes."""
        sources = task.get("inputs", {}).get("artifacts", {})
        wanted = called.get("inputDefinitions", {}).get("artifacts", {})
        for name in wanted.keys() ^ sources.keys():
            self.found.append(f"{where}: artifact {name} has no source, or is no input")
        for name in wanted.keys() & sources.keys():
            source = sources[name]
            if "componentInputArtifact" in source:
                made = parent["inputDefinitions"]["artifacts"][source["componentInputArtifact"]]
            else:
                produced = source["taskOutputArtifact"]
                producer = self.components[tasks[produced["producerTask"]]["componentRef"]["name"]]
                made = producer["outputDefinitions"]["artifacts"][produced["outputArtifactKey"]]
            if made.get("isArtifactList", False) != wanted[name].get("isArtifactList", False):
                self.found.append(f"{where}: artifact {name}: one where a list is meant, or a list")

    def _outputs(self, where: str, called: Mapping[str, Any], *, looped: bool) -> None:
        """Check that each artifact that leaves a component is one of its tasks' outputs."""
        outputs = called["dag"].get("outputs", {}).get("artifacts", {})
        for name, output in outputs.items():
            for selector in output["artifactSelectors"]:
                task = called["dag"]["tasks"][selector["producerSubtask"]]
                made = self.components[task["componentRef"]["name"]]["outputDefinitions"]
                if selector["outputArtifactKey"] not in made["artifacts"]:
                    self.found.append(f"{where}: {name} is no output of {selector}")
            is_list = called["outputDefinitions"]["artifacts"][name].get("isArtifactList", False)
            if is_list is not looped:
                self.found.append(f"{where}: {name}: isArtifactList is {is_list}")
