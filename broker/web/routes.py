"""The table of contents of the HTTP binding: every operation, its path, and what it reads and answers.

`server.py` finds the row of a request.
"""

from dataclasses import dataclass

from broker.web import admin, attributes, batch, entities, subscriptions
from broker.web.cors import Cors
from broker.web.endpoint import Body, Endpoint, Handler, ReadParameters
from broker.web.negotiation import JSON, JSON_LD
from broker.web.server import Dispatcher
from broker.web.services import Services

API = "/ngsi-ld/v1"
_LINKED = (JSON, JSON_LD)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `path` is relative to the server's root, with {variables}.

    `answers` are the media types that the client may choose from; none where there is nothing to choose, because there
    is no body, or one that is always application/json.
    """

    method: str
    path: str
    handler: Handler
    parameters: ReadParameters = entities.no_parameters
    body: Body = Body.NONE
    answers: tuple[str, ...] = ()


ROUTES = (
    # 6.4 Entities
    Route("POST", f"{API}/entities", entities.create_entity, body=Body.ONE),
    Route("GET", f"{API}/entities", entities.query_entities, entities.read_query_parameters, answers=_LINKED),
    # 6.5 Entity
    Route("GET", f"{API}/entities/{{entityId}}", entities.retrieve_entity, entities.read_retrieve_parameters,
          answers=_LINKED),
    Route("PUT", f"{API}/entities/{{entityId}}", entities.replace_entity, entities.read_target_parameters, Body.ONE),
    Route("DELETE", f"{API}/entities/{{entityId}}", entities.delete_entity, entities.read_target_parameters),
    # 6.6 Attributes
    Route("PATCH", f"{API}/entities/{{entityId}}/attrs", attributes.update_attributes,
          entities.read_target_parameters, Body.ONE),
    Route("POST", f"{API}/entities/{{entityId}}/attrs", attributes.append_attributes,
          attributes.read_append_parameters, Body.ONE),
    # 6.7 Attribute
    Route("PATCH", f"{API}/entities/{{entityId}}/attrs/{{attrId}}", attributes.update_attribute,
          entities.read_target_parameters, Body.ONE),
    Route("PUT", f"{API}/entities/{{entityId}}/attrs/{{attrId}}", attributes.replace_attribute,
          entities.read_target_parameters, Body.ONE),
    Route("DELETE", f"{API}/entities/{{entityId}}/attrs/{{attrId}}", attributes.delete_attribute,
          attributes.read_delete_parameters),
    # 6.10, 6.11 Subscriptions
    Route("POST", f"{API}/subscriptions", subscriptions.create_subscription, body=Body.ONE),
    Route("GET", f"{API}/subscriptions", subscriptions.query_subscriptions, subscriptions.read_query_parameters,
          answers=_LINKED),
    Route("GET", f"{API}/subscriptions/{{subscriptionId}}", subscriptions.retrieve_subscription,
          subscriptions.read_retrieve_parameters, answers=_LINKED),
    Route("PATCH", f"{API}/subscriptions/{{subscriptionId}}", subscriptions.update_subscription, body=Body.ONE),
    Route("DELETE", f"{API}/subscriptions/{{subscriptionId}}", subscriptions.delete_subscription),
    # 6.14 to 6.17 Batch operations
    Route("POST", f"{API}/entityOperations/create", batch.batch_create, body=Body.MANY),
    Route("POST", f"{API}/entityOperations/upsert", batch.batch_upsert, batch.read_upsert_parameters, Body.MANY),
    Route("POST", f"{API}/entityOperations/update", batch.batch_update, batch.read_update_parameters, Body.MANY),
    Route("POST", f"{API}/entityOperations/delete", batch.batch_delete, body=Body.OPAQUE),
    # For operators
    Route("GET", "/health/live", admin.live),
    Route("GET", "/health/ready", admin.ready),
    Route("GET", "/metrics", admin.metrics),
    Route("GET", "/version", admin.version),
    Route("GET", "/datamodels/violations", admin.violations),
)  # fmt: skip


def make_dispatcher(services: Services) -> Dispatcher:
    """A dispatcher with an endpoint for every row."""
    origins = services.settings.cors_origins
    dispatcher = Dispatcher(Cors(origins) if origins else None)
    for route in ROUTES:
        endpoint = Endpoint(
            route.handler,
            services,
            services.metrics,
            route=route.path,
            method=route.method,
            parameters=route.parameters,
            body=route.body,
            answers=route.answers,
        )
        dispatcher.add(route.method, route.path, endpoint.handle)
    return dispatcher
