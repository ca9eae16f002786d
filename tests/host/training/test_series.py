"""A mask hides all columns of an input, and no other column."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_host.training.series import DESCRIPTION, NAMES, counts_alone, mask, read_series

ALWAYS = ["theta_inv", "theta_inv_sigma", "gap"]
ALWAYS += ["bulk_density_g_cm3", "bound_water_g_g", "cosmic_n_sigma"]
ALWAYS += ["cover_known", "cover_canopy", "cover_root_depth_cm", "cover_evaporation"]
ALWAYS += ["radiation_mm"]


@pytest.fixture
def features():
    return np.random.default_rng(1).uniform(0.1, 1.0, (3, 5, len(NAMES))).astype(np.float32)


def hidden_names(before, after):
    return [name for i, name in enumerate(NAMES) if (before != after)[..., i].any()]


@pytest.mark.parametrize("what", ["rain", "et0", "soil", "cover"])
def test_a_mask_hides_its_own_columns_of_its_own_soils(features, what):
    out = mask(features, **{what: np.array([True, False, True])})
    assert np.array_equal(out[1], features[1])
    names = hidden_names(features, out)
    assert names == [name for name in NAMES if name.startswith(f"{what}_")] and len(names) >= 2
    columns = [NAMES.index(name) for name in names]
    assert (out[::2][..., columns] == 0.0).all() and (features > 0.0).all()


def test_counts_alone_keep_what_the_inversion_needs(features):
    out = counts_alone(features)
    assert [name for name in NAMES if name not in hidden_names(features, out)] == ALWAYS


def test_the_description_of_the_soil_is_six_columns():
    assert [NAMES[i] for i in DESCRIPTION] == [
        "soil_known", "soil_theta_r", "soil_theta_s", "soil_log_alpha", "soil_log_n", "soil_log_ks"
    ]  # fmt: skip


def test_labels_of_the_layers_add_up_to_the_whole(make_run):
    series = read_series(make_run(soils=6, days=60))
    whole = (10 * series.layers[..., 0] + 20 * series.layers[..., 1]) / 30
    np.testing.assert_allclose(whole, series.theta, atol=1e-12)
