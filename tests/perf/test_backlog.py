"""The failover benchmark waits for a slave that has read its backlog, and finds the master's port."""

import pytest
from perf.backlog import AtRest, port_of


def test_a_process_is_at_rest_after_a_quiet_second() -> None:
    """One that still reads is waited for; one that has become quiet is not."""
    samples = iter([(0.0, 1.0), (0.5, 1.0), (1.0, 1.9), (2.1, 1.95)])
    now = [0.0, 0.0]

    def step() -> None:
        now[:] = next(samples)

    step()
    at_rest = AtRest(1, used_s=lambda _pid: now[1], clock_s=lambda: now[0])
    seen = []
    for _ in range(3):
        step()
        seen.append(at_rest())
    assert seen == [False, False, True]


def test_the_port_is_that_of_the_published_service() -> None:
    """The clients of the backlog go where all clients go."""
    assert port_of(["tcp://host.example:61616"]) == 61616
    with pytest.raises(ValueError, match="no port"):
        port_of([])
