"""Models trained with the public package ``neuralhydrology`` 1.3 to 1.13, as bundles.

A run folder holds ``config.yml``, checkpoints ``model_epoch<number>.pt`` (plain state dicts) and
``train_data/train_data_scaler.yml``. Nothing of that package is needed to read them.
"""

from .assembly import build_member, import_neuralhydrology, recognises

__all__ = ["build_member", "import_neuralhydrology", "recognises"]
