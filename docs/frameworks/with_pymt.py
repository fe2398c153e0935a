"""CSDMS pymt: set up, run, convert units.

``python docs/frameworks/with_pymt.py``, in an environment with pymt (conda install -c conda-forge pymt).
"""

from pymt.models import DmgDemoDaily

model = DmgDemoDaily()
config, folder = model.setup(area_km2=320.0, initial_P=0.0, initial_T=9.0, initial_PET=1.5)
model.initialize(config, dir=folder)
for day in range(30):
    model.set_value("atmosphere_water__liquid_equivalent_precipitation_rate", 12.0 if day % 3 == 0 else 0.0)
    model.update()
runoff = model.get_value("land_surface_water__runoff_depth", units="mm")
print(f"day {model.time / 86400:g}: runoff {runoff[0]:.3f} mm")
model.finalize()
