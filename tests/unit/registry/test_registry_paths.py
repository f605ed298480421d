"""The znode paths fabric8's tools rely on."""

import pytest

from registry import paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (paths.default_version(), "/fabric/configs/default-version"),
        (paths.profile("1.0", "mq-base"), "/fabric/configs/versions/1.0/profiles/mq-base"),
        (paths.version_container("1.0", "root"), "/fabric/configs/versions/1.0/containers/root"),
        (paths.config_container("root"), "/fabric/configs/containers/root"),
        (paths.requirements(), "/fabric/configs/io.fabric8.requirements.json"),
        (paths.ensemble_url(), "/fabric/configs/ensemble/url"),
        (paths.ensemble_password(), "/fabric/configs/ensemble/password"),
        (paths.ensemble_members("0000"), "/fabric/configs/ensemble/0000"),
        (paths.container_config_field("c", "ip"), "/fabric/registry/containers/config/c/ip"),
        (paths.container_alive("c"), "/fabric/registry/containers/alive/c"),
        (paths.container_pid("c"), "/fabric/registry/containers/status/c/pid"),
        (paths.container_provision("c", "result"), "/fabric/registry/containers/provision/c/result"),
        (paths.container_domains("c"), "/fabric/registry/containers/domains/c"),
        (paths.container_commands("c"), "/fabric/registry/containers/commands/c"),
        (paths.container_ports("c"), "/fabric/registry/ports/containers/c"),
        (paths.policy("resolver"), "/fabric/registry/policies/resolver"),
        (paths.amq_group("default"), "/fabric/registry/clusters/amq/default"),
        (paths.cluster("amq/default"), "/fabric/registry/clusters/amq/default"),
        (paths.cluster("/amq/default/"), "/fabric/registry/clusters/amq/default"),
        (paths.cluster(""), "/fabric/registry/clusters"),
        (paths.new_member(paths.amq_group("g")), "/fabric/registry/clusters/amq/g/0"),
        (paths.member(paths.amq_group("g"), "00000000003"), "/fabric/registry/clusters/amq/g/00000000003"),
        (paths.user("admin"), "/fabric/authentication/users/admin"),
        (paths.container_authentication("c"), "/fabric/authentication/containers/c"),
    ],
)
def test_layout(path: str, expected: str) -> None:
    """The layout is the original's, so that its tools read ours."""
    assert path == expected


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
def test_a_name_cannot_leave_its_place(name: str) -> None:
    """A name with a slash would be another znode: whoever passes one has forgotten to check it."""
    with pytest.raises(AssertionError):
        paths.container_alive(name)
