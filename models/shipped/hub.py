"""Models on the Hugging Face Hub through its own client: hf://owner/name, or hf://owner/name@revision.

The two files of a checkpoint are fetched into the client's cache and read from there when there is no network
(HF_HUB_OFFLINE=1 never uses the network). Nothing in the files is executed.
"""

import json
import re
from pathlib import Path

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
        raise CheckpointError(f"{address} cannot be fetched: {str(error).splitlines()[0][:200]}") from None
    read_config(folder)
    return Path(folder)


def name_in(folder: Path) -> str:
    """Return the name of a model whose folder is in the client's cache; empty elsewhere.

    >>> name_in(Path("hub/models--owner--gestures/snapshots/0a1b2c")), name_in(Path("runs/gestures/model"))
    ('gestures', '')
    """
    cached = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.parent.parent.name.rpartition("--")[2] if cached else ""


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a checkpoint to `owner/name`, with its README.md or a short card; return the address with the revision.

    The Hub's client handles login (`hf auth login`, or HF_TOKEN). Raises CheckpointError.
    """
    if ADDRESS.match(f"{SCHEME}{repository}") is None or "@" in repository:
        raise CheckpointError(f"{repository!r} is no repository: write owner/name")
    _, card = load(folder)  # raises unless the checkpoint is whole and the weights' hash is right
    from huggingface_hub import CommitOperationAdd, HfApi

    readme = folder / "README.md"
    text = readme.read_bytes() if readme.is_file() else model_card(card, repository).encode()
    files = {CONFIG: folder / CONFIG, WEIGHTS: folder / WEIGHTS, readme.name: text}
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        added = [CommitOperationAdd(name, content) for name, content in files.items()]
        made = api.create_commit(repository, added, commit_message="A model of Spikesight")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{repository} cannot be written: {str(error).splitlines()[0][:200]}") from None
    return f"{SCHEME}{repository}@{made.oid}"


def model_card(card: Card, repository: str) -> str:
    """Return a card in the Hub's format: how to load the network, its classes, and what was measured."""
    return (
        "---\nlibrary_name: spikesight\ntags: [spiking-neural-network]\n---\n\n"
        f"# {repository}\n\nA spiking classifier of {card.contract.kind}, {len(card.labels)} classes "
        f'({", ".join(card.labels)[:2000]}): `spikesight.load("{SCHEME}{repository}")`.\n\n'
        f"```json\n{json.dumps(card.metrics, indent=1)}\n```\n"
    )
