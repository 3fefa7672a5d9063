"""Group images that belong together: by the user's group, and by being the same image."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


def merged(*columns: np.ndarray) -> np.ndarray:
    """Give one group to all rows that are linked by a label that they share in any column.

    Links count over any number of steps.

    Args:
        columns: (n,) labels each; an empty text links a row to no other.

    Returns:
        (n,) int64 group numbers, from 0, in the order of their first rows.
    """
    rows = len(columns[0])
    links = []
    for column in columns:
        labels, code = np.unique(column.astype(str), return_inverse=True)
        linked = np.flatnonzero(labels[code] != "")
        # Link each row to the first one with its label: a star, not every pair.
        first = np.full(len(labels), rows)
        np.minimum.at(first, code, np.arange(rows))
        links.append((linked, first[code[linked]]))
    left, right = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = sparse.coo_matrix((np.ones(len(left), dtype=bool), (left, right)), shape=(rows, rows))
    component = csgraph.connected_components(graph, directed=False)[1]
    first_row = np.unique(component, return_index=True)[1]
    rank = np.empty(len(first_row), dtype=np.int64)
    rank[np.argsort(first_row)] = np.arange(len(first_row))
    return rank[component]
