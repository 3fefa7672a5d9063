"""Copy emoji into one folder per class: `python -m pipelines.competitions.emoji PACKAGE FOLDER`.

PACKAGE is emoji-datasource-google from the npm registry (Apache-2.0), unpacked; it has every emoji
as a PNG of 64 × 64 pixels. Emoji that differ only in skin tone are left out, and so are the five
skin tones themselves.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from trainer.errors import DataError

# The class, which is also the folder's name, of each category in the package.
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
    """Copy the images, and remove all other PNG files from the class folders.

    Args:
        package: the unpacked package.
        folder: gets one folder per class.

    Returns:
        the number of images.

    Raises:
        DataError: `package` does not hold the unpacked package.
    """
    try:
        entries = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
        copies = {
            f"{CLASSES[entry['category']]}/{entry['short_name']}.png": (
                package / "img" / "google" / "64" / entry["image"]
            )
            for entry in entries
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
            f"{package}: is not an unpacked emoji-datasource-google ({type(error).__name__}:"
            f" {error}): run `npm pack emoji-datasource-google` and unpack the archive"
        ) from None
    return len(copies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Copy emoji into one folder per class.")
    parser.add_argument("package", type=Path, help="the unpacked npm emoji-datasource-google")
    parser.add_argument("folder", type=Path, help="where the images go, such as data/emoji")
    options = parser.parse_args()
    try:
        print(
            f"{options.folder}: {main(options.package, options.folder):,} images in {len(CLASSES)}"
            " classes"
        )
    except DataError as error:
        sys.exit(str(error))
