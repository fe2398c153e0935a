"""Command that writes the metadata that pymt needs: of the shipped bundles, or of one of your own.

``python -m dmg_bmi.pymt`` renews what this package ships; ``python -m dmg_bmi.pymt NAME BUNDLE
FOLDER`` writes the folder for a class ``plugin(NAME, BUNDLE, ...)``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import dmg_bmi.pymt as shipped
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.pymt.metadata import write


def main() -> int:
    """Write metadata; a wrong bundle ends with a message and status 2."""
    parser = argparse.ArgumentParser(prog="python -m dmg_bmi.pymt", description=__doc__)
    parser.add_argument("name", nargs="?", help="name of the class")
    parser.add_argument("bundle", nargs="?", help="folder of the bundle")
    parser.add_argument("folder", nargs="?", type=Path, help="folder to write")
    arguments = parser.parse_args()
    try:
        if arguments.name is None:
            for name in shipped.SHIPPED:
                cls = getattr(shipped, name)
                write(cls, Path(shipped.__file__).parent / cls.METADATA)
        elif arguments.folder is None:
            parser.error("give NAME, BUNDLE and FOLDER, or nothing")
        else:
            write(shipped.plugin(arguments.name, arguments.bundle, arguments.name), arguments.folder)
    except DmgBmiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
