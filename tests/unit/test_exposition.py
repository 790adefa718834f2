"""What several processes counted, as one exposition."""

import json

from broker.exposition import Merger, Snapshot, snapshot
from broker.telemetry import Metrics, SupervisorMetrics


def carried(metrics: Metrics | SupervisorMetrics) -> Snapshot:
    """A snapshot as the supervisor gets it."""
    taken: Snapshot = json.loads(json.dumps(snapshot(metrics.registry)))
    return taken


def lines(merger: Merger, *living: Metrics) -> list[str]:
    return merger.text([carried(one) for one in living]).decode().splitlines()


def test_counters_and_histograms_are_added() -> None:
    one, other = Metrics(0), Metrics(1)
    one.mutations.inc(3)
    other.mutations.inc(4)
    one.version_conflicts.inc()
    one.group_size.observe(3)
    other.group_size.observe(30)
    for metrics, status in ((one, 200), (other, 200), (other, 404)):
        metrics.requests.row("GET", "/x").observe(status, 0.003)

    found = lines(Merger(), one, other)

    assert "vela_mutations_total 7.0" in found
    assert "vela_version_conflicts_total 1.0" in found
    assert 'vela_commit_group_size_bucket{le="5.0"} 1.0' in found
    assert 'vela_commit_group_size_bucket{le="+Inf"} 2.0' in found
    assert "vela_commit_group_size_sum 33.0" in found
    assert 'vela_requests_total{method="GET",route="/x",status="200"} 2.0' in found
    assert 'vela_requests_total{method="GET",route="/x",status="404"} 1.0' in found
    assert 'vela_request_seconds_count{method="GET",route="/x"} 3.0' in found
    assert sum(line.startswith("# TYPE vela_mutations_total") for line in found) == 1


def test_gauges_are_added_or_the_largest_counts() -> None:
    one, other = Metrics(0), Metrics(1)
    one.commit_queue.set(3)
    other.commit_queue.set(4)
    one.models_usable.set(80)
    other.models_usable.set(81)

    found = lines(Merger(), one, other)

    assert "vela_commit_queue_length 7.0" in found
    assert "vela_data_models 81.0" in found


def test_what_concerns_one_worker_has_its_number() -> None:
    one, other = Metrics(0), Metrics(1)
    one.worker.queued, other.worker.queued = lambda: 3, lambda: 4

    found = lines(Merger(), one, other)

    assert 'vela_worker_queue_length{worker="0"} 3.0' in found
    assert 'vela_worker_queue_length{worker="1"} 4.0' in found


def test_what_a_worker_counted_outlasts_it_and_what_it_held_does_not() -> None:
    merger = Merger()
    for queued in (5, 6):
        ended = Metrics(0)
        ended.mutations.inc(10)
        ended.group_size.observe(3)
        ended.commit_queue.set(queued)
        merger.end(carried(ended))
    living = Metrics(0)
    living.mutations.inc()
    living.commit_queue.set(2)

    found = lines(merger, living)

    assert "vela_mutations_total 21.0" in found
    assert "vela_commit_group_size_count 2.0" in found
    assert "vela_commit_queue_length 2.0" in found


def test_nothing_says_when_a_metric_was_made() -> None:
    assert not [line for line in lines(Merger(), Metrics()) if "_created" in line]


def test_what_the_supervisor_counts_stands_beside() -> None:
    supervisor = SupervisorMetrics()
    supervisor.workers.set(2)
    supervisor.deaths.inc()

    found = Merger().text([carried(supervisor), carried(Metrics())]).decode().splitlines()

    assert "vela_workers 2.0" in found
    assert "vela_worker_deaths_total 1.0" in found
