"""The engines of all served models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from secateur.models.errors import InputError, shown
from secateur.models.pruner import Pruner
from secateur.service.batching.answers import AnswerLimits
from secateur.service.batching.background import Background
from secateur.service.batching.cache import MemoryStore, RedisStore, ScoreCache, Store
from secateur.service.batching.engine import PROBE, Engine, EngineLimits
from secateur.service.metrics import Metrics
from secateur.service.passwords import has_password, read_password, without_password
from secateur.service.problems import UnknownModelError
from secateur.service.settings import Settings


def load_pruners(settings: Settings) -> dict[str, Pruner]:
    """Load all models by the names that they are served under.

    Raises:
        SecateurError: one cannot be loaded.
        InputError: two have the same name.
    """
    pruners: dict[str, Pruner] = {}
    for spec in settings.all_models():
        pruner = Pruner.load(
            spec.model,
            backend=spec.backend,
            device=spec.device,
            precision=spec.precision,
            threads=spec.threads,
            verify=spec.verify,
        )
        name = spec.name or pruner.config.name
        if name in pruners:
            raise InputError("models", f"two are named {name!r}", "give one of them another name")
        if settings.warm_up:
            pruner.prune_request(PROBE)
        pruners[name] = pruner
    return pruners


def open_store(settings: Settings) -> Store | None:
    """Open the cache that the settings name.

    Raises:
        InputError: they name none that there is.
        MissingExtraError: its client is not installed.
    """
    if settings.cache == "off":
        return None
    if settings.cache == "memory":
        return MemoryStore(settings.cache_mb * 2**20)
    if settings.cache.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(settings.cache, settings.cache_expire_s, _redis_password(settings))
    shown_ = shown(without_password(settings.cache))
    raise InputError("cache", f"{shown_} is no cache", "give off, memory or a redis:// URL")


def _redis_password(settings: Settings) -> str | None:
    """Return the password of Redis that does not stand in its URL."""
    given, file = settings.redis_password, settings.redis_password_file
    if (given is not None) + (file is not None) + has_password(settings.cache) > 1:
        raise InputError(
            "redis_password", "is given twice", "give it in one of redis_password, redis_password_file and the URL"
        )
    if file is not None:
        return read_password(file)
    return None if given is None else given.get_secret_value()


class Engines:
    """Engines by name. Made in a running event loop.

    Args:
        pruners: loaded models, by the names that they are served under; the first is the default.
        settings: of the service.
        store: for the scores' cache; None for no cache.
        metrics: told what happens.
        on_death: called, in any thread, should an engine die.
    """

    def __init__(
        self,
        pruners: dict[str, Pruner],
        settings: Settings,
        store: Store | None,
        metrics: Metrics,
        on_death: Callable[[], None],
    ) -> None:
        # All joiners together may be as long as all passages.
        answers = AnswerLimits(settings.max_returned_units, settings.max_characters)
        limits = EngineLimits(settings.timeout_ms / 1e3, settings.max_queue_tokens, settings.step_tokens, answers)
        self._store = store
        self._engines = {
            name: Engine(
                pruner,
                name=name,
                limits=limits,
                cache=ScoreCache(store, pruner) if store is not None else None,
                metrics=metrics,
                on_death=on_death,
            )
            for name, pruner in pruners.items()
        }
        self._background = {name: Background(engine) for name, engine in self._engines.items()}

    @property
    def names(self) -> Sequence[str]:
        """Names of the served models, the default one first."""
        return list(self._engines)

    @property
    def alive(self) -> bool:
        """Whether all of them answer."""
        return all(engine.alive for engine in self._engines.values())

    @property
    def default(self) -> Engine:
        """The engine for requests that name no model."""
        return next(iter(self._engines.values()))

    def named(self, name: str | None) -> Engine:
        """Return the engine of a model; the default one for None.

        Raises:
            UnknownModelError: it is not served.
        """
        if name is None:
            return self.default
        if name not in self._engines:
            raise UnknownModelError(name, self.names)
        return self._engines[name]

    def named_or_default(self, name: str | None) -> Engine:
        """Return the engine of a model, the default one where no model has that name.

        For clients of other services, which must name a model of theirs.
        """
        return self._engines.get(name or "", self.default)

    def background(self, engine: Engine) -> Background:
        """Return the turns of work on an engine that gives way to other requests."""
        return self._background[engine.name]

    async def close(self) -> None:
        """Finish what waits, end the threads, let go of the cache."""
        for engine in self._engines.values():
            await engine.close()
        if self._store is not None:
            await self._store.close()
