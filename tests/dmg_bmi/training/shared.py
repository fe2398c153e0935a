"""What two processes do together; run by test_distributed.py under torchrun."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_survival import CONFIG, OPTIONS, SIZES, make_data, make_model

from dmg_bmi.errors import ConfigError, TrainingError
from dmg_bmi.training import distributed, train, trainer

torch.set_num_threads(1)
folder = Path(sys.argv[1])


def trained(options=OPTIONS, data=None, **more):
    model = make_model(dropout=0.0 if options is OPTIONS else 0.3)
    trainer.fit(model, data or make_data(), options, **SIZES, **more)
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def same_everywhere(weights):
    return all(torch.equal(weights, other) for other in distributed.gathered(weights))


class Stopped(Exception):
    """Stands for processes that end."""


def stopped_after(count):
    step = trainer._Loop.step

    def counted(self, batch):
        if len(self.history.loss) == count:
            raise Stopped
        return step(self, batch)

    return counted, step


with distributed.processes("cpu"):
    weights = trained()
    assert same_everywhere(weights)
    if distributed.rank() == 0:
        torch.save(weights, folder / "weights.pt")

    # Each process its own dropout; stopped after step 5 and taken up from the checkpoint of step 4.
    options = replace(OPTIONS, seed=3, range_penalty=0.1)
    whole = trained(options)
    assert same_everywhere(whole)
    trainer._Loop.step, original = stopped_after(5)
    with pytest.raises(Stopped):
        trained(options, saved=folder / "checkpoint")
    trainer._Loop.step = original
    torch.distributed.barrier()
    assert torch.equal(trained(options, saved=folder / "checkpoint"), whole)

    # What breaks in one process stops all of them, with the same words.
    broken = make_data()
    broken.forcing["P"][:, 2] = float("nan")
    with pytest.raises(TrainingError, match="not finite in basin 2"):
        trained(data=broken)
    with pytest.raises(
        ConfigError, match=r"training\.batch_size is 3; it must be a multiple of the 2 processes"
    ):
        trained(replace(OPTIONS, batch_size=3))

    (folder / "small.yaml").write_text(CONFIG.replace("batch_size: 7", "batch_size: 8"))
    torch.distributed.barrier()
    run = train(folder / "small.yaml", folder / "run", ["training.max_steps=4"])
    assert bool(run.scores) == (distributed.rank() == 0)
