"""What handlers may use: the use cases and the few settings that concern HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.core.batch import BatchOperations
from broker.core.contexts import ContextOperations
from broker.core.data_models import DataModelOperations
from broker.core.discovery import Discovery
from broker.core.entities import EntityOperations
from broker.core.entity_maps import EntityMaps
from broker.core.explaining import Explanations
from broker.core.indexes import IndexOperations
from broker.core.linked import LinkedEntityReads
from broker.core.purge import Purges
from broker.core.snapshots import Snapshots
from broker.core.source_identity import SourceIdentity
from broker.core.subscribers import Subscribers
from broker.core.subscriptions import Subscriptions
from broker.jsonld.contexts import Contexts
from broker.settings import Settings
from broker.storage.client import Mongo
from broker.telemetry import Metrics
from broker.web.load import Load
from broker.web.rendered import RenderedEntities


@dataclass(slots=True)
class Services:
    """Everything that handlers reach; made once by `app.py`. `exposition` are the metrics of all workers, as text.

    `leave` is called when the worker is about to end: from then on it and the other workers share nothing.
    """

    settings: Settings
    contexts: Contexts
    context_operations: ContextOperations
    entities: EntityOperations
    batch: BatchOperations
    purges: Purges
    discovery: Discovery
    subscriptions: Subscriptions
    subscribers: Subscribers
    linked: LinkedEntityReads
    indexes: IndexOperations
    explanations: Explanations
    data_models: DataModelOperations
    mongo: Mongo
    metrics: Metrics
    exposition: Callable[[], Awaitable[bytes]]
    entity_maps: EntityMaps
    snapshots: Snapshots
    identity: SourceIdentity
    rendered: RenderedEntities
    load: Load
    leave: Callable[[], None]
