"""Realms that know users beside the registry: the PID ``io.fabric8.authentication``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fabric.realms.service import AuthenticationService
    from fabric.services import ServiceContext

PID: Final = "io.fabric8.authentication"


class AuthenticationFactory:
    """Factory of realms. Their modules are imported when the first ones are made."""

    pid_prefix = PID

    def create(
        self, pid: str, properties: Mapping[str, str], context: ServiceContext
    ) -> AuthenticationService:
        """Make them. Raises FabricError for a configuration that cannot be used."""
        del pid
        from fabric.realms.service import AuthenticationService  # noqa: PLC0415 - a container starts small

        return AuthenticationService(context, properties)


factory = AuthenticationFactory()
