"""Write docs/configuration.md, the schemas that editors read, and the diagram of the pipeline."""

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.reference.diagram import with_diagram
from pipelines.reference.keys import Key, Place, json_schema, keys, places, split_doc
from trainer.artifacts.manifest import atomic_write
from trainer.config.competition import Competition
from trainer.config.gan import Gan

COMPETITIONS = Path(__file__).resolve().parents[1] / "competitions"
# The file that the first line of a competition file or a GAN file names, by its kind.
SCHEMAS = {Competition: "foldline.schema.json", Gan: "foldline-gan.schema.json"}
PAGE, ARCHITECTURE = Path("docs") / "configuration.md", Path("docs") / "architecture.md"
_COMPILED = Path("tests") / "golden" / "kfold.yaml"
_HEAD = """\
# The keys of a competition file

A competition file is a [TOML](https://toml.io) file. `foldline init` writes one, `foldline check`
says what is wrong with it, and `foldline explain data.group` prints what this page says of a key.
An editor that reads JSON schemas, such as Visual Studio Code with the extension *Even Better TOML*,
completes keys and marks mistakes. The first line of the file names the schema, which
`foldline init` writes next to it (in a clone, both schemas are in `pipelines/competitions/`):

    #:schema foldline.schema.json        (a GAN file: foldline-gan.schema.json)

A key without a default is required. `members[0].epochs` in a message is the key `epochs` of the
first `[[members]]`. The command `python -m pipelines.reference.write` writes this page from
`trainer/config/`.
"""


def page() -> str:
    """Return docs/configuration.md."""
    competition = list(places(Competition))
    shared = {place.section for place in competition}
    gan = [place for place in places(Gan) if place.section not in shared]
    parts = [
        _HEAD,
        *(_section(place) for place in competition),
        *(_section(place) for place in gan),
    ]
    return "\n".join(parts)


def _section(place: Place) -> str:
    text, example = split_doc(place.section)
    title = f"`{place.header()}`" if place.path else f"The top of a {_kind(place.section)} file"
    lines = [f"## {title}", "", *_without_name(text, place).split("\n"), ""]
    lines += ["```toml", example, "```", "", *_table(place), ""]
    return "\n".join(lines)


def _kind(section: type) -> str:
    return "GAN" if section is Gan else "competition"


def _without_name(text: str, place: Place) -> str:
    """Return a section's text without its name, which is the title already."""
    name, colon, rest = text.partition(": ")
    if place.path and colon and name.startswith("`["):
        return rest[0].upper() + rest[1:]
    return text


def _table(place: Place) -> Iterator[str]:
    yield "| key | values | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key in keys(place.section).values():
        yield f"| `{key.name}` | {_cell(key.allowed())} | {_default(key)} | {_cell(key.text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(key: Key) -> str:
    if key.default is None:
        return "required"
    return f"`{key.default}`" if key.default else ""


def schema(file: type) -> str:
    """Return the JSON schema of a kind of file as text."""
    return json.dumps(json_schema(file), indent=1, ensure_ascii=False) + "\n"


def texts() -> dict[Path, str]:
    """Return what is generated, by path from the project's root."""
    root = COMPETITIONS.parents[1]
    schemas = {COMPETITIONS / name: schema(file) for file, name in SCHEMAS.items()}
    architecture = (root / ARCHITECTURE).read_text(encoding="utf-8")
    pages = {PAGE: page(), ARCHITECTURE: with_diagram(architecture, root / _COMPILED)}
    return {path.relative_to(root): text for path, text in schemas.items()} | pages


def main() -> None:
    """Write the page and the schemas."""
    root = COMPETITIONS.parents[1]
    for path, text in texts().items():
        with atomic_write(root / path) as partial:
            partial.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
