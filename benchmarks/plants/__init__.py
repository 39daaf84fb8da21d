"""Generated plants: machines, their shifts and stops, and faults of known channel, time and size.

Every value is a function of (seed, machine, row), so that a plant is the same wherever it is made.
"""
