"""What the benchmarks of speed share: seconds and memory of a call, a table, pictures, and their page."""

from __future__ import annotations

import math
import time
from pathlib import Path

import nextgen

#: Between these lines of a page stand the last measured tables.
MEASURED = ("<!-- measured: begin -->", "<!-- measured: end -->")
COMPILED = ("<!-- compiled: begin -->", "<!-- compiled: end -->")


class Table:
    """Lines of the result, printed as they come."""

    def __init__(self) -> None:
        self.lines = [
            "| what | here | beside | ratio |",
            "|---|---|---|---|",
        ]
        print("\n".join(self.lines), flush=True)

    def add(
        self, what: str, here: float, beside: str, other: float | None = None, slower: bool = True
    ) -> None:
        """A line; the ratio is how many times slower the other is, or with `slower` false we are."""
        ratio = "" if other is None else f"{other / here if slower else here / other:.2f}"
        text = "" if other is None else f"{beside}: {seconds(other)}"
        self.say(what, seconds(here), text or beside, ratio)

    def say(self, *cells: str) -> None:
        """A line as it is."""
        self.lines.append("| " + " | ".join(cells) + " |")
        print(self.lines[-1], flush=True)


def seconds(value: float) -> str:
    """With a unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def best(function, repeats: int = 5, budget: float = 20.0) -> float:
    """Least processor time of a call, after one that is not counted; short calls in runs of 10 ms."""
    return in_turn([function], repeats, budget)[0]


def in_turn(functions, repeats: int = 5, budget: float = 20.0) -> list[float]:
    """:func:`best` of each of some functions, called one after the other in each repeat."""
    inner = []
    for function in functions:
        for _ in range(2):  # what a first call sets up says nothing of the others
            begin = time.process_time()
            function()
            took = time.process_time() - begin
            if took > 0.1:
                break
        inner.append(max(1, int(0.01 / max(took, 1e-6))))
    least, spent = [math.inf] * len(inner), 0.0
    for _ in range(repeats):
        for k, function in enumerate(functions):
            begin = time.process_time()
            for _ in range(inner[k]):
                function()
            took = time.process_time() - begin
            least[k], spent = min(least[k], took / inner[k]), spent + took
        if spent > budget:
            break
    return least


def peak(function) -> float:
    """MB more at the most during a call than before it (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = nextgen.memory()
    function()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    highest = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return highest * 1.024e-3 - before


def plots(folder: Path, curves, lengths, held) -> None:
    """The three pictures, of what was measured."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    def picture(name: str, x: str, y: str, series) -> None:
        if not any(series.values()):
            return
        figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for label, points in series.items():
            style = ":" if "bare" in label else "-"
            axes.plot([p[0] for p in points], [p[1] for p in points], style, marker="o", ms=4, label=label)
        axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        axes.grid(alpha=0.3, which="both")
        if len(series) > 1:
            axes.legend(fontsize=8)
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)

    in_us = {k: [(n, s * 1e6) for n, s in points] for k, points in curves.items()}
    picture("speed_rows.png", "catchments in a step", "microseconds per catchment and step", in_us)
    per_day = {"": [(days, s * 1e6) for days, s in lengths]}
    picture("speed_length.png", "days of the record", "microseconds per row and day", per_day)
    picture("speed_memory.png", "BMI objects in the process", "MB more than before the first", {"": held})


def into(page: Path, lines: list[str], marks: tuple[str, str]) -> None:
    """Put lines between two marks of a page."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(marks[0] + "\n")
    tail = rest.split(marks[1])[1]
    page.write_text("\n".join([head + marks[0], *lines, marks[1]]) + tail, encoding="utf-8")
