"""Inside ngen: ASCII, no NetCDF library, one process for all objects, and what it reads from an object."""

import re

import numpy as np

from dmg_bmi.bmi import DeltaModelBmi

RUNOFF = "land_surface_water__runoff_depth"


def models(folder):
    return folder / "config" / "cat_config" / "DMG_BMI"


def test_files_with_more_than_ascii_are_read_all_the_same(prepared, ngen, small):
    folder = prepared()
    for name in ("shared.yaml", "cat-11223.yml"):
        path = models(folder) / name
        path.write_text("# Flußgebiet, 5 °C, für alle\n" + path.read_text(), encoding="utf-8")
    run = ngen(folder)
    assert run.status == 0, run.stderr


def test_an_error_says_what_it_has_to_say_in_ascii_too(prepared, ngen, tmp_path):
    folder = prepared()
    path = models(folder) / "shared.yaml"
    path.write_text(path.read_text() + "größe: 3\n", encoding="utf-8")
    run = ngen(folder)
    assert run.status == 134
    assert "unknown key" in run.stderr


def test_a_netcdf_library_is_never_imported_by_a_component(prepared, ngen):
    """The stand-in makes importing one fail before the first object is made."""
    for own in (False, True):
        run = ngen(prepared(f"run-{own}", stored_forcing=own))
        assert run.status == 0, run.stderr


def test_what_ngen_asks_of_an_object_is_of_the_kinds_it_takes(prepared):
    bmi = DeltaModelBmi()
    bmi.initialize(str(models(prepared(model_params={})) / "cat-11223.yml"))
    names = [*bmi.get_input_var_names(), *bmi.get_output_var_names()]
    assert bmi.get_input_item_count() == len(bmi.get_input_var_names())
    assert bmi.get_output_item_count() == len(bmi.get_output_var_names())
    for name in names:
        assert (bmi.get_var_type(name), bmi.get_var_itemsize(name), bmi.get_var_nbytes(name)) == (
            "float64",
            8,
            8,
        )
        assert bmi.get_value_ptr(name).shape == (1,)
    assert bmi.get_var_units(RUNOFF) == "m"
    assert bmi.get_time_units() == "s"
    assert bmi.get_time_step() == 3600.0
    # In a bmi_multi the end time becomes a time_t.
    assert 0 < int(bmi.get_end_time()) < 2**63


def test_update_and_update_until_are_the_same(prepared, small):
    values = {
        "atmosphere_water__liquid_equivalent_precipitation_rate": 30.0,
        "land_surface_air__temperature": 9.0,
    }

    def run(name, until):
        bmi = DeltaModelBmi()
        bmi.initialize(str(models(prepared(name, pet="oudin", model_params={})) / "cat-11223.yml"))
        out = []
        for hour in range(60):
            for variable, value in values.items():
                bmi.set_value(variable, np.array([value]))
            if until:
                bmi.update_until(bmi.get_current_time() + 3600.0)
            else:
                bmi.update()
            out.append(bmi.get_value_ptr(RUNOFF)[0])
            assert bmi.get_current_time() == 3600.0 * (hour + 1)
        return out

    assert run("one", True) == run("two", False)


def test_what_is_read_is_written_into_the_array_that_came(prepared):
    bmi = DeltaModelBmi()
    bmi.initialize(str(models(prepared(model_params={})) / "cat-11223.yml"))
    values = np.full(1, np.nan)
    assert bmi.get_value_at_indices(RUNOFF, values, np.zeros(1, dtype=np.int32)) is values
    assert values[0] == 0.0


def test_a_forcing_that_is_not_legal_ends_the_run_and_names_catchment_and_step(
    prepared, ngen, change, small, tmp_path, write_forcing
):
    write, weather = write_forcing
    values = weather(96, 5)
    values["TMP_2maboveground"][3, 30] = np.nan
    write(tmp_path / "f.nc", small.ids, values, np.datetime64("2015-12-01"))
    folder = prepared()
    change(folder, lambda d: d["global"]["forcing"].update(path=str(tmp_path / "f.nc")))
    run = ngen(folder)
    assert run.status == 134
    assert "land_surface_air__temperature" in run.stderr
    assert f"'{small.ids[3]}'" in run.stderr
    assert "step 30" in run.stderr


def test_a_list_that_is_too_short_is_refused_where_ngen_hands_over_what_nobody_set(prepared, ngen, change):
    folder = prepared()
    change(
        folder,
        lambda d: d["global"]["formulations"][0]["params"].update(model_params={"phy.SUZ": [7.5]}),
    )
    run = ngen(folder)
    assert run.status == 0
    assert "Skipping parameter: phy.SUZ" in run.stderr
    # In ngen itself what nobody set is a legal number in one catchment of some, here in none.
    assert re.search(r"'phy.SUZ' of catchment 'cat-\d+' cannot be .*e-310", run.stderr)
    assert "finite values per catchment" in run.stderr
