"""``python -m dmg_bmi.cli``."""

from . import main

raise SystemExit(main())
