"""What dmg's models give, computed by hand; and a trap for those who unpickle."""

import torch
from dmg_models import ATTRIBUTES, STATISTICS, H


def some_input(time=12, rows=3):
    g = torch.Generator().manual_seed(1)
    forcing = {name: 5.0 * torch.rand(time, rows, generator=g) for name in ("P", "T", "PET", "srad")}
    attributes = {name: 30.0 * torch.rand(rows, generator=g) for name in ATTRIBUTES}
    return forcing, {
        **attributes,
        "elevation": torch.full((rows,), 300.0),
        "upstream_area": torch.full((rows,), 80.0),
    }


def normalised(values, name):
    mean, std = STATISTICS[name][2:]
    return ((torch.log10(values.sqrt() + 0.1) if name == "prcp" else values) - mean) / std


def by_hand(weights, prefix, forcing, attributes):
    """The LSTM's raw outputs ``[time, rows, n]``, from their weights through torch's own LSTM."""
    theirs = {"P": "prcp", "T": "tmean", "PET": "pet", "srad": "srad"}
    x = [normalised(forcing[ours], name) for ours, name in theirs.items()]
    x += [normalised(attributes[name], name).expand_as(x[0]) for name in ATTRIBUTES]
    w = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    lstm = torch.nn.LSTM(H, H)
    lstm.load_state_dict({
        "weight_ih_l0": w["lstm.w_ih"], "weight_hh_l0": w["lstm.w_hh"],
        "bias_ih_l0": w["lstm.b_ih"], "bias_hh_l0": w["lstm.b_hh"],
    })  # fmt: skip
    hidden = torch.relu(torch.stack(x, -1) @ w["linear_in.weight"].T + w["linear_in.bias"])
    return lstm(hidden)[0] @ w["linear_out.weight"].T + w["linear_out.bias"]


class Trap:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("executed",))


def same_model(one, other):
    assert one.describe() == other.describe()
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())
