import itertools

import numpy as np
from scipy import sparse

from components.folds.coverage import covering
from components.folds.stratify import assign


def test_every_fold_gets_every_class_where_that_is_possible() -> None:
    generator = np.random.default_rng(0)
    solved = 0
    for _ in range(150):
        rows, count, classes = (
            int(generator.integers(10, 60)),
            int(generator.integers(2, 5)),
            int(generator.integers(2, 6)),
        )
        groups = generator.integers(0, generator.integers(3, 12), rows)
        targets = generator.integers(0, classes, rows)
        folds = assign(targets[:, None], groups, count=count, seed=0)
        enough = [c for c in np.unique(targets) if len(np.unique(groups[targets == c])) >= count]
        covered = all(len(np.unique(folds[targets == c])) == count for c in enough)
        solved += covered
        if not covered:
            # Then none of all possible assignments covers every class.
            places = np.unique(groups, return_inverse=True)[1]
            options = np.array(list(itertools.product(range(count), repeat=int(places.max()) + 1)))[
                :, places
            ]
            possible = np.ones(len(options), dtype=bool)
            for c in enough:
                for fold in range(count):
                    possible &= (options[:, targets == c] == fold).any(axis=1)
            assert not possible.any()
    assert solved > 100


def test_as_few_groups_as_possible_are_moved() -> None:
    # Rows are groups, columns are classes. Each class is in three groups, and group 2 shares its
    # fold with group 1.
    composition = sparse.csr_matrix(np.array([[1, 1], [1, 0], [2, 2], [0, 3]]))
    at_risk = np.array([True, True])
    moved = covering(np.array([0, 1, 1, 1]), composition, at_risk, 2)
    assert moved.tolist() == [0, 1, 1, 1]
    moved = covering(np.array([0, 0, 0, 1]), composition, at_risk, 2)
    assert (moved != [0, 0, 0, 1]).sum() == 1
    for column in ((0, 1, 2), (0, 2, 3)):
        assert len(set(moved[list(column)])) == 2


def test_what_cannot_be_is_left_as_it_is() -> None:
    # Each class is in two of the three groups. Covering all classes would need every two groups in
    # different folds, which is impossible with two folds.
    composition = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]]))
    before = np.array([0, 0, 1])
    assert covering(before, composition, np.array([True, True, True]), 2) is before
