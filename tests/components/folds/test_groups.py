import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.folds.groups import merged


def test_links_reach_over_columns() -> None:
    person = np.array(["a", "a", "b", "", "", "c"])
    image = np.array(["1", "2", "2", "3", "3", "4"])
    assert merged(person, image).tolist() == [0, 0, 0, 1, 1, 2]


def test_an_empty_text_links_nobody() -> None:
    assert merged(np.array(["", "", ""])).tolist() == [0, 1, 2]


COLUMN = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=8, max_size=8)


@given(COLUMN, COLUMN)
def test_it_is_the_closure_of_sharing_a_label(one: list[str], two: list[str]) -> None:
    groups = merged(np.array(one), np.array(two))
    # The definition: labels spread from row to row until nothing changes.
    expected = list(range(8))
    changed = True
    while changed:
        changed = False
        for i in range(8):
            for j in range(8):
                if expected[i] > expected[j] and any(
                    column[i] == column[j] != "" for column in (one, two)
                ):
                    expected[i] = expected[j]
                    changed = True
    for i in range(8):
        for j in range(8):
            assert (groups[i] == groups[j]) == (expected[i] == expected[j])
    assert groups.tolist() == np.unique(expected, return_inverse=True)[1].tolist()
