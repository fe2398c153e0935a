"""States of members: set, saved, restored, and stepped once for all."""

import numpy as np
import pytest
import torch
from group_members import START, close, step, together

from dmg_bmi.model.delta_model import DAY, DeltaModel


@pytest.mark.parametrize("hour", [24, 48, 57, 71])
@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_each_row_is_saved_and_restored_on_its_own_at_any_hour(bundles, share, keys, bmi_run, forcing, hour):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys(forcing, 3, 6)
    members = share(bundle, 3, **config)
    whole = together(bmi_run, members, series, range(hour))
    # Row 0 is an hour ahead when the others are saved.
    ahead = step(bmi_run, members[0], series, 0, hour)
    saved = [member.component.save() for member in members]
    assert saved == [member.component.save() for member in members]
    rest = together(bmi_run, members[1:], None if series is None else shifted(series), range(hour, 24 * 6))

    begin = np.datetime64(START) + np.timedelta64(hour, "h")
    again = share(bundle, 3, **config | {"start_time": str(begin)})
    for row in (2, 1):
        again[row].component.load(saved[row])
        close(
            [step(bmi_run, again[row], series, row, k) for k in range(hour, 24 * 6)],
            rest[:, row - 1],
        )
    later = share(bundle, 3, **config | {"start_time": str(begin + np.timedelta64(1, "h"))})
    later[0].component.load(saved[0])
    fresh = share(bundle, 3, **config)
    expected = [step(bmi_run, fresh[0], series, 0, k) for k in range(24 * 6)]
    close(np.concatenate([whole[:, 0], [ahead]]), expected[: hour + 1])
    close([step(bmi_run, later[0], series, 0, k) for k in range(hour + 1, 24 * 6)], expected[hour + 1 :])


def shifted(series):
    """Without the first row."""
    return {name: values[:, 1:] for name, values in series.items()}


def test_restart_files_are_read_before_the_first_step_and_all_in_one(bundles, share, keys, bmi_run, tmp_path):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    config, series = keys("own", 3, 6)
    files = {k: f"{{write: {tmp_path / f'state-{k}'}}}" for k in range(3)}
    first = share(bundle, 3, restart=files, **config)
    together(bmi_run, first, series, range(65))
    for member in first:
        member.finalize()
    again = share(
        bundle,
        3,
        restart={k: text.replace("write", "read") for k, text in files.items()},
        **config | {"start_time": "2000-01-03T17:00:00"},
    )
    assert again[0].component.group.states.size == 0
    actual = together(bmi_run, again, series, range(65, 24 * 6))
    close(actual, together(bmi_run, share(bundle, 3, **config), series, range(24 * 6))[65:])


def test_a_start_in_mid_day_runs_its_first_day_on_what_is_left_of_it(bundles, share, keys, bmi_run):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys("pushed", 2, 4)
    late = {name: values[7:] for name, values in series.items()}
    members = share(bundle, 2, **config | {"start_time": "2000-01-01T07:00:00"})
    actual = together(bmi_run, members, late, range(24 * 4 - 7))
    # The flow of the first day, of 17 hours, comes in the 24 hours of the second.
    assert (actual[:17, :, 0] == 0.0).all()
    assert (np.ptp(actual[17:41, :, 0], axis=0) == 0.0).all()
    assert (np.diff(np.nan_to_num(actual), axis=0) != 0).any(axis=(1, 2)).nonzero()[0].tolist() == [
        16,
        40,
        64,
    ]


def test_a_model_step_is_run_once_for_all_and_the_static_network_once(
    bundles, share, keys, bmi_run, monkeypatch
):
    steps, networks = [], []
    run, precompute = DeltaModel.run, DeltaModel.precompute
    monkeypatch.setattr(
        DeltaModel,
        "run",
        lambda self, forcing, *a, **k: steps.append(forcing["P"].shape) or run(self, forcing, *a, **k),
    )
    monkeypatch.setattr(
        DeltaModel,
        "precompute",
        lambda self, a, n, *r, **k: networks.append(n) or precompute(self, a, n, *r, **k),
    )
    for forcing, expected in (("pushed", 3), ("own", 4)):
        config, series = keys(forcing, 5, 4)
        members = share(bundles("lstm_mlp"), 5, **config)
        for member in members:
            member.set_value("slope", np.array([20.0]))  # as model_params do
        assert (steps, networks) == ([], [])
        together(bmi_run, members, series, range(24 * 4), "any")
        assert steps == [(1, 5)] * expected
        assert networks == [5]
        steps.clear()
        networks.clear()


def test_only_the_first_factor_on_a_parameter_concerns_every_row(bundles, share, keys, bmi_run, monkeypatch):
    networks, precompute = [], DeltaModel.precompute
    monkeypatch.setattr(
        DeltaModel,
        "precompute",
        lambda self, a, n, *r, **k: networks.append(n) or precompute(self, a, n, *r, **k),
    )
    config, series = keys("pushed", 3, 6)
    members = share(bundles("lstm_mlp"), 3, **config)
    for day, row in enumerate((None, 1, 1, 2)):
        if row is not None:
            members[row].set_value("multiplier__FC", np.array([1.0 + day]))
        together(bmi_run, members, series, range(24 * day, 24 * (day + 1)))
    together(bmi_run, members, series, range(96, 97))
    assert networks == [3, 3, 1, 1]
