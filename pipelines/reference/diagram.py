"""The diagram of a compiled pipeline in docs/architecture.md, in Mermaid."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"```mermaid\n.*?```", re.DOTALL)


def with_diagram(page: str, compiled: Path) -> str:
    """Return a page with the diagram of a pipeline in place of its Mermaid block.

    Args:
        page: the page, with one such block.
        compiled: the compiled pipeline, a YAML file.
    """
    import yaml

    spec = next(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))
    lines = ["```mermaid", "flowchart LR", *_arrows(spec["root"]["dag"]["tasks"], spec), "```"]
    return _BLOCK.sub(lambda _: "\n".join(lines), page, count=1)


def _arrows(tasks: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line an arrow, from the steps that a step uses outputs of."""
    names = {task: _name(task, about, spec) for task, about in tasks.items()}
    arrows: dict[str, set[str]] = {}
    for task, about in tasks.items():
        for source in about.get("dependentTasks", []):
            arrows.setdefault(names[task], set()).add(names[source])
    for target, sources in sorted(arrows.items()):
        # What an earlier step of the same step depends on needs no arrow of its own.
        indirect = {far for near in sources for far in _behind(near, arrows)}
        for source in sorted(sources - indirect):
            yield f"    {_node(source)} --> {_node(target)}"


def _behind(step: str, arrows: Mapping[str, set[str]]) -> set[str]:
    sources = arrows.get(step, set())
    return sources | {far for near in sources for far in _behind(near, arrows)}


def _name(task: str, about: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Return the name of a step; of a loop, that of the step in it."""
    component = spec["components"][about["componentRef"]["name"]]
    if "dag" not in component:
        return task
    (inner,) = component["dag"]["tasks"]
    return f"{inner} × n"


def _node(name: str) -> str:
    key = name.partition(" ")[0]
    return f'{key}["{name}"]' if key != name else name
