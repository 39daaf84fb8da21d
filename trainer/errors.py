"""Errors of the trainer.

TrainerError          training or evaluation cannot go on; the message says why and what to do
└── TooLittleDataError     not enough rows for the window and the three splits
"""


class TrainerError(Exception):
    """Training or evaluation cannot go on."""


class TooLittleDataError(TrainerError):
    """Not enough rows to learn from; the message says how many are needed."""
