"""The door: what a value of matrix.yaml, or of a command line, may be, one kind of value at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One kind of value: a pattern that the whole text must match, and how to say what is allowed."""

    pattern: re.Pattern[str]
    allowed: str

    def __call__(self, text: str) -> str:
        if not self.pattern.fullmatch(text):
            raise ValueError(self.allowed)
        return text


# Values reach Dockerfiles, shells, labels and tags. Each kind admits only what it needs, so that no quote, newline,
# dollar or backslash can pass: this is the one door.
VERSION = Field(
    re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}[0-9A-Za-z.+]{0,40}", re.ASCII), 'a whole version such as "2.8.0"'
)
# torchcodec has a release of two numbers, 0.5.
CODEC = Field(re.compile(r"\d{1,4}\.\d{1,4}(?:\.\d{1,4})?", re.ASCII), 'a whole version such as "0.12.0"')
# Two digits and one: a tag such as cu128 then names one CUDA only.
CUDA = Field(re.compile(r"[1-9]\d\.\d|cpu", re.ASCII), '"12.8" (major.minor) or "cpu"')
PYTHON = Field(re.compile(r"3\.\d{1,2}t?", re.ASCII), '"3.11" (major.minor), or "3.13t" for the free-threaded build')
# A row's name is a build target (plan.py: groups "default" and "local", "_local" behind a name) and a lock file, as
# tools.txt is.
NAME = Field(
    re.compile(r"(?!(?:default|local|tools|.*\.local)\Z)[a-z0-9](?:[a-z0-9.-]{0,60}[a-z0-9])?"),
    'lower-case letters, digits, dots and dashes, at most 62; not "default", "local", "tools", nor ".local" at its end',
)
# https://github.com/distribution/reference: repository, then tag and digest.
BASE = Field(
    re.compile(
        r"nvidia|local|[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
    ),
    '"nvidia", "local" or an image reference',
)
DISTRO = Field(re.compile(r"(?:ubuntu\d\d\.\d\d|debian\d\d)", re.ASCII), '"ubuntu22.04" or "debian12"')
REF = Field(re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,99}"), "a git tag, branch or commit")
# pip's own notation: git+https://host/repository.git@ref#commit=..., https://host/a.tar.gz#sha256=..., a file, a folder
SOURCE = Field(
    re.compile(r"(?:git\+)?[A-Za-z0-9._~/+@:%-]{1,300}(?:#(?:sha256=[0-9a-f]{64}|commit=[0-9a-f]{7,40}))?", re.ASCII),
    "git+https://host/repository.git@ref, an archive with #sha256=..., or a folder",
)
_SWITCH = r"(?:USE|BUILD)_[A-Z0-9_]{1,40}=[A-Za-z0-9_.;+-]{1,40}"
SWITCHES = Field(
    re.compile(rf"{_SWITCH}(?: {_SWITCH}){{0,39}}"),
    'switches of the build, such as "USE_FBGEMM=0 USE_MKLDNN=1"',
)
SM = Field(re.compile(r"\d{1,2}\.\d[af]?(?:\+PTX)?", re.ASCII), 'a compute capability such as "9.0" or "12.0+PTX"')


def one_of(*words: str) -> Field:
    return Field(re.compile("|".join(re.escape(w) for w in words)), " or ".join(f'"{w}"' for w in words))


URL = Field(
    re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~%+-]+)*/?", re.ASCII),
    "an address such as https://mirror.example/simple, without a password",
)
REGISTRY = Field(
    re.compile(r"[a-z0-9.-]+(?::\d{1,5})?(?:/[a-z0-9._-]+)*", re.ASCII), 'a registry such as "mirror.example/hub"'
)
DRIVER = Field(re.compile(r"\d{3}(?:\.\d{1,3}){0,2}", re.ASCII), 'a driver such as "570" or "570.124.06"')
VERSION_START = Field(re.compile(r"\d{1,4}\.\d{1,4}(?:\.\d{1,4})?", re.ASCII), 'a version or its start, such as "2.8"')
ARCH = one_of("x86_64", "aarch64")
PACKAGE_KEYS: Mapping[str, Field] = {
    "version": VERSION,
    "from": one_of("wheel", "source", "base"),
    "ref": REF,
    "source": SOURCE,
    "switches": SWITCHES,
}
ROW_KEYS = (
    "name", "torch", "cuda", "python", "torchaudio", "torchcodec", "base", "distro", "index", "arch", "sm",
    "toolkit", "default", "force",
)  # fmt: skip
TOP_KEYS = ("images", "mirrors")
MIRROR_KEYS: Mapping[str, Field] = {
    "registry": REGISTRY,
    "apt": URL,
    "pypi": URL,
    "pytorch": URL,
    "layout": one_of("simple", "flat"),
    "python": URL,
    "git": URL,
    "models": URL,
}
