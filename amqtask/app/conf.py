"""``app.conf``: settings by attribute and by key, as Celery users write them. Owns that notation only."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from amqtask.config.celery_names import CELERY_NAMES, hint
from amqtask.config.settings import NAMES
from amqtask.config.showing import masked
from amqtask.config.sources import Source
from amqtask.config.understood import own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from amqtask.config.sources import Configuration


class Conf(MutableMapping[str, Any]):
    """Reads and sets an app's settings: ``app.conf.task_serializer = "json"``, ``app.conf["timezone"]``, ``update``.

    Names are amqtask's and Celery's, old ones included. Setting is checked at once, and refused after the app's first
    use; ``beat_schedule`` is a mapping that may be filled in place. As a mapping it holds every setting of amqtask.
    """

    __slots__ = ("_configuration",)
    _configuration: Callable[[], Configuration]

    def __init__(self, configuration: Callable[[], Configuration]) -> None:
        object.__setattr__(self, "_configuration", configuration)

    def __getattr__(self, name: str) -> Any:
        own = own_name(name)
        if own is None:
            raise AttributeError(f"there is no setting {name!r}{hint(name)}")
        configuration = self._configuration()
        return getattr(configuration.settings, own) if own in NAMES else configuration.kept(own)

    def __setattr__(self, name: str, value: Any) -> None:
        self._configuration().update({name: value})

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as error:
            raise KeyError(str(error)) from None

    def __setitem__(self, name: str, value: Any) -> None:
        self._configuration().update({name: value})

    def __delitem__(self, name: str) -> NoReturn:
        raise TypeError(f"setting {name}: settings can be changed, but not removed")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and own_name(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def get(self, name: str, default: Any = None) -> Any:
        """A setting; ``default`` where it is unknown, or None."""
        if name not in self:
            return default
        found = self[name]
        return default if found is None else found

    def update(self, values: Any = (), /, **more: Any) -> None:
        """Set several settings, or none of them.

        Args:
            values: a mapping, or pairs.
            more: settings by name.

        Raises:
            ConfigError: an unknown name, a wrong value, or the app is in use already.
        """
        self._configuration().update({**dict(values or ()), **more}, Source.CODE)

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings by name.

        Args:
            with_defaults: those that nobody has given, too.
            censored: with secrets and passwords masked.
        """
        found = dict(self) if with_defaults else self._configuration().given()
        return {name: masked(name, value) for name, value in found.items()} if censored else found

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The settings as text, a line each; arguments as of :meth:`table`."""
        return "\n".join(f"{name}: {value!r}" for name, value in self.table(with_defaults, censored).items())

    def without_defaults(self) -> Mapping[str, Any]:
        """The settings that somebody has given."""
        return self._configuration().given()

    def __dir__(self) -> list[str]:
        return [*sorted({*NAMES, *CELERY_NAMES}), *(name for name in dir(type(self)) if not name.startswith("_"))]

    def __repr__(self) -> str:
        return f"<settings: {', '.join(self._configuration().given()) or 'defaults'}>"
