"""Give every fold every class, if some assignment of the groups can achieve that."""

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

# Limits of the search for an assignment. Beyond them the folds stay as they are, and the audit
# reports the missing classes.
_VARIABLES = 150
_NODES = 30


def covering(
    fold_of: np.ndarray, composition: sparse.csr_matrix, at_risk: np.ndarray, count: int
) -> np.ndarray:
    """Move few groups, so that each fold has a group of each class at risk.

    This solves an integer program over the groups that have such classes: one fold per group, and
    in each fold at least one group of each class.

    Args:
        fold_of: (groups,) int64 fold of each group.
        composition: (groups, categories) number of rows of each category in each group.
        at_risk: (categories,) bool: whether a category is a class that has at least as many groups
            as there are folds, but so few that a fold might get none.
        count: the number of folds.

    Returns:
        (groups,) int64 folds; `fold_of` itself if no class is missing, or no assignment is found.
    """
    has = composition.astype(bool).tocsc()
    groups_at_risk = [has[:, category].indices for category in np.flatnonzero(at_risk)]
    if all(len(np.unique(fold_of[groups])) == count for groups in groups_at_risk):
        return fold_of
    involved = np.unique(np.concatenate(groups_at_risk))
    position = {int(group): number for number, group in enumerate(involved)}
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
                        [position[int(group)] * count + fold for group in groups],
                    ),
                ),
                shape=(1, variables),
            )
            for groups in groups_at_risk
            for fold in range(count)
        ]
    )
    stays = np.zeros(variables)
    stays[np.arange(len(involved)) * count + fold_of[involved]] = -1
    solution = milp(
        stays,
        constraints=[LinearConstraint(one_fold, 1, 1), LinearConstraint(covers, 1, np.inf)],
        integrality=np.ones(variables),
        bounds=Bounds(0, 1),
        # The first assignment found will do.
        options={"node_limit": _NODES, "mip_rel_gap": 1.0},
    )
    if solution.x is None:
        return fold_of
    moved = fold_of.copy()
    moved[involved] = solution.x.reshape(-1, count).argmax(axis=1)
    return moved
