"""The networks, solvers, artifacts and backends. This package imports neither `training` nor `service`."""
