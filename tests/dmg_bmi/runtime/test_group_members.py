"""What is wrong with a member is said, and concerns it alone."""

import gc
import weakref

import numpy as np
import pytest
from group_members import HOUR, push, step, together

from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError, VariableError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.group import Group


def test_forcing_that_is_not_legal_stops_its_own_row_and_names_it(bundles, share, keys, bmi_run):
    config, series = keys("pushed", 2, 2)
    members = share(bundles("fixed"), 2, **config)
    push(bmi_run, members[1], series, 1, 0)
    members[1].set_value("T", np.array([np.nan]))
    with pytest.raises(ForcingError, match="'cat-8'"):
        members[1].update()
    assert members[1].get_current_time() == 0.0
    members[1].set_value("T", np.array([np.inf]))
    with pytest.raises(ForcingError, match="finite"):
        members[1].update()
    step(bmi_run, members[0], series, 0, 0)


def test_a_catchment_is_one_component_at_a_time(bundles, share, configure, bmi_run, tmp_path):
    members = share(bundles("fixed"), 2, time_step=HOUR)
    shared = members[0].component.config.shared
    path = tmp_path / "twice.yaml"
    path.write_text(f"shared: {shared.name}\ncatchment: cat-7\n")
    with pytest.raises(AttributeTableError, match=r"twice.yaml.*'cat-7'.*finalize"):
        bmi_run.start(path)
    members[0].finalize()
    again = bmi_run.start(path)
    assert again.get_current_time() == 0.0


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("shared: none.yaml\ncatchment: cat-7\n", ConfigError, "none.yaml: cannot be read"),
        ("shared: {shared}\n", ConfigError, "missing key 'catchment'"),
        ("shared: {shared}\ncatchment: cat-7\nengine: eager\n", ConfigError, "'engine'"),
        ("shared: {shared}\ncatchment: cat-99\n", AttributeTableError, "'cat-99'"),
        ("shared: me.yaml\ncatchment: cat-7\n", ConfigError, "'shared' again"),
    ],
)
def test_what_is_wrong_with_a_member_is_said(bundles, configure, bmi_run, tmp_path, text, error, match):
    shared = configure(bundles("fixed"), 2)
    path = tmp_path / "me.yaml"
    path.write_text(text.format(shared=shared.name))
    with pytest.raises(error, match=match):
        bmi_run.start(path)


@pytest.mark.parametrize("name", ["../away", "/tmp/away", "a/b", "..", "NUL"])
@pytest.mark.parametrize("key", ["read", "write"])
def test_the_id_of_a_catchment_cannot_lead_its_state_out_of_the_folder(
    configure, bmi_run, tmp_path, name, key
):
    shared = configure(restart={key: "states/{id}.state"})
    table = tmp_path / "catchments-1.csv"
    table.write_text(table.read_text().replace("cat-7", name))
    path = tmp_path / "me.yaml"
    path.write_text(f"shared: {shared.name}\ncatchment: {name}\n")
    with pytest.raises(ConfigError, match="cannot be part of a file's name"):
        bmi_run.start(path)


def test_a_group_is_freed_with_its_last_member(bundles, share):
    members = share(bundles("fixed"), 3, time_step=HOUR)
    group = weakref.ref(members[0].component.group)
    assert isinstance(group(), Group)
    for member in members:
        member.finalize()
    gc.collect()
    assert group() is None


def test_flow_is_depth_over_area_and_nan_where_no_area_is_known(bundles, configure, bmi_run, keys):
    config, series = keys("pushed", 2, 3)
    members = bmi_run.start(configure(bundles("fixed"), 2, **config))
    unknown = bmi_run.start(
        configure(
            bundles("fixed"),
            2,
            catchments={"ids": ["a", "b"], "attributes": {"slope": 1.0, "aridity": 1.0}}
            if bundles("fixed").load_model().attribute_names
            else {"ids": ["a", "b"]},
            **config,
        )
    )
    flow = "land_surface_water_source__volume_flow_rate"
    assert flow in members.get_output_var_names()
    assert members.get_var_units(flow) == "m3 s-1"
    held = members.get_value_ptr(flow)
    for hour in range(60):
        for bmi in (members, unknown):
            bmi_run.push(bmi, series, hour)
            bmi.update()
        depth = bmi_run.read(members, "Q")
        np.testing.assert_allclose(held, depth * np.array([10.0, 11.0]) * 1e6 / HOUR, rtol=1e-14)
        assert np.isnan(bmi_run.read(unknown, flow)).all()
    assert (held > 0).any()
    assert members.get_value_ptr(flow) is held
    with pytest.raises(VariableError):
        members.set_value(flow, np.ones(2))


@pytest.mark.parametrize("dated", [True, False])
def test_what_a_user_should_know_is_said_once(bundles, share, keys, bmi_run, caplog, dated):
    config, series = keys("pushed", 3, 2)
    if not dated:
        del config["start_time"]
    with caplog.at_level("INFO", logger="dmg_bmi"):
        members = share(bundles("fixed"), 3, **config)
        first = together(bmi_run, members, series, range(24))
    said = [record.getMessage() for record in caplog.records]
    assert sum("one model step behind" in text for text in said) == 1
    assert sum("no start_time" in text for text in said) == (not dated)
    assert (first[:, :, [0, 1]] == 0.0).all()
    assert np.isnan(first[:, :, 2:]).all()


def test_rows_come_back_to_the_same_catchments_side_by_side_and_to_no_others(bundles, configure):
    config = RunConfig.read(configure(bundles("lstm"), 4))
    group = Group(BundleInfo.read(config.bundle), config)

    class Owner:
        def __init__(self, *names):
            self.clock, self.rows = group.setup.new_clock(), group.join(self, names)

    with pytest.raises(AttributeTableError, match="no catchment 'cat-1' in the table"):
        group.join(object(), ["cat-7", "cat-1"])
    first, last = Owner("cat-8", "cat-7"), Owner("cat-10")
    assert (first.rows.tolist(), last.rows.tolist(), group.n) == ([0, 1], [2], 3)
    assert group.names(first.rows) == ["cat-8", "cat-7"]
    assert group.areas(first.rows).tolist() == [11.0, 10.0]
    group.attributes["slope"][first.rows] = 5.0
    for names in (["cat-8", "cat-7"], ["cat-8"], ["cat-10"]):
        with pytest.raises(AttributeTableError, match=f"'{names[0]}' has been initialized before"):
            group.join(object(), names)
    group.leave(first)
    for names in (["cat-7", "cat-8"], ["cat-8", "cat-9"], ["cat-7", "cat-10"]):
        with pytest.raises(AttributeTableError, match="has been initialized before"):
            group.join(object(), names)
    again = Owner("cat-8", "cat-7")
    assert (again.rows.tolist(), group.n) == ([0, 1], 3)
    np.testing.assert_allclose(group.attributes["slope"][again.rows], [12.0 * 1.1, 12.0])
