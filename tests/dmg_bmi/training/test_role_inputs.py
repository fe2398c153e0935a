"""What roles see of the data is filled in from the data."""

import pytest

from dmg_bmi.errors import ConfigError
from dmg_bmi.training.config import Model
from dmg_bmi.training.role_inputs import with_inputs

NETWORKS = {key: {"name": "mlp", "hidden_sizes": [4]} for key in ("given", "day", "flow")}
ROLES = [
    {"network": "given"},
    {"role": "mix_input", "network": "day", "inputs": "all", "attributes": [], "mixes": {"P": "all"}},
    {"role": "correct_output", "network": "flow", "inputs": ["P"], "corrects": {"Q": [0.5, 2.0]}},
]
SPEC = Model(nn=NETWORKS, phy_model={"name": "hbv"}, roles=ROLES)


def test_roles_see_all_that_the_data_have_unless_they_name_some():
    given, day, flow = with_inputs(SPEC, ["P", "T", "P_next", "P_radar"], ["slope"]).roles
    assert given == {"network": "given", "attributes": ("slope",)}
    assert day["inputs"] == ("P", "T", "P_next", "P_radar")
    assert day["mixes"] == {"P": ("P_next", "P_radar")}
    assert day["attributes"] == []
    assert flow["inputs"] == ["P"]


def test_a_network_alone_sees_all_forcings():
    spec = Model(nn={"name": "lstm"}, roles=[{"role": "output", "outputs": ["Q"]}])
    assert with_inputs(spec, ["P", "T"], []).roles[0]["inputs"] == ("P", "T")


def test_nothing_is_mixed_where_the_data_have_one_source(caplog):
    caplog.set_level("INFO")
    spec = with_inputs(SPEC, ["P", "T", "PET"], ["slope"])
    assert [*spec.nn] == ["given", "flow"]
    assert [role["network"] for role in spec.roles] == ["given", "flow"]
    assert "left out are day" in caplog.text


def test_a_role_cannot_mix_one_thing_that_has_sources_and_one_that_has_none():
    roles = [ROLES[0], {**ROLES[1], "mixes": {"P": "all", "T": "all"}}]
    with pytest.raises(ConfigError, match="one source of T, which 'day' mixes"):
        with_inputs(Model(nn=NETWORKS, phy_model={"name": "hbv"}, roles=roles), ["P", "P_next", "T"], [])
