"""Coverage-guided fuzzing of one reader: ``atheris_run.py TARGET FOLDER -max_total_time=360``.

It begins with the committed corpus of the target and keeps in FOLDER what reaches new code. An escape ends
the run; its bytes are left in the working folder as ``crash-...``, to be mended and added to the corpus.
"""

import logging
import sys
import tempfile
import warnings
from itertools import count
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dmg_bmi", "yaml"]):
    import targets

name, folder, *options = sys.argv[1:]
Path(folder).mkdir(parents=True, exist_ok=True)
logging.disable()
warnings.simplefilter("ignore")
numbers = count()

with tempfile.TemporaryDirectory() as work:
    atheris.Setup(
        ["atheris", folder, str(targets.CORPUS / name), *options],
        lambda content: targets.attempt(name, content, Path(work) / str(next(numbers))) and None,
    )
    atheris.Fuzz()
