"""Every fold gets every class, where any assignment of the groups can bring that about."""

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

# Of the search for an assignment; what is larger, or takes more, is left as it is, and the audit
# says so.
_VARIABLES = 150
_NODES = 30


def covering(
    fold_of: np.ndarray, composition: sparse.csr_matrix, at_risk: np.ndarray, count: int
) -> np.ndarray:
    """Move few groups, so that each fold has a group of each class at risk.

    An integer program over the groups that hold such classes: one fold a group, in each fold at
    least one group of each class.

    Args:
        fold_of: (groups,) the fold of each group.
        composition: (groups, categories) rows of each category in each group.
        at_risk: (categories,) whether a category is a class of as many groups as folds, and of so
            few that a fold might go without.
        count: how many folds.

    Returns:
        (groups,) folds; as they were, where nothing is missing, or no assignment is found.
    """
    has = composition.astype(bool).tocsc()
    wanted = [has[:, category].indices for category in np.flatnonzero(at_risk)]
    if all(len(np.unique(fold_of[groups])) == count for groups in wanted):
        return fold_of
    involved = np.unique(np.concatenate(wanted))
    place = {int(group): number for number, group in enumerate(involved)}
    variables = len(involved) * count
    if variables > _VARIABLES:
        return fold_of
    one_fold = sparse.kron(sparse.eye(len(involved)), np.ones((1, count)))
    covers = sparse.vstack(
        [
            sparse.coo_matrix(
                (
                    np.ones(len(groups)),
                    (
                        np.zeros(len(groups), int),
                        [place[int(group)] * count + fold for group in groups],
                    ),
                ),
                shape=(1, variables),
            )
            for groups in wanted
            for fold in range(count)
        ]
    )
    stays = np.zeros(variables)
    stays[np.arange(len(involved)) * count + fold_of[involved]] = -1
    found = milp(
        stays,
        constraints=[LinearConstraint(one_fold, 1, 1), LinearConstraint(covers, 1, np.inf)],
        integrality=np.ones(variables),
        bounds=Bounds(0, 1),
        # The first assignment found will do.
        options={"node_limit": _NODES, "mip_rel_gap": 1.0},
    )
    if found.x is None:
        return fold_of
    moved = fold_of.copy()
    moved[involved] = found.x.reshape(-1, count).argmax(axis=1)
    return moved
