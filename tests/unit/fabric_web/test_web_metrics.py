"""The fabric's metrics, and where those of containers are."""

from prometheus_client.parser import text_string_to_metric_families
from support.console import ConsoleWorld

from registry import paths


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus reads."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_whole_fabric_is_measured() -> None:
    """Containers that are down and brokers without a slave are seen, without asking any of them."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.container("node", parent="root", alive=False)
    world.broker("default", "orders", "root", "tcp://127.0.0.1:61616")
    answer = world.client("viewer").get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer.text)
    assert found["fabric_container_connected", frozenset({("container", "root")})] == 1
    assert found["fabric_container_connected", frozenset({("container", "node")})] == 0
    orders = frozenset({("group", "default"), ("broker", "orders")})
    assert (found["fabric_cluster_masters", orders], found["fabric_cluster_slaves", orders]) == (1, 0)


def test_prometheus_finds_the_containers() -> None:
    """A container that serves metrics is a target; one that does not is none."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.container("node", parent="root")
    world.registry.put(paths.container_config_field("node", "metrics"), b"http://10.0.0.7:9400/metrics")
    answer = world.client("viewer").get("/api/v1/metrics/targets")
    (found,) = answer.json
    assert found["targets"] == ["10.0.0.7:9400"]
    assert found["labels"]["container"] == "node"


def test_metrics_need_a_user() -> None:
    """Whoever has no role reads nothing."""
    world = ConsoleWorld()
    assert world.client().get("/api/v1/metrics/targets").status == 401
    assert world.client("nobody").get("/metrics").status == 403
