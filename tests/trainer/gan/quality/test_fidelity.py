import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.gan.quality import fidelity

CLASSES = ["a", "b", "c"]
ALL = [1.0, 1.0, 1.0]
FINE = {"step": 10, "frechet": 1.0, "real_right": 0.7, "generated_right": 0.7}


def normal(seed: int, count: int, dimensions: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=(count, dimensions))


def by_root(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Fréchet distance from its formula, with the square root of a matrix."""
    means = [features.mean(axis=0) for features in (first, second)]
    spreads = [np.cov(features, rowvar=False) for features in (first, second)]
    root = scipy.linalg.sqrtm(spreads[0] @ spreads[1])
    return float(
        np.square(means[0] - means[1]).sum() + np.trace(spreads[0] + spreads[1] - 2 * root.real)
    )


@pytest.mark.parametrize(("counts", "dimensions"), [((200, 150), 8), ((60, 60), 50)])
def test_the_distance_is_the_formula_s(counts: tuple[int, int], dimensions: int) -> None:
    first, second = normal(0, counts[0], dimensions), normal(1, counts[1], dimensions, 1.7) + 0.3
    assert fidelity.frechet(first, second) == pytest.approx(by_root(first, second), rel=1e-6)


def test_the_distance_of_more_features_than_images_is_that_of_their_span() -> None:
    """Additional features of zero change nothing. No square root of a singular matrix is needed."""
    first, second = normal(0, 20, 6), normal(1, 20, 6)
    wide = [np.concatenate([features, np.zeros((20, 100))], axis=1) for features in (first, second)]
    assert fidelity.frechet(*wide) == pytest.approx(fidelity.frechet(first, second), rel=1e-9)
    turned = scipy.linalg.qr(normal(2, 106, 106))[0]
    assert fidelity.frechet(*(features @ turned for features in wide)) == pytest.approx(
        fidelity.frechet(first, second), rel=1e-6
    )


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(3, 40), st.integers(1, 12), st.floats(-5, 5))
def test_the_distance_has_the_properties_of_one(
    seed: int, count: int, dimensions: int, shift: float
) -> None:
    first, second = normal(seed, count, dimensions), normal(seed + 1, count + 2, dimensions, 2.0)
    between = fidelity.frechet(first, second)
    assert between >= 0
    assert fidelity.frechet(second, first) == pytest.approx(between, rel=1e-6, abs=1e-8)
    assert fidelity.frechet(first, first) == pytest.approx(0, abs=1e-6)
    # A shifted copy of a set is as far away as the shift.
    assert fidelity.frechet(first, first + shift) == pytest.approx(
        dimensions * shift**2, rel=1e-6, abs=1e-6
    )


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(5, 30), st.integers(1, 4))
def test_precision_and_recall_are_what_they_are_defined_as(
    seed: int, count: int, neighbours: int
) -> None:
    real, others = normal(seed, count, 3), normal(seed + 1, count, 3, 1.5)

    def within(centres: np.ndarray, points: np.ndarray) -> float:
        reach = [sorted(np.linalg.norm(centres - centre, axis=1))[neighbours] for centre in centres]
        inside = [
            any(
                np.linalg.norm(point - centre) <= far
                for centre, far in zip(centres, reach, strict=True)
            )
            for point in points
        ]
        return float(np.mean(inside))

    expected = within(real, others), within(others, real)
    assert fidelity.precision_recall(real, others, neighbours=neighbours) == pytest.approx(
        expected, abs=1e-9
    )


def test_a_generator_of_one_good_image_has_precision_and_no_recall() -> None:
    real = normal(0, 200, 5)
    same = real[:1] + normal(1, 200, 5, 1e-3)
    precision, recall = fidelity.precision_recall(real, same, neighbours=3)
    assert precision == 1.0
    assert recall < 0.02


def test_features_far_from_zero_lose_no_digits() -> None:
    real, others = normal(0, 50, 4), normal(1, 50, 4)
    near = fidelity.precision_recall(real, others, neighbours=3)
    assert fidelity.precision_recall(real + 1e5, others + 1e5, neighbours=3) == near


def test_diversity_is_that_within_a_class() -> None:
    labels = np.repeat([0, 1, 2], 60)
    real = normal(0, 180, 4) + 100 * labels[:, None]
    others = (
        np.concatenate([normal(1, 60, 4), normal(2, 60, 4, 0.25), normal(3, 60, 4)])
        + 100 * labels[:, None]
    )
    found = fidelity.diversities(real, labels, others, labels, classes=4)
    assert found[:3] == pytest.approx([1, 0.25, 1], abs=0.1)
    assert np.isnan(found[3])
    whole = fidelity.compare(real, labels, others, labels, classes=4, neighbours=3)
    assert (whole.images, whole.lowest) == (180, pytest.approx(0.25, abs=0.05))
    assert whole.diversity == pytest.approx(0.75, abs=0.1)


def test_nothing_is_reported_of_a_training_that_is_well() -> None:
    assert fidelity.verdicts([FINE], CLASSES, np.array([0.9, 0.8, np.nan]), [0.9, 0.95, 1.0]) == []
    assert fidelity.verdicts([FINE, {**FINE, "frechet": 2.5}], CLASSES, np.ones(3), ALL) == []


def test_what_is_wrong_is_named() -> None:
    (said,) = fidelity.verdicts([FINE], CLASSES, np.array([0.9, 0.1, 0.9]), ALL)
    assert said.startswith("mode collapse: samples of 'b' (0.10)")
    (said,) = fidelity.verdicts([FINE], CLASSES, np.ones(3), [0.9, 0.95, 0.02])
    assert said.startswith("classes missing")
    assert "'c' (2%)" in said
    (said,) = fidelity.verdicts(
        [FINE, {**FINE, "step": 20, "frechet": 3.5}], CLASSES, np.ones(3), ALL
    )
    assert said.startswith("divergence: the distance is 3.5; it was 1 at step 10")
    (said,) = fidelity.verdicts(
        [{**FINE, "real_right": 0.995, "generated_right": 1.0}], CLASSES, np.ones(3), ALL
    )
    assert said.startswith("the discriminator has won")


def test_a_class_that_no_sample_is_taken_for_is_missing() -> None:
    """Also without conditioning, where the judge alone assigns classes to samples.

    That the samples are alike is not reported.
    """
    labels = np.repeat([0, 1, 2], 40)
    real, others = (normal(seed, 120, 3) + 50 * labels[:, None] for seed in (0, 1))
    taken = np.zeros(120, int)
    spread = fidelity.diversities(real, labels, others, taken, classes=3)
    assert np.isnan(spread[1:]).all()
    there = fidelity.shares(taken, labels, 3)
    assert there == [1.0, 0.0, 0.0]
    (said,) = fidelity.verdicts([FINE], CLASSES, spread, there)
    assert said == "classes missing: too few samples belong to 'b' (0%), 'c' (0%)"
    alone = fidelity.compare(
        real[:3], np.arange(3), others[:3], np.arange(3), classes=3, neighbours=1
    )
    assert np.isnan([alone.diversity, alone.lowest]).all()


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_a_perfect_generator_of_a_rare_class_is_not_said_to_have_collapsed(seed: int) -> None:
    real, others = normal(seed, 100, 16), normal(seed + 1, 100, 16)
    rare = (np.arange(100) < 4).astype(int)
    for count in range(5):
        taken = (np.arange(100) < count).astype(int)
        assert (
            fidelity.verdicts(
                [FINE],
                ["a", "b"],
                fidelity.diversities(real, rare, others, taken, classes=2),
                ALL[:2],
            )
            == []
        )


def test_the_nearest_real_image_and_the_share_of_a_class() -> None:
    real = normal(0, 30, 3)
    places, distances = fidelity.nearest(real, real[[4, 9]] + 1e-2)
    assert places.tolist() == [4, 9]
    np.testing.assert_allclose(distances, 3e-4, rtol=0.01)
    assert fidelity.right_of_class(np.array([0, 1, 0]), np.array([0, 1, 1]), 2) == [1.0, 0.5]
