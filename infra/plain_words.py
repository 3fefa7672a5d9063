"""Look for the words of infra/plain_words.txt in code, messages and docs; `make lint` runs it.

Each line of that file is a phrase, a colon and what to write instead. A space in a phrase also
matches an underscore, so that names are checked too.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORDS = Path(__file__).with_name("plain_words.txt")
FOLDERS = ("pipelines", "components", "trainer", "tests", "benchmarks", "infra", "docs")
SUFFIXES = {".py", ".md", ".toml", ".tf", ".sh", ".html", ".yaml"}


def main() -> int:
    """Print each place; return 1 if there is one."""
    lines = [line for line in WORDS.read_text().splitlines() if not line.startswith("#")]
    advice = dict(line.split(": ", 1) for line in lines)
    phrases = "|".join(re.escape(phrase).replace(r"\ ", "[ _]") for phrase in advice)
    pattern = re.compile(rf"(?<![a-z])(?:{phrases})(?![a-z])", re.IGNORECASE)
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    found = False
    for path in [ROOT / "README.md", ROOT / "Makefile", *files]:
        golden = ROOT / "tests" / "golden" in path.parents
        if golden or not (path.suffix in SUFFIXES or path.name == "Makefile"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in pattern.finditer(line):
                found = True
                instead = advice[match[0].lower().replace("_", " ")]
                print(f"{path.relative_to(ROOT)}:{number}: {match[0]!r}: write {instead!r}")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
