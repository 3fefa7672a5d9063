import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.augment import Augment, AugmentChoice
from trainer.input.augment import AugmentParams, draw, epoch_draws, epoch_generator, untouched

ALL = Augment(
    rotation=20,
    shear=10,
    zoom=0.2,
    shift=0.1,
    flip_horizontal=0.5,
    flip_vertical=0.3,
    quarter_turns=True,
    hue=0.1,
    saturation=0.3,
    contrast=0.2,
    brightness=0.1,
    erase=0.4,
    one_of=[AugmentChoice(rotation=10), AugmentChoice(weight=2, hue=0.2, erase=0.5)],
)
GREY = np.array([[120.0, 120.0, 120.0]])


def drawn(
    augment: Augment,
    rows: np.ndarray,
    *,
    size: int = 28,
    seed: int = 1,
    epoch: int = 0,
    channels: int = 3,
) -> AugmentParams:
    uniform = epoch_draws(augment, seed=seed, epoch=epoch, rows=int(rows.max()) + 1)
    means = np.random.default_rng(0).uniform(50, 200, (int(rows.max()) + 1, channels))
    return draw(augment, uniform[rows], size=size, means=means[rows])


@pytest.mark.parametrize(("size", "side"), [(9, 9), (28, 28), (33, 20)])
def test_nothing_to_do_is_the_identity_about_the_middle(size: int, side: int) -> None:
    still = untouched(5, size=size, side=side, channels=3)
    corner = (size - side) // 2
    np.testing.assert_array_equal(still.affine, np.tile([1, 0, corner, 0, 1, corner], (5, 1)))
    np.testing.assert_array_equal(still.colour, np.tile(np.eye(3, 4), (5, 1, 1)))
    assert not still.mixes
    assert not (still.erase[:, 2] > still.erase[:, 0]).any()
    # An augmentation whose values are all zero draws the same.
    np.testing.assert_array_equal(drawn(Augment(), np.arange(5), size=9).affine[:, [0, 4]], 1)


@given(
    st.permutations(range(12)), st.integers(1, 12), st.integers(0, 2**31 - 1), st.integers(0, 100)
)
def test_an_image_keeps_its_draws_wherever_it_stands(
    order: list[int], taken: int, seed: int, epoch: int
) -> None:
    some = np.array(order[:taken])
    whole = drawn(ALL, np.arange(12), seed=seed, epoch=epoch)
    uniform = epoch_draws(ALL, seed=seed, epoch=epoch, rows=12)
    means = np.random.default_rng(0).uniform(50, 200, (12, 3))
    part = draw(ALL, uniform[some], size=28, means=means[some])
    for name in ("affine", "colour", "erase", "fill", "mix"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[some])


def test_epochs_seeds_and_streams_differ() -> None:
    rows = np.arange(4)
    first = drawn(ALL, rows).affine
    assert not np.allclose(first, drawn(ALL, rows, epoch=1).affine)
    assert not np.allclose(first, drawn(ALL, rows, seed=2).affine)
    values = [epoch_generator(1, 0, stream=stream).random(4) for stream in (0, 1, 2)]
    assert not np.allclose(values[0], values[1])
    assert not np.allclose(values[1], values[2])


@pytest.mark.parametrize("size", [8, 28, 33])
def test_a_rotation_turns_about_the_centre_and_keeps_lengths(size: int) -> None:
    affine = drawn(Augment(rotation=90), np.arange(50), size=size).affine
    matrices = affine[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(2), (50, 1, 1)), atol=1e-5
    )
    centre = np.full(2, (size - 1) / 2)
    np.testing.assert_allclose(
        matrices @ centre + affine[:, [2, 5]], np.tile(centre, (50, 1)), atol=1e-4
    )


@pytest.mark.parametrize("size", [8, 9])
def test_flips_and_quarter_turns_are_exact(size: int) -> None:
    affine = drawn(
        Augment(flip_horizontal=0.5, flip_vertical=0.5, quarter_turns=True),
        np.arange(200),
        size=size,
    ).affine
    assert len({tuple(row) for row in affine.tolist()}) == 8
    np.testing.assert_array_equal(affine, np.round(affine))
    corners = np.array([[0, 0, 1], [size - 1, 0, 1], [0, size - 1, 1], [size - 1, size - 1, 1]])
    for row in affine:
        moved = corners @ row.reshape(2, 3).T
        assert {tuple(corner) for corner in moved.tolist()} == {
            tuple(corner[:2]) for corner in corners.tolist()
        }


def test_bounds_hold_and_are_used() -> None:
    rows = np.arange(4000)
    shift = drawn(Augment(shift=0.25), rows, size=40).affine[:, [2, 5]]
    assert 9.9 < np.abs(shift).max() <= 10
    zoom = drawn(Augment(zoom=0.2), rows, size=40).affine[:, [0, 4]]
    assert 1 / 1.2 - 1e-6 <= zoom.min() < 0.84
    assert 1.24 < zoom.max() <= 1 / 0.8 + 1e-6
    turned = drawn(Augment(rotation=30), rows, size=40).affine
    degrees = np.rad2deg(np.arctan2(turned[:, 3], turned[:, 0]))
    assert 29.5 < np.abs(degrees).max() <= 30.001
    assert abs(degrees.mean()) < 1


def test_normal_draws_have_the_bound_as_their_deviation() -> None:
    turned = drawn(Augment(rotation=10, distribution="normal"), np.arange(20_000), size=40).affine
    degrees = np.rad2deg(np.arctan2(turned[:, 3], turned[:, 0]))
    assert degrees.std() == pytest.approx(10, rel=0.03)
    assert np.abs(degrees).max() > 30


def test_a_probability_leaves_that_share_alone() -> None:
    affine = drawn(Augment(rotation=30, probability=0.25), np.arange(8000)).affine
    assert (affine[:, 0] == 1).mean() == pytest.approx(0.75, abs=0.02)


def test_hue_and_saturation_keep_grey_and_brightness() -> None:
    rows = np.arange(300)
    colour = drawn(Augment(hue=0.3), rows).colour
    luma = np.array([0.299, 0.587, 0.114])
    pixel = np.array([200.0, 40.0, 90.0])
    turned = colour[:, :, :3] @ pixel
    np.testing.assert_allclose(turned @ luma, pixel @ luma, atol=0.05)
    np.testing.assert_allclose(colour[:, :, :3] @ GREY[0], np.tile(GREY, (300, 1)), atol=0.05)
    assert np.abs(turned - pixel).max() > 50
    faded = drawn(Augment(saturation=1.0), rows).colour[:, :, :3] @ pixel
    np.testing.assert_allclose(faded @ luma, pixel @ luma, atol=0.05)
    spread = np.ptp(faded, axis=1) / np.ptp(pixel)
    assert spread.min() < 0.1
    assert 1.9 < spread.max() <= 2


def test_contrast_is_about_the_images_own_mean() -> None:
    rows = np.arange(200)
    made = drawn(Augment(contrast=0.5), rows)
    means = np.random.default_rng(0).uniform(50, 200, (200, 3))
    mapped = np.einsum("nij,nj->ni", made.colour[:, :, :3], means) + made.colour[:, :, 3]
    np.testing.assert_allclose(mapped, means, atol=1e-3)
    assert 0.5 <= made.colour[:, 0, 0].min() < 0.55
    brighter = drawn(Augment(brightness=0.2), rows).colour[:, 0, 3]
    assert 50 < np.abs(brighter).max() <= 51.01


def test_grey_images_have_contrast_and_brightness() -> None:
    made = drawn(ALL, np.arange(10), channels=1)
    assert made.colour.shape == (10, 1, 2)
    assert made.fill.shape == (10, 1)


def test_a_choice_is_drawn_by_weight_and_comes_after_the_rest() -> None:
    rows = np.arange(6000)
    either = Augment(
        one_of=[
            AugmentChoice(weight=3, flip_horizontal=1.0),
            AugmentChoice(weight=1, flip_vertical=1.0),
        ]
    )
    affine = drawn(either, rows).affine
    assert (affine[:, 0] == -1).mean() == pytest.approx(0.75, abs=0.02)
    assert ((affine[:, 0] == -1) ^ (affine[:, 4] == -1)).all()
    # A shift drawn for every image, seen through the flip of the choice.
    both = drawn(
        Augment(shift=0.2, one_of=[AugmentChoice(flip_horizontal=1.0)]), rows[:5], size=20
    ).affine
    alone = drawn(Augment(shift=0.2, one_of=[AugmentChoice()]), rows[:5], size=20).affine
    for made, plain in zip(both, alone, strict=True):
        np.testing.assert_allclose(made[[0, 2]], [-1, 19 + plain[2]], atol=1e-5)


def test_crops_are_anywhere_inside() -> None:
    rows = np.arange(3000)
    affine = drawn(Augment(crop=20), rows, size=28).affine
    corners = affine[:, [2, 5]]
    assert set(np.unique(corners)) == set(range(9))
    middle = drawn(Augment(crop=20, crop_at="middle"), rows[:3], size=28).affine
    assert (middle[:, [2, 5]] == 4).all()


def test_erased_boxes_lie_inside_and_are_not_too_large() -> None:
    made = drawn(Augment(erase=0.5, erase_area=0.3), np.arange(4000), size=50)
    width, height = made.erase[:, 2] - made.erase[:, 0], made.erase[:, 3] - made.erase[:, 1]
    assert ((made.erase >= 0) & (made.erase <= 50)).all()
    assert (width * height > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (width * height).max() <= 0.32 * 2500
    assert ((made.fill >= 0) & (made.fill <= 255)).all()


@pytest.mark.parametrize("size", [7, 32])
def test_the_share_of_a_cut_image_is_its_exact_share_of_pixels(size: int) -> None:
    made = drawn(Augment(cutmix=1.0), np.arange(500), size=size)
    for box, share in zip(made.box, made.share, strict=True):
        own = np.ones((size, size), bool)
        own[box[1] : box[3], box[0] : box[2]] = False
        assert share == np.float32(own.mean())
    # Many boxes are clipped at an edge, so that their share differs from the drawn one.
    assert (made.box == 0).any()
    assert 0.3 < made.share.mean() < 0.8


def test_a_partner_is_another_image_and_cut_ones_are_not_mixed() -> None:
    made = drawn(Augment(cutmix=0.5, mixup=0.5, mixup_alpha=1.0), np.arange(4000))
    assert (made.partner != np.arange(4000)).all()
    cut = (made.box[:, 2] > made.box[:, 0]) & (made.box[:, 3] > made.box[:, 1])
    assert not (cut & (made.mix < 1)).any()
    assert (made.mix < 1).mean() == pytest.approx(0.25, abs=0.03)
    assert made.mix[made.mix < 1].mean() == pytest.approx(0.5, abs=0.03)
    views = draw(
        Augment(cutmix=1.0, mixup=1.0),
        epoch_draws(Augment(), seed=0, epoch=0, rows=9),
        size=8,
        means=np.zeros((9, 3)),
        mixing=False,
    )
    assert not views.mixes
    assert (
        draw(
            Augment(cutmix=1.0),
            epoch_draws(Augment(), seed=0, epoch=0, rows=1),
            size=8,
            means=np.zeros((1, 3)),
        ).partner
        == 0
    )
