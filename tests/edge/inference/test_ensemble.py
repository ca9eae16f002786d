"""Several networks answer as the mixture of equal parts that they are."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_edge.inference.runtime import Ensemble, joined


def member(theta, sigma, units):
    """A network of constant answer that counts its steps in each unit of its one state tensor."""

    def step(x, state):
        (count,) = state
        assert count.shape == (units,)
        return np.array([theta, sigma, theta, theta, theta], dtype=np.float32), (count + units,)

    return step


def test_theta_is_the_mean_and_sigma_holds_how_far_the_members_differ():
    y = np.array([[0.20, 0.01, 0.1, 0.2, 0.3], [0.26, 0.03, 0.3, 0.2, 0.1]], dtype=np.float32)
    theta, sigma, *layers = joined(y)
    assert theta == pytest.approx(0.23) and layers == pytest.approx([0.2, 0.2, 0.2])
    # Lakshminarayanan et al. (2017): mean of sigma^2 + mean of theta^2 - square of the mean
    between = (0.20**2 + 0.26**2) / 2 - 0.23**2
    assert sigma == pytest.approx(np.sqrt((0.01**2 + 0.03**2) / 2 + between), rel=1e-5)


def test_members_that_agree_are_as_one_of_them():
    y = np.tile(np.array([0.31, 0.02, 0.3, 0.32, 0.35], dtype=np.float32), (3, 7, 1))
    np.testing.assert_allclose(joined(y), y[0], rtol=1e-6)
    assert joined(y).shape == (7, 5) and joined(y).dtype == np.float32


def test_a_member_that_has_no_answer_leaves_none():
    y = np.full((3, 5), 0.2, dtype=np.float32)
    y[1, 0] = np.nan
    assert np.isnan(joined(y)[:2]).all()


def test_each_member_gets_its_own_state_and_the_whole_is_a_step_function():
    whole = Ensemble((member(0.2, 0.01, 3), member(0.3, 0.01, 5)), (1, 1), "strange")
    state = (np.zeros(3, dtype=np.float32), np.zeros(5, dtype=np.float32))
    for _ in range(4):
        y, state = whole(np.zeros(2, dtype=np.float32), state)
    assert y[0] == pytest.approx(0.25) and y.dtype == np.float32
    assert [s.tolist() for s in state] == [[12.0] * 3, [20.0] * 5]


def test_a_state_of_another_size_is_refused():
    whole = Ensemble((member(0.2, 0.01, 3),), (1,), "strange")
    one = np.zeros(3, dtype=np.float32)
    with pytest.raises(ValueError, match="1 arrays, not of 2"):
        whole(one, (one, one))
