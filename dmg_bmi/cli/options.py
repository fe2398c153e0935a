"""Words that several commands use for their arguments."""

from __future__ import annotations

#: What configures a component, see :func:`dmg_bmi.runtime.config.find`.
WHAT = "configuration (YAML), folder of a training or of a bundle, or a shipped name: daily, demo_daily, ..."
#: What holds a bundle, see :func:`dmg_bmi.model.bundle_files.find`.
BUNDLE = "folder of a bundle or of a training, or a shipped bundle's name"
