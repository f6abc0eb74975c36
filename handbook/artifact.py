"""The reference page of an artifact's files, generated from ``models.artifact`` and ``models.profile``."""

from handbook.schema import Schema, section, sections
from models.artifact import Manifest
from models.profile import Profile

HEAD = """# Artifact

An artifact is a fitted network in a folder `models/fitted/NAME/VERSION/`. This page is generated from
`models/artifact.py` and `models/profile.py`, which read artifacts. [Fit and export a network](../howto/fit.md) says how
to make one.

| file | content |
| --- | --- |
| `manifest.json` | the description of the network, and the SHA-256 of every other file |
| `weights.safetensors` | the weights, which the graphs share |
| `stem.onnx`, `head.onnx` | from pixels to the state at t = 0, and from the state at t = 1 to logits |
| `dynamics.onnx`, `step-METHOD.onnx` | f, and one attempted step of each method; only with an ODE |
| `solve.onnx` | one graph from pixels to logits, which includes the adaptive loop; only after an export with `--full` |
| `profile.json` | the measured trade-off; only with an ODE |
| `metrics.jsonl` | the metrics of the fit, one line per epoch |
| `README.md`, `tradeoff.svg`, `ladders.svg` | the model card and its pictures |

"""


def page() -> str:
    """The page, in Markdown."""
    parts, shared = [HEAD], dict[str, Schema]()
    for file, form in (("manifest.json", Manifest), ("profile.json", Profile)):
        schema = form.model_json_schema()
        shared |= schema.get("$defs", {})
        parts.append(f"## `{file}`\n\n{section(schema)}\n")
    return "".join([*parts, "## Types in both files\n\n", *sections(shared)])
