"""Which formats are read at all. Owns the guard before pickle, and the spellings of ``accept_content``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PICKLE = "pickle"

BY_CONTENT_TYPE = {
    "application/json": "json",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": PICKLE,
}
"""Names of formats that task messages come in. Celery takes content types in ``accept_content`` as well."""


class TrustSettings(Protocol):
    """The settings that say whether what comes in can be trusted."""

    @property
    def allow_insecure_pickle(self) -> bool: ...  # noqa: D102
    @property
    def message_signing_keys(self) -> Mapping[str, str] | None: ...  # noqa: D102
    @property
    def message_signing_required(self) -> bool: ...  # noqa: D102


class ResultTrustSettings(TrustSettings, Protocol):
    """The settings that say how results may be written."""

    @property
    def accept_content(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def result_accept_content(self) -> tuple[str, ...] | None: ...  # noqa: D102


def without_pickle(accept: Iterable[str]) -> tuple[str, ...]:
    """The formats that may be read outside the pool: in I/O threads, of dead letters, before a signature is checked."""
    return tuple(name for name in accept if BY_CONTENT_TYPE.get(name, name) != PICKLE)


def checked_accept(accept: Iterable[str], trust: TrustSettings) -> tuple[str, ...]:
    """Names of the serializers that may read what comes in.

    Args:
        accept: setting ``accept_content``: names or content types.
        trust: the settings.

    Raises:
        ConfigError: pickle is among them, and neither signatures are required nor the risk is taken on purpose.
    """
    names = _names(accept)
    signed = trust.message_signing_required and trust.message_signing_keys
    if PICKLE in names and not signed and not trust.allow_insecure_pickle:
        raise ConfigError(
            "accept_content has pickle, by which whoever can publish can run code in the workers: set "
            "message_signing_required and message_signing_keys, or allow_insecure_pickle if all publishers are trusted"
        )
    return names


def checked_results(trust: ResultTrustSettings) -> tuple[str, ...]:
    """Names of the serializers that may read results. What lies in a store has no signature, so pickle needs consent.

    Raises:
        ConfigError: pickle is in ``result_accept_content`` and the risk is not taken on purpose; or as for
            :func:`checked_accept`, where ``accept_content`` holds for results too.
    """
    asked = trust.result_accept_content
    if not asked:
        names = checked_accept(trust.accept_content, trust)
        return names if trust.allow_insecure_pickle else without_pickle(names)
    names = _names(asked)
    if PICKLE in names and not trust.allow_insecure_pickle:
        raise ConfigError(
            "result_accept_content has pickle, by which whoever can write results can run code where they are read, "
            "and those in a store have no signature: set allow_insecure_pickle if all who can write them are trusted"
        )
    return names


def _names(accept: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(BY_CONTENT_TYPE.get(name, name) for name in accept))
