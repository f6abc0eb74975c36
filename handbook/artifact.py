"""The reference of an artifact's files, out of ``models.artifact``."""

from handbook.schema import Schema, section, sections
from models.artifact import Manifest, Profile

HEAD = """# Artifact

A fitted network in a folder, `models/fitted/NAME/VERSION/`. Out of `models/artifact.py`, which reads it; [add a
model](../howto/add-a-model.md) tells how one is made.

| file | |
| --- | --- |
| `manifest.json` | what it is, and the SHA-256 of every other file |
| `weights.safetensors` | the weights, which the graphs share |
| `stem.onnx`, `head.onnx` | from pixels to the state at t = 0, and from that at t = 1 to logits |
| `dynamics.onnx`, `step-METHOD.onnx` | f, and one attempted step of each method; of a network with an ODE |
| `solve.onnx` | all in one graph, the adaptive loop inside, `rtol` and `atol` as inputs; of a network with an ODE |
| `profile.json` | the measured trade-off; of a network with an ODE |
| `metrics.jsonl` | the metrics of the fit, a line an epoch |
| `README.md`, `tradeoff.svg` | the model card and its picture |

"""


def page() -> str:
    """The page, in Markdown."""
    parts, shared = [HEAD], dict[str, Schema]()
    for file, form in (("manifest.json", Manifest), ("profile.json", Profile)):
        schema = form.model_json_schema()
        shared |= schema.get("$defs", {})
        parts.append(f"## `{file}`\n\n{section(schema)}\n")
    return "".join([*parts, "## Parts of both\n\n", *sections(shared)])
