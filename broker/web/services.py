"""What handlers may use: the use cases and the few settings that concern HTTP."""

from dataclasses import dataclass

from broker.core.batch import BatchOperations
from broker.core.entities import EntityOperations
from broker.core.subscriptions import Subscriptions
from broker.jsonld.contexts import Contexts
from broker.settings import Settings
from broker.storage.client import Mongo
from broker.telemetry import Metrics
from broker.validation.checker import Checker


@dataclass(slots=True)
class Services:
    """Everything that handlers reach; made once by `app.py`."""

    settings: Settings
    contexts: Contexts
    entities: EntityOperations
    batch: BatchOperations
    subscriptions: Subscriptions
    checker: Checker
    mongo: Mongo
    metrics: Metrics
