"""The composition root: the only module that knows all the others. What one worker process is made of."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from broker import __version__
from broker.bundled import bundled
from broker.commit.cache import EntityCache
from broker.commit.census import Census
from broker.commit.committer import Committer, Limits
from broker.commit.group import GroupServices
from broker.core.batch import BatchOperations
from broker.core.context_upkeep import ContextUpkeep
from broker.core.contexts import ContextOperations
from broker.core.discovery import Discovery
from broker.core.entities import EntityOperations
from broker.core.entity_maps import EntityMaps, Lifetimes
from broker.core.explaining import Explanations
from broker.core.indexes import IndexOperations
from broker.core.linked import LinkedEntityReads, LinkLimits
from broker.core.purge import Purges
from broker.core.querying import Querying
from broker.core.snapshot_notices import SnapshotNotifier
from broker.core.snapshot_work import SnapshotWork
from broker.core.snapshots import SnapshotLimits, Snapshots
from broker.core.source_identity import SourceIdentity
from broker.core.subscribed_entities import SubscribedEntities
from broker.core.subscribers import Subscribers
from broker.core.subscriptions import Subscriptions
from broker.core.sweeping import Sweeper
from broker.core.watching import WatchedQueries
from broker.jsonld.contexts import Contexts
from broker.jsonld.contexts import Limits as DownloadLimits
from broker.notify.compiling import SubscriptionCompiler
from broker.notify.completing import Completer
from broker.notify.endpoints import DeliveryLimits
from broker.notify.notifier import Notifier
from broker.notify.periodic import PeriodicNotifications
from broker.notify.registry import Registry
from broker.notify.sending import Sender
from broker.parts import (
    Neighbours,
    open_census,
    open_data_models,
    open_http,
    open_mongo,
    open_mqtt,
    open_sharing,
    read_trust,
    run,
)
from broker.settings import Settings
from broker.storage.census import CensusStore
from broker.storage.collator import Collator
from broker.storage.contexts import ContextStore
from broker.storage.edits import Edits
from broker.storage.entities import EntityStore
from broker.storage.entity_maps import EntityMapStore
from broker.storage.indexes import IndexStore
from broker.storage.links import Links
from broker.storage.outbox import Outbox
from broker.storage.periods import Periods
from broker.storage.plans import Plans
from broker.storage.processes import Processes
from broker.storage.reads import Reads
from broker.storage.recounts import Recounts
from broker.storage.selections import EntitySelections
from broker.storage.snapshot_contents import SnapshotContents
from broker.storage.snapshots import SnapshotNotices, SnapshotStore
from broker.storage.source_alias import kept_alias
from broker.storage.subscriptions import SubscriptionStore
from broker.storage.tenants import Tenants
from broker.telemetry import CommitMetrics, Metrics
from broker.web.load import Load
from broker.web.rendered import RenderedEntities
from broker.web.services import Services
from broker.web.snapshot_queries import compile_snapshot_query


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, exposition: Callable[[], Awaitable[bytes]], neighbours: Neighbours
) -> AsyncIterator[Services]:
    """Connect, load, start; at the end drain, stop and close, in the reverse order.

    Raises NgsiLdError (Unavailable) when the database does not answer, UnusableStorage when it cannot serve Vela,
    SettingsError for a setting that only now turns out to be wrong.
    """
    process = secrets.token_hex(4)
    async with contextlib.AsyncExitStack() as stack:
        outbound, poster = await stack.enter_async_context(open_http(settings))
        mongo = await stack.enter_async_context(open_mongo(settings))

        tenants = Tenants(mongo)
        processes = Processes(mongo)
        edits = Edits(mongo.control, processes.alive)
        contexts_kept, subscriptions_kept = ContextStore(mongo.control, edits), SubscriptionStore(mongo, edits)
        outbox, periods = Outbox(mongo), Periods(mongo)
        snapshots_kept, notices = SnapshotStore(mongo), SnapshotNotices(mongo)
        await asyncio.gather(
            tenants.open(),
            *(one.prepare() for one in (edits, contexts_kept, subscriptions_kept, outbox, processes, periods)),
            *(one.prepare() for one in (snapshots_kept, notices)),
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
        context_operations = ContextOperations(contexts_kept, contexts, tenants, max_bytes=settings.context_max_bytes)
        upkeep = ContextUpkeep(contexts_kept, context_operations)
        await upkeep.start()
        stack.push_async_callback(upkeep.stop)
        data_models = await stack.enter_async_context(open_data_models(mongo, edits, metrics, settings))

        compiler, completer = SubscriptionCompiler(contexts), Completer(entities, settings.linked_entities_max)
        registry = Registry(subscriptions_kept, compiler, compiler.outdated)
        trust = read_trust(settings)
        mqtt = await stack.enter_async_context(open_mqtt(outbound, trust, settings))
        notifier = Notifier(
            process=process,
            registry=registry,
            store=subscriptions_kept,
            outbox=outbox,
            processes=processes,
            landed=entities.landed,
            sender=Sender(poster, mqtt, trust),
            completer=completer,
            metrics=metrics,
            limits=DeliveryLimits(
                queue=settings.notification_queue,
                connections=settings.notification_connections,
                timeout=settings.notification_timeout,
                longest_timeout=settings.notification_timeout_max,
                retries=settings.notification_retries,
                backoff=settings.notification_backoff,
                max_age=settings.notification_max_age,
                backlog=settings.notification_backlog,
            ),
        )
        await notifier.start()
        stack.push_async_callback(notifier.stop, settings.drain_timeout)

        census_kept = CensusStore(mongo, tenants)
        census = await stack.enter_async_context(
            open_census(Census(census_kept, process), Recounts(mongo, tenants), processes, settings)
        )
        committer = Committer(
            GroupServices(
                store=entities,
                cache=EntityCache(settings.cache_bytes),
                checker=data_models.checker,
                notifier=notifier,
                outbox=outbox,
                metrics=CommitMetrics(metrics),
                census=census,
                process=process,
            ),
            Limits(
                settings.max_queue,
                settings.group_max,
                settings.group_bytes,
                settings.groups_in_flight,
                settings.group_eager,
                settings.max_wait,
            ),
        )
        metrics.commit_queue.set_function(lambda: committer.queued)
        metrics.worker.queued = lambda: committer.queued
        metrics.notification_backlog.set_function(lambda: notifier.backlog)
        metrics.endpoints.waiting = notifier.waiting
        stack.push_async_callback(committer.drain, settings.drain_timeout)
        commits = await stack.enter_async_context(open_sharing(committer, neighbours, metrics, settings))
        run(stack, Sweeper(committer, entities, tenants, interval=settings.expiry_sweep_interval))

        selections = EntitySelections(tenants, settings.query_scan_max)
        linked = LinkedEntityReads(
            entities, selections, Links(tenants), LinkLimits(settings.linked_entities_max, settings.query_scan_max)
        )
        index_store = IndexStore(mongo, tenants)
        indexes = run(stack, IndexOperations(index_store))
        explanations = Explanations(Plans(tenants), index_store)
        querying = Querying(selections, Collator(mongo), linked)
        run(
            stack,
            PeriodicNotifications(
                schedule=periods,
                subscriptions=registry,
                entities=SubscribedEntities(querying),
                renderer=completer,
                outbox=outbox,
                notifier=notifier,
            ),
        )
        queries = WatchedQueries(
            querying,
            explanations,
            threshold=settings.slow_query,
            interval=settings.slow_query_interval,
            slow=metrics.slow_queries,
            scanning=metrics.scanning_queries,
        )
        stack.push_async_callback(queries.stop)

        snapshot_notifier = SnapshotNotifier(
            notices,
            snapshots_kept,
            poster,
            timeout=settings.notification_timeout,
            max_age=settings.notification_max_age,
        )
        yield Services(
            settings=settings,
            contexts=contexts,
            context_operations=context_operations,
            entities=EntityOperations(commits, queries, Reads(tenants), tenants),
            batch=BatchOperations(commits, tenants),
            purges=Purges(committer, entities),
            discovery=Discovery(census_kept),
            subscriptions=Subscriptions(
                store=subscriptions_kept,
                registry=registry,
                compiler=compiler,
                deliveries=notifier,
                tenants=tenants,
                contexts=context_operations,
                trust=trust,
            ),
            subscribers=Subscribers(subscriptions_kept, notifier, tenants, outbox),
            linked=linked,
            indexes=indexes,
            explanations=explanations,
            data_models=data_models.operations,
            mongo=mongo,
            metrics=metrics,
            exposition=exposition,
            entity_maps=EntityMaps(
                EntityMapStore(tenants),
                querying,
                tenants,
                Lifetimes(settings.entity_map_lifetime, settings.entity_map_lifetime_max),
            ),
            snapshots=Snapshots(
                store=snapshots_kept,
                work=run(
                    stack,
                    SnapshotWork(
                        process=process,
                        store=snapshots_kept,
                        contents=SnapshotContents(mongo, tenants),
                        notifier=snapshot_notifier,
                        queries=querying,
                        contexts=contexts,
                        compile_query=compile_snapshot_query,
                        processes=processes,
                        subscriptions=subscriptions_kept,
                    ),
                ),
                notifier=snapshot_notifier,
                tenants=tenants,
                compile_query=compile_snapshot_query,
                limits=SnapshotLimits(
                    Lifetimes(settings.snapshot_lifetime, settings.snapshot_lifetime_max), settings.snapshots_max
                ),
            ),
            identity=SourceIdentity(
                settings.source_alias or await kept_alias(mongo), {"product": "Vela", "version": __version__}
            ),
            rendered=RenderedEntities(settings.read_cache_bytes, metrics.read_cache),
            load=Load(commits, metrics.refused, longest_wait=settings.max_wait, most_bytes=settings.max_pending_bytes),
            leave=commits.leave,
        )
