"""The files for Ray Serve agree with the service. `make test-scale` runs Ray itself."""

from pathlib import Path

import yaml

from benchmarks import autoscaling
from service.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOYED = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text(encoding="utf-8"))


def test_the_application_exists() -> None:
    (application,) = DEPLOYED["applications"]
    module, _, name = application["import_path"].partition(":")
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    assert f"\n{name} = " in source
    (deployment,) = application["deployments"]
    assert f'    name="{deployment["name"]}",\n' in source


def test_ray_lets_through_what_the_queue_holds() -> None:
    (deployment,) = DEPLOYED["applications"][0]["deployments"]
    source = (ROOT / "deploy" / "ray" / "app.py").read_text(encoding="utf-8")
    assert f"max_ongoing_requests={deployment['max_ongoing_requests']}," in source
    admitted = autoscaling.CAPACITY * Settings.model_fields["queue_seconds"].default / 2  # a replica has one process
    assert deployment["max_ongoing_requests"] > admitted
    scaling = deployment["autoscaling_config"]
    assert scaling["target_ongoing_requests"] < deployment["max_ongoing_requests"]
    assert 1 <= scaling["min_replicas"] < scaling["max_replicas"]


def test_variables_are_settings_that_the_service_accepts() -> None:
    variables = DEPLOYED["applications"][0]["runtime_env"]["env_vars"]
    values = {name.removeprefix("ODENET_").lower(): value for name, value in variables.items()}
    assert values.keys() <= Settings.model_fields.keys()
    Settings(_env_file=None, host="0.0.0.0", **values)  # noqa: S104


def test_ray_keeps_connections_as_long_as_the_service_does() -> None:
    assert DEPLOYED["http_options"]["keep_alive_timeout_s"] == Settings.model_fields["keep_alive_seconds"].default
