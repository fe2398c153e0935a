"""Prepared folders run in the stand-in for `ngen`: the same water everywhere, in any order."""

import json
import shutil

import numpy as np
import pytest

from dmg_bmi.errors import NextGenError

STEPS = 72
RUNOFF = "land_surface_water__runoff_depth"


def depths(run, ids):
    return {i: np.array([float(row[RUNOFF]) for row in run.catchment(i)]) for i in ids}


def check_nexuses(run, domain, rtol=6e-6):
    """Each nexus gets depth x area of the catchments that drain to it; by default to ngen's six digits."""
    by_catchment = depths(run, domain.ids)
    flow = {nexus: 0.0 for nexus in domain.nexus.values()}
    for name, values in by_catchment.items():
        flow[domain.nexus[name]] = flow[domain.nexus[name]] + values * domain.area[name] * 1e6 / 3600.0
    for nexus, expected in flow.items():
        np.testing.assert_allclose(run.nexus(nexus), expected, rtol=rtol, atol=1e-12)
    return by_catchment


@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_depth_times_area_is_what_nexuses_receive(prepared, ngen, small, own):
    folder = prepared(stored_forcing=own)
    run = ngen(folder)
    assert run.status == 0, run.stderr
    assert "mass_balance" not in run.stderr
    assert "Unit conversion failure" not in run.stderr
    by_catchment = check_nexuses(run, small)
    for values in by_catchment.values():
        assert len(values) == STEPS
        by_day = values.reshape(-1, 24)
        assert (by_day[1 - own :] == by_day[1 - own :, :1]).all()  # evenly over the day
        if not own:
            assert (by_day[0] == 0.0).all()  # the flow of a day follows its day
    assert sum(values.sum() for values in by_catchment.values()) > 0


def test_the_calls_of_a_step_are_counted(prepared, ngen, change, tmp_path):
    """58 calls for two inputs and two columns, without the cache of metadata."""
    folder = prepared(pet="oudin")

    def two_columns(document):
        params = document["global"]["formulations"][0]["params"]
        params["output_variables"] = [RUNOFF, "land_surface_water__evapotranspiration_depth"]
        del params["mass_balance"], params["cache_input_variable_metadata"]
        params["allow_exceed_end_time"] = False

    change(folder, two_columns)
    totals = []
    for end in ("2015-12-01 23:00:00", "2015-12-02 23:00:00"):
        change(folder, lambda d, end=end: d["time"].update(end_time=end))
        run = ngen(folder, calls=tmp_path / "calls.json")
        assert run.status == 0, run.stderr
        totals.append(json.loads((tmp_path / "calls.json").read_text()))
    assert sum(totals[1].values()) - sum(totals[0].values()) == 5 * 24 * 58
    never = {"get_value", "get_var_grid", "get_var_location", "set_value_at_indices", "get_value_ptr"}
    assert not never & {*totals[1]}


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_the_order_of_catchments_does_not_matter(prepared, ngen, own):
    folder = prepared(stored_forcing=own)
    first = ngen(folder).files()
    assert ngen(folder, order=1).files() == first
    assert ngen(folder, order=2).files() == first


@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_depth_times_area_is_what_nexuses_receive_to_a_billionth(prepared, ngen, small, own):
    check_nexuses(ngen(prepared(stored_forcing=own), nexus_digits=15), small, rtol=1e-9)


def test_single_and_multi_give_the_same(prepared, ngen):
    single, multi = prepared("single"), prepared("multi", multi=True)
    one, other = ngen(single), ngen(multi)
    assert one.status == other.status == 0, other.stderr
    assert one.files() == other.files()


def test_csv_forcing_gives_what_netcdf_gives(prepared, ngen, small, shared_data):
    netcdf = ngen(prepared("netcdf"))
    csvs = ngen(prepared("csvs", forcing=shared_data / "nextgen_01073000" / "forcing"))
    assert csvs.status == 0, csvs.stderr
    for name in small.ids:
        np.testing.assert_allclose(depths(csvs, [name])[name], depths(netcdf, [name])[name], rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
@pytest.mark.parametrize("cut", ["2015-12-02T00:00:00", "2015-12-02T10:00:00", "2015-12-03T17:00:00"])
def test_a_run_that_is_cut_and_goes_on_gives_the_same_files(prepared, ngen, change, small, own, cut):
    """Saved at the end of the first run, in mid-day and mid-release, and read by the second."""
    whole = ngen(prepared("whole", stored_forcing=own))
    first = prepared("first", stored_forcing=own)
    restart(first, "write")
    hours = int((np.datetime64(cut) - np.datetime64("2015-12-01")) / np.timedelta64(1, "h"))
    before = str(np.datetime64(cut) - np.timedelta64(1, "h")).replace("T", " ")
    change(first, lambda d: d["time"].update(end_time=before))
    early = ngen(first)
    second = prepared("second", stored_forcing=own, start=np.datetime64(cut), model_params={})
    for state in (first / "config" / "cat_config" / "DMG_BMI").glob("*.state"):
        (second / "config" / "cat_config" / "DMG_BMI" / state.name).write_bytes(state.read_bytes())
    restart(second, "read")
    late = ngen(second)
    assert early.status == late.status == 0, late.stderr
    for name in small.ids:
        rows = [row[RUNOFF] for row in whole.catchment(name)]
        parts = [row[RUNOFF] for run in (early, late) for row in run.catchment(name)]
        assert parts == rows
    for nexus in set(small.nexus.values()):
        flow = np.concatenate([early.nexus(nexus), late.nexus(nexus)])
        np.testing.assert_array_equal(flow, whole.nexus(nexus))
    assert len(early.catchment(small.ids[0])) == hours


def restart(folder, how):
    for path in (folder / "config" / "cat_config" / "DMG_BMI").glob("cat-*.yml"):
        path.write_text(path.read_text() + f"restart: {{{how}: {path.stem}.state}}\n")


@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_a_run_that_is_killed_goes_on_from_its_last_states(prepared, ngen, small, own):
    """Saved every 30 hours; killed in the 72nd hour, in the middle of a step; nothing is finalized."""
    end = np.datetime64("2015-12-07")
    whole = ngen(prepared("whole", stored_forcing=own, end=end))
    folder = prepared("killed", stored_forcing=own, end=end, save_every=30.0)
    killed = ngen(folder, die_at=71)
    assert killed.status == 134
    states = sorted((folder / "outputs" / "states").iterdir())
    assert [s.name for s in states] == ["2015-12-02T0600", "2015-12-03T1200"]
    again = prepared(
        "again", stored_forcing=own, start=np.datetime64("2015-12-03T12:00"), end=end, restart=True,
        model_params={},
        before=lambda root: shutil.copytree(folder / "outputs" / "states", root / "outputs" / "states"),
    )  # fmt: skip
    rest = ngen(again)
    assert rest.status == 0, rest.stderr
    for name in small.ids:
        rows = [row[RUNOFF] for row in whole.catchment(name)]
        assert [row[RUNOFF] for row in rest.catchment(name)] == rows[60:]
    for nexus in set(small.nexus.values()):
        np.testing.assert_array_equal(rest.nexus(nexus), whole.nexus(nexus)[60:])
        np.testing.assert_array_equal(killed.nexus(nexus), whole.nexus(nexus)[:71])


def test_a_restart_needs_the_states_of_all_catchments_and_says_which_time_has_them(prepared, small):
    """A run that is killed while it saves leaves some of the states of that time."""

    def half_saved(root):
        for time, ids in (("2015-12-01T1200", small.ids), ("2015-12-02T0000", small.ids[:2])):
            (root / "outputs" / "states" / time).mkdir(parents=True)
            for name in ids:
                (root / "outputs" / "states" / time / f"{name}.state").write_bytes(b"")

    start = np.datetime64("2015-12-02T00:00")
    with pytest.raises(NextGenError, match=r"3 of 5 catchments.*--start that has all: 2015-12-01T1200"):
        prepared(start=start, restart=True, before=half_saved)
    with pytest.raises(NextGenError, match="no time has all"):
        prepared("other", start=start, restart=True)


@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_the_balance_holds_to_a_billionth_of_a_millimetre_at_every_step(prepared, ngen, change, own):
    folder = prepared(stored_forcing=own, end=np.datetime64("2015-12-11"))

    def strict(document):
        document["global"]["formulations"][0]["params"]["mass_balance"] = {
            "check": True, "tolerance": 1e-9, "fatal": True, "frequency": 1
        }  # fmt: skip

    change(folder, strict)
    run = ngen(folder)
    assert run.status == 0, run.stderr
    assert "mass_balance" not in run.stderr


def test_a_start_in_mid_day_and_days_that_begin_at_six(prepared, ngen, small):
    folder = prepared(start=np.datetime64("2015-12-01T09:00:00"), day_start_hour=6.0, stored_forcing=True)
    run = ngen(folder)
    assert run.status == 0, run.stderr
    for values in check_nexuses(run, small).values():
        changes = np.flatnonzero(np.diff(values)) + 1
        assert {*changes.tolist()} <= {21, 45}  # 6 UTC of the second and third of December


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_794_divides_with_a_hole_run(juniata, bundle, ngen, tmp_path, own):
    from dmg_bmi.nextgen.prepare.prepare import Plan, prepare

    plan = Plan(
        bundle=str(bundle("hybrid")),
        output=tmp_path / "juniata",
        hydrofabric=juniata.hydrofabric,
        start=np.datetime64("2010-06-01"),
        end=np.datetime64("2010-06-04"),
        forcing=juniata.forcing,
        stored_forcing=own,
        pet="oudin",
        missing_attributes="neighbours",
    )
    done = prepare(plan)
    assert done.catchments == 794
    filled = [f for f in done.findings if "neighbours" in f.message]
    assert {f.ids for f in filled} == {("cat-87639",)}
    run = ngen(tmp_path / "juniata", order=5, nexus_digits=15)
    assert run.status == 0, run.stderr
    by_catchment = check_nexuses(run, juniata, rtol=1e-9)
    assert all(np.isfinite(values).all() for values in by_catchment.values())
    assert sum(values.sum() > 0 for values in by_catchment.values()) > 700
