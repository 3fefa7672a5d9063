"""Makes sure that `trainer`, `components` and `pipelines` are Foldline's own.

A folder of the user may have folders of the same names: it is the usual layout of a training
repository for Vertex AI. Python looks into the working folder first.
"""

import importlib
import sys
from pathlib import Path

_NAMES = ("trainer", "components", "pipelines")


def import_own() -> None:
    """Import the three packages from next to this one, wherever the process was started.

    Raises:
        ImportError: the process has imported others of these names.
    """
    root = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(root))
    try:
        for name in _NAMES:
            module = importlib.import_module(name)
            if root not in Path(str(module.__file__)).resolve().parents:
                raise ImportError(
                    f"{module.__file__}: the package {name!r} was imported before Foldline, which"
                    f" has one of the same name in {root / name}: import foldline first, or rename"
                    " yours"
                )
    finally:
        sys.path.remove(str(root))
