"""Write google_schema.json: the arguments of the google resources that infra/terraform uses.

    npm pack @cdktf/provider-google@16.12.1 && tar xzf cdktf-provider-google-16.12.1.tgz
    python extract_schema.py package

No terraform binary is needed: the schema is read from the TypeScript bindings that HashiCorp
generated from it. They have one interface per block, with comments that spell the arguments as HCL
does.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TERRAFORM = HERE.parents[1] / "infra" / "terraform"

INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
PROPERTY = re.compile(
    r"/\*\*((?:(?!\*/).)*)\*/\s*readonly (\w+)(\??): (.*?);\n(?=\s*(?:/\*\*|\Z))", re.DOTALL
)
ANCHOR = re.compile(r"providers/hashicorp/google/[\d.]+/docs[\w/-]*#(\w+) ")
BLOCK_TYPE = re.compile(r"(\w+)(\[\])?")
RESULT = re.compile(r"this\.get\w+Attribute\('(\w+)'\)|new ([\w.]+)\(this, \"(\w+)\"")
USED = re.compile(r'^(resource|data) "(google_\w+)"', re.MULTILINE)


@dataclass(frozen=True)
class Bindings:
    """The generated TypeScript of one resource, one data source, or the provider's own
    configuration."""

    root: str
    interfaces: dict[str, str]
    script: str

    @classmethod
    def read(cls, folder: Path, root: str) -> Bindings:
        declarations = (folder / "index.d.ts").read_text(encoding="utf-8")
        script = (folder / "index.js").read_text(encoding="utf-8")
        return cls(root, dict(INTERFACE.findall(declarations)), script)

    def arguments(self, interface: str) -> dict[str, Any]:
        """Return a block's arguments by name.

        An entry holds whether the argument is required, and the block that it opens, if any.
        """
        found: dict[str, Any] = {}
        body = self.interfaces[interface]
        for comment, name, optional, kind in PROPERTY.findall(body):
            anchor = ANCHOR.search(comment)
            if anchor is None:
                raise ValueError(f"{interface}.{name}: its comment does not say how HCL spells it")
            shape = BLOCK_TYPE.match(kind)
            entry: dict[str, Any] = {"required": not optional, "block": None}
            if shape and shape[1] in self.interfaces:
                entry["block"] = self.arguments(shape[1])
                entry["many"] = bool(shape[2])
            found[anchor[1]] = entry
        if len(found) != body.count("readonly "):
            raise ValueError(
                f"{interface}: {len(found)} of {body.count('readonly ')} arguments were understood"
            )
        return found

    def results(self) -> set[str]:
        """Return what other resources may read: every attribute of the resource's class."""
        start = self.script.index("extends cdktf.Terraform")
        return {plain or nested for plain, _, nested in RESULT.findall(self.script[start:])}

    def schema(self) -> dict[str, Any]:
        found = self.arguments(f"{self.root}Config")
        for name in self.results() - set(found):
            found[name] = {"required": False, "computed": True, "block": None}
        # The bindings allow every id to be set, but the provider computes it.
        if "id" in found:
            found["id"] = {"required": False, "computed": True, "block": None}
        return found


def root_class(folder: Path) -> str:
    declarations = (folder / "index.d.ts").read_text(encoding="utf-8")
    match = re.search(
        r"^export declare class (\w+) extends cdktf\.Terraform", declarations, re.MULTILINE
    )
    if match is None:
        raise ValueError(f"{folder} declares neither a resource nor a data source")
    return match[1]


def used(folder: Path) -> list[tuple[str, str]]:
    """Return the ('resource' or 'data', type) pairs in all .tf files of a folder."""
    return sorted(
        {
            pair
            for file in folder.glob("*.tf")
            for pair in USED.findall(file.read_text(encoding="utf-8"))
        }
    )


def extract(package: Path, wanted: list[tuple[str, str]]) -> dict[str, Any]:
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    settings = Bindings.read(package / "lib" / "provider", "GoogleProvider").arguments(
        "GoogleProviderConfig"
    )
    schema: dict[str, Any] = {
        "provider": "hashicorp/google",
        "version": about["cdktf"]["provider"]["version"],
        "source": f"npm {about['name']} {about['version']}",
        "configuration": {
            key: value for key, value in settings.items() if not key.endswith("_custom_endpoint")
        },
        "resources": {},
        "data": {},
    }
    for kind, name in wanted:
        stem = name.removeprefix("google_").replace("_", "-")
        folder = package / "lib" / (f"data-google-{stem}" if kind == "data" else stem)
        bindings = Bindings.read(folder, root_class(folder))
        schema["data" if kind == "data" else "resources"][name] = bindings.schema()
    return schema


def text(schema: dict[str, Any]) -> str:
    """Return JSON with one line per resource, so that a diff shows which one changed."""
    lines = []
    for key, value in sorted(schema.items()):
        if key in {"resources", "data"}:
            rows = [
                f"  {json.dumps(name)}: {json.dumps(value[name], sort_keys=True)}"
                for name in sorted(value)
            ]
            lines.append(f" {json.dumps(key)}: {{\n" + ",\n".join(rows) + "\n }")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, sort_keys=True)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    (HERE / "google_schema.json").write_text(
        text(extract(Path(sys.argv[1]), used(TERRAFORM))), encoding="utf-8"
    )
