"""How members' probabilities become one: the mean, or weights found on out-of-fold rows."""

import numpy as np

_TOLERANCE = 1e-8
_ROUNDS = 10_000


def combine(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(members, n, classes) and (members,) weights that sum to 1 -> (n, classes) float64."""
    return np.tensordot(weights, probabilities.astype(np.float64), axes=1)


def mean_weights(members: int) -> np.ndarray:
    """The same weight for each member."""
    return np.full(members, 1 / members)


def fit_weights(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The weights on the simplex whose mixture has the least log loss on these rows.

    The members are the components of a mixture, the weights its proportions: expectation-maximisation raises their
    likelihood in every round (Dempster, Laird and Rubin, 1977, J. R. Stat. Soc. B 39, section 4.3), which for fixed
    components is concave, so there is one maximum and no starting point to choose.

    Args:
        probabilities: (members, n, classes), n at least 1.
        targets: (n,) class indices; or (n, classes) bool, each of them then an observation of its own.

    Returns:
        (members,) float64, none negative, summing to 1.
    """
    if targets.ndim == 2:
        of_truth = np.where(targets, probabilities, 1 - probabilities).reshape(len(probabilities), -1).astype(np.float64)
    else:
        of_truth = probabilities[:, np.arange(len(targets)), targets].astype(np.float64)
    # A member that gives the truth no chance at all would make the likelihood nought whatever the others say.
    of_truth = np.maximum(of_truth, 1e-15)
    weights = mean_weights(len(of_truth))
    for _ in range(_ROUNDS):
        shares = weights[:, None] * of_truth
        renewed = (shares / shares.sum(axis=0)).mean(axis=1)
        moved = float(np.abs(renewed - weights).max())
        weights = renewed
        if moved < _TOLERANCE:
            break
    return weights / weights.sum()


def nested(probabilities: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """The blend of each row under weights that were found without its fold: what an honest score is taken of.

    Args:
        probabilities: (members, n, classes) out-of-fold.
        targets: as `fit_weights` takes them.
        fold: (n,) fold numbers, at least two different ones.

    Returns:
        (n, classes) float64.
    """
    blended = np.empty(probabilities.shape[1:])
    for held_out in np.unique(fold):
        inside = fold == held_out
        weights = fit_weights(probabilities[:, ~inside], targets[~inside])
        blended[inside] = combine(probabilities[:, inside], weights)
    return blended
