"""xarray Datasets in and out: what a bundle computes of them is what the component computes of files."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from weathers import weather

from dmg_bmi.cli import main
from dmg_bmi.datasets import from_xarray, parameters, sensitivity, simulate, to_xarray
from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError
from dmg_bmi.io import netcdf
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.model.variables import Variable
from dmg_bmi.runtime.catchments import attributes_of

xarray = pytest.importorskip("xarray", reason="install the extra xarray")
DEMOS = {"demo_daily": 86400.0, "demo_hourly": 3600.0}


@pytest.fixture(scope="module", params=DEMOS.items(), ids=DEMOS)
def case(request):
    """A bundle, and 60 steps of three basins as a dataset of ours."""
    bundle, step = request.param
    data = weather(("synthetic-001", "synthetic-002", "synthetic-003"), 60, step)
    return bundle, replace(data, target={"Q": 0.3 * data.forcing["P"]}, units=data.units | {"Q": "mm"})


def test_a_dataset_comes_back_as_it_was(case):
    _, data = case
    back = from_xarray(to_xarray(data))
    assert (back.ids, back.step) == (data.ids, data.step)
    np.testing.assert_array_equal(back.times, data.times)
    for group in ("forcing", "target", "attributes"):
        ours, theirs = getattr(data, group), getattr(back, group)
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            np.testing.assert_array_equal(theirs[name], values)
            assert back.units[name] == data.units.get(name, "")


def test_a_file_of_ours_opens_as_a_dataset_and_one_of_theirs_is_read(case, tmp_path):
    _, data = case
    netcdf.write(tmp_path / "ours.nc", data)
    with xarray.open_dataset(tmp_path / "ours.nc") as opened:
        back = from_xarray(opened)
    assert back.ids == data.ids
    assert back.target.keys() == data.target.keys()
    to_xarray(data).to_netcdf(tmp_path / "theirs.nc")
    np.testing.assert_array_equal(netcdf.read(tmp_path / "theirs.nc").forcing["P"], data.forcing["P"])


def test_it_simulates_what_a_run_does(case, tmp_path):
    bundle, data = case
    netcdf.write(tmp_path / "forcing.nc", data)
    names = Bundle.load(bundle).model.attribute_names
    values = {name: data.attributes[name].tolist() for name in names}
    config = {"bundle": bundle, "catchments": {"ids": [*data.ids], "attributes": values}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config | {"time_step": data.step}))
    command = ["run", tmp_path / "run.yaml", "--forcing", tmp_path / "forcing.nc", "--output", tmp_path]
    assert main([str(part) for part in command]) == 0
    stepped, whole = netcdf.read(tmp_path / "output.nc"), simulate(bundle, to_xarray(data))
    for name, array in whole.data_vars.items():
        np.testing.assert_allclose(array.values, stepped.forcing[name], rtol=1e-5, atol=1e-9)
        assert array.attrs["units"] == stepped.units[name]
    assert {"Q", "SWE"} <= {*whole.data_vars}


def test_units_and_the_order_of_dimensions_and_catchments_do_not_matter(case):
    bundle, data = case
    given = to_xarray(data)
    expected = simulate(bundle, given, ["Q"])
    other = given.isel(catchment=[2, 0, 1]).transpose("catchment", "time")
    other["T"] = (other["T"] + 273.15).assign_attrs(units="K")
    other["P"] = (other["P"] / 1000.0).assign_attrs(units="m")
    other = other.rename(P="atmosphere_water__liquid_equivalent_precipitation_rate")
    found = simulate(Bundle.load(bundle), other, ["Q"])
    xarray.testing.assert_allclose(found.sel(catchment=[*data.ids]), expected, rtol=1e-5, atol=1e-9)


def test_catchments_are_shared_out_by_dask(case):
    pytest.importorskip("dask.array", reason="dask is not installed")
    bundle, data = case
    given = to_xarray(data)
    expected = simulate(bundle, given, ["Q"])
    shared = given.chunk(catchment=1).map_blocks(
        partial(simulate, bundle, outputs=["Q"]), template=expected.chunk(catchment=1)
    )
    xarray.testing.assert_allclose(shared.compute(scheduler="threads"), expected, rtol=1e-5, atol=1e-9)


def test_blocks_of_catchments_do_not_matter(case, monkeypatch):
    bundle, data = case
    given = to_xarray(data)
    functions = (partial(simulate, bundle), partial(parameters, bundle), partial(sensitivity, bundle))
    whole = [function(given) for function in functions]
    monkeypatch.setattr("dmg_bmi.datasets.BLOCK", 1)
    for function, expected in zip(functions, whole, strict=True):
        xarray.testing.assert_allclose(function(given), expected, rtol=1e-5, atol=1e-7)


def test_parameters_lie_within_their_bounds_and_differ_by_catchment(case):
    bundle, data = case
    model = Bundle.load(bundle).model
    found = parameters(bundle, to_xarray(data))
    declared = {
        f"{key}.{p.name}": p for key, m in model.process_models.items() for p in m.declaration.parameters
    }
    assert {*found.data_vars} >= set(model.learned)
    for name, array in found.data_vars.items():
        parameter = declared[name]
        assert (array >= parameter.lower - 1e-6).all()
        assert (array <= parameter.upper + 1e-6).all()
        assert (array.std("catchment") > 0).any()


def test_sensitivities_are_finite_differences(case):
    bundle, data = case
    given = to_xarray(data)
    given["P"] = given.P + 1.0
    given.P.attrs["units"] = data.units["P"]
    attribute = Bundle.load(bundle).model.attribute_names[0]
    found = sensitivity(bundle, given, "Q", ["P", "T", attribute])
    assert found["P"].dims == ("time", "catchment")
    assert found[attribute].dims == ("catchment",)
    # Networks are in single precision, so the difference is not small.
    for step in (0, 20):
        changed = {sign: given.copy(deep=True) for sign in (-1, 1)}
        for sign, one in changed.items():
            one["P"][step] += sign * 0.5
        up, down = (simulate(bundle, changed[sign], ["Q"]).Q.mean("time") * 1000.0 for sign in (1, -1))
        np.testing.assert_allclose(found["P"][step], up - down, rtol=0.2, atol=2e-4)


def without(name):
    return lambda ds: ds.drop_vars(name)


WRONG = {
    "no catchments": (
        lambda ds: ds.rename(catchment="basin"),
        ForcingError,
        "no dimension and coordinate 'c",
    ),
    "no times": (lambda ds: ds.drop_vars("time"), ForcingError, "no coordinate of its dimension 'time'"),
    "times that are numbers": (
        lambda ds: ds.assign_coords(time=range(60)),
        ForcingError,
        "convert it to dates",
    ),
    "uneven times": (lambda ds: ds.isel(time=[0, 1, 3]), ForcingError, "not evenly spaced"),
    "one time": (lambda ds: ds.isel(time=[0]), ForcingError, "two records"),
    "an id twice": (lambda ds: ds.isel(catchment=[0, 0, 1]), ForcingError, "twice"),
    "no rain": (without("P"), ForcingError, "has no P"),
    "no attribute": (without("aridity"), ForcingError, "no attribute 'aridity'"),
    "a gap": (lambda ds: ds.assign(P=ds.P.where(ds.P > 0.1)), ForcingError, "P is missing"),
    "no units": (lambda ds: ds.assign(P=ds.P.assign_attrs(units="")), ForcingError, "has no units"),
    "other units": (lambda ds: ds.assign(P=ds.P.assign_attrs(units="K")), ForcingError, "P: "),
    "an attribute that cannot be": (
        lambda ds: ds.assign(aridity=-9999 + 0 * ds.aridity),
        AttributeTableError,
        "ari",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(case, change, error, message):
    bundle, data = case
    with pytest.raises(error, match=message):
        simulate(bundle, change(to_xarray(data)))


def test_an_unknown_output_or_input_is_named(case):
    bundle, data = case
    given = to_xarray(data)
    for call in (
        partial(simulate, bundle, given, ["R"]),
        partial(sensitivity, bundle, given, "R"),
        partial(sensitivity, bundle, given, "Q", ["R"]),
    ):
        with pytest.raises(ConfigError, match=r"no (output|input) 'R'"):
            call()


def test_quantities_of_pint_are_refused_and_not_taken_as_numbers(case):
    class Quantity(np.lib.mixins.NDArrayOperatorsMixin):
        """As pint's: an array by duck typing, with a magnitude."""

        def __init__(self, values):
            self.magnitude, self.dtype, self.shape, self.ndim = (
                values,
                values.dtype,
                values.shape,
                values.ndim,
            )

        def __array_function__(self, *_):
            raise NotImplementedError

        def __array_ufunc__(self, *_, **__):
            raise NotImplementedError

    bundle, data = case
    given = to_xarray(data)
    given["P"] = (("time", "catchment"), Quantity(given.P.values))
    with pytest.raises(ForcingError, match="dequantify"):
        simulate(bundle, given)


def test_nothing_of_the_bundle_changes(case):
    bundle, data = case
    loaded = Bundle.load(bundle)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    for function in (simulate, parameters, sensitivity):
        function(loaded, to_xarray(data))
    assert all(torch.equal(before[name], value) for name, value in loaded.model.state_dict().items())


def test_without_xarray_it_is_told_what_to_install(case, monkeypatch):
    _, data = case
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ConfigError, match=r"pip install 'dmg_bmi\[xarray\]'"):
        to_xarray(data)


def example(number):
    """Return a snippet of the page of Datasets, to be run."""
    page = (Path(__file__).parents[2] / "docs" / "xarray.md").read_text()
    return compile(re.findall(r"```python\n(.*?)```", page, re.S)[number], "xarray.md", "exec")


def test_the_example_of_the_page_runs(capsys):
    exec(example(0), {})
    assert "gauge-2" in capsys.readouterr().out


@pytest.mark.slow
def test_the_example_of_a_training_on_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example(1), names)
    assert names["tuned"].scores["test"].ids == ("synthetic-003",)
    assert names["flow"].mean() > 0


def test_units_that_are_the_same_need_not_be_understood():
    """Those of CAMELS' climate, and of permeability, which NetCDF files have without its logarithm."""
    table = [
        Variable(n, n, "attribute", u, u, n)
        for n, u in (("dry", "d yr-1"), ("rock", "log10(m2)"), ("z", "m"))
    ]
    held = {name: np.array([2.0]) for name in ("dry", "rock", "z")}
    found = attributes_of(table, held, {"dry": "d yr-1", "rock": "1", "z": "km"}, "a file")
    assert {name: values.tolist() for name, values in found.items()} == {
        "dry": [2.0],
        "rock": [2.0],
        "z": [2000.0],
    }
    with pytest.raises(ConfigError, match="not understood at 'yr'"):
        attributes_of(table, held, {"dry": "h yr-1"}, "a file")


def test_ids_and_begins_of_a_dataset_are_those_of_a_file_of_it(case):
    _, data = case
    dataset = to_xarray(data).assign_coords(catchment=[b"1 ", b"2", b"3"])
    assert from_xarray(dataset).ids == ("1", "2", "3")
    assert from_xarray(dataset.assign_coords(catchment=[1.0, 2.0, 3.0])).ids == ("1", "2", "3")
    step = np.timedelta64(round(data.step), "s")
    ended = dataset.assign_coords(time=("time", data.times + step, {"bounds": "time_bnds"}))
    ended["time_bnds"] = (("time", "bnds"), np.stack([data.times, data.times + step], axis=1))
    np.testing.assert_array_equal(from_xarray(ended).times, data.times)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.rename(catchment="basin"), "no dimension and coordinate 'catchment', .*basin.* rename"),
        (lambda d: d.drop_vars("catchment"), "no coordinate of its dimension 'catchment'; add"),
        (lambda d: d.assign_coords(catchment=["a", "", "b"]), "catchment has rows without an id"),
        (lambda d: d["P"], "is DataArray, not a Dataset of xarray; to_dataset"),
        (lambda d: d.assign_coords(time=d.time.where(d.time != d.time[3])), r"time is missing \(NaT\)"),
    ],
)
def test_a_dataset_of_another_layout_is_refused_in_words(case, change, said):
    _, data = case
    with pytest.raises(ForcingError, match=f"the dataset: .*{said}"):
        from_xarray(change(to_xarray(data)))
