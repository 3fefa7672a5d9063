import time

import pytest

from components.parallel import Budget, in_order


def test_results_come_in_order_and_few_are_ahead() -> None:
    started = 0

    def work(number: int) -> int:
        nonlocal started
        started += 1
        return number

    for taken, number in enumerate(in_order(work, range(500), workers=2)):
        assert number == taken
        assert started <= taken + 1 + 4 * 2 + 1


def test_a_budget_is_kept() -> None:
    budget, held, most = Budget(100), 0, 0

    def work(pixels: int) -> None:
        nonlocal held, most
        with budget.claim(pixels):
            held += min(pixels, 100)
            most = max(most, held)
            held -= min(pixels, 100)

    list(in_order(work, [30, 60, 100, 500, 10] * 40, workers=8))
    assert 0 < most <= 100
    assert budget.left == 100


def test_a_failure_ends_the_work() -> None:
    done = []

    def work(number: int) -> None:
        if number == 3:
            raise ValueError("three")
        time.sleep(0.001)
        done.append(number)

    with pytest.raises(ValueError, match="three"):
        list(in_order(work, range(1000), workers=2))
    assert len(done) < 20
