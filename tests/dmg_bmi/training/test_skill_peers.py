"""The benchmark gives peers the CPU time that it says, and no more."""

from pathlib import Path

import pytest


@pytest.fixture
def skill_peers(monkeypatch):
    folder = Path(__file__).resolve().parents[3] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not installed")
    monkeypatch.syspath_prepend(folder)
    import skill_peers

    return skill_peers


def test_updates_end_with_the_last_that_fits_into_the_budget(skill_peers, monkeypatch):
    clock = iter(range(0, 10_000, 9))
    monkeypatch.setattr(skill_peers.time, "process_time", lambda: next(clock))
    budget = skill_peers.Budget(minutes=1)
    with budget.spent(updates=3):  # 9 seconds
        pass
    assert budget.fitting() == 17
    assert budget.fitting(share=0.5) == 8
    with budget.spent(updates=1):
        pass
    assert budget.used == 18
    assert budget.fitting() == 9


def test_a_peer_is_shown_the_rain_of_the_day_after(skill_peers):
    import numpy as np

    from dmg_bmi.io.timeseries import BasinDataset

    rain = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    days = np.arange("2000-01-01", "2000-01-04", dtype="M8[D]").astype("M8[s]")
    data = BasinDataset(("a", "b"), days, 86400.0, {"P": rain}, {}, {})
    assert skill_peers.next_day(data)[:2].tolist() == rain[1:].tolist()
