"""The engines of all served models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from secateur.models.errors import InputError, shown
from secateur.models.pruner import Pruner
from secateur.service.batching.admission import AnswerLimits
from secateur.service.batching.cache import MemoryStore, RedisStore, ScoreCache, Store
from secateur.service.batching.engine import PROBE, Background, Engine, EngineLimits
from secateur.service.credentials import has_password, read_password, without_password
from secateur.service.errors import UnknownModelError
from secateur.service.metrics import Metrics
from secateur.service.settings import ModelSettings, Settings


def load_pruners(settings: Settings) -> dict[str, Pruner]:
    """Load all models, by the names under which they are served.

    Raises:
        SecateurError: A model cannot be loaded.
        InputError: Two models have the same name.
    """
    pruners: dict[str, Pruner] = {}
    for spec in settings.all_models():
        pruner = _load(spec)
        name = spec.name or pruner.config.name
        if name in pruners:
            raise InputError("models", f"two models are named {name!r}", "give one of them another name")
        if settings.warm_up:
            pruner.prune_request(PROBE)
        pruners[name] = pruner
    return pruners


def _load(spec: ModelSettings) -> Pruner:
    return Pruner.load(spec.model, **spec.model_dump(exclude={"model", "name"}))


def open_store(settings: Settings) -> Store | None:
    """Open the configured cache, if any.

    Raises:
        InputError: There is no such cache.
        MissingExtraError: Its client is not installed.
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
    """Engines by model name. Must be created in a running event loop.

    Args:
        pruners: Loaded models by name; the first is the default model.
        settings: Settings of the service.
        store: Store of the cache; None for no cache.
        metrics: Metrics of the service.
        on_death: Callback for the death of an engine, called from any thread.
    """

    def __init__(
        self,
        pruners: dict[str, Pruner],
        settings: Settings,
        store: Store | None,
        metrics: Metrics,
        on_death: Callable[[], None],
    ) -> None:
        # All joiners together may be as long as all passages together.
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
        """Return the engine of a model; of the default model for None.

        Raises:
            UnknownModelError: The model is not served.
        """
        if name is None:
            return self.default
        if name not in self._engines:
            raise UnknownModelError(name, self.names)
        return self._engines[name]

    def named_or_default(self, name: str | None) -> Engine:
        """Return the engine of a model, or of the default model if there is no model with that name.

        Clients of other services must send the name of a model, which is usually not served here.
        """
        return self._engines.get(name or "", self.default)

    def background(self, engine: Engine) -> Background:
        """Return the background work of an engine."""
        return self._background[engine.name]

    async def close(self) -> None:
        """Finish all requests, end the threads, close the cache."""
        for engine in self._engines.values():
            await engine.close()
        if self._store is not None:
            await self._store.close()
