"""A step as ONNX, run by onnxruntime as its page says, gives the component's answers."""

import json
import re

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.cli import main
from dmg_bmi.model.bundle import BundleInfo

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
pytest.importorskip("onnxscript", reason="install the extra onnx")
ROWS, DAYS = 7, 40


def weather(model, rows, seed=3):
    rng = np.random.default_rng(seed)
    by_name = {
        "P": rng.gamma(0.4, 12.0, (DAYS, rows)),
        "T": rng.uniform(-6.0, 18.0, (DAYS, rows)),
        "PET": rng.uniform(0.0, 4.0, (DAYS, rows)),
    }
    return {name: by_name[name] for name in model.forcing_names}


def by_page(folder, attributes, forcing, rows):
    """Run the page's own lines; return fluxes ``[days, rows]`` and the last state."""
    page = (folder / "README.md").read_text(encoding="utf-8")
    code = "\n".join(line[4:] for line in re.findall(r"^    .*$|^$", page[page.index("    import") :], re.M))
    code = code.replace("rows = 2", f"rows = {rows}").replace("model.json", str(folder / "model.json"))
    for name in ("step.onnx", "constants.onnx"):
        code = code.replace(f'"{name}"', repr(str(folder / name)))
    code = re.sub(r"^    print\(.*", "    results.append(result)", code, flags=re.M)
    days = [{f"forcing.{n}": v[t : t + 1] for n, v in forcing.items()} for t in range(DAYS)]
    space = {"VALUE_OF": attributes, "DAYS": days, "results": []}
    exec(compile(code, "README.md", "exec"), space)  # its lines are ours
    results = space["results"]
    assert len(results) == DAYS
    fluxes = {n[5:]: np.concatenate([r[n] for r in results]) for n in results[0] if n.startswith("flux.")}
    return fluxes, {n[6:]: v for n, v in space["state"].items()}


def check(folder, bundle, rows=ROWS):
    """Against our own steps: physics in float64 under networks in float32."""
    model = BundleInfo.read(bundle).load_model().eval()
    attributes = {n: np.linspace(0.5, 1.5, rows) * 100.0 for n in model.attribute_names}
    forcing = weather(model, rows)
    found, last = by_page(folder, attributes, forcing, rows)
    with torch.no_grad():
        fluxes, state = model(
            {n: torch.from_numpy(v) for n, v in forcing.items()},
            {n: torch.from_numpy(v) for n, v in attributes.items()},
        )
    assert {*found} == {*fluxes}
    for name, expected in fluxes.items():
        level = name in {f.name for f in model.declaration.fluxes if f.aggregation == "last"}
        within = 1e-3 if level else 1e-6
        np.testing.assert_allclose(found[name], expected.numpy(), rtol=1e-5, atol=within, err_msg=name)
    for name, expected in state.items():
        np.testing.assert_allclose(last[name], expected.numpy(), rtol=1e-5, atol=1e-3, err_msg=name)
    assert float(np.abs(found["Q"]).sum()) > 0


@pytest.mark.parametrize("bundle", ["demo_daily", "demo_hourly"])
def test_a_shipped_bundle_runs_without_this_package(bundle, tmp_path, capsys):
    assert main(["export", bundle, "--onnx", "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip().endswith("README.md")
    check(tmp_path / "out", bundle)
    check(tmp_path / "out", bundle, rows=1)


def test_recurrent_networks_keep_their_state_and_frozen_parameters(tmp_path):
    torch.manual_seed(1)
    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 6},
        phy_model={"name": "hbv_1_1p", "nmul": 3, "routing": 6},
        roles=[
            {"inputs": ["P", "T", "PET"], "attributes": ["slope"], "dynamic": ["BETA"], "freeze_after": 20}
        ],
        statistics={"P": {"mean": 4.0, "std": 9.0}, "T": {"mean": 6.0, "std": 9.0}},
    )
    Bundle(model, "recurrent").save(tmp_path / "bundle")
    assert main(["export", str(tmp_path / "bundle"), "--onnx", "--output", str(tmp_path / "out")]) == 0
    check(tmp_path / "out", tmp_path / "bundle")


def test_names_carry_units_and_meanings(tmp_path):
    assert main(["export", "demo_daily", "--onnx", "--output", str(tmp_path / "out")]) == 0
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["forcing"]["P"]["units"] == "mm"
    assert about["fluxes"]["Q"]["meaning"]
    assert about["step_seconds"] == 86400.0


def test_what_has_no_step_of_its_own_is_refused(tmp_path, capsys):
    assert main(["export", "muskingum_cunge", "--onnx", "--output", str(tmp_path / "out")]) == 2
    assert "its rows act on each other along a graph" in capsys.readouterr().err
