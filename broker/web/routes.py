"""The table of contents of the HTTP binding: every operation, its path, and what it reads and answers.

`server.py` finds the row of a request.
"""

from dataclasses import dataclass

from broker.web import (
    admin,
    attributes,
    batch,
    contexts,
    data_models,
    discovery,
    entities,
    entity_maps,
    explain,
    indexes,
    merging,
    purge,
    query_documents,
    query_parameters,
    snapshots,
    source_identity,
    subscribers,
    subscriptions,
)
from broker.web.cors import Cors
from broker.web.endpoint import Body, Endpoint, Handler, ReadParameters
from broker.web.load import Kind
from broker.web.negotiation import GEO_JSON, JSON, JSON_LD
from broker.web.server import Dispatcher
from broker.web.services import Services

API = "/ngsi-ld/v1"
_LINKED = (JSON, JSON_LD)
_ENTITIES = (*_LINKED, GEO_JSON)
_QUERY = f"{API}/entityOperations/query"
_VITAL = ("/health/live", "/health/ready", "/metrics")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `path` is relative to the server's root, with {variables}.

    `answers` are the media types that the client may choose from; none where there is nothing to choose, because there
    is no body, or one that is always application/json. `merge_patch`: application/merge-patch+json is another word for
    JSON here, as it is for every PATCH (clause 6.3.4). `on_snapshots`: it can be executed on a snapshot, too.
    """

    method: str
    path: str
    handler: Handler
    parameters: ReadParameters = entities.no_parameters
    body: Body = Body.NONE
    answers: tuple[str, ...] = ()
    merge_patch: bool = False
    on_snapshots: bool = True

    @property
    def kind(self) -> Kind:
        """What its requests ask for."""
        if self.path in _VITAL:
            return Kind.VITAL
        written = self.path.startswith((f"{API}/entities", f"{API}/entityOperations"))
        return Kind.COMMIT if written and self.method != "GET" and self.path != _QUERY else Kind.WORK


ROUTES = (
    # 6.4 Entities
    Route("POST", f"{API}/entities", entities.create_entity, body=Body.ONE),
    Route("GET", f"{API}/entities", entities.query_entities, query_parameters.read_query_parameters,
          answers=_ENTITIES),
    Route("DELETE", f"{API}/entities", purge.purge_entities, purge.read_purge_parameters),
    # 6.5 Entity
    Route("GET", f"{API}/entities/{{entityId}}", entities.retrieve_entity, entities.read_retrieve_parameters,
          answers=_ENTITIES),
    Route("PUT", f"{API}/entities/{{entityId}}", entities.replace_entity, entities.read_target_parameters, Body.ONE),
    Route("PATCH", f"{API}/entities/{{entityId}}", merging.merge_entity, merging.read_merge_parameters, Body.ONE),
    Route("PUT", f"{API}/entities", merging.without_id),
    Route("PATCH", f"{API}/entities", merging.without_id),
    Route("DELETE", f"{API}/entities/{{entityId}}", entities.delete_entity, entities.read_target_parameters),
    # 6.6 Attributes
    Route("PATCH", f"{API}/entities/{{entityId}}/attrs", attributes.update_attributes,
          entities.read_target_parameters, Body.ONE),
    Route("POST", f"{API}/entities/{{entityId}}/attrs", attributes.append_attributes,
          attributes.read_append_parameters, Body.ONE, merge_patch=True),  # as real clients send it
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
    # 6.23 Queries in a body
    Route("POST", _QUERY, entities.query_by_document, query_documents.read_document_parameters,
          Body.ONE, answers=_ENTITIES),
    # 6.25 to 6.28 Entity types and attributes
    Route("GET", f"{API}/types", discovery.retrieve_types, discovery.read_list_parameters, answers=_LINKED),
    Route("GET", f"{API}/types/{{type}}", discovery.retrieve_type, answers=_LINKED),
    Route("GET", f"{API}/attributes", discovery.retrieve_attributes, discovery.read_list_parameters, answers=_LINKED),
    Route("GET", f"{API}/attributes/{{attrId}}", discovery.retrieve_attribute, answers=_LINKED),
    # 6.29, 6.30 Stored @contexts
    Route("POST", f"{API}/jsonldContexts", contexts.add_context, body=Body.OPAQUE, on_snapshots=False),
    Route("GET", f"{API}/jsonldContexts", contexts.list_contexts, contexts.read_list_parameters,
          on_snapshots=False),
    Route("GET", f"{API}/jsonldContexts/{{contextId}}", contexts.serve_context, contexts.read_serve_parameters,
          answers=_LINKED, on_snapshots=False),
    Route("DELETE", f"{API}/jsonldContexts/{{contextId}}", contexts.delete_context, contexts.read_delete_parameters,
          on_snapshots=False),
    # 6.31 Batch Entity Merge
    Route("POST", f"{API}/entityOperations/merge", batch.batch_merge, body=Body.MANY),
    # 6.32, 6.34 Entity maps
    Route("GET", f"{API}/entityMaps", entity_maps.create_map, query_parameters.read_query_parameters,
          answers=_LINKED),
    Route("POST", f"{API}/entityMaps", entity_maps.create_map_by_document, query_documents.read_document_parameters,
          Body.ONE, answers=_LINKED),
    Route("GET", f"{API}/entityMaps/{{entityMapId}}", entity_maps.retrieve_map, answers=_LINKED),
    Route("PATCH", f"{API}/entityMaps/{{entityMapId}}", entity_maps.update_map, body=Body.ONE),
    Route("DELETE", f"{API}/entityMaps/{{entityMapId}}", entity_maps.delete_map),
    # 6.33 Context source identity
    Route("GET", f"{API}/info/sourceIdentity", source_identity.retrieve_identity, answers=_LINKED),
    # 6.36 to 6.38 Snapshots
    Route("POST", f"{API}/snapshots", snapshots.create_snapshot, body=Body.ONE, on_snapshots=False),
    Route("DELETE", f"{API}/snapshots", snapshots.purge_snapshots, snapshots.read_purge_parameters,
          on_snapshots=False),
    Route("GET", f"{API}/snapshots/{{snapshotId}}", snapshots.retrieve_snapshot, answers=_LINKED, on_snapshots=False),
    Route("PATCH", f"{API}/snapshots/{{snapshotId}}", snapshots.update_snapshot, body=Body.ONE, answers=_LINKED,
          on_snapshots=False),
    Route("DELETE", f"{API}/snapshots/{{snapshotId}}", snapshots.delete_snapshot, on_snapshots=False),
    Route("POST", f"{API}/snapshots/{{snapshotId}}/clone", snapshots.clone_snapshot, body=Body.ONE,
          on_snapshots=False),
    # For operators
    Route("GET", "/health/live", admin.live),
    Route("GET", "/health/ready", admin.ready),
    Route("GET", "/metrics", admin.metrics),
    Route("GET", "/version", admin.version),
    Route("GET", "/datamodels", data_models.list_models, data_models.read_list_parameters, on_snapshots=False),
    Route("POST", "/datamodels/models", data_models.add_models, body=Body.OPAQUE, on_snapshots=False),
    Route("GET", "/datamodels/models/{model}", data_models.show_model, on_snapshots=False),
    Route("DELETE", "/datamodels/models/{model}", data_models.remove_model, on_snapshots=False),
    Route("GET", "/datamodels/policies", data_models.list_policies, on_snapshots=False),
    Route("PUT", "/datamodels/policies", data_models.set_policy, body=Body.OPAQUE, on_snapshots=False),
    Route("DELETE", "/datamodels/policies", data_models.remove_policy, data_models.read_policy_parameters,
          on_snapshots=False),
    Route("GET", "/datamodels/violations", data_models.list_violations, data_models.read_violation_parameters,
          on_snapshots=False),
    Route("DELETE", "/datamodels/violations", data_models.clear_violations, data_models.read_selection_parameters,
          on_snapshots=False),
    Route("POST", "/indexes", indexes.add_index, body=Body.ONE),
    Route("GET", "/indexes", indexes.list_indexes),
    Route("GET", "/indexes/{indexId}", indexes.show_index),
    Route("DELETE", "/indexes/{indexId}", indexes.remove_index),
    Route("GET", "/subscribers", subscribers.list_subscribers, subscribers.read_parameters,
          on_snapshots=False),
    Route("GET", "/explain", explain.explain_query, query_parameters.read_query_parameters),
)  # fmt: skip


def make_dispatcher(services: Services) -> Dispatcher:
    """A dispatcher with an endpoint for every row."""
    settings = services.settings
    cors = Cors(settings.cors_origins, settings.cors_exposed_headers) if settings.cors_origins else None
    dispatcher = Dispatcher(cors)
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
            merge_patch=route.merge_patch,
            on_snapshots=route.on_snapshots,
        )
        dispatcher.add(route.method, route.path, endpoint.handle, route.kind)
    return dispatcher
