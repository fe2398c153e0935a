"""``dmg-bmi parameters``: the parameters of any bundle for any table of attributes."""

import csv

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.cli import main
from dmg_bmi.io import netcdf
from dmg_bmi.model.registry import build_process_model
from dmg_bmi.synthetic.basins import generate

SHOWN = ("aridity", "elev_mean")


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def saved(folder, nn, phy_model, roles, **more):
    torch.manual_seed(0)
    model = DeltaModel.build(nn=nn, phy_model=phy_model, roles=roles, **more)
    Bundle(model, "small").save(folder)
    return model.eval()


@pytest.fixture
def dataset():
    return generate(3, 1, seed=5)


@pytest.fixture
def table(dataset, tmp_path):
    path = tmp_path / "attributes.csv"
    lines = [f"id,{','.join(SHOWN)},unused"]
    for k, basin in enumerate(dataset.ids):
        lines.append(",".join([basin, *(f"{float(dataset.attributes[n][k])!r}" for n in SHOWN), "1"]))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def weather(dataset, tmp_path):
    netcdf.write(tmp_path / "weather.nc", dataset)
    return tmp_path / "weather.nc"


def command(tmp_path, table, *more):
    output = tmp_path / "parameters.csv"
    status = main(
        ["parameters", str(tmp_path / "bundle"), "--attributes", str(table), "--output", str(output), *more]
    )
    return status, output


def test_static_parameters_are_what_the_network_says(dataset, table, tmp_path):
    phy = {"name": "hbv", "nmul": 3, "routing": 4}
    model = saved(tmp_path / "bundle", {"name": "mlp", "hidden_sizes": [5]}, phy, [{"attributes": SHOWN}])
    status, output = command(tmp_path, table)
    assert status == 0
    attributes = {name: torch.from_numpy(dataset.attributes[name]) for name in SHOWN}
    constants = model.precompute(attributes, 3)
    declared = model.process_models["phy"].declaration.parameters
    found = rows(output)
    assert len(found) == 3 * len(declared)
    for row in found:
        values = constants[f"phy.{row['parameter']}"][dataset.ids.index(row["catchment"])].detach()
        p = model.process_models["phy"].declaration.parameter(row["parameter"])
        assert float(row["value"]) == pytest.approx(float(values.mean()), rel=1e-5)
        assert (float(row["lower"]), float(row["upper"]), row["units"]) == (p.lower, p.upper, p.units)
        assert row["std_members"] == row["std_time"] == ""
        if p.shape:
            assert float(row["std_components"]) == pytest.approx(np.std(values.numpy()), rel=1e-4)
        else:
            assert row["std_components"] == ""


def test_members_of_an_ensemble_are_one_line_with_their_spread(dataset, table, tmp_path):
    nn = {f"nn_{k}": {"name": "mlp", "hidden_sizes": [4]} for k in (1, 2)}
    phy = {f"phy_{k}": {"name": "gr4j"} for k in (1, 2)}
    roles = [{"network": f"nn_{k}", "model": f"phy_{k}", "attributes": SHOWN} for k in (1, 2)]
    model = saved(tmp_path / "bundle", nn, phy, roles)
    status, output = command(tmp_path, table)
    assert status == 0
    constants = model.precompute({n: torch.from_numpy(dataset.attributes[n]) for n in SHOWN}, 3)
    found = rows(output)
    assert len(found) == 3 * 4
    for row in found:
        k = dataset.ids.index(row["catchment"])
        both = [float(constants[f"phy_{m}.{row['parameter']}"][k].mean()) for m in (1, 2)]
        assert row["model"] == "gr4j"
        assert float(row["value"]) == pytest.approx(np.mean(both), rel=1e-5)
        assert float(row["std_members"]) == pytest.approx(np.std(both), rel=1e-4)


def test_parameters_that_follow_the_weather_need_it(dataset, table, weather, tmp_path, capsys):
    nn = {"slow": {"name": "mlp", "hidden_sizes": [4]}, "fast": {"name": "lstm", "hidden_size": 4}}
    roles = [
        {"network": "slow", "attributes": SHOWN},
        {"network": "fast", "inputs": ["P", "T"], "dynamic": ["BETA"]},
    ]
    model = saved(tmp_path / "bundle", nn, {"name": "hbv", "nmul": 2}, roles)
    assert command(tmp_path, table)[0] == 2
    assert "depend on P, T; give --forcing" in capsys.readouterr().err
    assert not (tmp_path / "parameters.csv").exists()
    status, output = command(tmp_path, table, "--forcing", str(weather), "--start", "2000-10-11")
    assert status == 0
    forcing = {n: torch.from_numpy(dataset.forcing[n][10:]) for n in ("P", "T", "PET")}
    attributes = {n: torch.from_numpy(dataset.attributes[n]) for n in SHOWN}
    beta = model.learned_parameters(forcing, attributes)["phy.BETA"].detach().numpy()
    for row in rows(output):
        changes = row["parameter"] == "BETA"
        assert (row["std_time"] != "") == changes
        if changes:
            series = beta[:, dataset.ids.index(row["catchment"])]
            assert float(row["value"]) == pytest.approx(series.mean(), rel=1e-4)
            assert float(row["std_time"]) == pytest.approx(series.mean(1).std(), rel=1e-3)
            assert float(row["std_components"]) == pytest.approx(series.mean(0).std(), rel=1e-3)


def test_parameters_that_attributes_give_are_listed_with_what_they_give(tmp_path):
    declared = build_process_model({"name": "gr4j"}).declaration.parameters
    saved(tmp_path / "bundle", None, {"name": "gr4j"}, [], fixed={p.name: p.name for p in declared})
    middle = {p.name: (p.lower + p.upper) / 2 for p in declared}
    path = tmp_path / "table.csv"
    path.write_text(f"id,{','.join(middle)}\none,{','.join(map(str, middle.values()))}\n")
    status, output = command(tmp_path, path)
    assert status == 0
    assert {row["parameter"]: float(row["value"]) for row in rows(output)} == pytest.approx(middle, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,aridity\na,1\n", "attribute 'elev_mean' is missing"),
        ("id,aridity,elev_mean\na,much,1\n", "much"),
        ("id,aridity,elev_mean\na,,1\n", "aridity"),
        ("id,aridity,elev_mean\na,1,1\na,1,1\n", "twice"),
        ("id,aridity,elev_mean\na,-9999,1\n", "-9999"),
    ],
)
def test_a_wrong_table_is_refused(text, message, tmp_path, capsys):
    saved(tmp_path / "bundle", {"name": "mlp"}, {"name": "gr4j"}, [{"attributes": SHOWN}])
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert command(tmp_path, path)[0] == 2
    assert message in capsys.readouterr().err


def test_a_network_alone_has_none(table, tmp_path, capsys):
    saved(
        tmp_path / "bundle",
        {"name": "lstm", "hidden_size": 4},
        None,
        [{"role": "output", "inputs": ["P"], "attributes": SHOWN, "outputs": ["Q"]}],
    )
    assert command(tmp_path, table)[0] == 2
    assert "no parameters that differ" in capsys.readouterr().err


def test_a_shipped_bundle_is_found_by_its_name(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text("id,aridity\na,1\n")
    arguments = ["--attributes", str(path), "--output", str(tmp_path / "out.csv")]
    assert main(["parameters", "demo_daily", *arguments]) == 2
    assert "is missing" in capsys.readouterr().err
    assert main(["parameters", "no_bundle", *arguments]) == 2
