"""``dmg-bmi run`` in blocks of ten records, of whose processes one may be killed; see test_run_shared.py.

torchrun shared_run.py BLOCK ARGUMENTS...      # process 1 is killed after so many blocks; 0: none
"""

import os
import signal
import sys

from dmg_bmi import processes
from dmg_bmi.cli import main
from dmg_bmi.io import netcdf
from dmg_bmi.runtime.unfinished_run import UnfinishedRun

last, append = int(sys.argv[1]), UnfinishedRun.append
netcdf.block_length = lambda width: 10


def append_and_die(run, steps, block):
    append(run, steps, block)
    if processes.rank() == 1 and run.done == 10 * last:
        os.kill(os.getpid(), signal.SIGKILL)


UnfinishedRun.append = append_and_die
sys.exit(main(sys.argv[2:]))
