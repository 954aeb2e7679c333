"""Why a combination is as it is, or cannot be: the decisions with their rules, or the refusals with a way out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from torchpair import compat, source
from torchpair.errors import ResolveError, TorchpairError
from torchpair.facts import Facts, cuda_family
from torchpair.matrix import Package, Row, named
from torchpair.matrix.fields import ARCH, CUDA, PYTHON, SM, VERSION, Field
from torchpair.neighbours import Option, nearest
from torchpair.resolve import candidate, resolve
from torchpair.spec import Spec


@dataclass(frozen=True)
class Explanation:
    """A row with its spec, or with the rules that refuse it and the nearest combinations that work."""

    row: Row
    spec: Spec | None
    problems: tuple[compat.Problem, ...]
    options: tuple[Option, ...]


def explain(row: Row, facts: Facts, base: str = "nvidia") -> Explanation:
    broken = compat.problems(candidate(row, facts, base), facts)
    try:
        spec = resolve(row, facts, base)
    except ResolveError:
        spec = None
    return Explanation(row, spec, broken, tuple(nearest(row, facts, base)) if broken else ())


def request(
    facts: Facts,
    torch: str,
    *,
    cuda: str | None = None,
    python: str | None = None,
    torchaudio: str | None = None,
    sm: Sequence[str] = (),
    arch: str = "x86_64",
    from_source: bool = False,
) -> Row:
    """A row from a command line; CUDA and Python by default are those that most people would get.

    Raises TorchpairError for a value of the wrong form.
    """
    values: list[tuple[str, str | None, Field]] = [
        ("--torch", torch, VERSION), ("--cuda", cuda, CUDA), ("--python", python, PYTHON),
        ("--torchaudio", torchaudio, VERSION), ("--arch", arch, ARCH), *(("--sm", s, SM) for s in sm),
    ]  # fmt: skip
    for option, value, kind in values:
        try:
            if value is not None:
                kind(value)
        except ValueError:
            raise TorchpairError(f"{option} {value!r} is not allowed", remedy=f"write {kind.allowed}") from None
    known = facts.torch.get(torch)
    if cuda is None:
        cuda = cuda_family(known.pypi[arch]) if known else "13.0"
    if python is None:
        python = _usual_python(facts, torch, arch)
    audio = Package(torchaudio, "source" if from_source else "wheel")
    return named(Row("", Package(torch), cuda, python, audio, sm=tuple(dict.fromkeys(sm)), arch=arch))


def _usual_python(facts: Facts, torch: str, arch: str) -> str:
    """3.12, or the Python nearest to it that torch and its torchaudio both have."""
    known = facts.torch.get(torch)
    if known is None:
        return "3.12"
    audio = facts.torchaudio[known.torchaudio[0]].pythons
    both = [p for p in known.pythons[arch] if p in audio and not p.endswith("t")]
    return min(both or known.pythons[arch], key=lambda p: (abs(Version(p.removesuffix("t")).release[1] - 12), p))


def evidence(rule: compat.Rule, facts: Facts) -> list[str]:
    """The sources behind a rule, in words."""
    known = {**facts.sources, **source.load().sources}
    return [known[key] for key in rule.evidence]


def described(spec: Spec) -> dict[str, Any]:
    """A spec as plain data, for JSON: what `rows` and `explain` share."""
    return {
        "name": spec.name,
        "torch": {"version": spec.torch, "from": spec.torch_from},
        "torchaudio": {"version": spec.torchaudio, "from": spec.torchaudio_from, "ref": spec.torchaudio_ref},
        "torchcodec": spec.torchcodec,
        "cuda": spec.cuda,
        "python": spec.python,
        "arch": spec.arch,
        "base": spec.base,
        "image": spec.image,
        "tag": spec.tag,
        "index": spec.index,
        "sm": None if spec.sm is None else list(spec.sm),
        "min_driver": spec.min_driver,
        "default": spec.row.default,
        "compiled": [recipe.package for recipe in spec.recipes],
    }


def to_json(e: Explanation, facts: Facts) -> dict[str, Any]:
    body: dict[str, Any] = {"ok": not e.problems, "forced": bool(e.problems and e.spec), "row": e.row.name}
    if e.spec:
        body |= described(e.spec)
        body["decisions"] = [
            {
                "subject": d.subject,
                "value": d.value,
                "because": d.because,
                "rule": d.rule,
                "evidence": evidence(compat.RULES[d.rule], facts) if d.rule else [],
            }
            for d in e.spec.decisions
        ]
    body["problems"] = [
        {
            "rule": p.rule.id,
            "sentence": p.rule.sentence,
            "key": p.key,
            "detail": p.detail,
            "remedy": p.remedy,
            "evidence": evidence(p.rule, facts),
        }
        for p in e.problems
    ]
    body["alternatives"] = [
        {**described(o.spec), "changes": list(o.changes), "write": _offered(e, o)} for o in e.options
    ]
    return body


def _offered(e: Explanation, option: Option) -> str:
    """The line for an option; on the base that the refused row names, where it names one."""
    return yaml_row(option.spec, e.row.base if e.row.base == option.spec.base else None)


def yaml_row(spec: Spec, base: str | None = None) -> str:
    """The line of matrix.yaml that asks for a spec."""
    row = spec.row
    parts = [f"torch: {_yaml_package(row.torch)}", f'cuda: "{row.cuda}"', f'python: "{row.python}"']
    if row.torchaudio != Package():
        parts.append(f"torchaudio: {_yaml_package(row.torchaudio)}")
    if row.torchcodec != Package():
        parts.append(f"torchcodec: {_yaml_package(row.torchcodec)}")
    for key, value in (("base", row.base or base), ("distro", row.distro), ("index", row.index)):
        parts += [f'{key}: "{value}"'] if value else []
    if row.arch != "x86_64":
        parts.append(f"arch: {row.arch}")
    if row.toolkit:
        parts.append(f"toolkit: {row.toolkit}")
    if row.sm:
        parts.append("sm: [" + ", ".join(f'"{sm}"' for sm in row.sm) + "]")
    return "- {" + ", ".join(parts) + "}"


def _yaml_package(package: Package) -> str:
    if package.origin == "wheel":
        return f'"{package.version}"'
    keys = (("version", package.version), ("ref", package.ref), ("source", package.source))
    return "{" + "".join(f'{key}: "{value}", ' for key, value in keys if value) + f"from: {package.origin}}}"


def lines(e: Explanation, facts: Facts) -> list[str]:
    """An explanation for reading."""
    out = []
    for problem in e.problems:
        out += [f"refused by rule {problem.rule.id}: {problem.detail}", f"    {problem.rule.sentence}"]
        out += [f"    evidence: {text}" for text in evidence(problem.rule, facts)]
        out += [f"    try: {problem.remedy}"] if problem.remedy else []
    if e.problems:
        out += ["", "nearest combinations that work, best first:"]
        for option in e.options:
            out += [f"  {_offered(e, option)}", f"      {_option_words(option)}"]
    if e.spec:
        out += ["", "forced: built all the same, the check decides"] if e.problems else []
        width = max(len(d.value) for d in e.spec.decisions)
        for d in e.spec.decisions:
            out.append(f"{d.subject:<11} {d.value:<{min(width, 44)}} {d.because}" + (f"  [{d.rule}]" if d.rule else ""))
    return out


def _option_words(option: Option) -> str:
    spec = option.spec
    codec = f", torchcodec {spec.torchcodec}" if spec.torchcodec else ""
    where = {"pypi": "from PyPI", "pytorch": "from PyTorch's own index"}.get(spec.index, "compiled")
    return f"torchaudio {spec.torchaudio}{codec}, {where}; " + "; ".join(option.changes or ("all else chosen by rule",))
