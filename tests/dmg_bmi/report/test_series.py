"""What a page gets of long series: all of them where they fit, else honest envelopes and a window."""

import gzip
from base64 import b64decode

import numpy as np
import pytest

from dmg_bmi.report import Payload, SeriesPacker

TIMES = np.datetime64("2001-01-01", "s") + np.arange(1000) * np.timedelta64(86400, "s")


def numbers(payload, part):
    """A part as a browser reads it."""
    block = gzip.decompress(b64decode(payload.text()))
    kind = np.dtype(f"<{part['kind']}")
    return np.frombuffer(block, kind, part["count"], part["at"]).astype(float) * part["scale"]


@pytest.fixture
def values():
    rng = np.random.default_rng(3)
    flow = np.exp(rng.normal(size=(1000, 6)))
    flow[rng.random(flow.shape) < 0.05] = np.nan
    return flow


def pack(values, room, end=None, how="envelope"):
    payload = Payload()
    packer = SeriesPacker(TIMES, 86400.0, 6, {"Q": how}, room, end)
    packer.append({"Q": values[:, :4]})
    packer.append({"Q": values[:, 4:]})
    return payload, packer.pack(payload)


def test_series_that_fit_are_whole(values):
    payload, said = pack(values, room=2 * 6000)
    assert (said["block"], said["window"]) == (1, [0, 1000])
    assert {*said["series"]["Q"]} == {"steps"}
    steps = numbers(payload, said["series"]["Q"]["steps"]).reshape(6, 1000)
    np.testing.assert_allclose(steps, values.T, rtol=2**-11, equal_nan=True)


def test_longer_ones_have_the_lowest_and_highest_of_each_block_and_a_window(values):
    payload, said = pack(values, room=2400, end=900)
    block, (first, last) = said["block"], said["window"]
    assert block > 1
    assert last == 900
    assert first > 0
    parts = {k: numbers(payload, p).reshape(6, -1) for k, p in said["series"]["Q"].items()}
    assert sum(2 * part.size for part in parts.values()) <= 2400
    for basin in range(6):
        for k in range(parts["low"].shape[1]):
            some = values[k * block : (k + 1) * block, basin]
            assert parts["low"][basin, k] == pytest.approx(np.nanmin(some), rel=1e-3)
            assert parts["high"][basin, k] == pytest.approx(np.nanmax(some), rel=1e-3)
    np.testing.assert_allclose(parts["steps"], values[first:last].T, rtol=2**-11, equal_nan=True)


def test_a_block_without_an_observation_is_a_gap_and_not_a_zero(values):
    values[:400] = np.nan
    for how, keys in (("envelope", ("low", "high")), ("mean", ("mean",))):
        payload, said = pack(values, room=2400, how=how)
        for key in keys:
            row = numbers(payload, said["series"]["Q"][key]).reshape(6, -1)
            assert np.isnan(row[:, : 400 // said["block"]]).all()
            assert np.isfinite(row[:, -1]).all()


def test_halves_reach_from_floods_to_droughts():
    payload = Payload()
    flow = np.array([0.0, 1e-4, 3.7, 250_000.0, np.nan])
    part = payload.add(flow)
    np.testing.assert_allclose(numbers(payload, part), flow, rtol=1e-3, atol=0.02, equal_nan=True)
