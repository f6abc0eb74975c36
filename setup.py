"""Builds the wheel: the packages `models` and `service`, inside a package `odenet`.

The repository has these packages at its top level. Other programs have packages of the same names, so in the wheel they
are `odenet.models` and `odenet.service`. The build rewrites the imports between them. pyproject.toml has the rest.
"""

import re
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

OURS = ("models", "service")
IMPORT = re.compile(rf"^(\s*(?:from|import) )(?=(?:{'|'.join(OURS)})\b)", re.MULTILINE)
PACKAGES = find_packages(include=[f"{each}*" for each in OURS], exclude=["service.wheel"])
SCRATCH = tempfile.TemporaryDirectory()  # in the repository, setuptools would reuse the files of an earlier build


class Build(build_py):
    """Copies the modules, and rewrites their imports."""

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        """Copy a module."""
        target, copied = super().build_module(module, module_file, package)
        path = Path(target)
        path.write_text(IMPORT.sub(r"\1odenet.", path.read_text(encoding="utf-8")), encoding="utf-8")
        return target, copied


setup(
    packages=["odenet", *(f"odenet.{name}" for name in PACKAGES)],
    package_dir={"odenet": "service/wheel"} | {f"odenet.{name}": name for name in OURS},
    package_data={"odenet.models": ["fitted/**/*"], "odenet.service": ["web/static/**/*"]},
    cmdclass={"build_py": Build},
    options={"build": {"build_base": SCRATCH.name}, "egg_info": {"egg_base": SCRATCH.name}},
)
