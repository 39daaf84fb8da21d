"""List the families of autoencoders by name, without torch, so that `--help` can show the names."""

from __future__ import annotations

FAMILY_CLASSES = {
    "linear": "linear:LinearAutoencoder",
    "mlp": "mlp:MlpAutoencoder",
    "deep": "deep:DeepAutoencoder",
    "conv": "conv:ConvAutoencoder",
    "lstm": "recurrent:LstmAutoencoder",
    "gru": "recurrent:GruAutoencoder",
    "vae": "vae:VariationalAutoencoder",
    "memory": "memory:MemoryAutoencoder",
}
"""Name of a family -> file in this folder and class of its module. The file also has a `Config`."""

BESIDE = frozenset({"memory"})
"""Families whose plain distance is a kind of evidence of its own, beside those of the windows."""
