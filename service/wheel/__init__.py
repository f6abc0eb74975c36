"""A Neural ODE that reads handwritten digits: `odenet.models` has the networks, `odenet.service` the service."""
