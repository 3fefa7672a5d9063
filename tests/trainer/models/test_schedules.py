import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.member import Schedule
from trainer.models.schedules import Plateau, rate


def rates(schedule: Schedule, epochs: int, steps: int = 10, highest: float = 0.01) -> np.ndarray:
    return np.array(
        [
            rate(schedule, highest, epoch=step / steps, epochs=epochs)
            for step in range(epochs * steps)
        ]
    )


def test_cosine_warms_up_and_decays() -> None:
    found = rates(Schedule(warmup_epochs=2), 10)
    assert found.max() == pytest.approx(0.01)
    assert found.argmax() == 20
    assert found[0] == pytest.approx(0.0005)
    assert np.diff(found[:20]).min() > 0
    assert np.diff(found[20:]).max() < 0
    assert rate(Schedule(warmup_epochs=2), 0.01, epoch=10, epochs=10) == pytest.approx(0.0001)


def test_restarts_begin_again_lower() -> None:
    found = rates(Schedule(restarts=2, restart_decay=0.5), 9)
    peaks = [0, 30, 60]
    np.testing.assert_allclose(found[peaks], [0.01, 0.005, 0.0025])
    assert (found[[29, 59, 89]] < 0.0003).all()


def test_the_ramp_of_the_flowers_notebook() -> None:
    # The notebook's formula with lr_start 1e-5, lr_max 4e-4 (5e-5 times 8), lr_min 1e-5, ramp 5,
    # sustain 0, decay 0.8.
    schedule = Schedule(
        kind="ramp",
        start=1e-5 / 4e-4,
        final=1e-5 / 4e-4,
        ramp_epochs=5,
        sustain_epochs=0,
        decay=0.8,
    )
    for epoch in range(20):
        expected = (
            (4e-4 - 1e-5) / 5 * epoch + 1e-5
            if epoch < 5
            else (4e-4 - 1e-5) * 0.8 ** (epoch - 5) + 1e-5
        )
        assert rate(schedule, 4e-4, epoch=epoch + 0.7, epochs=20) == pytest.approx(expected)


def test_the_ramp_sustains() -> None:
    schedule = Schedule(kind="ramp", ramp_epochs=2, sustain_epochs=3, decay=0.5, start=0.1)
    found = [rate(schedule, 1.0, epoch=epoch, epochs=8) for epoch in range(8)]
    assert found[2:6] == [1.0] * 4
    assert found[6] < 1


@given(
    st.integers(1, 40),
    st.floats(0, 1),
    st.integers(0, 5),
    st.sampled_from(["cosine", "ramp", "plateau", "constant"]),
)
def test_a_rate_never_leaves_its_bounds(
    epochs: int, warmup: float, restarts: int, kind: str
) -> None:
    schedule = Schedule(
        kind=kind, warmup_epochs=warmup * epochs * 0.9, restarts=min(restarts, epochs - 1)
    )  # type: ignore[arg-type]
    found = rates(schedule, epochs)
    assert (found > 0).all()
    assert (found <= 0.01 * (1 + 1e-9)).all()


def test_a_plateau_halves_the_rate_when_the_score_stands_still() -> None:
    schedule = Schedule(kind="plateau", factor=0.5, patience=2)
    plateau = Plateau()
    factors = []
    for score in (0.5, 0.6, 0.6, 0.55, 0.7, 0.6, 0.6, 0.6, 0.6):
        plateau.update(schedule, score, rises=True)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    falling = Plateau()
    for loss in (0.5, 0.4, 0.45, 0.45):
        falling.update(schedule, loss, rises=False)
    assert falling.factor == 0.5
    other = Plateau()
    other.update(Schedule(), 0.1, rises=True)
    assert other == Plateau()
