"""What a command needs and is not installed is told before the work, and nothing is written."""

import subprocess
import sys

import pytest

HIDDEN = """
import sys
sys.modules[sys.argv[1]] = None
from dmg_bmi.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("matplotlib", ["train", "camels"], "pictures need matplotlib: pip install"),
        ("matplotlib", ["demo"], "pictures need matplotlib: pip install"),
        ("matplotlib", ["run", "none.yaml", "--forcing", "none.nc"], "pictures need matplotlib: pip install"),
        (
            "torch.utils.tensorboard",
            ["train", "camels", "--set", "training.tensorboard=true"],
            "needs TensorBoard: pip install",
        ),
    ],
)
def test_a_missing_extra_is_told_before_the_work(tmp_path, module, arguments, said):
    output = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, module, *arguments, "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()
