"""Where a checkpoint lies: a path, or a file of a hub repository, fetched once and kept."""

from __future__ import annotations

import re
from pathlib import Path

from targets.errors import InputError

PREFIX = "hf:"
DEFAULT_FILE = "model.safetensors"  # what braindecode's and the hub's own savers write
_ID = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[^@\s]+))?(?:@(?P<revision>[^@\s]+))?$")


def locate(checkpoint: str | Path) -> Path:
    """The local file of a checkpoint.

    Parameters
    ----------
    checkpoint : a path, or "hf:organisation/name[/file][@revision]". Without a file it is
        model.safetensors; without a revision the main branch, which its owner may change: a
        revision makes a run repeatable.

    Raises
    ------
    InputError
        Malformed id, huggingface_hub not installed, or the file is neither in the hub's cache
        (HF_HOME) nor to be fetched.
    """
    text = str(checkpoint)
    if not text.startswith(PREFIX):
        return Path(checkpoint)
    found = _ID.match(text)
    if found is None:
        raise InputError(
            "hub id is malformed", where="[teacher] checkpoint", value=text,
            limit="hf:organisation/name[/file][@revision]",
        )  # fmt: skip
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(
            "fetching from a hub needs huggingface_hub", where=text,
            todo="Install it with `pip install 'dlink[hub]'`, or give the path of the file.",
        ) from None  # fmt: skip
    name = found["file"] or DEFAULT_FILE
    try:
        return Path(hf_hub_download(found["repo"], name, revision=found["revision"]))
    except LocalEntryNotFoundError:
        raise InputError(
            f"hub cannot be reached, and its cache has no {name} of this repository and revision",
            where=text,
            todo="Fetch the file where there is a network and give its path, or copy the cache "
            "(HF_HOME).",
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as err:
        reason = " ".join(str(err).split())[:200]
        raise InputError(
            f"hub gives no {name}: {reason}", where=text,
            todo="Check the repository, or name the file: hf:organisation/name/file.",
        ) from None  # fmt: skip
