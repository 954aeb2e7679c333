"""A mirror -> what each download is told: build arguments, image references, indexes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from torchpair.errors import TorchpairError
from torchpair.matrix import Mirror
from torchpair.spec import PYTORCH_INDEX, Spec

NONE = Mirror("none")
_LOGIN = re.compile(r"//[^/@]*@")


def from_environment(mirror: Mirror) -> Mirror:
    """Where the mirror says nothing, what this machine's own pip and uv are set to in the environment."""
    return replace(
        mirror,
        pypi=mirror.pypi or os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or None,
        python=mirror.python or os.environ.get("UV_PYTHON_INSTALL_MIRROR") or None,
    )


def here(mirror: Mirror) -> bool:
    """Whether a download comes from this machine itself (a devpi, say), whose loopback a build's network is not."""
    places = (mirror.apt, mirror.pypi, mirror.pytorch, mirror.python)
    return any(urlsplit(place).hostname in ("localhost", "127.0.0.1", "::1") for place in places if place)


def plain(address: str) -> str:
    """An address without its login."""
    return _LOGIN.sub("//", address, count=1)


def logins(mirror: Mirror) -> str:
    """The logins of a mirror's addresses as a netrc file, which pip and uv read; "" for none.

    Only the environment names addresses with a login: the matrix may not (matrix.fields.URL). As an argument of a
    build it would be in the list of processes, in the log and in BuildKit's records. Raises TorchpairError.
    """
    return netrc((mirror.pypi, mirror.pytorch, mirror.python))


def netrc(addresses: Iterable[str | None]) -> str:
    """The logins of some addresses as a netrc file; "" for none. Raises TorchpairError for what it cannot hold."""
    lines = []
    for address in addresses:
        parts = urlsplit(address or "")
        if not parts.username:
            continue
        words = [parts.hostname or "", unquote(parts.username), unquote(parts.password or "")]
        if any(re.search(r"[\s\"'\\]", word) for word in words):
            raise TorchpairError(
                "this login cannot be handed on as a netrc file", where=plain(address or ""),
                why="it has a space, a quote or a backslash in it",
            )  # fmt: skip
        lines.append("machine {} login {} password {}\n".format(*words))
    return "".join(dict.fromkeys(lines))


def image(reference: str, mirror: Mirror) -> str:
    """An image of Docker Hub behind a mirror's registry; other registries' images stay."""
    short = reference.removeprefix("docker.io/")
    first = short.split("/")[0]
    elsewhere = "/" in short and ("." in first or ":" in first or first == "localhost")
    if mirror.registry is None or elsewhere or reference.startswith("torchpair-base:"):
        return reference
    return f"{mirror.registry}/{short if '/' in short else 'library/' + short}"


def build_arguments(spec: Spec, mirror: Mirror) -> dict[str, str]:
    """What the rendered Dockerfile's ARGs are set to; those that are not named keep upstream's place."""
    wanted = {
        "BASE": image(spec.image, mirror) if mirror.registry else None,
        "TOOLKIT": image(spec.toolkit_image, mirror) if mirror.registry and spec.toolkit_image else None,
        "TOOLS": image(spec.tools, mirror) if mirror.registry else None,
        "APT_MIRROR": mirror.apt if spec.base != "local" else None,  # the local base has the machine's own
        "PYPI_INDEX": plain(mirror.pypi) if mirror.pypi else None,
        "PYTORCH_INDEX": mirror.pytorch if spec.index == "pytorch" else None,
        "UV_PYTHON_INSTALL_MIRROR": plain(mirror.python) if mirror.python and spec.python_from == "uv" else None,
    }
    own = {"BASE": spec.image, "TOOLS": spec.tools}
    return {name: value for name, value in wanted.items() if value and value != own.get(name)}


def pytorch_index(spec: Spec, mirror: Mirror) -> tuple[str, str]:
    """Address and layout of the index of a row's torch."""
    if mirror.pytorch:
        return f"{mirror.pytorch}/{spec.variant}", mirror.layout
    return f"{PYTORCH_INDEX}/{spec.variant}", "simple"


def upstream_url(url: str, mirror: Mirror) -> str:
    """A wheel's address as upstream has it: a lock names no mirror, so that it holds everywhere."""
    if mirror.pytorch and url.startswith(mirror.pytorch + "/"):
        return PYTORCH_INDEX + url.removeprefix(mirror.pytorch)
    return url
