"""What a finished run leaves: scores, predictions and files."""

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.local.launch import read_run
from trainer.artifacts import tables
from trainer.errors import CompetitionError

if TYPE_CHECKING:
    import pandas as pd


class RunResult:
    """A finished run of a competition file or a GAN file. In a notebook it shows its scores.

    Attributes:
        out: the folder of the results.
        metrics: the contents of metrics.json: every score of every member, fold and method.
    """

    def __init__(self, out: Path, metrics: dict[str, Any]) -> None:
        """
        Args:
            out: the folder of the results.
            metrics: the contents of its metrics.json.
        """
        self.out = out
        self.metrics = metrics

    @property
    def score(self) -> float | None:
        """The blend's nested out-of-fold score in the competition's metric; None if no member has
        out-of-fold predictions, or the run is a GAN's."""
        return self._blend("oof")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of the score; None where there is none."""
        low, high = self._blend("low"), self._blend("high")
        return None if low is None or high is None else (low, high)

    @property
    def leaderboard(self) -> float | None:
        """The score of the submission on leaderboard.answers; None without answers."""
        return self.metrics.get("leaderboard")

    @property
    def members(self) -> "pd.DataFrame":
        """The members' scores: one row a member, columns `oof`, `low`, `high`, `fold 0` …"""
        import pandas as pd

        rows = {
            name: {
                **{key: value[key] for key in ("oof", "low", "high")},
                **{f"fold {fold}": score for fold, score in enumerate(value["folds"])},
            }
            for name, value in self.metrics.get("members", {}).items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("member")

    @property
    def oof(self) -> "pd.DataFrame":
        """The blend's out-of-fold predictions, oof.csv: one row a labelled image, one column a
        class; or the columns class_1, probability_1, class_2, … of the most probable classes."""
        return self._table(tables.OOF_CSV)

    @property
    def test(self) -> "pd.DataFrame":
        """The blend's predictions of the test images, test.csv: one row an image, with the columns
        of `oof`."""
        return self._table(tables.TEST_CSV)

    @property
    def submission(self) -> Path | None:
        """The submission file; None for a GAN."""
        found = [self.out / name for name in ("submission.csv", "submission.csv.gz")]
        return next((path for path in found if path.is_file()), None)

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.out / ("report.html" if "blend" in self.metrics else "gan.html")

    @property
    def models(self) -> dict[str, list[Path]]:
        """The model files of each member, in the order of the folds; for `load_model`."""
        found: dict[str, list[Path]] = {}
        for path in sorted((self.out / "models").glob("*/*")):
            if path.suffix in (".keras", tables.LINEAR_SUFFIX):
                found.setdefault(path.parent.name, []).append(path)
        return {name: sorted(paths, key=_fold) for name, paths in found.items()}

    def __repr__(self) -> str:
        return f"{self._scores()}\n\n{self.report}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        link = html.escape(str(self.report))
        return f'<pre>{html.escape(self._scores())}</pre><a href="{link}">{link}</a>'

    def _scores(self) -> str:
        from pipelines.definitions import registry

        kind = registry.KFOLD if "blend" in self.metrics else registry.GAN
        text: str = registry.results(kind).score_table(self.metrics)
        return text

    def _blend(self, key: str) -> float | None:
        value: float | None = self.metrics.get("blend", {}).get(key)
        return value

    def _table(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        if "blend" not in self.metrics:
            raise CompetitionError(f"{self.out}: is a GAN's run, which has no {name}")
        return pd.read_csv(self.out / name, dtype={"id": str})


def _fold(path: Path) -> tuple[int, str]:
    number = path.stem.removeprefix("fold")
    return (int(number) if number.isdigit() else -1, path.name)


def open_run(folder: str | Path) -> RunResult:
    """Open the results of a finished run.

        >>> run = fl.open_run("runs/digits")
        >>> low, high = run.interval
        >>> low <= run.score <= high
        True

    Args:
        folder: the folder of the results, such as runs/digits; `foldline fetch` makes one of a
            remote run.

    Raises:
        CompetitionError: the folder has no results.
    """
    folder = Path(folder)
    if not (folder / tables.METRICS).is_file():
        raise CompetitionError(
            f"{folder}: has no {tables.METRICS}, so no run has finished there: `foldline runs`"
            " lists those that have"
        )
    return RunResult(folder, read_run(folder).metrics)
