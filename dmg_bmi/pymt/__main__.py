"""Write the metadata that pymt needs: of the shipped bundles, or of one of your own.

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
    """Write; a wrong bundle ends with a message and status 2."""
    parser = argparse.ArgumentParser(prog="python -m dmg_bmi.pymt", description=__doc__)
    parser.add_argument("name", nargs="?", help="of the class")
    parser.add_argument("bundle", nargs="?", help="folder of the bundle")
    parser.add_argument("folder", nargs="?", type=Path, help="to write")
    given = parser.parse_args()
    try:
        if given.name is None:
            for name in shipped.SHIPPED:
                cls = getattr(shipped, name)
                write(cls, Path(shipped.__file__).parent / cls.METADATA)
        elif given.folder is None:
            parser.error("give NAME, BUNDLE and FOLDER, or nothing")
        else:
            write(shipped.plugin(given.name, given.bundle, given.name), given.folder)
    except DmgBmiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
