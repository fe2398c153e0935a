"""Ready-to-run configurations: ``importlib.resources.files("dmg_bmi.bmi_configs")``."""
