"""The models that this process serves."""

from collections.abc import Iterable, Iterator

from service.engine.model import ServedModel
from service.errors import FieldError, UnknownModelError, shortened


class Registry:
    """Of each name one version at most.

    Args:
        served: the models at first.
        default: the name of the model that answers a request that names none.
    """

    def __init__(self, served: Iterable[ServedModel], default: str) -> None:
        self._by_name = {model.name: model for model in served}
        self._default = default

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(sorted(self._by_name.values(), key=lambda model: model.name))

    @property
    def default(self) -> ServedModel | None:
        """The model that answers a request that names none; None while it is not served."""
        return self._by_name.get(self._default)

    @property
    def versions(self) -> dict[str, str]:
        """The version of each model, by its name."""
        return {model.name: model.version for model in self}

    def get(self, name: str | None, version: str | None = None) -> ServedModel:
        """The model of a name, or the default one.

        Raises:
            UnknownModelError: no model of that name, or not that version of it, is served.
        """
        name = self._default if name is None else name
        model = self._by_name.get(name)
        if model is None:
            message = f"no such model is served; there are {', '.join(self.versions)}"
            raise UnknownModelError(FieldError("model", message, shortened(name)))
        if version not in {None, model.version}:
            message = f"no such version is served; of {name} it is {model.version}"
            raise UnknownModelError(FieldError("version", message, shortened(str(version))))
        return model

    def put(self, model: ServedModel) -> None:
        """Serve a model, instead of that of its name."""
        self._by_name[model.name] = model

    def pop(self, name: str) -> ServedModel | None:
        """Serve a model no more; it is returned, if it was served."""
        return self._by_name.pop(name, None)
