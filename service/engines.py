"""The engines of all served models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from secateur.models.errors import InputError, shown
from secateur.models.pruner import Pruner
from secateur.service.batching.cache import MemoryStore, RedisStore, ScoreCache, Store
from secateur.service.batching.engine import PROBE, Engine
from secateur.service.credentials import has_password, read_password, without_password
from secateur.service.errors import UnknownModelError
from secateur.service.metrics import Metrics
from secateur.service.settings import Settings


def load_pruners(settings: Settings) -> dict[str, Pruner]:
    """Load all models, by the names under which they are served, which must differ."""
    pruners: dict[str, Pruner] = {}
    for spec in settings.all_models():
        pruner = Pruner.load(spec.model, **spec.model_dump(exclude={"model", "name"}))
        name = spec.name or pruner.config.name
        if name in pruners:
            raise InputError("models", f"two models are named {name!r}", "give one of them another name")
        if settings.warm_up:
            pruner.prune_request(PROBE)
        pruners[name] = pruner
    return pruners


def open_store(settings: Settings) -> Store | None:
    """Open the configured cache, if any.

    Raises:
        SecateurError: There is no such cache, or its client is not installed.
    """
    if settings.cache == "off":
        return None
    if settings.cache == "memory":
        return MemoryStore(settings.cache_mb * 2**20)
    if settings.cache.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(settings.cache, settings.cache_expire_s, _redis_password(settings))
    value = shown(without_password(settings.cache))
    raise InputError("cache", f"{value} is not a cache", "give off, memory or a redis:// URL")


def _redis_password(settings: Settings) -> str | None:
    """Return the password of Redis, unless its URL contains it."""
    password, file = settings.redis_password, settings.redis_password_file
    if (password is not None) + (file is not None) + has_password(settings.cache) > 1:
        hint = "give it in only one of redis_password, redis_password_file and the URL"
        raise InputError("redis_password", "is given twice", hint)
    if file is not None:
        return read_password(file)
    return None if password is None else password.get_secret_value()


class Engines:
    """Engines by model name, of which the first is the default model. Must be created in a running event loop."""

    def __init__(
        self,
        pruners: dict[str, Pruner],
        settings: Settings,
        store: Store | None,
        metrics: Metrics,
        on_death: Callable[[], None],
    ) -> None:
        self._store = store
        self._engines = {}
        for name, pruner in pruners.items():
            cache = ScoreCache(store, pruner) if store is not None else None
            self._engines[name] = Engine(pruner, settings, name=name, cache=cache, metrics=metrics, on_death=on_death)

    @property
    def names(self) -> Sequence[str]:
        """Names of the served models, the default model first."""
        return list(self._engines)

    @property
    def alive(self) -> bool:
        """Whether all engines answer requests."""
        return all(engine.alive for engine in self._engines.values())

    @property
    def default(self) -> Engine:
        """The engine of the default model."""
        return next(iter(self._engines.values()))

    def named(self, name: str | None) -> Engine:
        """Return the engine of a model, which must be served; of the default model for None."""
        if name is None:
            return self.default
        if name not in self._engines:
            raise UnknownModelError(name, self.names)
        return self._engines[name]

    def named_or_default(self, name: str | None) -> Engine:
        """Return the engine of a model, or of the default model if that is not served, as for most other clients."""
        return self._engines.get(name or "", self.default)

    async def close(self) -> None:
        """Finish all requests, end the threads, close the cache."""
        for engine in self._engines.values():
            await engine.close()
        if isinstance(self._store, RedisStore):
            await self._store.close()
