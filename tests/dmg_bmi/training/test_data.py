"""What training makes of a dataset: checks that name the culprit, statistics, random windows."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.model.normalisation import Normaliser
from dmg_bmi.training.data import Windows, require, require_gradient, statistics, tensors


def make(time: int = 40, basins: int = 3) -> BasinDataset:
    rng = np.random.default_rng(0)
    shape = (time, basins)
    forcing = {"P": rng.gamma(1, 3, shape), "T": rng.normal(5, 8, shape), "PET": rng.uniform(0, 5, shape)}
    return BasinDataset(
        ids=tuple("abcdefgh"[:basins]),
        times=np.datetime64("2000-01-01", "s") + np.arange(time) * np.timedelta64(86400, "s"),
        step=86400.0,
        forcing=forcing,
        attributes={"elev_mean": rng.uniform(0, 1000, basins)},
        target={"Q": rng.gamma(1, 1, shape)},
        units={"P": "mm", "T": "degC", "PET": "mm", "elev_mean": "m", "Q": "mm"},
    )


@pytest.fixture
def dataset() -> BasinDataset:
    return make()


@pytest.fixture(scope="module")
def model() -> DeltaModel:
    return DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [4]},
        phy_model={"name": "hbv"},
        roles=[{"attributes": ["elev_mean"]}],
    )


def test_good_data_passes(dataset, model):
    require(dataset, model)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("T", np.nan, "basin b: T is missing on 2000-01-08.* 0 other steps"),
        ("P", -1.0, "basin b: P is -1 mm on 2000-01-08"),
        ("PET", np.inf, "basin b: PET is inf mm on 2000-01-08"),
        ("T", 280.0, "basin b: T is 280 degC on 2000-01-08"),
    ],
)
def test_missing_or_impossible_forcing_names_basin_variable_and_date(dataset, model, name, value, said):
    dataset.forcing[name][7, 1] = value
    with pytest.raises(ForcingError, match=said):
        require(dataset, model)


def test_what_the_data_lacks_altogether_is_named(dataset, model):
    with pytest.raises(ForcingError, match="needs forcing PET; the data has P, T"):
        require(replace(dataset, forcing={k: dataset.forcing[k] for k in ("P", "T")}), model)
    with pytest.raises(AttributeTableError, match="needs attribute elev_mean"):
        require(replace(dataset, attributes={}), model)
    dataset.attributes["elev_mean"][2] = np.nan
    with pytest.raises(AttributeTableError, match="basin c: attribute elev_mean is missing"):
        require(dataset, model)


@pytest.mark.parametrize("value", [-9999.0, -999.0, np.inf, 9.96921e36])
def test_an_attribute_that_marks_what_is_missing_is_refused(dataset, model, value):
    dataset.attributes["elev_mean"][1] = value
    with pytest.raises(
        AttributeTableError, match=r"basin b: attribute elev_mean is .*a mark of missing values"
    ):
        require(dataset, model)


def test_parameters_that_no_gradient_would_reach_are_refused(model):
    def with_lstm(**options):
        roles = [{"inputs": ["P", "T", "PET"], "freeze_after": 100, **options}]
        return DeltaModel.build(nn={"name": "lstm", "hidden_size": 2}, phy_model={"name": "hbv"}, roles=roles)

    with pytest.raises(ConfigError, match=r"network 'nn' holds .*BETA, FC, K0, \.\.\.\) from step 100 on"):
        require_gradient(with_lstm(), 100)
    require_gradient(with_lstm(), 99)
    require_gradient(
        with_lstm(dynamic=[p.name for p in model.process_models["phy"].declaration.parameters]), 100
    )
    require_gradient(model, 365)


def test_statistics_are_mean_and_deviation_with_units_and_precipitation_is_transformed(dataset):
    found = statistics(dataset, ["P", "T", "elev_mean"])
    assert found["T"].mean == pytest.approx(dataset.forcing["T"].mean())
    assert found["T"].std == pytest.approx(dataset.forcing["T"].std())
    assert found["T"].units == "degC"
    transformed = np.log10(np.sqrt(dataset.forcing["P"]) + 0.1)
    assert found["P"].transform == "log_sqrt"
    assert found["P"].mean == pytest.approx(transformed.mean())
    assert found["P"].std == pytest.approx(transformed.std())
    assert found["elev_mean"].mean == pytest.approx(dataset.attributes["elev_mean"].mean())


def test_what_never_varies_is_normalised_to_zero_elsewhere_too(dataset):
    dataset.attributes["elev_mean"][:] = 0.1
    found = statistics(dataset, ["elev_mean"])
    shown = Normaliser(["elev_mean"], found)({"elev_mean": torch.tensor([0.1, 3000.0])})
    assert shown.tolist() == [[0.0], [0.0]]
    assert not found["elev_mean"].distance(np.array([0.1, 3000.0])).any()


def test_statistics_of_attributes_hold_the_range_of_the_training_basins_alone(dataset):
    values = dataset.attributes["elev_mean"]
    values[:] = np.arange(len(values)) + 10.0
    found = statistics(dataset, ["elev_mean"], columns=range(1, len(values)))["elev_mean"]
    assert (found.lower, found.upper) == (11.0, len(values) + 9.0)
    assert statistics(dataset, ["T"])["T"].lower == -np.inf


def test_statistics_of_a_target_are_of_what_was_observed(dataset):
    flow = np.full_like(dataset.target["Q"], np.nan)
    flow[:4, 0] = [1.0, 2.0, 3.0, 6.0]
    found = statistics(replace(dataset, target={"Q": flow}), ["Q"])["Q"]
    assert (found.mean, found.transform) == (3.0, "none")
    assert found.std == pytest.approx(np.sqrt(3.5))
    flow[:] = np.nan
    found = statistics(replace(dataset, target={"Q": flow}), ["Q"])["Q"]
    assert (found.mean, found.std) == (0.0, 1.0)


def windows(dataset, length=10, spin_up=4, rows=6, seed=0):
    data = tensors(dataset, ["P", "T"], ["elev_mean"], ["Q"], torch.float64)
    return Windows(data, length, spin_up, rows, torch.Generator().manual_seed(seed))


def test_a_window_is_a_piece_of_its_basin(dataset):
    for batch in islice(windows(dataset), 20):
        assert batch.target["Q"].shape == (10, 6)
        for row, (basin, start) in enumerate(zip(batch.basins, batch.starts, strict=True)):
            piece = slice(int(start), int(start) + 10)
            for name, series in batch.forcing.items():
                np.testing.assert_array_equal(series[:, row], dataset.forcing[name][piece, basin])
            np.testing.assert_array_equal(batch.target["Q"][:, row], dataset.target["Q"][piece, basin])
            assert batch.attributes["elev_mean"][row] == dataset.attributes["elev_mean"][basin]


def test_every_start_is_drawn_and_every_basin_equally_often(dataset):
    batches = list(islice(windows(dataset), 200))
    starts = torch.cat([b.starts for b in batches])
    assert {*starts.tolist()} == {*range(31)}
    counts = torch.cat([b.basins for b in batches]).bincount()
    assert (counts == 400).all()


def test_windows_without_observations_after_the_spin_up_are_not_drawn(dataset):
    dataset.target["Q"][:, 0] = np.nan
    dataset.target["Q"][:30, 1] = np.nan
    for batch in islice(windows(dataset), 50):
        assert (batch.basins != 0).all()
        assert (~batch.target["Q"][4:].isnan()).any(0).all()
        assert (batch.starts[batch.basins == 1] > 20).all()


def test_a_window_needs_an_observation_of_any_target(dataset):
    dataset.target["ET"] = np.full_like(dataset.target["Q"], np.nan)
    dataset.target["ET"][:20, 0] = 1.0
    dataset.target["Q"][:, 0] = np.nan
    data = tensors(dataset, ["P"], [], ["Q", "ET"], torch.float64)
    batches = list(islice(Windows(data, 10, 4, 6, torch.Generator().manual_seed(0)), 60))
    assert {*batches[0].target} == {"Q", "ET"}
    starts = torch.cat([b.starts[b.basins == 0] for b in batches])
    assert {*starts.tolist()} == {*range(16)}


def test_targets_that_the_model_or_the_data_lack_are_refused(dataset, model):
    with pytest.raises(ConfigError, match=r"training\.loss compares SWE; the data has Q"):
        require(dataset, model, ["Q", "SWE"])
    with pytest.raises(ConfigError, match=r"training\.loss compares Qx; the model has .*Q"):
        require(dataset, model, ["Qx"])


def test_the_same_seed_draws_the_same_windows(dataset):
    one, two, other = (next(iter(windows(dataset, seed=s))).starts for s in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_window_longer_than_the_data_is_refused(dataset):
    with pytest.raises(ForcingError, match=r"windows of 41 steps .* 40"):
        windows(dataset, length=41)


def test_data_without_any_observation_is_refused(dataset):
    dataset.target["Q"][:] = np.nan
    with pytest.raises(ForcingError, match="no observed"):
        windows(dataset)


@pytest.mark.parametrize("value", [1e300, -1e31, -9999.0, 1e-250])
def test_an_observation_that_nothing_is_is_named_with_its_basin_and_date(dataset, model, value):
    dataset.target["Q"][7, 1] = value
    with pytest.raises(ForcingError, match=r"basin b: observed Q is .*, which nothing is, on 2000-01-08"):
        require(dataset, model, ["Q"])


def test_rain_below_zero_is_left_to_be_named(dataset, model):
    dataset.forcing["P"][7, 1] = -5.0
    with np.errstate(all="raise"):
        assert np.isfinite(statistics(dataset, ["P"])["P"].mean)
    with pytest.raises(ForcingError, match=r"basin b: P is -5 .* on 2000-01-08"):
        require(dataset, model, ["Q"])


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_observation_is_named_with_its_basin_and_date(dataset, model, value):
    dataset.target["Q"][:2, 1] = np.nan  # missing ones are not
    require(dataset, model, ["Q"])
    dataset.target["Q"][7, 1] = value
    with pytest.raises(ForcingError, match=r"basin b: observed Q is infinite on 2000-01-08.* mark it"):
        require(dataset, model, ["Q"])


@pytest.mark.parametrize("value", [-99.99, 2.6e3])
def test_an_observed_flow_that_no_river_has_is_named_with_its_limits(dataset, model, value):
    dataset.target["Q"][7, 1] = value
    with pytest.raises(ForcingError, match=rf"basin b: observed Q is {value:g}, outside .* on 2000-01-08"):
        require(dataset, model, ["Q"])
