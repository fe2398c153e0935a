"""Every mistake that `ngen` passes over, or dies of, is found before a run and says what to change.

Section numbers are those of the notes on what ngen does: 1 process, 2 life of an object, 3 set_value, 6
time, 7 model_params, 8 units, 9 mass balance, 12 names and forcing, 13 outputs, 14 layers, 15 cache.
"""

import json
import re

import pytest
from realizations import RUNOFF, P, found, module, with_params, with_time

from dmg_bmi.errors import NextGenError

ET = "land_surface_water__evapotranspiration_depth"
FLOW = "land_surface_water_source__volume_flow_rate"


def with_balance(**keys):
    return lambda document: module(document)["mass_balance"].update(keys)


def test_what_prepare_writes_is_clean(prepared):
    for multi in (False, True):
        folder = prepared(f"clean-{multi}", multi=multi)
        assert found(folder) == []
        assert found(folder) == []  # and a check leaves nothing behind


#: What is changed in the realization; what is said of it.
STOPS = {
    # 1, 2
    "1 python_type without a module": (
        with_params(python_type="DeltaModelBmi"),
        "no module; write dmg_bmi.DeltaModelBmi",
    ),
    "1 module_path": (with_params(module_path="./nowhere"), "module_path: ./nowhere is not a folder"),
    "2 init_config": (with_params(init_config="./config/{{id}}.yml"), "no such files.*cat-11223"),
    # 6
    "6 output_interval of a day": (with_time(output_interval=86400), "output_interval: 86400.*write 3600"),
    "6 start with a T": (
        with_time(start_time="2015-12-01T00:00:00"),
        "must be written like 2015-12-01 00:00:00",
    ),
    "6 start with a zone": (
        with_time(start_time="2015-12-01 00:00:00-06:00"),
        "must be written like 2015-12-01 00:00:00",
    ),
    "6 a day that no month has": (
        with_time(end_time="2015-11-31 00:00:00"),
        r"time.end_time: the date '2015-11-31 00:00:00' is not understood",
    ),
    "6 no date": (with_time(end_time="soon"), "'soon' must be written like"),
    "6 end before start": (with_time(end_time="2015-11-01 00:00:00"), "is before start_time"),
    "6 calendar": (
        with_time(start_time="2015-12-01 01:00:00"),
        "start_time .* is not that of the realization",
    ),
    # 7
    "7 unknown parameter": (
        with_params(model_params={"FC": 1.0}),
        "model_params.FC: no such variable",
    ),
    "7 text": (with_params(model_params={"phy.SM": "wet"}), "'wet' is not a number"),
    "7 boolean": (with_params(model_params={"phy.SM": True}), "True is not a number"),
    "7 null": (with_params(model_params={"phy.SM": None}), "None is not a number"),
    "7 too short": (
        with_params(model_params={"phy.SM": 5.0}),
        "has 1 numbers, phy.SM has 2.*arbitrary memory",
    ),
    "7 too long": (with_params(model_params={"phy.SM": [1, 2, 3]}), "has 3 numbers, phy.SM has 2"),
    "7 NaN": (with_params(model_params={"phy.SM": ["NaN", 1.0]}), "nan is not a plausible value"),
    "7 an input": (with_params(model_params={P: 1.0}), "is an input"),
    "7 another source": (
        with_params(model_params={"phy.SUZ": {"source": "csv"}}),
        "'csv' is unknown and ends ngen",
    ),
    "7 a column that is not there": (
        with_params(model_params={"phy.SUZ": {"source": "hydrofabric", "from": "twi"}}),
        "no column twi .*silently",
    ),
    "7 a column without numbers": (
        with_params(model_params={"phy.SUZ": {"source": "hydrofabric", "from": "ds_id"}}),
        "ds_id is not a number.*cat-11223",
    ),
    "7 empty names map": (
        with_params(variables_names_map={}),
        "variables_names_map: an empty object ends ngen",
    ),
    "7 empty mass_balance": (with_params(mass_balance={}), "mass_balance: an empty object"),
    "7 empty model_params": (with_params(model_params={}), "model_params: an empty object"),
    # 8
    "8 an amount for a rate": (
        with_params(variables_names_map={P: "PRES_surface"}),
        "units 'Pa' cannot become 'mm d-1'",
    ),
    "8 a temperature for rain": (
        with_params(variables_names_map={P: "TMP_2maboveground"}),
        "units 'K' cannot become 'mm d-1'",
    ),
    # 9
    "9 the tolerance by default": (with_params(mass_balance={"check": True}), "tolerance must be given"),
    "9 only at the end": (with_balance(frequency=-1), "negative frequency never checks"),
    "9 switched off": (with_balance(frequency=0), "frequency 0 switches"),
    # 12
    "12 uses_forcing_file": (with_params(uses_forcing_file=True), "uses_forcing_file.*ends ngen"),
    "12 forcing_file": (with_params(forcing_file="a.csv"), "uses_forcing_file.*ends ngen"),
    "12 an alias of nothing": (
        with_params(variables_names_map={"rain": "precip_rate"}),
        "rain: neither inputs nor outputs",
    ),
    "12 an alias to nothing": (
        with_params(variables_names_map={P: "rain"}),
        "nothing provides rain, which ends ngen",
    ),
    "12 no provider": (
        lambda d: d["global"].update(forcing={"provider": "NullForcingProvider"}),
        "nothing provides",
    ),
    "12 the wrong provider": (
        lambda d: d["global"]["forcing"].update(provider="CsvPerFeature"),
        "CsvPerFeature does not read",
    ),
    "12 no path": (lambda d: d["global"]["forcing"].pop("path"), "forcing.path: is missing"),
    "12 no file": (lambda d: d["global"]["forcing"].update(path="./no.nc"), "no such forcing"),
    "12 the forcing starts later": (
        with_time(start_time="2015-11-30 00:00:00"),
        "begins 2015-12-01.*after the run's start",
    ),
    "12 the forcing ends earlier": (
        with_time(end_time="2015-12-31 00:00:00"),
        "asks for a record of 2015-12-31T00:00:00",
    ),
    # 13
    "13 a flow as depth": (
        with_params(main_output_variable=FLOW),
        f"{FLOW} is in m3 s-1, and ngen would take .* metres",
    ),
    "13 no output": (with_params(main_output_variable="Q_OUT"), f"Q_OUT is not an output; .*{RUNOFF}"),
    "13 an unpublished column": (
        with_params(output_variables=[RUNOFF, "phy.SM"]),
        "phy.SM: not published outputs",
    ),
    "13 an input as column": (with_params(output_variables=[P]), f"{P}: not published outputs"),
    # 14
    "13 output_root beside an output block": (
        lambda d: d["output"].pop("root"),
        "output_root: is ignored where there is an output block",
    ),
    "14 layer 0 again": (
        lambda d: d.update(layers=[{"id": 0, "time_step": 3600}]),
        "layer 0 exists already",
    ),
    "14 a daily layer": (
        lambda d: d.update(layers=[{"id": 1, "time_step": 86400}]),
        "gives its step to the surface",
    ),
    "14 a domain": (
        lambda d: d.update(layers=[{"id": 1, "domain": "catchments"}]),
        "reaches no catchment and no nexus",
    ),
    "no formulation": (lambda d: d["global"].update(formulations=[]), "formulations: is missing"),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_mistake_in_the_realization_is_found(prepared, change, name):
    edit, message = STOPS[name]
    folder = prepared()
    change(folder, edit)
    stops = found(folder)
    assert any(re.search(message, text) for text in stops), stops


def test_all_mistakes_of_a_realization_are_found_at_once(prepared, change):
    folder = prepared()

    def edit(document):
        document["time"]["output_interval"] = 86400
        module(document)["main_output_variable"] = FLOW
        module(document)["model_params"] = {"FC": 1.0}

    change(folder, edit)
    assert len(found(folder)) == 3


NOTES = {
    "6 fixed_time_step": (with_params(fixed_time_step=True), "fixed_time_step: has no effect"),
    "13 output_precision": (with_params(output_precision=9), "has no effect .output.precision"),
    "13 headers": (with_params(output_header_fields=["a", "b"]), "2 for 1 output_variables"),
    "15 cache": (lambda d: module(d).pop("cache_input_variable_metadata"), "saves half of the calls"),
    "9 check is false": (with_balance(check=False), "nothing is checked"),
    "other catchments": (
        lambda d: d.update(catchments={"cat-1": {"formulations": []}}),
        "not in the hydrofabric .cat-1",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_has_no_effect_is_noted(prepared, change, name):
    edit, message = NOTES[name]
    folder = prepared()
    change(folder, edit)
    assert found(folder) == []
    assert any(re.search(message, text) for text in found(folder, "warning"))


# -- the hydrofabric ---------------------------------------------------------------------


def test_a_block_of_a_catchment_without_formulations_is_found(prepared):
    folder = prepared()
    path = folder / "config" / "realization.json"
    document = json.loads(path.read_text()) | {"catchments": {"cat-11371": {}}}
    path.write_text(json.dumps(document))
    assert any("catchments.cat-11371.formulations: is missing" in text for text in found(folder))


def test_a_realization_that_is_no_json_is_said(prepared):
    folder = prepared()
    path = folder / "config" / "realization.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="is not valid JSON"):
        found(folder)


def test_a_model_without_a_balance_would_switch_the_check_off(prepared, change, tmp_path):
    from dmg_bmi.model.bundle import Bundle
    from dmg_bmi.model.delta_model import DeltaModel

    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4},
        roles=[{"role": "output", "inputs": ["P", "T"], "outputs": ["Q"]}],
        statistics={"Q": {"mean": 1.0, "std": 1.0, "units": "mm"}},
    )
    Bundle(model, "network").save(tmp_path / "network")
    with pytest.raises(ValueError, match="no water balance"):
        prepared(bundle=str(tmp_path / "network"), pet=None, model_params={})
    assert json.loads((tmp_path / "run" / "config" / "realization.json").read_text())


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d.update({"global": None}), "global must be an object of keys and values, not null"),
        (lambda d: d["global"].update(formulations=3), "global.formulations must be a list, not 3"),
        (lambda d: d["global"].update(formulations=[3]), r"global.formulations\[0\] must be an object"),
        (lambda d: d.update(layers=3), "layers must be a list, not 3"),
        (lambda d: d.update(layers=[None]), r"layers\[0\] must be an object .*, not null"),
        (lambda d: d.update(time=[]), "time must be an object"),
        (lambda d: d.update(output={"catchment": 1}), "output.catchment must be an object"),
        (lambda d: d.update(catchments={"cat-1": "x"}), "catchments.cat-1 must be an object"),
        (with_params(init_config=3), "params.init_config must be text, not 3"),
        (with_params(variables_names_map={"P": 3}), "params.variables_names_map.P must be text, not 3"),
        (with_params(mass_balance={"tolerance": "x"}), "mass_balance.tolerance must be a number, not 'x'"),
        (
            with_params(mass_balance={"frequency": True}),
            "mass_balance.frequency must be a number",
        ),
        (with_params(output_variables="Q"), "params.output_variables must be a list, not 'Q'"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_place(prepared, change, edit, said):
    folder = prepared()
    change(folder, edit)
    with pytest.raises(NextGenError, match=rf"realization\.json: .*{said}"):
        found(folder)
