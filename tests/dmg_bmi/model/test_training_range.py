"""Attributes are held against the range of the training, at every door by one rule."""

import csv
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi import Bundle, DeltaModelBmi
from dmg_bmi.cli import main
from dmg_bmi.errors import AttributeTableError, BundleError, StateError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.normalisation import FeatureStatistics, Normaliser
from dmg_bmi.model.training_range import check_trained, warn_left_out
from dmg_bmi.training import TrainingConfig
from dmg_bmi.training.data import statistics
from dmg_bmi.training.experiment import Experiment

numbers = st.floats(-1e6, 1e6).map(lambda v: round(v, 6))
RANGE = {"aridity": (0.5, 1.5), "slope": (2.0, 30.0)}


@pytest.fixture
def ranged(bundles, tmp_path):
    """The bundle of the other tests, with the ranges of a training."""
    model = Bundle.load(bundles().path).model
    limits = {n: dict(zip(("lower", "upper"), r, strict=True)) for n, r in RANGE.items()}
    described = model.describe()
    described["statistics"] = {n: s | limits.get(n, {}) for n, s in described["statistics"].items()}
    twin = type(model).build(**described)
    twin.load_state_dict(model.state_dict())
    return Bundle(twin, "ranged").save(tmp_path / "ranged")


def told(caplog):
    return [r.getMessage() for r in caplog.records if "range in training" in r.getMessage()]


# -- the rule -------------------------------------------------------------------------


@given(values=st.lists(numbers, min_size=1, max_size=20), share=st.floats(0, 1))
@pytest.mark.parametrize("transform", ["none", "log_sqrt"])
def test_what_lies_in_the_range_and_what_rounds_to_it_is_at_no_distance(values, share, transform):
    trained = np.abs(np.array(values))
    lower, upper = trained.min(), trained.max()
    for std in (0.0, 1e-3, float(trained.std()), 1e4):
        statistic = FeatureStatistics(float(trained.mean()), std, transform, "", lower, upper)
        within = np.array([lower, upper, np.clip(lower + share * (upper - lower), lower, upper)])
        assert not statistic.distance(np.concatenate([trained, within])).any()
        assert not statistic.distance(trained.astype(np.float32)).any()


@given(values=st.lists(numbers, min_size=2, max_size=20), widths=st.floats(0.01, 1e3))
def test_outside_it_is_counted_in_widths_of_the_range(values, widths):
    trained = np.array(values)
    lower, upper, std = trained.min(), trained.max(), trained.std()
    if std <= 1e-3 * np.abs(trained).max():
        return
    statistic = FeatureStatistics(float(trained.mean()), float(std), "none", "", lower, upper)
    far = np.array([lower - widths * (upper - lower), upper + widths * (upper - lower)])
    np.testing.assert_allclose(statistic.distance(far), widths, rtol=1e-6)


def test_distance_is_that_which_the_network_sees():
    statistic = FeatureStatistics(0.0, 1.0, "log_sqrt", "mm", 1.0, 100.0)
    shown = Normaliser(["x"], {"x": statistic})({"x": torch.tensor([1.0, 100.0, 400.0]).double()})[:, 0]
    meant = (shown[2] - shown[1]) / max(shown[1] - shown[0], 1.0)
    assert statistic.distance(np.array([400.0]))[0] == pytest.approx(float(meant))
    assert statistic.distance(np.array([-5.0]))[0] > 1e9  # it has no root


def test_without_a_range_nothing_is_far():
    values = np.array([-1e30, 0.0, 1e30])
    assert not FeatureStatistics(3.0, 2.0).distance(values).any()
    check_trained({"slope": FeatureStatistics(3.0, 2.0)}, {"slope": values}, ("a", "b", "c"), set())


@pytest.mark.parametrize("limits", [(2.0, 1.0), (float("nan"), 1.0), ("0", 1.0)])
def test_limits_that_are_no_range_are_refused(limits):
    with pytest.raises(Exception, match="are not a range"):
        FeatureStatistics(0.0, 1.0, "none", "", *limits)


# -- the training ---------------------------------------------------------------------

CONFIG = """
name: small
data: {reader: synthetic, basins: 6, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-09-30], spin_up: 60}
model:
  nn: {name: lstm, hidden_size: 4}
  phy_model: {name: hbv}
  roles: [{inputs: [P, T, PET], dynamic: [BETA]}]
"""


def test_a_training_gives_its_bundle_the_ranges_and_takes_its_own_basins_in_silence(tmp_path, caplog):
    config = TrainingConfig.from_plain(yaml.safe_load(CONFIG), "small")
    experiment = Experiment.load(config)
    dataset, model = experiment.dataset, experiment.build_model()
    info = Bundle(model, "small").save(tmp_path / "bundle")
    for name in ("elev_mean", "aridity"):
        values = dataset.attributes[name]
        there = BundleInfo.read(tmp_path / "bundle").statistics[name]
        assert (there.lower, there.upper) == (values.min(), values.max())
    with caplog.at_level(logging.WARNING):
        check_trained(info.statistics, dataset.attributes, dataset.ids, set())
    assert not told(caplog)


def test_bundles_without_ranges_keep_their_description_and_fingerprint(bundles):
    info = bundles()
    assert not any({"lower", "upper"} & s.keys() for s in info.description["statistics"].values())
    assert Bundle.load(info.path).model.describe() == info.description


def test_a_description_whose_statistics_are_none_is_refused(bundles):
    info = replace(bundles(), description={"statistics": {"slope": {"lowest": 1.0}}})
    with pytest.raises(BundleError, match=r"statistics\.slope"):
        _ = info.statistics


# -- the doors ------------------------------------------------------------------------


def table(path, slopes):
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "aridity", "slope"])
        rows.writerows([f"cat-{k}", 0.7, slope] for k, slope in enumerate(slopes))


def configuration(folder, info, slopes):
    table(folder / "catchments.csv", slopes)
    path = folder / "run.yaml"
    path.write_text(
        yaml.safe_dump(
            {"bundle": str(info.path), "engine": "eager", "catchments": {"file": "catchments.csv"}}
        )
    )
    return path


def test_initialize_warns_once_with_counts_of_what_lies_a_little_outside(ranged, tmp_path, caplog):
    model = DeltaModelBmi()
    model.initialize(str(configuration(tmp_path, ranged, [12.0, 35.0, 29.0, 60.0])))
    assert told(caplog) == [
        "attributes outside the range in training: slope of 2 of 4 (catchment 'cat-1': 35, trained with "
        "2 to 30 m km-1)"
    ]
    model.set_value("slope", np.array([12.0, 36.0, 29.0, 60.0]))
    assert len(told(caplog)) == 1


def test_initialize_refuses_what_lies_far_outside_by_catchment_name_and_range(ranged, tmp_path):
    with pytest.raises(AttributeTableError, match=r"'slope'.*'cat-1' and 1 more is 5000.*2 to 30 m km-1"):
        DeltaModelBmi().initialize(str(configuration(tmp_path, ranged, [12.0, 5000.0, 29.0, -9000.0])))


def test_within_the_range_nothing_is_said(ranged, tmp_path, caplog):
    DeltaModelBmi().initialize(str(configuration(tmp_path, ranged, [2.0, 30.0, 30.00001, 12.0])))
    assert not told(caplog)


def test_values_that_are_set_or_restored_pass_the_same_check(ranged, tmp_path, monkeypatch):
    path = configuration(tmp_path, ranged, [12.0])
    model = DeltaModelBmi()
    model.initialize(str(path))
    with pytest.raises(AttributeTableError, match="far outside 2 to 30"):
        model.set_value("slope", np.array([5000.0]))
    assert model.get_value_ptr("slope")[0] == 12.0
    with monkeypatch.context() as patch:
        patch.setattr("dmg_bmi.runtime.shared_setup.check_trained", lambda *_: None)
        model.set_value("slope", np.array([5000.0]))
        saved = model.component.save()
    other = DeltaModelBmi()
    other.initialize(str(path))
    with pytest.raises(StateError, match="far outside 2 to 30"):
        other.component.load(saved)


def test_evaluate_refuses_a_basin_far_outside(tmp_path, capsys):
    (tmp_path / "small.yaml").write_text(CONFIG)
    config = TrainingConfig.read(tmp_path / "small.yaml")
    experiment = Experiment.load(config)
    dataset, model = experiment.dataset, experiment.build_model()
    values = dataset.attributes["elev_mean"]
    low = statistics(dataset, ["elev_mean"])["elev_mean"]
    model.statistics["elev_mean"] = replace(low, lower=values.min() - 3e5, upper=values.min() - 2.9e5)
    Bundle(model, "small").save(tmp_path / "bundle")
    assert main(["evaluate", str(tmp_path / "bundle"), "--data", str(tmp_path / "small.yaml")]) == 2
    assert "attribute 'elev_mean' of catchment" in capsys.readouterr().err


def test_basins_left_out_of_a_training_that_lie_far_outside_are_told_once_and_counted(caplog):
    statistics = {
        "aridity": FeatureStatistics(1.0, 0.2, lower=0.5, upper=1.5),
        "slope": FeatureStatistics(10.0, 3.0, lower=2.0, upper=30.0),
        "P": FeatureStatistics(0.0, 1.0),
    }
    attributes = {
        "aridity": np.array([1.0, 9.0, 1.6, 9.0]),
        "slope": np.array([9.0, 500.0, 9.0, 9.0]),
        "area": np.array([1e9, 1.0, 1.0, 1.0]),
    }
    with caplog.at_level(logging.WARNING):
        warn_left_out(statistics, attributes, ("a", "b", "c", "d"))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("2 of 4 basins that are left out of the training lie far outside its range")
    assert message.endswith("aridity of b, d; slope of b")
    caplog.clear()
    warn_left_out(statistics, {n: v[[0, 2]] for n, v in attributes.items()}, ("a", "c"))
    warn_left_out(statistics, {}, ())
    assert not caplog.records
