"""What a check finds in several modules, the configuration that they share, and the hydrofabric."""

import re
import shutil
import sqlite3

import numpy as np
import pytest
import yaml
from realizations import RUNOFF, P, found, module, with_params

# -- several modules ------------------------------------------------------------------


def test_9_a_balance_check_above_the_modules_is_ignored_by_ngen(prepared, change):
    folder = prepared(multi=True)
    change(folder, with_params(mass_balance={"tolerance": 1e-6}))
    assert "ignored at the level of bmi_multi" in found(folder)[0]


@pytest.mark.parametrize("alias", ["precip_rate", P, "TMP_2maboveground"])
def test_12_an_output_must_not_be_called_like_a_forcing(prepared, change, alias):
    folder = prepared(multi=True)
    change(folder, lambda d: module(d)["modules"][0]["params"].update(variables_names_map={RUNOFF: alias}))
    assert any("is the name of a forcing" in text for text in found(folder))


def test_12_modules_must_not_share_output_names(prepared, change, ngen):
    folder = prepared(multi=True)
    change(folder, lambda d: module(d)["modules"].append(module(d)["modules"][0]))
    assert any("another module's output" in text for text in found(folder))
    assert ngen(folder).status == 134


def test_a_module_of_another_package_may_provide_what_is_missing(prepared, change, bundle):
    folder = prepared(multi=True)
    foreign = {
        "name": "bmi_c",
        "params": {"name": "bmi_c", "init_config": "x", "main_output_variable": "PET"},
    }
    change(folder, lambda d: module(d)["modules"].insert(0, foreign))
    shared = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    content = yaml.safe_load(shared.read_text())
    del content["pet"]
    shared.write_text(yaml.safe_dump(content))
    assert found(folder) == []


# -- the shared configuration ---------------------------------------------------------


SHARED = {
    "6 the model's own step": (lambda c: c.pop("time_step"), "write time_step: 3600"),
    "6 an end before the last step": (
        lambda c: c.update(end_time="2015-12-03T23:00:00"),
        "end_time is before the end",
    ),
    "12 no PET": (lambda c: c.pop("pet"), r"potential_evaporation.*pet: \{method"),
    "an unknown key": (lambda c: c.update(tmie_step=1), "tmie_step.*time_step"),
    "7 a restart and states": (
        lambda c: c.update(restart={"read": "{id}.state"}),
        "cat-11223.state: cannot be read",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_mistake_in_the_shared_configuration_is_found(prepared, name):
    edit, message = SHARED[name]
    folder = prepared()
    path = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content))
    stops = found(folder)
    assert any(re.search(message, text) for text in stops), stops


def test_7_a_state_that_model_params_set_replaces_a_restart(prepared, ngen):
    folder = prepared(save_every=24.0)
    assert ngen(folder).status == 0
    with pytest.raises(ValueError, match="replaces its value"):
        prepared(
            "again",
            start=np.datetime64("2015-12-03"),
            restart=True,
            before=lambda root: shutil.copytree(folder / "outputs" / "states", root / "outputs" / "states"),
        )


def test_2_a_catchment_without_a_configuration_is_named(prepared):
    folder = prepared()
    (folder / "config" / "cat_config" / "DMG_BMI" / "cat-11224.yml").unlink()
    assert "[cat-11224]" in found(folder)[0]


def test_a_catchment_that_the_table_lacks_is_named(prepared):
    folder = prepared()
    table = folder / "config" / "cat_config" / "DMG_BMI" / "catchments.csv"
    table.write_text("".join(line for line in table.open() if "cat-11371" not in line))
    assert any("not in the table of catchments [cat-11371]" in text for text in found(folder))


def test_without_a_date_days_count_from_the_first_step(prepared):
    folder = prepared()
    path = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    content = yaml.safe_load(path.read_text())
    del content["start_time"]
    path.write_text(yaml.safe_dump(content))
    assert found(folder) == []
    assert any("days count from the first step" in text for text in found(folder, "warning"))


# -- the hydrofabric ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "UPDATE divides SET areasqkm = NULL WHERE divide_id = 'cat-11371'",
            "areasqkm is missing.*cat-11371",
        ),
        ("UPDATE divides SET areasqkm = 0.0 WHERE divide_id = 'cat-11371'", "areasqkm is missing.*cat-11371"),
        ("UPDATE divides SET toid = NULL WHERE divide_id = 'cat-11371'", "drain to nothing.*cat-11371"),
        (
            "UPDATE divides SET divide_id = 'cat-11223' WHERE divide_id = 'cat-11371'",
            "appear twice.*cat-11223",
        ),
        ("ALTER TABLE divides DROP COLUMN areasqkm", "no column areasqkm"),
    ],
)
def test_13_a_divide_without_area_or_nexus_is_found(prepared, sql, message):
    folder = prepared()
    (fabric,) = (folder / "config").glob("*.gpkg")
    with sqlite3.connect(fabric) as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        file.execute(sql)
    file.close()
    stops = found(folder)
    assert any(re.search(message, text) for text in stops), stops
