"""Many components that share one configuration, each with a catchment of its own, as in NextGen."""

import pytest


@pytest.fixture
def share(configure, bmi_run, tmp_path):
    """Make ``share(bundle, n, start=..., restart=..., **keys)``: n components of one group.

    `start` picks catchments and their order; `restart` is the key of each, by catchment.
    """
    groups = []

    def make(bundle=None, n=3, start=None, restart=None, **keys):
        shared = configure(bundle, n, **keys)
        groups.append(shared)
        members = []
        for k in range(n) if start is None else start:
            path = tmp_path / f"member-{len(groups)}-{k}.yaml"
            text = f"shared: {shared.name}\ncatchment: cat-{k + 7}\n"
            if restart and k in restart:
                text += f"restart: {restart[k]}\n"
            path.write_text(text, encoding="utf-8")
            members.append(bmi_run.start(path))
        return members

    return make
