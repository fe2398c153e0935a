"""Thousands of call sequences, damaged files and killed processes: what became of them.

    python benchmarks/fuzz.py [--sequences 10000] [--mutations 10000] [--kills 2000] [--output fuzz.json]

The machinery is that of ``tests/fuzz``, where CI runs some hundreds. A failure is printed with what
reproduces it, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fuzz"))

import file_mutations
import kill_points
from bmi_sequences import Pair, sequences, setups


def run_sequences(count: int, start: int, folder: Path) -> dict[str, Any]:
    """Sequences of BMI calls against the reference."""
    made = setups(folder)
    calls: Counter[str] = Counter()
    lost: list[str] = []
    tried = 0

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sequence=sequences())
    def play(sequence: list[tuple[Any, ...]]) -> None:
        nonlocal tried
        tried += 1
        pair = Pair(made)
        try:
            pair.play(sequence)
        except Exception:
            lost.append(f"{sequence}\n{traceback.format_exc(limit=-2)}")
        calls.update(outcome for (_, outcome), k in pair.calls.items() for _ in range(k))

    play()
    return {"tried": tried, "calls": dict(calls), "failures": lost}


def run_cases(
    case: Callable[[str, int, Path], str], kinds: Collection[str], count: int, start: int, folder: Path
) -> dict[str, Any]:
    """Cases in equal parts of each kind."""
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    lost: list[str] = []
    for k in range(count):
        kind, number = [*kinds][k % len(kinds)], start + k // len(kinds)
        try:
            outcomes[kind][case(kind, number, folder / "case")] += 1
        except Exception:
            lost.append(f"{case.__name__}({kind!r}, {number})\n{traceback.format_exc(limit=-2)}")
    return {"tried": count, "outcomes": {k: dict(v) for k, v in outcomes.items()}, "failures": lost}


def main() -> int:
    """Run, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz.json"))
    given_ = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    began = time.process_time()
    report: dict[str, Any] = {"seed": given_.seed, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given_.sequences:
            report["sequences"] = run_sequences(given_.sequences, given_.seed, folder)
        for part, kinds, case, count in (
            ("mutations", file_mutations.KINDS, file_mutations.attack, given_.mutations),
            ("kills", kill_points.KINDS, kill_points.kill, given_.kills),
        ):
            report[part] = run_cases(case, kinds, count, given_.seed, folder)
    lost = [failure for part in report.values() if isinstance(part, dict) for failure in part["failures"]]
    report["cpu_seconds"] = round(time.process_time() - began)
    given_.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for failure in lost:
        print(failure)
    print(json.dumps(report, indent=2) if not lost else f"{len(lost)} failures")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
