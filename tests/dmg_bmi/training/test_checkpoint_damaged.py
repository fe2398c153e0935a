"""A checkpoint that is whole but does not hold what one does is refused with the remedy."""

import pytest
import torch
from commands import SMALL

from dmg_bmi.errors import TrainingError
from dmg_bmi.training import checkpoint, train
from dmg_bmi.training.run_folder import CHECKPOINT


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A training that was interrupted after its second checkpoint."""
    folder = tmp_path_factory.mktemp("stopped")
    config = folder / "small.yaml"
    config.write_text(SMALL)
    real, saved = checkpoint.save, []

    def save(path, *content):
        real(path, *content)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            train(config, folder / "run")
    return config, folder / "run", checkpoint.load(folder / "run" / CHECKPOINT)


@pytest.mark.parametrize(
    ("tensors", "facts"),
    [
        ({}, {"identity": None}),
        ({}, {"best": 5}),
        ({}, {"scores": [1, 2]}),
        ({}, {"seconds": ...}),
        ({"queue": ...}, {}),
        ({"generator": torch.zeros(3)}, {}),
        ({"loss": ...}, {}),
        ({"random": torch.zeros(1, 4)}, {}),
        ({"optimiser.x.exp_avg": torch.zeros(2)}, {}),
        ({"model.stray": torch.zeros(2)}, {}),
    ],
)
def test_a_checkpoint_of_other_content_is_refused_by_name(stopped, tensors, facts):
    config, run, (whole, said) = stopped
    changed = [
        {n: v for n, v in (a | b).items() if v is not ...} for a, b in ((whole, tensors), (said, facts))
    ]
    checkpoint.save(run / CHECKPOINT, *changed)
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: .*remove it to start again"):
        train(config, run)
