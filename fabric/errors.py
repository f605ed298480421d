"""What can go wrong in a fabric, in words its user can act on.

```
FabricError
├── NoFabric                   there is no fabric in this FABRIC_HOME
├── HomeUnusable               FABRIC_HOME cannot be read or written
├── HostLocked                 another command changes the same on this host
├── RegistryDown               the container of this host that runs ZooKeeper is stopped
├── InvalidName                a name breaks the rules for names of its kind
├── VersionNotFound
├── VersionExists
├── VersionInUse
├── StoredRecordInvalid        what lies in the registry cannot be understood
├── ChangedMeanwhile
├── ProfileError
│   ├── ProfileNotFound
│   ├── ProfileExists
│   ├── ProfileIsAbstract
│   ├── ProfileInUse
│   ├── ProfileCycle
│   └── ProfileInvalid
├── ContainerError
│   ├── ContainerNotFound
│   ├── ContainerExists
│   ├── ContainerNotRoot
│   ├── ContainerHasChildren
│   ├── ContainerNotStarted    a container process ended before it was there
│   └── LogElsewhere           its log lies on another host
├── CertificatesInvalid        a certificate cannot be made
├── CryptError                 a secret cannot be encrypted or decrypted, or a master key be used
├── UserError
│   ├── UserNotFound
│   ├── UserExists
│   ├── UserInvalid            a name, password or role that cannot be taken
│   ├── LastAdministrator      without him nobody could administer the fabric
│   ├── TokenInvalid           a token that cannot be made so
│   └── TokenNotFound
├── RequirementsInvalid
├── BrokerOptionsInvalid
├── BrokerError
│   ├── BrokerNotFound
│   ├── NoMaster               none of a broker's containers serves now
│   ├── BrokerUnreachable      its master does not answer
│   └── BrokerRefused          its master said why not
├── ConsoleError
│   ├── ConsoleUnreachable     a console elsewhere does not answer
│   └── ConsoleRefused         it said why not
├── PidUnusable                what a profile says about a service cannot be
├── ProvisioningFailed
└── ProvisioningTimedOut
```

An error says what happened (`what`) and what to do about it (`do_next`, may be empty); the command line
prints one below the other.
"""

from collections.abc import Sequence
from pathlib import Path


class FabricError(Exception):
    """What was asked for could not be done."""

    def __init__(self, what: str, do_next: str = "") -> None:
        super().__init__(what, do_next)
        self.what = what
        self.do_next = do_next

    def __str__(self) -> str:
        return f"{self.what} {self.do_next}".rstrip()


class NoFabric(FabricError):
    """There is no fabric to talk to."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"No fabric found at {home}: create one with `fabric create` or name one with --zookeeper-url"
        )


class HomeUnusable(FabricError):
    """FABRIC_HOME cannot be used."""


class HostLocked(FabricError):
    """Another command changes the same on this host."""

    def __init__(self, holder: str) -> None:
        super().__init__(
            f"{holder[0].upper()}{holder[1:]} is not done with this host yet; nothing was changed.",
            "Repeat the command when it is done.",
        )


class RegistryDown(FabricError):
    """ZooKeeper cannot answer, since the container of this host that runs it is stopped."""

    def __init__(self, zookeeper_url: str, container: str) -> None:
        super().__init__(
            f"ZooKeeper at {zookeeper_url} is not running, nor is container {container}, which runs it:",
            f"`fabric container-start {container}` starts it.",
        )


class InvalidName(FabricError):
    """The name breaks the rules for names of its kind."""


class VersionNotFound(FabricError):
    """There is no such version."""

    def __init__(self, version: str, known: Sequence[str] = ()) -> None:
        super().__init__(
            f"Version {version} does not exist.",
            f"Versions there are: {', '.join(known)}." if known else "",
        )


class VersionExists(FabricError):
    """There is such a version already."""

    def __init__(self, version: str) -> None:
        super().__init__(f"Version {version} already exists.", "Choose another name.")


class VersionInUse(FabricError):
    """A version that is the default one, or that containers use, cannot be deleted."""


class StoredRecordInvalid(FabricError):
    """What lies in the registry cannot be understood."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"The record at {path} cannot be understood: {reason}.",
            f"Look at it with `fabric zk-get {path}` and correct it with `fabric zk-set`.",
        )


class ChangedMeanwhile(FabricError):
    """Somebody else changed the same thing at the same time."""

    def __init__(self, thing: str) -> None:
        super().__init__(
            f"{thing} was changed by somebody else in the meantime.", "Look at it and try again."
        )


class ProfileError(FabricError):
    """Something is wrong with a profile."""


class ProfileNotFound(ProfileError):
    """There is no such profile in the version."""

    def __init__(self, profile: str, version: str) -> None:
        super().__init__(
            f"Profile {profile} with version {version} does not exist.",
            f"`fabric profile-list --hidden --version {version}` shows those that do.",
        )


class ProfileExists(ProfileError):
    """There is such a profile already."""

    def __init__(self, profile: str, version: str) -> None:
        super().__init__(
            f"Profile {profile} with version {version} already exists.",
            f"Choose another name, or change it with `fabric profile-edit {profile}`.",
        )


class ProfileIsAbstract(ProfileError):
    """An abstract profile is there to be inherited from, not to be given to a container."""

    def __init__(self, profile: str, version: str) -> None:
        super().__init__(
            f"Profile {profile} with version {version} is abstract and can not be associated to containers.",
            f"Create one that inherits from it: `fabric profile-create --parent {profile} NAME`.",
        )


class ProfileInUse(ProfileError):
    """A profile that containers or other profiles use cannot be deleted."""


class ProfileCycle(ProfileError):
    """A profile would be its own ancestor."""

    def __init__(self, cycle: Sequence[str]) -> None:
        super().__init__(
            f"Profile {cycle[0]} would inherit from itself: {' -> '.join(cycle)}.",
            "Leave one of them out of the parents: `fabric profile-change-parents` replaces them.",
        )


class ProfileInvalid(ProfileError):
    """A profile document cannot be understood."""


class ContainerError(FabricError):
    """Something is wrong with a container."""


class ContainerNotFound(ContainerError):
    """There is no such container."""

    def __init__(self, container: str) -> None:
        super().__init__(
            f"Container {container} does not exists!", "`fabric container-list` shows those that do."
        )


class ContainerExists(ContainerError):
    """There is such a container already."""

    def __init__(self, container: str) -> None:
        super().__init__(f"A container with name {container} already exists.", "Choose another name.")


class ContainerNotRoot(ContainerError):
    """Only root containers have children."""

    def __init__(self, container: str, root: str) -> None:
        super().__init__(
            f"Parent container {container} must be a root container!", f"Its root is {root}: use that one."
        )


class ContainerHasChildren(ContainerError):
    """A container is deleted after its children."""

    def __init__(self, container: str, children: Sequence[str]) -> None:
        super().__init__(
            f"Container {container} has one or more child containers and cannot be deleted: "
            f"{', '.join(children)}.",
            f"Delete them with it: `fabric container-delete --recursive {container}`.",
        )


class ContainerNotStarted(ContainerError):
    """The container process ended before it registered."""


class LogElsewhere(ContainerError):
    """A container's log lies on its own host."""

    def __init__(self, container: str, host: str | None) -> None:
        super().__init__(
            f"Container {container} has no log on this host.",
            f"It runs on host {host or 'unknown'}; ask there, with that host's FABRIC_HOME: "
            f"fabric container-logs {container}",
        )


class CertificatesInvalid(FabricError):
    """Certificates cannot be made."""


class CryptError(FabricError):
    """A secret cannot be encrypted or decrypted, or a master key cannot be used."""


class UserError(FabricError):
    """Something is wrong with a user or a token."""


class UserNotFound(UserError):
    """There is no such user."""

    def __init__(self, user: str) -> None:
        super().__init__(f"User {user} does not exist.", "`fabric user-list` shows those there are.")


class UserExists(UserError):
    """There is a user of that name already."""

    def __init__(self, user: str) -> None:
        super().__init__(f"User {user} already exists.", "Choose another name.")


class UserInvalid(UserError):
    """A user cannot be so."""


class LastAdministrator(UserError):
    """Somebody must be able to administer the fabric."""

    def __init__(self, user: str) -> None:
        super().__init__(f"User {user} is the last administrator.", "Give another user the role admin first.")


class TokenInvalid(UserError):
    """A token cannot be made so."""


class TokenNotFound(UserError):
    """There is no such token, or it is somebody else's."""

    def __init__(self, token: str) -> None:
        super().__init__(f"Token {token} does not exist.", "`fabric token-list` shows those there are.")


class RequirementsInvalid(FabricError):
    """The requirements contradict themselves or cannot be understood."""


class BrokerOptionsInvalid(FabricError):
    """A broker cannot be described by these options."""


class BrokerError(FabricError):
    """A broker could not be asked."""


class BrokerNotFound(BrokerError):
    """There is no such broker, or several could be meant."""

    def __init__(self, group: str, name: str | None, known: Sequence[str]) -> None:
        if not known:
            super().__init__(
                f"No broker is running in the group {group}.", "`fabric broker-list` shows those there are."
            )
        elif name is None:
            super().__init__(
                f"The group {group} has several brokers: {', '.join(known)}.", "Name one with --broker."
            )
        else:
            super().__init__(
                f"The group {group} has no broker {name}.",
                f"Those it has: {', '.join(known)}. Another group is named with --group.",
            )


class NoMaster(BrokerError):
    """None of a broker's containers serves now."""

    def __init__(self, broker: str, group: str, slaves: Sequence[str]) -> None:
        super().__init__(
            f"Broker {broker} has no master now; its slaves are: {', '.join(slaves) or 'none'}.",
            "A slave takes over within seconds: try again. If none does, "
            f"`fabric cluster-list amq/{group}` and `fabric container-list` show why.",
        )


class BrokerUnreachable(BrokerError):
    """A broker's master does not answer."""

    def __init__(self, broker: str, reason: str) -> None:
        super().__init__(
            f"Broker {broker} cannot be asked: {reason}.".replace("..", "."),
            "If its master has just changed, try again; `fabric broker-list` shows who it is.",
        )


class BrokerRefused(BrokerError):
    """A broker said why not.

    Attributes:
        code: of the answer, for programs.
    """

    def __init__(self, what: str, do_next: str = "", code: str = "") -> None:
        super().__init__(what, do_next)
        self.code = code


class ConsoleError(FabricError):
    """A console elsewhere did not do what was asked for."""


class ConsoleUnreachable(ConsoleError):
    """A console does not answer."""

    def __init__(self, url: str, reason: str, do_next: str = "") -> None:
        super().__init__(f"The console at {url} cannot be asked: {reason.rstrip('.')}.", do_next)


class ConsoleRefused(ConsoleError):
    """A console said why not."""


class PidUnusable(FabricError):
    """What a profile says about a service cannot be."""

    def __init__(self, pid: str, error: Exception) -> None:
        super().__init__(
            f"The configuration {pid} cannot be used: {error}", "Correct it with: fabric profile-edit"
        )


class ProvisioningFailed(FabricError):
    """A container could not provision what its profiles ask for."""

    def __init__(self, container: str, reason: str) -> None:
        super().__init__(
            f"Error provisioning container {container} : {reason}",
            f"See `fabric container-info {container}` and `fabric container-logs {container}`.",
        )


class ProvisioningTimedOut(FabricError):
    """Containers did not finish provisioning in time."""
