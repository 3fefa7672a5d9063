"""Emoji as a folder of images a class, from a package that ships them: `python -m
pipelines.competitions.emoji PACKAGE FOLDER`.

The package is emoji-datasource-google of the npm registry (Apache-2.0), unpacked; every emoji in it
is a PNG of 64 × 64. Those that differ by the tone of a skin only are left out, and so are the five
tones by themselves."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from trainer.errors import DataError

# The package's categories, and the folders and classes that they become.
CLASSES = {
    "Activities": "activities",
    "Animals & Nature": "animals",
    "Flags": "flags",
    "Food & Drink": "food",
    "Objects": "objects",
    "People & Body": "people",
    "Smileys & Emotion": "smileys",
    "Symbols": "symbols",
    "Travel & Places": "travel",
}


def main(package: Path, folder: Path) -> int:
    """Copy the images, and remove others from the folders of the classes; returns how many.

    Raises:
        DataError: that is no such package.
    """
    try:
        listed = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
        copies = {
            f"{CLASSES[entry['category']]}/{entry['short_name']}.png": (
                package / "img" / "google" / "64" / entry["image"]
            )
            for entry in listed
            if entry["category"] in CLASSES and entry["has_img_google"]
        }
        for name in CLASSES.values():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for path in (folder / name).glob("*.png"):
                if f"{name}/{path.name}" not in copies:
                    path.unlink()
        for name, image in copies.items():
            shutil.copyfile(image, folder / name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{package}: no unpacked emoji-datasource-google ({type(error).__name__}: {error}): npm"
            " pack it, and unpack that"
        ) from None
    return len(copies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Emoji as a folder of images a class.")
    parser.add_argument("package", type=Path, help="emoji-datasource-google, unpacked")
    parser.add_argument("folder", type=Path, help="where the images go, as data/emoji")
    options = parser.parse_args()
    try:
        print(
            f"{options.folder}: {main(options.package, options.folder):,} images in {len(CLASSES)}"
            " classes"
        )
    except DataError as error:
        sys.exit(str(error))
