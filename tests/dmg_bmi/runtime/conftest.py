"""Many components that share one configuration, each with a catchment of its own, as in NextGen."""

import pytest
from group_members import HOUR, START


@pytest.fixture
def share(configure, bmi_run, tmp_path):
    """Make ``share(bundle, n, start=..., restart=..., **keys)``: n components of one group.

    `start` picks catchments and their order; `restart` is the key of each, by catchment.
    """
    groups = []

    def make(bundle=None, n=3, start=None, restart=None, **keys):
        shared = configure(bundle, n, **keys)
        groups.append(shared)
        members = []
        for k in range(n) if start is None else start:
            path = tmp_path / f"member-{len(groups)}-{k}.yaml"
            text = f"shared: {shared.name}\ncatchment: cat-{k + 7}\n"
            if restart and k in restart:
                text += f"restart: {restart[k]}\n"
            path.write_text(text, encoding="utf-8")
            members.append(bmi_run.start(path))
        return members

    return make


@pytest.fixture
def keys(weather, store):
    """Make ``keys(forcing, n, days) -> (keys of a configuration, hourly series to push or None)``."""

    def make(forcing: str, n: int, days: int, seed: int = 3):
        series = weather(24 * days, n, seed=seed, step=HOUR)
        common = {"time_step": HOUR, "start_time": START}
        if forcing == "pushed":
            return common, series
        return common | {"forcing": str(store(series, n, START, HOUR))}, None

    return make
