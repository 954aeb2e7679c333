"""One registry over HTTP: the connection, the login, what is tried again, and words for what went wrong.

requests comes with the Docker SDK. No library for registries beside it: layers go by the engine's own push, and the
seven calls that are left are plain. oras for Python (0.2.43, read 2026-11-21) knows no referrers tag, which Debian's
registry needs.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

import docker.auth
import docker.errors
import requests
from docker.utils.config import find_config_file
from requests.auth import AuthBase

from torchpair.errors import EXIT_BUILD_FAILED, TorchpairError, visible

_REPOSITORY = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?")
_CHALLENGE = re.compile(r'([a-z_]+)="([^"]*)"')

MAX_ANSWER = 4 * 1024 * 1024  # bytes; the largest manifest that a registry must take
SECONDS = (10.0, 60.0)  # to connect, and between two bytes
# Seconds between attempts at what may pass: half a minute in all.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
TRANSIENT = (429, 500, 502, 503, 504)
AGAIN = "repeat the command once the registry answers: what is there already is not sent again"

Say = Callable[[str], None]
_T = TypeVar("_T")


class RegistryError(TorchpairError):
    """A registry that cannot be reached, refuses, or answers what makes no sense."""

    exit_code = EXIT_BUILD_FAILED

    def __init__(
        self, what: str, *, where: str, why: str | None = None, remedy: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(what, where=where, why=why, remedy=remedy)
        self.status = status


class Transient(RegistryError):
    """A fault that may pass by itself: no connection, one that broke, an overloaded server."""


@dataclass(frozen=True)
class Repository:
    """A repository with its registry: `127.0.0.1:5000/torchpair`."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def loopback(self) -> bool:
        """Whether the registry is on this machine, by its address."""
        name = self.host.rsplit(":", 1)[0] if re.search(r":[0-9]+$", self.host) else self.host
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return name == "localhost"


def repository(text: str) -> Repository:
    """`HOST[:PORT][/PATH]`, of which a PATH that is left out is `torchpair`. Raises TorchpairError."""
    host, _, path = text.strip().removesuffix("/").partition("/")
    path = path or "torchpair"
    named = "." in host or ":" in host or host == "localhost"
    if not named or not _HOST.fullmatch(host) or not _REPOSITORY.fullmatch(path) or len(path) > 200:
        raise TorchpairError(
            f"{text!r} is no registry", why="it is written as HOST[:PORT][/PATH], the path in lower case, no tag",
            remedy="--registry registry.example/torchpair, or --registry 127.0.0.1:5000",
        )  # fmt: skip
    return Repository(host, path)


def sha256(data: bytes) -> str:
    """The digest of data as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Auth(AuthBase):
    """One header; and requests reads no ~/.netrc where there is an auth object."""

    def __init__(self, header: str | None) -> None:
        self.header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.header:
            request.headers["Authorization"] = self.header
        return request


class Wire:
    """The API of one repository. `call` raises RegistryError; what is transient is tried again, what is refused is not.

    insecure: plain HTTP is allowed to a host other than this machine too. waits: seconds between attempts.
    """

    def __init__(
        self, where: Repository, *, insecure: bool = False, say: Say = lambda line: None, waits: Sequence[float] = WAITS
    ) -> None:
        self.where = where
        self.say = say
        self.waits = tuple(waits)
        self.insecure = insecure
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "torchpair"
        if where.loopback:  # what a proxy is told about this machine is another machine
            self._session.trust_env = False
        self._header: str | None = None
        self._base: str | None = None

    @property
    def base(self) -> str:
        """The address of the API. Plain HTTP only where it is allowed."""
        return self._base or self.find()

    def find(self) -> str:
        """Look whether the registry answers, and how it is spoken to."""
        # Docker Hub's API has a host of its own.
        host = "registry-1.docker.io" if self.where.host == "docker.io" else self.where.host
        schemes = ("http", "https") if self.where.loopback else ("https", "http") if self.insecure else ("https",)
        why = ""
        for wait in (*self.waits[:2], None):
            for scheme in schemes:
                try:
                    answer = self._session.get(f"{scheme}://{host}/v2/", timeout=SECONDS, auth=_Auth(None), stream=True)
                    answer.close()
                except requests.exceptions.SSLError as error:
                    why = _reason(error)
                    if scheme == schemes[-1]:
                        raise self._no_tls(why) from error
                    continue
                except requests.exceptions.RequestException as error:
                    why = _reason(error)
                    continue
                # A server for HTTPS says 400 to plain HTTP.
                if answer.status_code in (200, 401, 403) or (answer.status_code == 404 and scheme == schemes[-1]):
                    self._base = f"{scheme}://{host}"
                    return self._base
                why = f"{scheme}://{host}/v2/ answers {answer.status_code}"
            if wait is not None:
                time.sleep(wait)
        raise Transient(
            "the registry does not answer", where=str(self.where), why=why, remedy=f"is it running? {AGAIN}"
        )

    def _no_tls(self, why: str) -> RegistryError:
        return RegistryError(
            "no safe connection to the registry", where=str(self.where), why=why,
            remedy="a registry without TLS is used only on this machine (127.0.0.1), or with --insecure",
        )  # fmt: skip

    def call(
        self, method: str, url: str, *, ok: tuple[int, ...], data: bytes | None = None,
        headers: Mapping[str, str] | None = None, most: int = MAX_ANSWER,
    ) -> Answer:  # fmt: skip
        address = url if url.startswith(("http://", "https://")) else f"{self.base}/v2/{self.where.path}/{url}"
        if url.startswith("/"):
            address = self.base + url

        def once() -> Answer:
            answer = self._send(method, address, data, headers, most)
            if answer.status == 401 and self._log_in(answer.headers.get("WWW-Authenticate", "")):
                answer = self._send(method, address, data, headers, most)
            if answer.status not in ok:
                self._refuse(method, answer)
            return answer

        return retried(once, self.say, self.waits)

    def _send(self, method: str, url: str, data: bytes | None, headers: Mapping[str, str] | None, most: int) -> Answer:
        # A login is for this registry; an upload may be handed to another host.
        ours = url.startswith(f"{self.base}/")
        try:
            with self._session.request(
                method, url, data=data, headers=dict(headers or {}), timeout=SECONDS, stream=True,
                auth=_Auth(self._header if ours else None),
            ) as response:  # fmt: skip
                body = b""
                for chunk in response.iter_content(65536) if method != "HEAD" else ():
                    body += chunk
                    if len(body) > most:
                        raise self.odd(f"it gives more than {most} bytes for {urlsplit(url).path[-80:]}")
                return Answer(response.status_code, dict_of(response.headers), body, response.url)
        except requests.exceptions.SSLError as error:
            raise self._no_tls(_reason(error)) from error
        except (
            requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError
        ) as error:  # fmt: skip
            raise Transient(
                "the registry stopped answering", where=str(self.where), why=_reason(error), remedy=AGAIN
            ) from error
        except requests.exceptions.RequestException as error:
            raise self.odd(_reason(error)) from error

    def _refuse(self, method: str, answer: Answer) -> NoReturn:
        why = f"{method} {urlsplit(answer.url).path[-120:]} was answered {answer.status}{answer.words}"
        where, login = str(self.where), f"docker login {self.where.host}"
        if answer.status in TRANSIENT:
            raise Transient("the registry is in trouble", where=where, why=why, remedy=AGAIN, status=answer.status)
        writes = method in ("POST", "PUT", "PATCH", "DELETE")
        if answer.status == 401:
            what = "the registry refuses this login" if self._header else "the registry wants a login"
        elif answer.status == 403:
            what = f"this login may not {'write to' if writes else 'read'} the repository"
        elif answer.status == 405 and writes:
            raise RegistryError(
                "the registry is read-only", where=where, why=why, status=405,
                remedy="publish to another registry, or ask whoever runs this one",
            )  # fmt: skip
        elif answer.status == 404:
            what, login = "the registry does not know this repository", "create it there, or look at its name"
        else:
            what, login = "the registry refuses", ""
        raise RegistryError(what, where=where, why=why, remedy=login or None, status=answer.status)

    def odd(self, why: str) -> RegistryError:
        return RegistryError("the registry answers what makes no sense", where=str(self.where), why=visible(why)[:300])

    # ---- login --------------------------------------------------------------------------------------------------

    def _log_in(self, challenge: str) -> bool:
        """Answer a 401's challenge with the login that `docker login` left; whether that gives a new attempt."""
        kind, _, rest = challenge.partition(" ")
        asked = dict(_CHALLENGE.findall(rest))
        login = credentials(self.where.host)
        before = self._header
        if kind.lower() == "basic" and login.get("username"):
            self._header = _basic(login["username"], login.get("password", ""))
        elif kind.lower() == "bearer" and asked.get("realm"):
            self._header = self._token(asked, login)
        return self._header is not None and self._header != before

    def _token(self, asked: Mapping[str, str], login: Mapping[str, str]) -> str | None:
        """A bearer token (https://distribution.github.io/distribution/spec/auth/token/)."""
        realm = asked["realm"]
        if not realm.startswith("https://") and not (self.where.loopback or self.insecure):
            raise self.odd(f"it sends logins to {realm[:80]}, which is not HTTPS")
        # What the challenge asks for; a registry may ask for pull first and for more when something is written.
        query = {key: asked[key] for key in ("service", "scope") if key in asked}
        try:
            if login.get("identitytoken"):
                form = {**query, "grant_type": "refresh_token", "refresh_token": login["identitytoken"]}
                form["client_id"] = "torchpair"
                response = self._session.post(realm, data=form, timeout=SECONDS, auth=_Auth(None))
            else:
                header = _basic(login["username"], login.get("password", "")) if login.get("username") else None
                response = self._session.get(realm, params=query, timeout=SECONDS, auth=_Auth(header))
            if response.status_code in TRANSIENT:
                raise Transient("the registry's login server is in trouble", where=str(self.where), remedy=AGAIN)
            found = response.json() if response.ok else {}
        except requests.exceptions.JSONDecodeError:
            return None
        except requests.exceptions.RequestException as error:
            raise Transient(
                "the registry's login server does not answer", where=realm[:80], why=_reason(error)
            ) from error
        token = found.get("token") or found.get("access_token") if isinstance(found, dict) else None
        return f"Bearer {token}" if isinstance(token, str) and token.isascii() and token.isprintable() else None


@dataclass(frozen=True)
class Answer:
    """What came back. url: where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self, where: Repository) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise RegistryError("the registry answers no JSON", where=str(where), why=str(error)[:200]) from error
        return found if isinstance(found, dict) else {}

    @property
    def next(self) -> str | None:
        """The next page, from the Link header; of this registry only."""
        found = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', self.headers.get("Link", ""))
        if not found:
            return None
        target = urlsplit(urljoin(self.url, found[1]))
        return f"{target.path}?{target.query}"

    def located(self, where: Repository) -> str:
        place = self.headers.get("Location")
        if not place:
            raise RegistryError("the registry does not say where to upload to", where=str(where))
        return urljoin(self.url, place)

    @property
    def words(self) -> str:
        """The server's own words, for a message."""
        try:
            errors = json.loads(self.body)["errors"]
            text = "; ".join(f"{error.get('code')}: {error.get('message')}" for error in errors[:3])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            text = self.body[:200].decode("utf-8", "replace")
        return f" ({visible(text).strip()[:200]})" if text.strip() else ""


def dict_of(headers: Any) -> Mapping[str, str]:
    """Headers, their names in any case."""
    return requests.structures.CaseInsensitiveDict(headers)


def retried(action: Callable[[], _T], say: Say, waits: Sequence[float] = WAITS) -> _T:
    """Do something; after a Transient fault once more, after longer and longer waits. Raises the last of them."""
    for wait in waits:
        try:
            return action()
        except Transient as error:
            say(f"{error.where}: {error.what} ({error.why}); once more in {wait:g} s")
            time.sleep(wait)
    return action()


def credentials(host: str) -> dict[str, str]:
    """What `docker login HOST` left, with keys in lower case; {} for nothing. Raises RegistryError."""
    try:
        config = docker.auth.load_config(find_config_file())
        found = config.resolve_authconfig(registry=host) or {}
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise RegistryError("the login for the registry cannot be read", where=host, why=str(error)[:200]) from error
    return {str(key).lower(): str(value) for key, value in found.items() if value}


def _basic(user: str, password: str) -> str:
    return str(requests.auth._basic_auth_str(user, password))


def _reason(error: BaseException) -> str:
    """The innermost words of an error of requests: `Connection refused`, not the stack of libraries around it."""
    text = str(error)
    inner = re.findall(r"(?:\[Errno -?\d+\] |: )([A-Z][^:'\"\])(]{5,120})", text)
    return visible(inner[-1] if inner else text)[:200]
