"""Coverage-guided fuzzing of one reader: ``atheris_run.py TARGET FOLDER -max_total_time=360``.

It begins with the committed corpus of the target and keeps in FOLDER what reaches new code. Each escape is
told once by the place that it comes from, and its bytes are kept in ``FOLDER.escapes``, to be mended and
added to the corpus; the run goes on. A hang or a lack of memory ends it and leaves its bytes in the
working folder.
"""

import logging
import sys
import tempfile
import traceback
import warnings
from hashlib import sha256
from itertools import count
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dmg_bmi", "yaml"]):
    import targets
import trees

name, folder, *options = sys.argv[1:]
escapes = Path(f"{folder}.escapes")
for made in (Path(folder), escapes):
    made.mkdir(parents=True, exist_ok=True)
for seed in targets.seeds(name):
    (Path(folder) / f"seed-{sha256(seed).hexdigest()[:12]}").write_bytes(seed)
logging.disable()
warnings.simplefilter("ignore")
numbers = count()
told: set[str] = set()


def attempt(content: bytes) -> None:
    """One input; an escape is told and kept, the first of each place."""
    try:
        targets.attempt(name, content, Path(work) / str(next(numbers)))
    except Exception as escape:
        frames = traceback.extract_tb(escape.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "dmg_bmi" in f.filename]
        place = f"{type(escape).__name__} at {ours[-1] if ours else frames[-1].name}"
        if place not in told:
            told.add(place)
            kept = escapes / sha256(content).hexdigest()[:12]
            kept.write_bytes(content)
            print(f"ESCAPE {name} {place}: {str(escape)[:200]!r} {kept}", flush=True)


def mutator(content: bytes, limit: int, seed: int) -> bytes:
    """Half of the mutations change plain data as data, the others bytes."""
    changed = trees.mutate(content, limit, seed) if seed % 2 else None
    return atheris.Mutate(content, limit) if changed is None else changed


with tempfile.TemporaryDirectory() as work:
    atheris.Setup(
        ["atheris", folder, *map(str, targets.CORPUS.glob(name)), *options],
        attempt,
        custom_mutator=mutator if name in targets.TREES else None,
    )
    atheris.Fuzz()
