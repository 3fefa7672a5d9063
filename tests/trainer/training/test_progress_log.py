from pathlib import Path

import pytest

from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.training.progress_log import ProgressLog

ROWS = [
    {
        "fold": 0,
        "epoch": epoch,
        "loss": 1 / epoch,
        "val_loss": 2 / epoch,
        "val_accuracy": 0.5,
        "learning_rate": 0.1,
        "seconds": 1.0,
    }
    for epoch in (1, 2, 3)
]


def events(folder: Path) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (file,) = folder.glob("events*")
    return [
        (
            event.step,
            value.tag,
            value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value,
        )
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def test_tensorboard_reads_the_history_and_a_resumed_run_leaves_one_curve(tmp_path: Path) -> None:
    watch = ProgressLog(Member(name="m", epochs=3), [0], {0: 5}, "accuracy", tmp_path)
    watch.tensorboard(ROWS[:2], 0)
    watch.tensorboard(ROWS, 0)
    found = events(tmp_path / "tensorboard" / "fold0")
    assert [(step, value) for step, tag, value in found if tag == "loss"] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
    ]
    assert {tag for _, tag, _ in found} == {
        "loss",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "seconds",
    }
    ProgressLog(Member(name="m", epochs=3), [0], {0: 5}, "accuracy", None).tensorboard(ROWS, 0)


def test_lines_say_where_it_is_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    member = Member(name="m", backbone="VGG16", epochs=2, head_epochs=1)
    watch = ProgressLog(member, [0, 3], {0: 5, 3: 5}, "accuracy", tmp_path)
    watch.skip(25)
    watch.step(3, 1, 0)
    watch.epoch({**ROWS[0], "fold": 3, "epoch": 1})
    watch.epoch({"fold": NO_FOLD, "epoch": 2, "loss": 0.5} | {"fold": 0})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "[train] m fold 3 (2 of 2)  epoch 1/3 (head only)  loss 1.0000  val_loss 2.0000 "
        " val_accuracy 0.5000  "
    )
    assert "epoch 2/3  loss 0.5000" in said[1]
    assert said[0].endswith(" left")
