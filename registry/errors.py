"""What can go wrong with the registry.

The first sentence of each docstring is what a command line may print when the error carries no text.

    RegistryError
    ├── RegistryUnavailable
    │   └── SessionExpired
    ├── AuthenticationFailed
    │   └── LoginFailed
    ├── ChannelNotSecured
    ├── ChannelIncomplete
    ├── NoPermission
    ├── NoSuchNode
    ├── NodeExists
    ├── NodeNotEmpty
    ├── VersionConflict
    ├── InvalidRecord
    ├── EnsembleBusy
    └── ServerNotStarted
        └── ServerNotFound
"""


class RegistryError(Exception):
    """The registry could not do what was asked."""


class RegistryUnavailable(RegistryError):
    """ZooKeeper cannot be reached."""


class SessionExpired(RegistryUnavailable):
    """The ZooKeeper session expired while the request was under way."""


class AuthenticationFailed(RegistryError):
    """The ZooKeeper password is wrong."""


class LoginFailed(AuthenticationFailed):
    """ZooKeeper's servers do not take the login by SASL, or ask for one."""


class ChannelNotSecured(RegistryError):
    """The connection with ZooKeeper cannot be made as safe as it was wanted."""


class ChannelIncomplete(RegistryError):
    """Half of what says how ZooKeeper is talked to is missing."""


class NoPermission(RegistryError):
    """The znode's access list does not admit this session."""


class NoSuchNode(RegistryError):
    """The znode does not exist."""


class NodeExists(RegistryError):
    """The znode exists already."""


class NodeNotEmpty(RegistryError):
    """The znode has children."""


class VersionConflict(RegistryError):
    """The znode was changed by somebody else in the meantime."""


class InvalidRecord(RegistryError):
    """The znode's content is not what it should be."""


class EnsembleBusy(RegistryError):
    """The ensemble does not change its servers now."""


class ServerNotStarted(RegistryError):
    """The ZooKeeper server did not start."""


class ServerNotFound(ServerNotStarted):
    """No ZooKeeper installation or no Java was found."""
