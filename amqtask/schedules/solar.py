"""``solar("sunset", lat, lon)``: due by the sun at a place. Owns the nine events; the sky is :mod:`.sun`'s."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.schedules.base import Schedule
from amqtask.schedules.sun import altitude, noon

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

_DAY, _HOUR = 86_400.0, 3600.0
_SEARCH_DAYS = 370
"""Polar days and nights are shorter than a year; near the poles an event may come once in it."""
_EXACT = 0.2
"""Seconds."""
_MAX_LATITUDE, _MAX_LONGITUDE = 90, 180

_RISE = -0.8333
"""Degrees of the sun's centre when its upper limb is seen on the horizon: 34' for the air, 16' for its radius."""
_HEIGHTS = {
    "dawn_astronomical": -18.0,
    "dawn_nautical": -12.0,
    "dawn_civil": -6.0,
    "sunrise": _RISE,
    "solar_noon": None,
    "sunset": _RISE,
    "dusk_civil": -6.0,
    "dusk_nautical": -12.0,
    "dusk_astronomical": -18.0,
}
EVENTS = tuple(_HEIGHTS)
"""In the order of the day."""


@dataclass(frozen=True)
class solar(Schedule):  # noqa: N801 -- Celery's name
    """Due at an event of the sun; where there is none for weeks (polar day and night), at the next one there is.

    Right to the minute, unless the sun only just reaches the height in question.

    Attributes:
        event: one of :data:`EVENTS`.
        lat, lon: degrees, north and east positive.
        nowfun, app: Celery's, without effect.

    Raises:
        ConfigError: an unknown event, or no place on earth.
    """

    event: str
    lat: float
    lon: float
    nowfun: Any = None
    app: Any = None

    def __post_init__(self) -> None:
        if self.event not in _HEIGHTS:
            near = did_you_mean(str(self.event), EVENTS) or f"; there are {', '.join(EVENTS)}"
            raise ConfigError(f"the sun has no event {self.event!r}{near}")
        places: tuple[tuple[str, Any, int], ...] = (("lat", self.lat, _MAX_LATITUDE), ("lon", self.lon, _MAX_LONGITUDE))
        for name, value, most in places:
            if not isinstance(value, int | float) or not -most <= value <= most:
                raise ConfigError(f"solar: {name}={value!r} is not from -{most} to {most} degrees")

    def next(self, after: datetime) -> datetime | None:
        """See :class:`Schedule`; to the second."""
        start = after.timestamp()
        midday = noon(start - _DAY, self.lon)
        for _ in range(_SEARCH_DAYS):
            found = self._around(midday)
            if found is not None and round(found) > start:
                return datetime.fromtimestamp(round(found), tz=UTC)
            midday = noon(midday + _DAY, self.lon)
        return None

    def _around(self, midday: float) -> float | None:
        """When the event is on the day around this noon; None when it is not."""
        height = _HEIGHTS[self.event]
        if height is None:
            return midday
        rises = self.event.startswith("dawn") or self.event == "sunrise"
        hours = [midday + _HOUR * hour for hour in range(-12, 13)]
        heights = [self._height(moment) for moment in hours]
        for number, (first, second) in enumerate(pairwise(heights)):
            if rises and first < height <= second:
                return self._crossing(height, hours[number], hours[number + 1])
            if not rises and first >= height > second:
                return self._crossing(height, hours[number + 1], hours[number])
        return None

    def _crossing(self, height: float, below: float, above: float) -> float:
        while abs(above - below) > _EXACT:
            middle = (below + above) / 2
            if self._height(middle) < height:
                below = middle
            else:
                above = middle
        return (below + above) / 2

    def _height(self, moment: float) -> float:
        return altitude(moment, self.lat, self.lon)

    def within(self, zone: tzinfo) -> solar:  # noqa: ARG002 -- the sun has no zone
        """See :class:`Schedule`."""
        return self

    def spec(self) -> Mapping[str, Any]:
        """See :class:`Schedule`."""
        return {"solar": self.event, "lat": self.lat, "lon": self.lon}

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"
