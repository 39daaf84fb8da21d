"""The methods of the board, the environment of each, and what it is called in the table."""

from __future__ import annotations

from dataclasses import dataclass

OURS = {
    "ensemble": "Streamgauge, default",
    "conv": "conv alone",
    "lstm": "LSTM alone",
    "linear": "linear alone",
}
"""Our model families on the board, the default first."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A method of another project.

    Attributes:
        name: Its name for the script.
        words: Its name in the table.
        environment: The file of requirements in `environments/`, and of the environment made from it.
        script: The script in `peers/` that runs it.
    """

    name: str
    words: str
    environment: str
    script: str


PEERS = (
    Peer("sub-pca", "Sub-PCA (TSB-AD)", "tsb_ad", "tsb_ad.py"),
    Peer("kmeans-ad", "KMeansAD (TSB-AD)", "tsb_ad", "tsb_ad.py"),
    Peer("cnn", "CNN (TSB-AD)", "tsb_ad", "tsb_ad.py"),
    Peer("lstm-ad", "LSTMAD (TSB-AD)", "tsb_ad", "tsb_ad.py"),
    Peer("usad", "USAD (TSB-AD)", "tsb_ad", "tsb_ad.py"),
    Peer("iforest", "Isolation Forest of windows (pyod)", "tsb_ad", "pyod_windows.py"),
    Peer("numalogic-lstm", "LSTM autoencoder (numalogic)", "numalogic", "numalogic_models.py"),
    Peer("numalogic-conv", "conv autoencoder (numalogic)", "numalogic", "numalogic_models.py"),
    Peer("half-space-trees", "half-space trees (river)", "river", "river_trees.py"),
    Peer("merlion-iforest", "Isolation Forest (Merlion)", "merlion", "merlion_forest.py"),
)
