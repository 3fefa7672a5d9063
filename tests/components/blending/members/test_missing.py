import numpy as np

from components.blending.members.missing import impute


def test_a_member_of_all_images_is_filled_by_the_ranks_of_its_test_rows() -> None:
    generator = np.random.default_rng(0)
    values = generator.random((20, 2))
    scored = {"a": (values / values.sum(axis=1, keepdims=True)).astype(np.float32)}
    test = {"a": scored["a"][:6].copy(), "all": scored["a"][:6][::-1].copy()}
    test["all"][2] = np.nan
    impute(scored, test, exclusive=True)
    assert np.isfinite(test["all"]).all()
    np.testing.assert_allclose(test["all"][2].sum(), 1, rtol=1e-6)
    present = np.delete(test["all"], 2, axis=0)
    assert present.min() <= test["all"][2].min() <= test["all"][2].max() <= present.max()
