"""Is the service up? Asked by HEALTHCHECK, by compose and by Kubernetes alike."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request

from . import layout

SECONDS = 8.0


def main(role: str | None = None, host: str = "127.0.0.1", port: int | None = None) -> int:
    """0 when the service answers as it should, else 1 with the reason. role: None asks what this container became.

    GPT-SoVITS has no route for this. /openapi.json answers only after the models were loaded, and computes nothing.
    """
    if role is None:
        role = layout.ROLE.read_text(encoding="utf-8") if layout.ROLE.is_file() else "api"
    if port is None:
        port = {"webui": layout.WEBUI_PORTS["main"], "inference": layout.WEBUI_PORTS["inference"]}.get(
            role, layout.API_PORT
        )
    path = "/openapi.json" if role == "api" else "/"
    reason = ask(f"http://{host}:{port}{path}", api=role == "api")
    print(reason or "healthy", file=sys.stderr if reason else sys.stdout)
    return 1 if reason else 0


def ask(url: str, *, api: bool) -> str | None:
    """Why the answer will not do; None when it will."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the environment is not for this
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"
    if not api:
        return None if body else f"{url} answers with nothing"
    try:
        paths = json.loads(body)["paths"]
    except (ValueError, KeyError, TypeError):
        return f"{url}: not what GPT-SoVITS answers"
    return None if "/tts" in paths else f"{url}: no route /tts"
