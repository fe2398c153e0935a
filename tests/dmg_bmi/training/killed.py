"""Trains into two folders: once in peace, once killed again and again. Run by test_survival.py.

One interpreter that forks, because each start of torch costs seconds.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from dmg_bmi.plotting.hydrographs import pyplot
from dmg_bmi.training import train
from dmg_bmi.training.run_folder import CHECKPOINT

torch.set_num_threads(1)
pyplot()  # loads matplotlib, and the optimiser half of torch, once for all
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
config, peaceful, killed, kills, seed = sys.argv[1:]
draw = random.Random(int(seed))


def begin(folder):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            train(config, folder)
            status = 0
        finally:
            os._exit(status)
    return pid


def kill_after(pid, checkpoints, seconds):
    """SIGKILL after so many new checkpoints and some time; whether it came in time."""
    file = Path(killed) / CHECKPOINT
    seen = file.stat().st_mtime_ns if file.exists() else None
    changes = 0
    while changes < checkpoints:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        now = file.stat().st_mtime_ns if file.exists() else None
        changes += now != seen
        seen = now
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


assert os.waitpid(begin(peaceful), 0)[1] == 0
count = 0
for _ in range(int(kills)):
    count += kill_after(begin(killed), draw.randint(1, 5), draw.uniform(0.0, 0.05))
assert os.waitpid(begin(killed), 0)[1] == 0
print(count)
