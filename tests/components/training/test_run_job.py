from pathlib import Path
from typing import Any

import pytest

from components.storage import objects
from components.training.checkpoint_store import checkpoint_folder, default_uri
from components.training.run_job import run_job
from trainer import runtime


def names(uri: str) -> list[str]:
    return [entry.uri.removeprefix(uri + "/") for entry in objects.listing(uri + "/")]


def test_checkpoints_lie_below_the_launchers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runtime.WORK, str(tmp_path))
    with checkpoint_folder("", "job") as (work, mirror):
        assert (work, mirror) == (tmp_path / "job", None)
    monkeypatch.delenv(runtime.WORK)
    with checkpoint_folder("", "job") as (work, _):
        assert work.is_dir()
    assert not work.exists()


def test_copies_come_back_to_another_machine_and_go_when_all_is_done(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = f"{bucket}/kept"
    monkeypatch.setenv(runtime.WORK, str(tmp_path / "first"))

    class Gone(Exception):
        pass

    with pytest.raises(Gone), checkpoint_folder(kept, "job") as (work, mirror):
        assert mirror is not None
        for number in range(3):
            path = work / "process0" / f"{number}.checkpoint"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes([number]))
            mirror(path)
            if number == 1:
                (work / "process0" / "0.checkpoint").unlink()
        objects.put(work / "process0" / "2.checkpoint", f"{kept}/job/process1/9.checkpoint")
        mirror(work / "process0" / "2.checkpoint")
        raise Gone
    # What this process deleted is gone; what another process keeps is not.
    assert names(f"{kept}/job") == [
        "process0/1.checkpoint",
        "process0/2.checkpoint",
        "process1/9.checkpoint",
    ]
    monkeypatch.setenv(runtime.WORK, str(tmp_path / "second"))
    with checkpoint_folder(kept, "job") as (work, _):
        assert (work / "process0" / "2.checkpoint").read_bytes() == b"\x02"
    assert names(kept) == []


def test_weights_of_a_bucket_are_brought_near(
    inputs: Any, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import asdict

    from trainer.artifacts.objective import Objective
    from trainer.config.machine import Train
    from trainer.config.member import Member
    from trainer.config.network import Cnn

    monkeypatch.setenv(runtime.WORK, str(tmp_path / "work"))
    member = Member(name="m", size=8, cnn=Cnn(filters=[4], strides=[2]), epochs=1, batch_size=16)
    given: dict[str, Any] = {
        "images": str(inputs.records),
        "folds": str(inputs.folds_table),
        "statistics": str(inputs.statistics),
    }
    objective = Objective("multiclass", [str(digit) for digit in range(10)], "accuracy", seed=1)

    def job(**changes: Any) -> dict[str, Any]:
        return {
            "member": {**asdict(member), **changes},
            "folds": [1],
            "settings": asdict(Train()),
            "weights_digest": "",
        }

    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", f"{bucket}/curves/")
    run_job(job(), objective, out=str(tmp_path / "first"), **given)
    monkeypatch.delenv("AIP_TENSORBOARD_LOG_DIR")
    # Vertex AI's TensorBoard reads the curves there.
    (curve,) = names(f"{bucket}/curves")
    assert curve.startswith("m/")
    objects.put(tmp_path / "first" / "fold1.keras", f"{bucket}/models/fold1.keras")
    run_job(
        job(weights=f"{bucket}/models/fold{{fold}}.keras"),
        objective,
        out=str(tmp_path / "second"),
        **given,
    )
    assert (tmp_path / "second" / "manifest.json").is_file()
    # A finished job leaves no working files.
    assert list((tmp_path / "work").rglob("*.finished")) == []


def test_checkpoints_of_a_remote_run_lie_beside_its_outputs() -> None:
    assert (
        default_uri("/gcs/b/root/123/run/train_7/predictions") == "gs://b/root/123/run/checkpoints"
    )
    assert default_uri("/home/me/run/train/predictions") == ""
