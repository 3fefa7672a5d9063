"""Foldline turns labelled images into an honest score and a leaderboard submission.

    import foldline as fl

    file = fl.load("digits.toml")      # every problem of the file in one error
    fl.check(file)                     # the files that it names
    run = fl.run(file)                 # runs/digits, step by step; finished steps are reused
    run.score, run.interval            # out of fold, with its 95 % interval
    run.oof                            # a pandas DataFrame

docs/python.md is the guide. Only what is used is imported: TensorFlow never is, but by `load_model`
and `train_folds`.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from foldline.own_packages import import_own

import_own()
from trainer import errors  # noqa: E402  # only now it is certain which trainer that is

if TYPE_CHECKING:
    from foldline.artifacts import load_model, read_records
    from foldline.local import check, compile, load, run
    from foldline.remote import Job, submit
    from foldline.result import RunResult, open_run
    from pipelines.remote.destination import Destination
    from trainer.config.competition import Competition
    from trainer.config.gan import Gan
    from trainer.config.member import Member
    from trainer.training.fit import train_folds

__all__ = [
    "Competition",
    "Destination",
    "Gan",
    "Job",
    "Member",
    "RunResult",
    "__version__",
    "check",
    "compile",
    "errors",
    "load",
    "load_model",
    "open_run",
    "read_records",
    "run",
    "submit",
    "train_folds",
]
__version__ = version("foldline")
# Where each name is, so that `import foldline` imports none of them.
_HOMES = {
    "Competition": "trainer.config.competition",
    "Destination": "pipelines.remote.destination",
    "Gan": "trainer.config.gan",
    "Job": "foldline.remote",
    "Member": "trainer.config.member",
    "RunResult": "foldline.result",
    "check": "foldline.local",
    "compile": "foldline.local",
    "load": "foldline.local",
    "load_model": "foldline.artifacts",
    "open_run": "foldline.result",
    "read_records": "foldline.artifacts",
    "run": "foldline.local",
    "submit": "foldline.remote",
    "train_folds": "trainer.training.fit",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'foldline' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
