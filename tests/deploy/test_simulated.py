"""The simulation of benchmarks.autoscaling has the targets, limits and policies of the manifests."""

from benchmarks import autoscaling
from service.settings import Settings
from tests.deploy.test_kubernetes import rendered


def test_the_simulation_has_the_numbers_of_the_manifests() -> None:
    scaled = rendered("overlays/full")["ScaledObject"]["spec"]
    processors, queue, refusals = (
        float(each["metadata"].get("threshold", each["metadata"].get("value"))) for each in scaled["triggers"]
    )
    assert (processors / 100, queue, refusals) == (
        autoscaling.CPU_TARGET,
        autoscaling.QUEUE_TARGET,
        autoscaling.SHED_TARGET,
    )
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (autoscaling.LEAST, autoscaling.MOST)
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    (up,), (down,) = behavior["scaleUp"]["policies"], behavior["scaleDown"]["policies"]
    assert (up["periodSeconds"], 1 + up["value"] / 100) == (autoscaling.UP_PERIOD, autoscaling.UP_FACTOR)
    assert (down["periodSeconds"], 1 - down["value"] / 100) == (autoscaling.DOWN_PERIOD, autoscaling.DOWN_FACTOR)
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == autoscaling.DOWN_STABLE
    assert Settings.model_fields["queue_seconds"].default == autoscaling.QUEUE_SECONDS
