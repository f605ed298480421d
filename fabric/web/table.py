"""All routes of the console and its API."""

from typing import Final

from fabric.web.api import access as api_access
from fabric.web.api import audit as api_audit
from fabric.web.api import broker_clients as api_broker_clients
from fabric.web.api import brokers as api_brokers
from fabric.web.api import commands as api_commands
from fabric.web.api import container_changes as api_container_changes
from fabric.web.api import containers as api_containers
from fabric.web.api import description as api_description
from fabric.web.api import events as api_events
from fabric.web.api import health as api_health
from fabric.web.api import messages as api_messages
from fabric.web.api import metrics as api_metrics
from fabric.web.api import mq as api_mq
from fabric.web.api import profiles as api_profiles
from fabric.web.api import registry as api_registry
from fabric.web.api import versions as api_versions
from fabric.web.pages import (
    access,
    assets,
    audit,
    brokers,
    containers,
    destinations,
    diagram,
    gateways,
    health,
    login,
    mq,
    openid,
    profiles,
    registry,
    timeline,
    versions,
)
from fabric.web.routes import Route

ROUTES: Final[tuple[Route, ...]] = (
    *login.ROUTES,
    *openid.ROUTES,
    *assets.ROUTES,
    *containers.ROUTES,
    *mq.ROUTES,
    *diagram.ROUTES,
    *timeline.ROUTES,
    *gateways.ROUTES,
    *health.ROUTES,
    *api_containers.ROUTES,
    *api_container_changes.ROUTES,
    *versions.ROUTES,
    *profiles.ROUTES,
    *api_versions.ROUTES,
    *api_profiles.ROUTES,
    *brokers.ROUTES,
    *destinations.ROUTES,
    *api_brokers.ROUTES,
    *api_messages.ROUTES,
    *api_broker_clients.ROUTES,
    *api_mq.ROUTES,
    *api_health.ROUTES,
    *access.ROUTES,
    *audit.ROUTES,
    *api_access.ROUTES,
    *api_audit.ROUTES,
    *api_commands.ROUTES,
    *registry.ROUTES,
    *api_registry.ROUTES,
    *api_metrics.ROUTES,
    *api_events.ROUTES,
    *api_description.ROUTES,
)
