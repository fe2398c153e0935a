"""What is exported runs without this package, and gives the same numbers."""

import re

import pytest
import torch
import yaml
from torch import nn

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.cli import main
from dmg_bmi.interop.export import export_networks

SHIPPED = ["demo_daily", "demo_hourly"]


def table(page, heading):
    """Cells of the rows of a table of the page, after a header that begins so."""
    rows = page[page.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def section(page, network):
    return page[page.index(f"## {network}.pt") :].split("\n## ")[0]


def test_plain_pytorch_and_the_page_alone_give_an_lstms_parameters(tmp_path):
    torch.manual_seed(0)
    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 5, "dropout": 0.5},
        phy_model={"name": "hbv", "nmul": 2},
        roles=[{"inputs": ["P", "T"], "attributes": ["slope"], "dynamic": ["BETA"], "freeze_after": 1}],
        statistics={
            "P": {"mean": 0.2, "std": 0.5, "transform": "log_sqrt", "units": "mm"},
            "T": {"mean": 4.0, "std": 9.0},
        },
    ).eval()
    export_networks(Bundle(model, "exported", "for a test"), tmp_path / "out")
    page = section((tmp_path / "out" / "README.md").read_text(encoding="utf-8"), "nn")
    weights = torch.load(tmp_path / "out" / "nn.pt", weights_only=True)
    forcing = {"P": torch.tensor([[0.0], [3.0], [8.0]]), "T": torch.tensor([[2.0], [-4.0], [11.0]])}
    slope = torch.tensor([7.0])

    columns = []
    for name, mean, std, transform, _ in table(page, "shown"):
        value = {**forcing, "slope": slope.expand(3, 1)}[name]
        value = torch.log10(value.sqrt() + 0.1) if transform == "log_sqrt" else value
        columns.append((value - float(mean)) / float(std))
    x = torch.stack(columns, -1)
    linear_in, lstm, linear_out = nn.Linear(3, 5), nn.LSTM(5, 5), nn.Linear(5, len(table(page, "output")))
    for name, part in (("linear_in", linear_in), ("lstm", lstm), ("linear_out", linear_out)):
        part.load_state_dict(
            {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(name)}
        )
    y = linear_out(lstm(torch.relu(linear_in(x)))[0])
    outputs = [what for _, what in table(page, "output")]
    place = next(k for k, what in enumerate(outputs) if what.startswith("BETA[1]"))
    lower, width = map(float, re.search(r"= (\S+) \+ (\S+) \* sigmoid", outputs[place]).groups())
    by_page = lower + width * torch.sigmoid(y[..., place])

    raw = []
    model.networks["nn"].register_forward_hook(lambda network, inputs, output: raw.append(output[0]))
    model({**forcing, "PET": torch.ones(3, 1)}, {"slope": slope})
    binding = model.roles[0].bind(model.process_models, model.statistics)
    used = binding.split(binding.to_physical(raw[0], torch.float32))["BETA"][..., 1]
    assert torch.allclose(by_page, used, rtol=1e-5)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_network_of_a_shipped_bundle_is_written_whole(name, tmp_path):
    assert main(["export", name, "--output", str(tmp_path / "out")]) == 0
    bundle = Bundle.load(name)
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    described = yaml.safe_load((tmp_path / "out" / "model.yaml").read_text(encoding="utf-8"))
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "README.md",
        "model.yaml",
        *(f"{key}.pt" for key in bundle.model.networks),
    }
    for key, network in bundle.model.networks.items():
        weights = torch.load(tmp_path / "out" / f"{key}.pt", weights_only=True)
        network.load_state_dict(weights, strict=True)
        assert len(table(section(page, key), "output")) == network.n_outputs
        assert len(table(section(page, key), "shown")) == network.n_inputs
    again = DeltaModel.build(**described)
    assert again.describe() == bundle.model.describe()


def test_a_river_without_networks_is_refused(tmp_path, capsys):
    assert main(["export", "muskingum_cunge", "--output", str(tmp_path / "out")]) == 2
    assert "has no network to export" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    assert main(["export", "demo_daily", "--output", str(tmp_path / "out")]) == 2
    assert [f.read_text() for f in (tmp_path / "out").iterdir()] == ["mine"]
