"""`torchpair check gpt-sovits --smoke`: the real server of an image with a stub voice, in the cage of a check."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import docker.errors
import requests.exceptions
from docker.types import LogConfig

from torchpair import strict_json
from torchpair.cage import PIDS
from torchpair.engine import Engine
from torchpair.errors import EXIT_INCONCLUSIVE, EngineError, TorchpairError, visible
from torchpair.sovits.smoke import SCHEMA

NAME = "gpt-sovits"
REPOSITORY = "torchpair-gpt-sovits"
SECONDS = 600.0


class SmokeError(TorchpairError):
    """Nothing was learned about the server."""

    exit_code = EXIT_INCONCLUSIVE


@dataclass(frozen=True)
class Smoke:
    """What the server answered. cases: name, status, seconds, and the reason where it was not as expected."""

    image: str
    seconds: float
    cases: tuple[dict[str, Any], ...]
    log: tuple[str, ...]

    @property
    def good(self) -> bool:
        return bool(self.cases) and not any(case["reason"] for case in self.cases)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "image": self.image, "good": self.good, "seconds": self.seconds,
                "cases": list(self.cases), "log": list(self.log)}  # fmt: skip


def image_of(engine: Engine, target: str) -> str:
    """An image's name; "gpt-sovits" is the one that was made last. Raises EngineError."""
    if target != NAME:
        return target
    with closing(engine.client()) as client:
        made = client.images.list(filters={"label": "torchpair.app=gpt-sovits"})
    tagged = [image for image in made if any(tag.startswith(f"{REPOSITORY}:") for tag in image.tags)]
    if not tagged:
        raise EngineError("there is no image of GPT-SoVITS here", remedy="torchpair deploy gpt-sovits builds one")
    newest = max(tagged, key=lambda image: str(image.attrs.get("Created", "")))
    return str(next(tag for tag in newest.tags if tag.startswith(f"{REPOSITORY}:")))


def run(engine: Engine, reference: str, *, seconds: float = SECONDS, memory: str = "8g") -> Smoke:
    """Start the server without network, ask it from inside. Raises SmokeError when there is no answer to judge."""
    with closing(engine.client(timeout=int(seconds) + 60)) as client:
        try:
            container = client.containers.run(
                reference, ["smoke"], detach=True, network_mode="none", read_only=True, cap_drop=["ALL"],
                security_opt=["no-new-privileges"], pids_limit=PIDS, mem_limit=memory, memswap_limit=memory,
                tmpfs={"/tmp": "size=1g,mode=1777"}, log_config=LogConfig(type="json-file", config={"max-size": "8m"}),
            )  # fmt: skip
        except docker.errors.ImageNotFound as error:
            raise EngineError(f"no image {reference} in the engine") from error
        except docker.errors.APIError as error:
            raise SmokeError(f"{reference} cannot be started", why=str(error.explanation or error)) from error
        try:
            try:
                container.wait(timeout=seconds)
            except (requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout) as error:
                raise SmokeError(f"{reference}: no end in {seconds:.0f} s") from error
            text = container.logs(stdout=True, stderr=False).decode("utf-8", "replace")
            words = container.logs(stdout=False, stderr=True).decode("utf-8", "replace")
        finally:
            container.remove(force=True, v=True)
    return read(reference, text, words)


def read(reference: str, text: str, words: str = "") -> Smoke:
    """What the container printed, checked. Raises SmokeError for what is no answer."""
    body = None
    try:
        body = strict_json.parse(text.strip().splitlines()[-1] if text.strip() else "", "smoke")
        assert isinstance(body, dict) and body["schema"] == SCHEMA
        cases = tuple(
            {
                "name": visible(str(case["name"]))[:200],
                "status": int(case["status"]),
                "seconds": float(case["seconds"]),
                "reason": visible(str(case["reason"]))[:500] if case["reason"] else None,
            }
            for case in body["cases"]
        )
        return Smoke(reference, float(body["seconds"]), cases, tuple(visible(str(line)) for line in body["log"]))
    except (TorchpairError, AssertionError, KeyError, TypeError, ValueError) as error:
        tail = "\n       ".join(visible(line) for line in (words or text).strip().splitlines()[-8:])
        raise SmokeError(f"{reference} gave no answer of the smoke test", why=tail or str(error)) from error
