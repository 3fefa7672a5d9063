import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.augment import affine_maps, epoch_generator
from trainer.competition import Augment

ALL = Augment(rotation=20, shear=10, zoom=0.2, shift=0.1)


def test_nothing_to_do_is_the_identity() -> None:
    maps = affine_maps(Augment(), seed=1, epoch=0, rows=np.arange(5), size=9)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, np.tile([1, 0, 0, 0, 1, 0, 0, 0], (5, 1)), atol=1e-6)


@given(st.permutations(range(12)), st.integers(1, 12), st.integers(0, 2**31 - 1), st.integers(0, 100))
def test_an_image_keeps_its_draws_wherever_it_stands(order: list[int], taken: int, seed: int, epoch: int) -> None:
    whole = affine_maps(ALL, seed=seed, epoch=epoch, rows=np.arange(12), size=28)
    some = np.array(order[:taken])
    np.testing.assert_array_equal(affine_maps(ALL, seed=seed, epoch=epoch, rows=some, size=28), whole[some])


def test_epochs_seeds_and_streams_differ() -> None:
    rows = np.arange(4)
    first = affine_maps(ALL, seed=1, epoch=0, rows=rows, size=28)
    assert not np.allclose(first, affine_maps(ALL, seed=1, epoch=1, rows=rows, size=28))
    assert not np.allclose(first, affine_maps(ALL, seed=2, epoch=0, rows=rows, size=28))
    assert not np.allclose(epoch_generator(1, 0, stream=0).random(4), epoch_generator(1, 0, stream=1).random(4))


@pytest.mark.parametrize("size", [8, 28, 33])
def test_a_rotation_turns_about_the_centre_and_keeps_lengths(size: int) -> None:
    maps = affine_maps(Augment(rotation=90), seed=3, epoch=0, rows=np.arange(50), size=size)
    matrices = maps[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(2), (50, 1, 1)), atol=1e-5)
    centre = np.full(2, (size - 1) / 2)
    np.testing.assert_allclose(matrices @ centre + maps[:, [2, 5]], np.tile(centre, (50, 1)), atol=1e-4)


def test_bounds_hold_and_are_used() -> None:
    rows = np.arange(4000)
    shift = affine_maps(Augment(shift=0.25), seed=0, epoch=0, rows=rows, size=40)[:, [2, 5]]
    assert 9.9 < np.abs(shift).max() <= 10
    zoom = affine_maps(Augment(zoom=0.2), seed=0, epoch=0, rows=rows, size=40)[:, [0, 4]]
    assert 1 / 1.2 - 1e-6 <= zoom.min() < 0.84
    assert 1.24 < zoom.max() <= 1 / 0.8 + 1e-6
    turned = affine_maps(Augment(rotation=30), seed=0, epoch=0, rows=rows, size=40)
    degrees = np.rad2deg(np.arctan2(turned[:, 3], turned[:, 0]))
    assert 29.5 < np.abs(degrees).max() <= 30.001
    assert abs(degrees.mean()) < 1
