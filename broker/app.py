"""The composition root: the only module that knows all the others. One worker process from its start to its end."""

import asyncio
import contextlib
import gc
import secrets
import signal
from collections.abc import AsyncIterator

import structlog
import uvloop
from aiohttp import web

from broker.bundled import bundled
from broker.commit.cache import EntityCache
from broker.commit.committer import Committer, Limits
from broker.commit.group import GroupServices
from broker.core.batch import BatchOperations
from broker.core.entities import EntityOperations
from broker.core.subscriptions import Subscriptions
from broker.jsonld.contexts import Contexts
from broker.jsonld.contexts import Limits as DownloadLimits
from broker.notify.compiling import SubscriptionCompiler
from broker.notify.endpoints import DeliveryLimits
from broker.notify.notifier import Notifier
from broker.notify.registry import Registry
from broker.outbound import Outbound, OutboundPolicy
from broker.settings import Settings, SettingsError
from broker.storage.client import Mongo
from broker.storage.contexts import ContextStore
from broker.storage.entities import EntityStore
from broker.storage.outbox import Outbox
from broker.storage.processes import Processes
from broker.storage.subscriptions import SubscriptionStore
from broker.storage.tenants import Tenants
from broker.telemetry import Metrics
from broker.validation.checker import Checker, ViolationObserver
from broker.validation.policies import Policies
from broker.validation.schemas import Model, load_models
from broker.web.routes import make_dispatcher
from broker.web.server import Server
from broker.web.services import Services

log = structlog.get_logger("vela")

_GC_THRESHOLD = 50_000
"""New containers before the garbage collector looks at them: requests make thousands that die without its help."""


def run_worker(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises NgsiLdError (Unavailable) when the database does not answer, UnusableStorage when it cannot serve Vela,
    SettingsError for a setting that only now turns out to be wrong, OSError when the port cannot be had.
    """
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with open_services(settings) as services:
        server = Server(make_dispatcher(services), max_body_bytes=settings.max_body_bytes)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=settings.drain_timeout)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.host, settings.port, reuse_port=settings.workers > 1 or None)
            await site.start()
            gc.collect()
            gc.freeze()
            gc.set_threshold(_GC_THRESHOLD, 20, 50)
            log.info("ready", host=settings.host, port=settings.port)
            await stopping.wait()
            log.info("draining")
        finally:
            await runner.cleanup()
    log.info("stopped")


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Connect, load, start; at the end drain, stop and close, in the reverse order."""
    assert settings.mongo_uri is not None
    metrics = Metrics()
    process = secrets.token_hex(4)
    async with contextlib.AsyncExitStack() as stack:
        outbound = Outbound(OutboundPolicy(allow=settings.outbound_allow, deny=settings.outbound_deny))
        await outbound.start()
        stack.push_async_callback(outbound.close)
        mongo = await Mongo.connect(settings.mongo_uri, driver_name=settings.mongo_driver, database=settings.database)
        stack.push_async_callback(mongo.close)

        tenants = Tenants(mongo)
        contexts_kept, subscriptions_kept = ContextStore(mongo.control), SubscriptionStore(mongo)
        outbox, processes = Outbox(mongo), Processes(mongo)
        await asyncio.gather(
            tenants.open(), contexts_kept.prepare(), subscriptions_kept.prepare(), outbox.prepare(), processes.prepare()
        )
        entities = EntityStore(tenants)

        contexts = Contexts(
            outbound,
            contexts_kept,
            [*([settings.contexts_dir] if settings.contexts_dir is not None else []), bundled("datamodels")],
            limits=DownloadLimits(settings.context_timeout, settings.context_max_bytes, settings.context_max_redirects),
            capacity=settings.context_cache_entries,
        )
        stack.push_async_callback(contexts.close)
        models = load_models(bundled("datamodels"))
        checker = Checker(models, read_policies(settings, models), _count_violation(metrics))

        compiler = SubscriptionCompiler(contexts)
        registry = Registry(subscriptions_kept, compiler)
        notifier = Notifier(
            process=process,
            registry=registry,
            store=subscriptions_kept,
            outbox=outbox,
            processes=processes,
            landed=entities.landed,
            outbound=outbound,
            metrics=metrics,
            limits=DeliveryLimits(
                queue=settings.notification_queue,
                timeout=settings.notification_timeout,
                retries=settings.notification_retries,
                backoff=settings.notification_backoff,
                max_age=settings.notification_max_age,
            ),
        )
        await notifier.start()
        stack.push_async_callback(notifier.stop, settings.drain_timeout)

        committer = Committer(
            GroupServices(
                store=entities,
                cache=EntityCache(settings.cache_bytes),
                checker=checker,
                notifier=notifier,
                outbox=outbox,
                metrics=CommitMetrics(metrics),
                process=process,
            ),
            Limits(
                settings.max_queue,
                settings.group_max,
                settings.group_bytes,
                settings.groups_in_flight,
                settings.group_eager,
            ),
        )
        metrics.commit_queue.set_function(lambda: committer.queued)
        metrics.notification_backlog.set_function(lambda: notifier.backlog)
        stack.push_async_callback(committer.drain, settings.drain_timeout)

        yield Services(
            settings=settings,
            contexts=contexts,
            entities=EntityOperations(committer, entities, tenants),
            batch=BatchOperations(committer, tenants),
            subscriptions=Subscriptions(
                store=subscriptions_kept, registry=registry, compiler=compiler, deliveries=notifier, tenants=tenants
            ),
            checker=checker,
            mongo=mongo,
            metrics=metrics,
        )


def read_policies(settings: Settings, models: dict[str, Model]) -> Policies:
    """The validation policies of the settings. SettingsError where they name what does not exist."""
    names = {model.name: iri for iri, model in models.items()}
    try:
        return Policies.parse(settings.validation_default, settings.validation_policies, names)
    except ValueError as error:
        raise SettingsError(f"validation_policies: {error}") from error


class CommitMetrics:
    """What the committer counts, as Prometheus metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._groups = metrics.commit_groups
        self._size = metrics.group_size
        self._mutations = metrics.mutations
        self._conflicts = metrics.version_conflicts

    def group(self, mutations: int) -> None:
        """A group of so many mutations was committed."""
        self._groups.inc()
        self._size.observe(mutations)
        self._mutations.inc(mutations)

    def conflicts(self, entities: int) -> None:
        """So many entities lost their version race."""
        self._conflicts.inc(entities)


def _count_violation(metrics: Metrics) -> ViolationObserver:
    def count(_tenant: str, type_name: str, _attribute: str, _rule: str, _policy: str) -> None:
        metrics.schema_violations.labels(type_name).inc()

    return count
