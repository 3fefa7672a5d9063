"""Emoji as a folder of images a class, from a package that ships them: `python -m pipelines.competitions.emoji PACKAGE FOLDER`.

The package is emoji-datasource-google of the npm registry (Apache-2.0), unpacked; every emoji in it is a PNG of 64 × 64. Those
that differ by the tone of a skin only are left out, and so are the five tones by themselves.
"""

import argparse
import json
import shutil
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
    """Copy the images; returns how many.

    Raises:
        DataError: that is no such package.
    """
    try:
        listed = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{package}: no unpacked emoji-datasource-google ({error}): npm pack it, and unpack that") from None
    wanted = [entry for entry in listed if entry["category"] in CLASSES and entry["has_img_google"]]
    for name in CLASSES.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    for entry in wanted:
        image = package / "img" / "google" / "64" / entry["image"]
        shutil.copyfile(image, folder / CLASSES[entry["category"]] / f"{entry['short_name']}.png")
    return len(wanted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Emoji as a folder of images a class.")
    parser.add_argument("package", type=Path, help="emoji-datasource-google, unpacked")
    parser.add_argument("folder", type=Path, help="where the images go, as data/emoji")
    options = parser.parse_args()
    print(f"{options.folder}: {main(options.package, options.folder):,} images in {len(CLASSES)} classes")
