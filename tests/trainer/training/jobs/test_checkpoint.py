from pathlib import Path

import numpy as np
import pytest

from trainer.training.jobs.checkpoint import Checkpoints

ARRAYS = {
    "model": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7)],
    "optimizer": [np.ones(3)],
}


def saved(folder: Path, count: int) -> Checkpoints:
    kept = Checkpoints(folder)
    for number in range(count):
        kept.save(ARRAYS, {"step": number, "value": 0.1 + 0.2})
    return kept


def test_the_newest_is_taken_and_two_are_kept(tmp_path: Path) -> None:
    kept = saved(tmp_path / "work", 4)
    assert sorted(path.name for path in kept.folder.iterdir()) == [
        "00000002.checkpoint",
        "00000003.checkpoint",
    ]
    found = Checkpoints(kept.folder).latest()
    assert found is not None
    arrays, state = found
    assert state == {"step": 3, "value": 0.1 + 0.2}
    for name, group in ARRAYS.items():
        for array, expected in zip(arrays[name], group, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_one_is_passed_over(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = saved(tmp_path / "work", 3)
    newest = kept.folder / "00000002.checkpoint"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage])
    found = kept.latest()
    assert found is not None
    assert found[1]["step"] == 1
    assert "00000002.checkpoint is damaged" in capsys.readouterr().out
    (kept.folder / "00000001.checkpoint").write_bytes(b"no")
    assert kept.latest() is None


def test_a_file_that_was_being_written_is_no_checkpoint(tmp_path: Path) -> None:
    kept = saved(tmp_path / "work", 1)
    (kept.folder / ".00000001.checkpoint.abc.checkpoint").write_bytes(b"half")
    found = kept.latest()
    assert found is not None
    assert found[1]["step"] == 0


def test_a_finished_fold_stays_and_its_checkpoints_go(tmp_path: Path) -> None:
    seen: list[str] = []
    kept = Checkpoints(tmp_path / "work", on_write=lambda path: seen.append(path.name))
    kept.save(ARRAYS, {})
    kept.finish("fold0", {"model": [np.arange(3)], "oof": [np.zeros((0, 2))]}, {"epochs": 3})
    assert seen == ["00000000.checkpoint", "fold0.finished"]
    assert kept.latest() is None
    found = kept.finished("fold0")
    assert found is not None
    assert found[1] == {"epochs": 3}
    assert found[0]["oof"][0].shape == (0, 2)
    assert kept.finished("fold1") is None
    kept.remove()
    assert not (tmp_path / "work").exists()
