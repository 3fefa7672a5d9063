import os
import signal
from pathlib import Path

import pytest

from pipelines.local.runner import hold
from trainer.errors import RunError


def test_sigterm_interrupts_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), hold(tmp_path / "out"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    held = pytest.raises(RunError, match="another run uses")
    with hold(tmp_path / "out"), held, hold(tmp_path / "out"):
        pass
    with hold(tmp_path / "out"):
        pass
