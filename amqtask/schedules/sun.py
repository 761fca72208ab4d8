"""Where the sun stands: its declination and the equation of time, by Meeus, Astronomical Algorithms, chapter 25.

Owns the astronomy. Good for some thousandths of a degree, that is below a second at middle latitudes, for 1900 to 2100.
"""

from __future__ import annotations

import math

_J2000 = 946_728_000.0
"""Seconds since the epoch of 2000-01-01 12:00 UTC."""
_CENTURY = 36_525 * 86_400.0
_CLOCK_TO_SKY = 69.2
"""Seconds by which dynamical time is ahead of UTC; a minute more or less makes no difference here."""


def place(moment: float) -> tuple[float, float]:
    """Declination in radians, and the sun's hour angle at Greenwich in radians (-pi to pi).

    Args:
        moment: seconds since the epoch.
    """
    t = (moment + _CLOCK_TO_SKY - _J2000) / _CENTURY
    mean_longitude = math.radians((280.46646 + t * (36000.76983 + t * 0.0003032)) % 360.0)
    anomaly = math.radians((357.52911 + t * (35999.05029 - t * 0.0001537)) % 360.0)
    center = math.radians(
        (1.914602 - t * (0.004817 + t * 0.000014)) * math.sin(anomaly)
        + (0.019993 - t * 0.000101) * math.sin(2 * anomaly)
        + 0.000289 * math.sin(3 * anomaly)
    )
    node = math.radians(125.04 - 1934.136 * t)
    longitude = mean_longitude + center - math.radians(0.00569 + 0.00478 * math.sin(node))
    obliquity = math.radians(23.4392911 - t * 0.0130042 + 0.00256 * math.cos(node))
    declination = math.asin(math.sin(obliquity) * math.sin(longitude))
    ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
    days = (moment - _J2000) / 86_400.0
    # of the equinox of date: what nutation adds to the sidereal time it has added to the ascension
    nutation = math.radians(-0.00478 * math.sin(node) * math.cos(obliquity))
    sidereal = math.radians((280.46061837 + 360.98564736629 * days) % 360.0) + nutation
    return declination, (sidereal - ascension + math.pi) % (2 * math.pi) - math.pi


def altitude(moment: float, latitude: float, longitude: float) -> float:
    """Height of the sun's centre above the horizon in degrees, without the air.

    Args:
        moment: seconds since the epoch.
        latitude: of the place in degrees, north positive.
        longitude: in degrees, east positive.
    """
    declination, hour_angle = place(moment)
    phi = math.radians(latitude)
    height = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(
        hour_angle + math.radians(longitude)
    )
    return math.degrees(math.asin(max(-1.0, min(1.0, height))))


def noon(near: float, longitude: float) -> float:
    """When the sun crosses the meridian next to a moment, in seconds since the epoch."""
    moment = near
    for _ in range(4):
        angle = (place(moment)[1] + math.radians(longitude) + math.pi) % (2 * math.pi) - math.pi
        moment -= angle / (2 * math.pi) * 86_400.0
    return moment
