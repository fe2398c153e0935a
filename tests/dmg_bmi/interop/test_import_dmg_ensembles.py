"""Ensembles of dmg become the weighted sum of their models."""

import pytest
import torch
import yaml
from dmg_by_hand import Trap, by_hand, same_model, some_input
from dmg_models import H, lstm_weights, parts, write

from dmg_bmi import Bundle
from dmg_bmi.errors import ImportDmgError
from dmg_bmi.interop.import_dmg import import_dmg

ENSEMBLE = ("Hbv", "Hbv_1_1p")


def ensemble(folder, **multimodel):
    """A folder of an ensemble: two models and what weighs them."""
    for phy in ENSEMBLE:
        config, weights, statistics = parts(phy, ("BETA",))
        write(folder, config, weights, statistics)
    torch.save(lstm_weights("nn_model.", len(ENSEMBLE)), folder / "wnn_ep5.pt")
    config["multimodel_type"] = "nn_parallel"
    config["model"]["phy"] |= {
        "name": [*ENSEMBLE],
        "dynamic_params": {phy: ["parBETA"] for phy in ENSEMBLE},
    }
    config["multimodel"] = {
        "model": "LstmModel", "hidden_size": H, "mosaic": False, "scaling_function": "sigmoid", **multimodel,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@torch.no_grad()
def test_an_ensemble_gives_the_weighted_sum_of_its_models(tmp_path):
    bundle = import_dmg(ensemble(tmp_path / "both"))
    forcing, attributes = some_input()
    attributes |= {name: value.clone() for name, value in attributes.items()}
    fluxes, _ = bundle.model(forcing, attributes)
    members = []
    for phy in ENSEMBLE:
        single, _ = import_dmg(write(tmp_path / phy, *parts(phy, ("BETA",)))).model(forcing, attributes)
        members.append(single["Q"])
        torch.testing.assert_close(fluxes[f"{phy.lower()}.Q"], single["Q"])
    weights = torch.load(tmp_path / "both" / "wnn_ep5.pt", weights_only=True)
    raw = by_hand(weights, "nn_model.", forcing, attributes)
    expected = (raw.sigmoid() * torch.stack(members, -1)).sum(-1)
    torch.testing.assert_close(fluxes["Q"], expected, rtol=1e-5, atol=1e-6)
    assert {b.out for b in bundle.model.declaration.balances} == {
        (f"{phy.lower()}.Q", f"{phy.lower()}.ET") for phy in ENSEMBLE
    }
    bundle.save(tmp_path / "bundle")
    assert same_model(Bundle.load(tmp_path / "bundle").model, bundle.model)


@pytest.mark.parametrize(
    ("change_of", "said"),
    [
        ({"mosaic": True}, "multimodel.mosaic must be false"),
        ({"model": "AnnModel"}, "multimodel.model must be one of LstmModel"),
        ({"scaling_function": "softmax"}, "scaling_function must be sigmoid: .*over the basins of a batch"),
        ({"forcings": ["prcp"]}, "multimodel.forcings must be the same as model.nn.forcings"),
        (
            {"hidden_size": 9},
            r"wnn_ep5\.pt: .*linear_in\.weight is \[7, 6\], the configuration says \[9, 6\]",
        ),
        ({"hiddensize": 9}, "did you mean hidden_size"),
    ],
)
def test_an_ensemble_that_does_not_fit_is_refused_with_file_and_key(tmp_path, change_of, said):
    with pytest.raises(ImportDmgError, match=said):
        import_dmg(ensemble(tmp_path / "m", **change_of))


@pytest.mark.parametrize("missing", ["hbv_ep5.pt", "hbv_1_1p_ep5.pt", "wnn_ep5.pt"])
def test_an_ensemble_without_one_of_its_checkpoints_is_refused(tmp_path, missing):
    folder = ensemble(tmp_path / "m")
    (folder / missing).rename(folder / missing.replace("_ep5", "_ep4"))
    with pytest.raises(ImportDmgError, match=r"has no \w+_ep\S+\.pt; available"):
        import_dmg(folder)


@pytest.mark.parametrize("file", ["hbv_ep5.pt", "hbv_1_1p_ep5.pt", "wnn_ep5.pt"])
def test_no_checkpoint_of_an_ensemble_can_run_code(tmp_path, capsys, file):
    folder = ensemble(tmp_path / "m")
    torch.save({"nn_model.linear_in.bias": Trap()}, folder / file)
    with pytest.raises(ImportDmgError, match=f"{file}: holds more than weights"):
        import_dmg(folder)
    assert "executed" not in capsys.readouterr().out
