"""A learned error travels with its bundle, is read back as it was, and what is wrong is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from made_up_forecasts import made_up

from dmg_bmi import Bundle
from dmg_bmi.errors import BundleError, ConfigError
from dmg_bmi.forecast import LearnedError, stored_error
from dmg_bmi.forecast.hindcast import Forecasts
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.bundle_files import DESCRIPTION, LearnedPart, checksum_of


@pytest.fixture(scope="module")
def error():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmg_bmi.forecast.learned_error.STEPS", 30)
        return LearnedError.fit(made_up(300)).calibrated(made_up(200, seed=3))


@pytest.fixture
def saved(error, tmp_path):
    info = BundleInfo.read("demo_daily")
    return info.copy(tmp_path / "bundle", stored_error.to_part(error, info))


def test_it_is_read_back_as_it_was(error, saved):
    found, forecasts = stored_error.of_bundle(saved), made_up(seed=5)
    for some in (forecasts, forecasts.blind()):
        expected = error(some)
        assert np.array_equal(found(some).mean, expected.mean)
        assert np.array_equal(found(some).quantiles, expected.quantiles)
    assert (found.ids, found.options, found.leads) == (error.ids, error.options, error.leads)


def test_an_error_that_is_not_calibrated_is_too(error, tmp_path):
    info, raw = BundleInfo.read("demo_daily"), replace(error, calibrations=None)
    found = stored_error.of_bundle(info.copy(tmp_path / "b", stored_error.to_part(raw, info)))
    assert found.calibrations is None
    assert np.array_equal(found(made_up(20)).quantiles, raw(made_up(20)).quantiles)


def test_the_model_is_the_same_with_it_and_a_bundle_without_it_has_none(saved):
    assert saved.fingerprint == BundleInfo.read("demo_daily").fingerprint
    one, other = saved.load_model(), Bundle.load("demo_daily").model
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert stored_error.of_bundle(BundleInfo.read("demo_daily")) is None


def test_it_goes_along_when_the_bundle_is_copied_or_loaded_and_saved(error, saved, tmp_path):
    for other in (saved.copy(tmp_path / "copy"), Bundle.load(saved.path).save(tmp_path / "again")):
        assert np.array_equal(stored_error.of_bundle(other)(made_up(20)).mean, error(made_up(20)).mean)


def test_it_is_replaced_in_place_and_the_file_of_the_older_one_goes(error, saved):
    other = replace(error, typical=2 * error.typical)
    again = saved.copy(saved.path, stored_error.to_part(other, saved))
    assert np.array_equal(stored_error.of_bundle(again).typical, other.typical)
    assert sorted(p.name for p in saved.path.iterdir()) == sorted([DESCRIPTION, *again.files])


def test_a_model_that_was_trained_further_is_saved_without_it_and_that_is_said(saved, tmp_path, caplog):
    bundle = Bundle.load(saved.path)
    with torch.no_grad():
        next(bundle.model.parameters())[0] += 1e-3
    assert bundle.save(tmp_path / "other").learned_error is None
    assert "the model has changed since the error of its forecasts was learned" in caplog.text


def test_that_of_another_model_is_not_put_into_a_bundle(error, tmp_path):
    part = stored_error.to_part(error, BundleInfo.read("demo_hourly"))
    with pytest.raises(BundleError, match="of another model"):
        BundleInfo.read("demo_daily").copy(tmp_path / "b", part)


def test_basins_in_any_order_and_number_are_those_it_learned(error):
    later = made_up(50, seed=4)
    some = [3, 1]
    of_some = replace(
        later,
        ids=tuple(later.ids[k] for k in some),
        open_loop=Forecasts(later.open_loop.flow[..., some], later.open_loop.recent[..., some]),
        analysed=Forecasts(later.analysed.flow[..., some], later.analysed.recent[..., some]),
        observed=later.observed[..., some],
        observed_recent=later.observed_recent[..., some],
        weather={name: v[..., some] for name, v in later.weather.items()},
        moved={name: v[..., some] for name, v in later.moved.items()},
        typical=later.typical[some],
    )
    np.testing.assert_allclose(
        error(of_some).quantiles, error(later).quantiles[..., some], rtol=1e-4, atol=1e-5
    )


def test_a_basin_that_it_has_not_seen_is_taken_for_the_mean_of_those_it_has(error):
    later = made_up(50, seed=4)
    found = error.of_basins(["a", "new", "d"])
    assert np.array_equal(found.correction.shares[:, 1], error.correction.shares.mean(1))
    assert np.isnan(found.typical).tolist() == [False, True, False]
    unknown = error(replace(later, ids=tuple("abxd")))
    assert np.isfinite(unknown.quantiles).all()
    known = error(later)
    for k in (0, 1, 3):
        np.testing.assert_allclose(unknown.quantiles[..., k], known.quantiles[..., k], rtol=1e-4, atol=1e-5)


def test_a_silent_gauge_has_the_calibration_of_one(error):
    """In one call, the others keep theirs."""
    later = made_up(60, seed=4)
    recent = later.observed_recent.copy()
    recent[:, :, 2] = np.nan
    found = error(replace(later, observed_recent=recent)).quantiles
    _, blind = error.calibrations
    alone = replace(error, calibrations=(blind, blind))(replace(later, observed_recent=recent)).quantiles
    assert np.array_equal(found[..., 2], alone[..., 2])
    assert np.array_equal(found[..., [0, 1, 3]], error(later).quantiles[..., [0, 1, 3]])


def test_shorter_forecasts_are_told_the_same_and_longer_ones_refused(error):
    later = made_up(50, seed=4)

    def shorter(kind):
        return Forecasts(kind.flow[:, :2], kind.recent)

    some = replace(
        later,
        open_loop=shorter(later.open_loop),
        analysed=shorter(later.analysed),
        observed=later.observed[:, :2],
        weather={name: v[:, :-1] for name, v in later.weather.items()},
    )
    np.testing.assert_allclose(error(some).quantiles, error(later).quantiles[:, :, :2], rtol=1e-4, atol=1e-5)
    two = replace(error, correction=replace(error.correction, shares=error.correction.shares[:2]))
    with pytest.raises(ConfigError, match="of forecasts of 2 steps cannot tell that of 3"):
        two(later)


# -- what is wrong --------------------------------------------------------------------


def forged(saved, describe=lambda d: None, tensors=lambda t: None):
    """Change a bundle as somebody could who computes checksums."""
    part = saved.learned_part()
    described, found = json.loads(json.dumps(part.description)), safetensors.torch.load(part.weights)
    describe(described)
    tensors(found)
    named, files = LearnedPart(described, safetensors.torch.save(found)).named()
    for name, content in files.items():
        (saved.path / name).write_bytes(content)
    content = yaml.safe_load((saved.path / DESCRIPTION).read_text()) | {"learned_error": named}
    content.pop("checksum")
    content["checksum"] = checksum_of(content)
    (saved.path / DESCRIPTION).write_text(yaml.safe_dump(content))
    return BundleInfo.read(saved.path)


@pytest.mark.parametrize(
    "describe",
    [
        lambda d: d.update(model="0" * 64),
        lambda d: d.pop("model"),
        lambda d: d.pop("basins"),
        lambda d: d.update(basins=["a", "a", "b", "c"]),
        lambda d: d.update(basins=["a", "b"]),
        lambda d: d.update(basins="abcd"),
        lambda d: d.update(basins=[1, 2, 3, 4]),
        lambda d: d.update(leads=10**9),
        lambda d: d.update(leads="3"),
        lambda d: d.update(leads=-1),
        lambda d: d["assimilation"].update(window=0),
        lambda d: d["assimilation"].update(windows=3),
        lambda d: d.update(assimilation=None),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved, describe):
    with pytest.raises(BundleError, match="learned"):
        stored_error.of_bundle(forged(saved, describe))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(shares=t["shares"] * torch.nan),
        lambda t: t.update(shares=t["shares"][:1].clone()),
        lambda t: t.pop("shares"),
        lambda t: t.pop("width"),
        lambda t: t.update(width=t["width"] * 0),
        lambda t: t.update(typical=-t["typical"]),
        lambda t: t.update(centre=t["centre"][:5].clone()),
        lambda t: t.update(more=torch.ones(3)),
        lambda t: t.update(shares=torch.ones(3, 4, dtype=torch.int64)),
        lambda t: t.pop("without_observations.regimes"),
        lambda t: t.pop("with_observations.offsets"),
        lambda t: t.pop("network_0.layers.0.weight"),
        lambda t: t.update({"network_1.layers.0.weight": torch.ones(7, 3)}),
        lambda t: t.update({"network_1.x.weight": torch.ones(7, 3)}),
        lambda t: [t.pop(name) for name in [*t] if name.startswith("network_")],
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, change):
    with pytest.raises(BundleError, match="learned"):
        stored_error.of_bundle(forged(saved, tensors=change))


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"x" * 1000])
def test_a_file_that_was_replaced_or_cut_is_refused(saved, content):
    (saved.path / saved.files[1]).write_bytes(content)
    with pytest.raises(BundleError, match="does not match its checksum"):
        stored_error.of_bundle(saved)


def test_a_file_outside_of_the_bundle_is_not_read(saved):
    content = yaml.safe_load((saved.path / DESCRIPTION).read_text())
    for name in ("../x.safetensors", "/etc/passwd", 3, None):
        content["learned_error"]["weights"]["file"] = name
        content.pop("checksum", None)
        content["checksum"] = checksum_of(content)
        (saved.path / DESCRIPTION).write_text(yaml.safe_dump(content))
        with pytest.raises(BundleError, match="must be in the bundle's folder"):
            BundleInfo.read(saved.path)


@pytest.mark.parametrize("value", [3, "x", [], {}, {"weights": 1}, {"weights": {}}])
def test_what_is_no_description_of_one_is_refused(saved, value):
    content = yaml.safe_load((saved.path / DESCRIPTION).read_text())
    content["learned_error"] = value
    content.pop("checksum")
    content["checksum"] = checksum_of(content)
    (saved.path / DESCRIPTION).write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError, match="not a valid bundle description"):
        BundleInfo.read(saved.path)
