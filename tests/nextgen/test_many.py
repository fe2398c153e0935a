"""Many objects, one model: 500 rows over 60 days of own forcing, as one component over all rows gives."""

import numpy as np
import pytest
import yaml

from dmg_bmi.bmi import DeltaModelBmi

N, DAYS = 500, 60
HOUR = 3600.0


@pytest.fixture
def domain(bundle, tmp_path, write_forcing):
    """Configurations of 500 catchments on stored weather, and one over all of them."""
    weather = write_forcing[1](24 * DAYS, N, seed=2)
    store = tmp_path / "store"
    store.mkdir()
    for name, values in (("P", weather["precip_rate"]), ("T", weather["TMP_2maboveground"])):
        np.save(store / f"{name}.npy", values.T.astype(np.float32))
    ids = [f"cat-{k}" for k in range(N)]
    variables = {"P": {"file": "P.npy", "units": "mm s-1"}, "T": {"file": "T.npy", "units": "K"}}
    index = {"ids": ids, "start_time": "2010-04-01", "step": HOUR, "variables": variables}
    (store / "forcing.yaml").write_text(yaml.safe_dump(index))
    rng = np.random.default_rng(1)
    lines = ["id,elevation,slope,twi,upstream_area,latitude"]
    lines += [
        f"{i},{e},{s},{t},{u},40.0"
        for i, e, s, t, u in zip(
            ids,
            rng.uniform(100, 900, N),
            rng.uniform(0, 30, N),
            rng.uniform(4, 12, N),
            rng.uniform(1, 900, N),
            strict=True,
        )
    ]
    (tmp_path / "catchments.csv").write_text("\n".join(lines))
    shared = {
        "bundle": str(bundle("hybrid")),
        "catchments": {"file": "catchments.csv"},
        "time_step": HOUR,
        "start_time": "2010-04-01",
        "forcing": "store",
        "pet": {"method": "oudin"},
        "engine": "eager",
    }
    (tmp_path / "shared.yaml").write_text(yaml.safe_dump(shared))
    for name in ids:
        (tmp_path / f"{name}.yml").write_text(f"shared: shared.yaml\ncatchment: {name}\n")
    return tmp_path, ids


def start(path):
    bmi = DeltaModelBmi()
    bmi.initialize(str(path))
    return bmi


def test_500_objects_over_60_days_give_what_one_over_all_gives(domain):
    folder, ids = domain
    members = [start(folder / f"{name}.yml") for name in ids]
    whole = start(folder / "shared.yaml")
    read, index = np.zeros(1), np.zeros(1, dtype=np.int32)
    rng = np.random.default_rng(3)
    order = rng.permutation(N)
    total = 0.0
    for hour in range(24 * DAYS):
        if hour % 24 == 0:
            order = rng.permutation(N)
        whole.update()
        expected = whole.get_value_ptr("Q")
        for k in order:
            members[k].update()
        if hour % 24 in (0, 13):
            actual = [
                members[k].get_value_at_indices("land_surface_water__runoff_depth", read, index)[0]
                for k in range(N)
            ]
            np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-15)
        total += expected.sum()
    assert total > 0
