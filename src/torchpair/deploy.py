"""Deployment -> compose.yaml, .env and Kubernetes manifests. Pure: nothing is started, asked or written here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torchpair.errors import TorchpairError
from torchpair.resolve import UID
from torchpair.resources import text_templates
from torchpair.sovits import layout, weights

COMPOSE, ENV, KUBERNETES = "compose.yaml", ".env", "kubernetes.yaml"
Flavour = Literal["api", "lite", "full"]
FLAVOURS: tuple[Flavour, ...] = ("api", "lite", "full")
LOOPBACK = "127.0.0.1"
# Loading the models takes minutes from a slow disk; until then an unanswered question is not a failure.
START_PERIOD = 600
# torch hands tensors between processes through /dev/shm: much when training, little when speaking.
SHM = {"api": "1g", "webui": "16g"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_USER = re.compile(r"\d{1,10}:\d{1,10}")


@dataclass(frozen=True)
class Deployment:
    """One GPT-SoVITS on one host, every question answered.

    image: as compose is to take it: a digest or an id, so that it is always the image that was checked. tag: its name
    for people. models, data: folders of this host. address: where ports are published; LOOPBACK unless the user says
    otherwise, because /control and the weight routes ask for no password. ports: by name of layout. user: uid:gid.
    """

    image: str
    tag: str
    flavour: Flavour = "api"
    gpu: bool = False
    version: str = weights.DEFAULT_VERSION
    models: str = "./models"
    data: str = "./data"
    name: str = "gpt-sovits"
    address: str = LOOPBACK
    ports: Mapping[str, int] = field(default_factory=dict)
    user: str = f"{UID}:{UID}"
    gpu_driver: str = "nvidia"  # or "cdi", where the engine hands GPUs out so

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise TorchpairError(
                f"{self.name!r} cannot be a name", why="compose and Kubernetes take lower-case letters, digits and -"
            )
        if not _USER.fullmatch(self.user):
            raise TorchpairError(f"{self.user!r} is no user", remedy="write uid:gid, such as 1000:1000")
        if self.version not in weights.VERSIONS:
            raise TorchpairError(
                f"GPT-SoVITS has no version {self.version!r}", remedy=f"one of {', '.join(weights.VERSIONS)}"
            )
        unknown = set(self.ports) - set(self.default_ports())
        if unknown:
            raise TorchpairError(
                f"no port is called {sorted(unknown)[0]!r}", remedy=f"one of {', '.join(self.default_ports())}"
            )
        given = list(self.all_ports.values())
        if any(not 0 < port < 65536 for port in given) or len(set(given)) != len(given):
            raise TorchpairError(
                "ports have to be different numbers from 1 to 65535",
                why=", ".join(f"{k} {v}" for k, v in self.all_ports.items()),
            )
        for path in (self.models, self.data):
            if any(c in path for c in "\n\r'$") or not path:
                raise TorchpairError(f"the folder {path!r} cannot be written into .env", remedy="choose another name")

    @staticmethod
    def default_ports() -> dict[str, int]:
        return {"api": layout.API_PORT, **layout.WEBUI_PORTS}

    @property
    def all_ports(self) -> dict[str, int]:
        """Port on this host, by name."""
        return {**self.default_ports(), **self.ports}

    @property
    def pullable(self) -> str:
        """The image as another machine can have it: by digest where a registry gave one, else by its name."""
        return self.image if "@" in self.image else self.tag

    @property
    def webui(self) -> bool:
        return self.flavour != "api"

    @property
    def device(self) -> str:
        return "gpu" if self.gpu else "cpu"


def files(deployment: Deployment) -> dict[str, str]:
    """Every file of a deployment, by its name."""
    return {
        name: text_templates()
        .get_template(template)
        .render(
            deployment=deployment, layout=layout, shm=SHM, start_period=START_PERIOD, uid=UID, health=health_command
        )
        for name, template in (
            (COMPOSE, "compose.yaml.j2"),
            (ENV, "compose.env.j2"),
            (KUBERNETES, "kubernetes.yaml.j2"),
        )
    }


def health_command(role: str | None = None) -> list[str]:
    """The one question that HEALTHCHECK, compose and Kubernetes ask. None: of whatever the container became."""
    return ["python", "/opt/torchpair/sovits.pyz", "health", *([role] if role else [])]


def url(deployment: Deployment, name: str = "api") -> str:
    """Where a service answers, from this host."""
    host = LOOPBACK if deployment.address in ("0.0.0.0", "::") else deployment.address
    return f"http://{f'[{host}]' if ':' in host else host}:{deployment.all_ports[name]}"


def curl(deployment: Deployment) -> str:
    """A command that speaks, once a voice lies in the data folder."""
    body = (
        '{"text": "Hello, this is my voice.", "text_lang": "en", "ref_audio_path": "/data/reference/voice.wav", '
        '"prompt_lang": "en", "prompt_text": "What voice.wav says."}'
    )
    return f"curl --fail -H 'Content-Type: application/json' -d '{body}' -o speech.wav {url(deployment)}/tts"


def written_to(folder: Path) -> bool:
    """Whether a deployment lies in this folder."""
    return (folder / COMPOSE).is_file() and (folder / ENV).is_file()
