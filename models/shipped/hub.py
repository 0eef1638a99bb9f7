"""Models on the Hugging Face Hub through its own client: hf://owner/name, or hf://owner/name@revision.

The two files of a checkpoint are fetched into the client's cache and read from there when there is no network
(HF_HUB_OFFLINE=1 never uses the network). Nothing in the files is executed.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spikesight.models.checkpoint import CONFIG, WEIGHTS, load, read_config
from spikesight.models.contract import Card, CheckpointError

SCHEME = "hf://"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
ADDRESS = re.compile(rf"{SCHEME}({NAME}/{NAME})(?:@({NAME}(?:/{NAME})*))?\Z")


def fetch(address: str) -> Path:
    """Return the folder in the client's cache that holds this checkpoint. Raises CheckpointError."""
    found = ADDRESS.match(address)
    if found is None:
        raise CheckpointError(f"{address!r} is no model on the Hub: write hf://owner/name or hf://owner/name@revision")
    try:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(found[1], revision=found[2], allow_patterns=[CONFIG, WEIGHTS])
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{address} cannot be fetched: {_reason(error)}") from None
    read_config(folder, signed=True)
    return Path(folder)


def _reason(error: Exception) -> str:
    """Return the first sentence of the client's message; advice and the server's response follow it."""
    words = " ".join(line for line in str(error).splitlines() if line.strip())
    return words.partition(". ")[0][:200] or type(error).__name__


def name_in(folder: Path) -> str:
    """Return the name of a model whose folder is in the client's cache; empty elsewhere.

    >>> name_in(Path("hub/models--owner--gestures/snapshots/0a1b2c")), name_in(Path("runs/gestures/model"))
    ('gestures', '')
    """
    cached = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.parent.parent.name.rpartition("--")[2] if cached else ""


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a checkpoint and a model card to `owner/name`; return the address with the revision.

    The Hub's client handles login (`hf auth login`, or HF_TOKEN). Raises CheckpointError.
    """
    if ADDRESS.match(f"{SCHEME}{repository}") is None or "@" in repository:
        raise CheckpointError(f"{repository!r} is no repository: write owner/name")
    _, card = load(folder)  # raises unless the checkpoint is whole and the weights' hash is right
    from huggingface_hub import CommitOperationAdd, HfApi

    with tempfile.TemporaryDirectory() as folder_of_card:
        readme = Path(folder_of_card) / "README.md"
        readme.write_text(model_card(card, repository))
        files = {CONFIG: folder / CONFIG, WEIGHTS: folder / WEIGHTS, readme.name: readme}
        try:
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            added = [CommitOperationAdd(name, path) for name, path in files.items()]
            made = api.create_commit(repository, added, commit_message="A model of Spikesight")
            return f"{SCHEME}{repository}@{made.oid}"
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{repository} cannot be written: {_reason(error)}") from None


def model_card(card: Card, repository: str) -> str:
    """Return the card in the Hub's format: the network's input, its classes, and every measured figure."""
    from huggingface_hub import ModelCardData

    tags = ["spiking-neural-network", *(["event-camera"] if card.contract.kind == "events" else [])]
    task = "image-classification" if card.contract.kind == "image" else None
    head = ModelCardData(library_name="spikesight", tags=tags, pipeline_tag=task).to_yaml()
    rows = "\n".join(f"| {name} | {value} |" for name, value in _figures(card.metrics)) or "| none | |"
    contract = card.contract
    takes = (
        f"events of a {contract.sensor_width}x{contract.sensor_height} sensor in bins of {contract.bin_us / 1000:g} ms"
        if contract.kind == "events"
        else f"images of {contract.width}x{contract.height}"
    )
    return (
        f"---\n{head}\n---\n\n# {repository.rpartition('/')[2]}\n\nA spiking classifier: {takes}, {len(card.labels)} "
        f"classes ({', '.join(card.labels)[:2000]}).\n\n```python\nimport spikesight\n\n"
        f'model = spikesight.load("{SCHEME}{repository}")\n```\n\n| measured | |\n|---|---|\n{rows}\n'
    )


def _figures(metrics: Any, name: str = "") -> Iterator[tuple[str, float | int | str]]:
    """Yield (name, value) of figures in nested dictionaries and lists of dictionaries; the name joins the keys."""
    if isinstance(metrics, dict):
        for key, value in metrics.items():
            yield from _figures(value, f"{name} {key}".strip())
    elif isinstance(metrics, list):
        for part in metrics:
            if isinstance(part, dict):
                yield from _figures(part, f"{name} {part.get('name', '')}".strip())
    elif isinstance(metrics, (int, float, str)):
        yield name, metrics
