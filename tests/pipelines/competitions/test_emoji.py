import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.competitions import emoji
from trainer.config.load import load
from trainer.errors import DataError

FILE = Path(emoji.__file__).with_name("emoji_gan.toml")


def package(folder: Path, *entries: dict[str, Any]) -> Path:
    """Write a package in the layout of the npm registry's archive."""
    images = folder / "img" / "google" / "64"
    images.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        (images / entry["image"]).write_bytes(entry["image"].encode())
    (folder / "emoji.json").write_text(json.dumps(entries))
    return folder


def entry(name: str, category: str, *, drawn: bool = True) -> dict[str, Any]:
    return {
        "short_name": name,
        "category": category,
        "image": f"{name}.png",
        "has_img_google": drawn,
    }


def test_each_category_is_a_folder(tmp_path: Path) -> None:
    source = package(
        tmp_path / "package",
        entry("dog", "Animals & Nature"),
        entry("kite", "Activities"),
        entry("tone", "Component"),
        entry("new", "Symbols", drawn=False),
    )
    assert emoji.main(source, tmp_path / "out") == 2
    assert (tmp_path / "out" / "animals" / "dog.png").read_bytes() == b"dog.png"
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 2
    # Another version of the package, without a kite.
    package(tmp_path / "package", entry("dog", "Animals & Nature"))
    assert emoji.main(source, tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").glob("*/*")] == ["dog.png"]


def test_the_folders_are_the_competition_s_classes() -> None:
    assert load(FILE).classes == list(emoji.CLASSES.values())


def test_what_is_no_such_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not an unpacked emoji-datasource-google .*emoji.json"):
        emoji.main(tmp_path, tmp_path / "out")
    other = package(tmp_path / "other", {"image": "a.png"})
    with pytest.raises(DataError, match="not an unpacked emoji-datasource-google .*category"):
        emoji.main(other, tmp_path / "out")
    without = package(tmp_path / "without", entry("dog", "Animals & Nature"))
    (without / "img" / "google" / "64" / "dog.png").unlink()
    with pytest.raises(DataError, match=r"not an unpacked emoji-datasource-google .*dog\.png"):
        emoji.main(without, tmp_path / "out")
