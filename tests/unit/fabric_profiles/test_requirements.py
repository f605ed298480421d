"""Required instances."""

import json

import pytest

from fabric.errors import RequirementsInvalid
from fabric.requirements import (
    INSTANCES_MAX,
    ProfileRequirements,
    Requirements,
    health_percent,
    parse_requirements,
    serialize_requirements,
)

ORIGINAL = (
    b'{"profileRequirements":[{"profile":"mq-broker-default.tolerantbroker","minimumInstances":2,'
    b'"maximumInstancesPerHost":1}],"version":"1.0","sshConfiguration":{"a":1}}'
)


def test_the_originals_document_is_read_and_written_again() -> None:
    """Fields we do not know stay; fields that say nothing are not written."""
    requirements = parse_requirements(ORIGINAL)
    assert requirements.of("mq-broker-default.tolerantbroker").minimum_instances == 2
    assert json.loads(serialize_requirements(requirements)) == json.loads(ORIGINAL)


@pytest.mark.parametrize("document", [b"", b"  \n", b"{}", b'{"profileRequirements":null}'])
def test_no_document_holds_no_requirements(document: bytes) -> None:
    """A fabric begins without."""
    assert parse_requirements(document).profiles == ()


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b"[]",
        b"1",
        b'{"profileRequirements":[1]}',
        b'{"profileRequirements":[{}]}',
        b'{"profileRequirements":[{"profile":"p","minimumInstances":"2"}]}',
        b'{"profileRequirements":[{"profile":"p","minimumInstances":true}]}',
        b'{"profileRequirements":[{"profile":"p","minimumInstances":-1}]}',
        b'{"profileRequirements":[{"profile":"p","dependentProfiles":"abc"}]}',
        b'{"profileRequirements":3}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_other_documents_are_refused(document: bytes) -> None:
    """The error is ours, whatever is wrong."""
    with pytest.raises(RequirementsInvalid):
        parse_requirements(document)


def test_one_profile_is_set_and_forgotten() -> None:
    """The others stay, and all are sorted."""
    requirements = (
        Requirements().with_profile(ProfileRequirements("b", 1)).with_profile(ProfileRequirements("a", 2))
    )
    assert [one.profile for one in requirements.profiles] == ["a", "b"]
    assert requirements.with_profile(ProfileRequirements("a", 3)).of("a").minimum_instances == 3
    assert requirements.without_profile("a").of("a") == ProfileRequirements("a")
    assert requirements.without_profile("x") == requirements


@pytest.mark.parametrize(("low", "high"), [(-1, None), (None, -1), (3, 2), (INSTANCES_MAX + 1, None)])
def test_contradictions_are_refused(low: int | None, high: int | None) -> None:
    """The minimum is not above the maximum, and neither is negative."""
    with pytest.raises(RequirementsInvalid):
        Requirements().with_profile(ProfileRequirements("p", low, high))


def test_a_minimum_is_only_raised() -> None:
    """Creating a broker again does not lower what somebody asked for; a maximum below it follows."""
    requirements = Requirements().with_profile(ProfileRequirements("p", 3, 3))
    assert requirements.with_minimum("p", 2).of("p").minimum_instances == 3
    raised = requirements.with_minimum("p", 5).of("p")
    assert (raised.minimum_instances, raised.maximum_instances) == (5, 5)


@pytest.mark.parametrize(
    ("instances", "minimum", "percent"),
    [
        (0, None, 0),
        (0, 0, 0),
        (0, 2, 0),
        (1, None, 100),
        (1, 0, 100),
        (1, 2, 50),
        (1, 3, 33),
        (2, 2, 100),
        (3, 2, 150),
    ],
)
def test_health(instances: int, minimum: int | None, percent: int) -> None:
    """Nothing that runs is 0 %, no minimum 100 %, otherwise what runs of what is required."""
    assert health_percent(instances, minimum) == percent
