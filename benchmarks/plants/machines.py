"""The kinds of machines: from what is asked of a machine to the values of its sensors.

Each kind is a function of the draws of the machine, its rows (without holes) and its load (0: off). It
returns channels by name, float64 [n] each. Constants differ by machine, so no two machines are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.plants.draws import Draws, Rows, Values, lagged

Channels = dict[str, Values]
Kind = Callable[[Draws, Rows, Values], Channels]

KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    """List a kind of machine under the name of its function."""
    KINDS[make.__name__] = make
    return make


def _ambient(draws: Draws, rows: Rows) -> Values:
    """Return the temperature of the hall in degrees: slow weather."""
    return 21.0 + 2.0 * draws.smooth("ambient", rows, 200)


@kind
def pump(draws: Draws, rows: Rows, load: Values) -> Channels:
    """A centrifugal pump: flow by speed, pressure by speed and flow squared, power by both."""
    speed = 2900.0 * draws.constant("speed", 1.0, 0.03) * np.sqrt(np.clip(load, 0.0, None))
    share = speed / 2900.0
    opening = 0.9 + 0.05 * draws.smooth("valve", rows, 30)
    flow = draws.constant("flow", 120.0) * share * opening
    pressure = draws.constant("head", 6.0) * share**2 - 1.2e-4 * flow**2 / opening
    power = 4.0 * share + draws.constant("loss", 2.2e-2) * flow * np.clip(pressure, 0.0, None)
    heat = lagged(power, 9.0)
    return {
        "speed": speed + 6.0 * draws.white("speed", rows),
        "flow": flow + 0.8 * draws.white("flow", rows),
        "pressure": pressure + 0.04 * draws.white("pressure", rows),
        "power": power + 0.15 * draws.white("power", rows),
        "vibration": (0.2 + draws.constant("vibration", 1.5) * share**2)
        * np.exp(0.06 * draws.smooth("vibration", rows, 4)),
        "bearing": _ambient(draws, rows) + 2.1 * heat + 0.3 * draws.smooth("bearing", rows, 6),
    }


@kind
def conveyor(draws: Draws, rows: Rows, load: Values) -> Channels:
    """A belt with its motor: belt speed by drum speed and slip, current by what lies on the belt."""
    drum = draws.constant("drum", 1.6, 0.04) * np.clip(2.0 * load, 0.0, 1.0)
    mass = 80.0 * load * np.exp(0.1 * draws.smooth("mass", rows, 5))
    slip = 0.01 + 0.0002 * mass
    current = 3.0 * (load > 0.05) + draws.constant("current", 0.11) * mass + 2.0 * drum
    return {
        "drum_speed": drum + 0.008 * draws.white("drum", rows),
        "belt_speed": drum * (1.0 - slip) + 0.01 * draws.white("belt", rows),
        "mass": mass + 0.8 * draws.white("mass/noise", rows),
        "current": current + 0.2 * draws.white("current", rows),
        "motor": _ambient(draws, rows) + 2.6 * lagged(current, 12.0) + 0.4 * draws.white("motor", rows),
    }


@kind
def exchanger(draws: Draws, rows: Rows, load: Values) -> Channels:
    """A heat exchanger: outlet temperatures by both flows (effectiveness by transfer units)."""
    hot = draws.constant("hot", 12.0) * load + 0.3
    cold = (
        draws.constant("cold", 15.0) * np.clip(load + 0.05 * draws.smooth("cold", rows, 20), 0.0, None) + 0.3
    )
    hot_in = 78.0 + 2.5 * draws.smooth("hot_in", rows, 60)
    cold_in = _ambient(draws, rows) - 4.0
    least, ratio = np.minimum(hot, cold), np.minimum(hot, cold) / np.maximum(hot, cold)
    units = draws.constant("transfer", 9.0) / least
    part = (1.0 - np.exp(-units * (1.0 + ratio))) / (1.0 + ratio)
    moved = lagged(part * least * (hot_in - cold_in), 2.0)
    return {
        "hot_flow": hot + 0.1 * draws.white("hot_flow", rows),
        "cold_flow": cold + 0.1 * draws.white("cold_flow", rows),
        "hot_in": hot_in + 0.15 * draws.white("hot_in/noise", rows),
        "hot_out": hot_in - moved / hot + 0.15 * draws.white("hot_out", rows),
        "cold_in": cold_in + 0.15 * draws.white("cold_in", rows),
        "cold_out": cold_in + moved / cold + 0.15 * draws.white("cold_out", rows),
    }


@kind
def compressor(draws: Draws, rows: Rows, load: Values) -> Channels:
    """A compressor that loads and unloads: a saw of pressure, a valve of two values."""
    demand = np.clip(load, 0.0, 0.95)
    phase = np.cumsum(0.13 + 0.05 * demand) % 1.0
    valve = ((phase < demand) & (load > 0.05)).astype(np.float64)
    on = np.clip(4.0 * load, 0.0, 1.0)
    pressure = (draws.constant("pressure", 7.2, 0.04) + 0.35 * lagged(valve - demand, 2.0)) * on
    power = on * (draws.constant("idle", 11.0) + draws.constant("full", 33.0) * valve)
    return {
        "valve": valve,
        "pressure": pressure + 0.03 * draws.white("pressure", rows),
        "power": power + 0.6 * draws.white("power", rows),
        "air_flow": 6.0 * demand * on + 0.12 * draws.smooth("air", rows, 3),
        "oil": _ambient(draws, rows) + 1.1 * lagged(power, 14.0) + 0.3 * draws.white("oil", rows),
    }


@kind
def tank(draws: Draws, rows: Rows, load: Values) -> Channels:
    """A tank under control: the outflow follows the load, the inlet holds the level."""
    outflow = draws.constant("outflow", 40.0) * load
    level = 62.0 * draws.constant("level", 1.0, 0.05) + 3.0 * draws.smooth("level", rows, 25)
    level = level - 4.0 * lagged(load, 6.0)
    inflow = lagged(outflow, 4.0) + 0.8 * draws.smooth("inflow", rows, 3)
    position = 100.0 * (1.0 - np.exp(-np.clip(inflow, 0.0, None) / 28.0))
    return {
        "level": level + 0.25 * draws.white("level/noise", rows),
        "inflow": inflow + 0.4 * draws.white("inflow/noise", rows),
        "outflow": outflow + 0.4 * draws.white("outflow", rows),
        "inlet_valve": position + 0.5 * draws.white("position", rows),
        "bottom_pressure": 0.098 * level + 0.02 * draws.white("bottom", rows),
        "temperature": _ambient(draws, rows) + 12.0 * lagged(load, 40.0) + 0.2 * draws.white("t", rows),
    }


@kind
def fan(draws: Draws, rows: Rows, load: Values) -> Channels:
    """A fan with a filter that clogs and is changed each week."""
    speed = 1450.0 * draws.constant("speed", 1.0, 0.03) * np.clip(load, 0.0, None) ** 0.5
    clogged = 1.0 + 0.25 * (rows % 2016) / 2016.0
    share = speed / 1450.0
    flow = draws.constant("flow", 8.0) * share / np.sqrt(clogged)
    drop = draws.constant("drop", 4.5) * clogged * flow**2
    power = 0.4 * share + 0.013 * flow * drop
    return {
        "speed": speed + 4.0 * draws.white("speed", rows),
        "air_flow": flow + 0.08 * draws.white("flow", rows),
        "filter_drop": drop + 3.0 * draws.white("drop", rows),
        "power": power + 0.15 * draws.white("power", rows),
        "vibration": (0.15 + 1.1 * share**2) * np.exp(0.07 * draws.smooth("vibration", rows, 3)),
    }
