"""Errors of the trainer.

TrainerError           training or evaluation cannot continue; the message gives the reason and a remedy
├── TooLittleDataError     too few rows for the window and the three splits
├── DivergedError          the loss or the weights are no longer finite
└── ProcessError           one of several processes of a training failed or was lost
"""


class TrainerError(Exception):
    """Report that training or evaluation cannot continue."""


class TooLittleDataError(TrainerError):
    """Report that there are too few rows to train on; the message states how many are needed."""


class DivergedError(TrainerError):
    """Report that the training of one model gave a loss or weights that are not finite."""


class ProcessError(TrainerError):
    """Report that one of several processes of a training failed, or that it was lost."""
