import os
from pathlib import Path

from pipelines.results import kfold
from pipelines.results.kfold import score_table

METRICS = {
    "metric": "accuracy",
    "blend": {"method": "mean", "oof": 0.97, "folds": [0.96, 0.98]},
    "members": {"cnn": {"oof": 0.95, "folds": [0.94, 0.96]}},
}


def test_the_table_has_every_fold_and_member() -> None:
    assert score_table(METRICS).splitlines() == [
        "accuracy                 fold 0  fold 1  out of fold",
        "cnn                      0.9400  0.9600       0.9500",
        "blend by mean, nested    0.9600  0.9800       0.9700",
    ]


def test_columns_are_as_wide_as_their_heads() -> None:
    many = {"method": "mean", "oof": 0.97, "folds": [0.9] * 12}
    lines = score_table(
        {"metric": "accuracy", "blend": many, "members": {"cnn": many}}
    ).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].endswith("0.9000   0.9000       0.9700")


def test_cross_validation_stands_beside_the_leaderboard() -> None:
    last = score_table({**METRICS, "leaderboard": 0.981}).splitlines()[-1]
    assert last == "cross-validation 0.9700   leaderboard 0.9810 (withheld answers)"


def test_how_models_were_chosen_is_reported_of_their_scores() -> None:
    members = {
        "chosen": {"oof": 0.95, "folds": [0.94, 0.96], "validation": "best"},
        "final": {"oof": None, "folds": [], "validation": "none"},
    }
    blend = {**METRICS["blend"], "scored": ["chosen"]}  # type: ignore[dict-item]
    lines = score_table({**METRICS, "blend": blend, "members": members}).splitlines()
    assert lines[3].startswith("blend by mean, nested *")
    assert lines[1].startswith("chosen *")
    assert lines[2].split() == ["final", "-", "-", "-"]
    assert lines[4:] == [
        "*: best epoch chosen on the scored images: the score is slightly too good",
        "-: trained on all images: no score",
    ]
    alone = {
        "metric": "accuracy",
        "blend": {"method": "mean", "oof": None, "folds": []},
        "members": {"final": members["final"]},
    }
    assert (
        score_table({**alone, "leaderboard": 0.9})
        .splitlines()[-1]
        .startswith("cross-validation none")
    )


def test_models_of_an_earlier_run_go_and_a_user_s_own_stay(tmp_path: Path) -> None:
    made = tmp_path / "task"
    made.mkdir()
    for name in ("fold0.keras", "fold0.seen.npy"):
        (made / name).write_text("new")
    out = tmp_path / "models"
    for name in (
        "m/fold0.keras",
        "m/fold1.keras",
        "gone/all.keras",
        "gone/all.seen.npy",
        "m/notes.txt",
        "own/best.keras",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("old")
    earlier = tmp_path / "earlier.keras"
    os.link(out / "m" / "fold0.keras", earlier)
    kfold._gather_models({"m": {"0": str(made / "fold0.keras")}}, out, str)
    found = {
        str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()
    }
    assert found == {
        "m/fold0.keras": "new",
        "m/fold0.seen.npy": "new",
        "m/notes.txt": "old",
        "own/best.keras": "old",
    }
    assert not (out / "gone").exists()
    # The cached file, to which the replaced name was a hard link, is unchanged.
    assert earlier.read_text() == "old"
