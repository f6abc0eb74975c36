"""The models that this process serves."""

from collections.abc import Iterable, Iterator

from service.engine.model import ServedModel
from service.errors import FieldError, UnknownModelError, shortened


class Registry:
    """The served models by name, one version of each.

    Args:
        served: the models at first.
        default: the name of the model for requests that name no model.
    """

    def __init__(self, served: Iterable[ServedModel], default: str) -> None:
        self._by_name = {model.name: model for model in served}
        self._default = default

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(sorted(self._by_name.values(), key=lambda model: model.name))

    @property
    def default(self) -> ServedModel | None:
        """The model for requests that name no model; None while it is not served."""
        return self._by_name.get(self._default)

    @property
    def versions(self) -> dict[str, str]:
        """The served version of each model, by the model's name."""
        return {model.name: model.version for model in self}

    def get(self, name: str | None, version: str | None = None) -> ServedModel:
        """Find a model.

        Args:
            name: the name of the model; None for the default model.
            version: the version; None for the version that is served.

        Raises:
            UnknownModelError: no model of this name is served, or another version of it is.
        """
        name = self._default if name is None else name
        model = self._by_name.get(name)
        if model is None:
            message = f"no such model is served; there are {', '.join(self.versions)}"
            raise UnknownModelError(FieldError("model", message, shortened(name)))
        if version not in {None, model.version}:
            message = f"no such version is served; {name} is served in version {model.version}"
            raise UnknownModelError(FieldError("version", message, shortened(str(version))))
        return model

    def put(self, model: ServedModel) -> None:
        """Serve a model in place of the present model of its name."""
        self._by_name[model.name] = model

    def pop(self, name: str) -> ServedModel | None:
        """Stop serving a model; return it if it was served."""
        return self._by_name.pop(name, None)
