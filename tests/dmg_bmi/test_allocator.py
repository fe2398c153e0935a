"""Trainings keep the memory that they free."""

import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from dmg_bmi.allocator import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
def step():
    kept = [torch.ones(10_000_000) for _ in range(3)]
for _ in range(8):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, timeout=300)
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource is for Unix")
def test_pages_are_not_asked_for_again_in_each_step():
    pages = 5 * 3 * 40_000_000 // 4096
    assert faults("kept") < 0.1 * pages < faults("given back")
