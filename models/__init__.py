"""What is fitted and served: networks, solvers, artifacts, backends. Knows neither `training` nor `service`."""
