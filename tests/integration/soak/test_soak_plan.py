"""The plan of a soak: the same for the same seed, every fault in it, nothing impossible."""

from integration.soak.plan import Kind, Round, Victim, plan_round


def rounds(seed: int, count: int) -> list[Round]:
    """The first rounds of a seed."""
    return [plan_round(seed, number) for number in range(1, count + 1)]


def test_a_seed_says_everything() -> None:
    """The same seed and number give the same round, another seed another soak."""
    assert rounds(1, 50) == rounds(1, 50)
    assert rounds(1, 50) != rounds(2, 50)
    assert plan_round(1, 50) == rounds(1, 50)[-1]


def test_every_fault_and_most_pairs_occur() -> None:
    """Two hundred rounds see every fault alone, every fault with another, and both roles as victims."""
    seen = rounds(1, 200)
    alone = {each.first.kind for each in seen if each.second is None}
    assert alone == set(Kind)
    assert {each.first.kind for each in seen if each.second is not None} == set(Kind)
    assert {each.first.victim for each in seen} == set(Victim)
    assert any(each.gathers for each in seen)


def test_two_faults_hit_two_containers() -> None:
    """A container is hit once in a round, and nothing is stopped by a command while ZooKeeper is away."""
    for each in rounds(1, 500):
        if each.second is None:
            continue
        victims = [fault.victim for fault in (each.first, each.second) if fault.victim is not Victim.NOBODY]
        assert len(victims) == len(set(victims))
        kinds = {each.first.kind, each.second.kind}
        assert kinds != {Kind.ZOOKEEPER, Kind.STOP}


def test_without_a_small_disk_nothing_is_filled() -> None:
    """On a machine where no file system can be mounted the other faults make up the soak."""
    found = {plan_round(1, number, can_fill=False).first.kind for number in range(1, 200)}
    assert found == set(Kind) - {Kind.FULL}


def test_a_fault_can_be_asked_for() -> None:
    """The short soak chooses its faults, so that it sees each of them."""
    assert plan_round(1, 1, kind=Kind.FULL).first.kind is Kind.FULL
