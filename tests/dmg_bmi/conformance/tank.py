"""A component that keeps every promise, and what the checks say of a class."""

import numpy as np
from bmipy import Bmi

from dmg_bmi.conformance import Conformance


class UnknownName(KeyError):
    pass


class Tank(Bmi):
    """Two leaky tanks, stepped by 0.1 h: as good a component as can be."""

    STEP, END, SIZE = 360.0, 1e15, 2

    def initialize(self, config_file):
        self.values = {name: np.zeros(self.SIZE) for name in (*self.get_input_var_names(), "level")}
        self.count = 0

    def update(self):
        self.values["level"] += self.values["rain"]
        self.values["level"] *= 0.9
        self.count += 1

    def update_until(self, time):
        steps = round(time / self.STEP) - self.count
        if steps < 0:
            raise ValueError("has passed")
        for _ in range(steps):
            self.update()

    def finalize(self):
        self.values = {}

    def _array(self, name):
        if name not in self.values:
            raise UnknownName(name)
        return self.values[name]

    def get_component_name(self):
        return "tank"

    def get_input_var_names(self):
        return ("rain",)

    def get_output_var_names(self):
        return ("level",)

    def get_input_item_count(self):
        return len(self.get_input_var_names())

    def get_output_item_count(self):
        return len(self.get_output_var_names())

    def get_var_grid(self, name):
        return self._array(name).ndim - 1

    def get_var_type(self, name):
        return str(self._array(name).dtype)

    def get_var_units(self, name):
        return "mm" * (self._array(name) is not None)

    def get_var_itemsize(self, name):
        return self._array(name).itemsize

    def get_var_nbytes(self, name):
        return self._array(name).nbytes

    def get_var_location(self, name):
        return "node" if self._array(name) is not None else ""

    def get_current_time(self):
        return self.count * self.STEP

    def get_start_time(self):
        return 0.0

    def get_end_time(self):
        return self.END

    def get_time_step(self):
        return self.STEP

    def get_time_units(self):
        return "s"

    def get_value(self, name, dest):
        dest[:] = self._array(name)
        return dest

    def get_value_ptr(self, name):
        return self._array(name)

    def get_value_at_indices(self, name, dest, inds):
        dest[:] = self._array(name)[inds]
        return dest

    def set_value(self, name, src):
        self._array(name)[:] = src

    def set_value_at_indices(self, name, inds, src):
        self._array(name)[inds] = src

    def get_grid_rank(self, grid):
        return 1

    def get_grid_size(self, grid):
        return self.SIZE

    def get_grid_type(self, grid):
        return "vector"

    def _none(self, *_):
        raise NotImplementedError

    get_grid_shape = get_grid_spacing = get_grid_origin = get_grid_x = get_grid_y = get_grid_z = _none
    get_grid_node_count = get_grid_edge_count = get_grid_face_count = get_grid_edge_nodes = _none
    get_grid_face_edges = get_grid_face_nodes = get_grid_nodes_per_face = _none


def outcomes(cls, **options):
    return {r.check: r for r in Conformance(cls, "none", {"rain": 2.0}, **options).check()}
