"""What all comparisons share: interleaved repeats, medians with their spread, the environment, the written report.

A machine's speed drifts: its clock, its temperature, its neighbours. So contenders take turns, and what is reported is
the median of the ratios of neighbours in time, beside the share of the processor that other programs used meanwhile.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA_ROOT = ROOT.parent / "shared" / "data"
REPORTS = ROOT / "benchmarks" / "reports"
PACKAGES = ("torch", "torchvision", "opencv-python", "albumentations", "ultralytics", "segmentation-models-pytorch")

DISTURBED = 0.2  # of the processor; what other programs took more than that says little of the contenders
_MEASURED = "; measured "  # and when, where that was before the rest of a report
NOT_MEASURED = ("anything on CUDA: both sides ran on the CPU",)  # in all comparisons that don't say it themselves

Contender = Callable[[], float]  # runs once, answers with its rate


class MeasurementError(RuntimeError):
    """A measured command failed; carries the end of what it printed."""


@dataclass(frozen=True)
class Spread:
    """Repeats of one measurement in short."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median, least and greatest."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass
class Comparison:
    """Rates of ours and of a peer, taken in turns: the values at one position were measured side by side."""

    name: str
    unit: str
    target: float
    peer: str
    peer_rates: list[float] = field(default_factory=list)
    our_rates: list[float] = field(default_factory=list)
    foreign_load: float = 0.0
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ours over the peer's, pair by pair."""
        return [ours / peer for ours, peer in zip(self.our_rates, self.peer_rates, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.target

    @property
    def verdict(self) -> str:
        """Whether the target is reached, if that can be said."""
        if self.foreign_load > DISTURBED:
            return "disturbed"
        return "met" if self.met else "missed"

    def row(self) -> str:
        """One line of the report's table."""
        ratios = Spread.of(self.ratios)
        cells = (
            self.name,
            f"{self.peer}: {Spread.of(self.peer_rates)}",
            str(Spread.of(self.our_rates)),
            f"{ratios.median:.2f} ({ratios.low:.2f} to {ratios.high:.2f})",
            f"{self.target:g}",
            self.verdict,
            f"{self.foreign_load:.0%}",
            self.note,
        )
        return f"| {' | '.join(cells)} |"

    def record(self) -> dict[str, Any]:
        """Everything, for the JSON report."""
        return asdict(self) | {"ratios": self.ratios, "ratio": self.ratio, "met": self.met, "verdict": self.verdict}


def interleave(contenders: Mapping[str, Contender], repeats: int) -> dict[str, list[float]]:
    """Run the contenders in turns; every other round backwards, so that none is always first."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats):
        order = list(contenders) if turn % 2 == 0 else list(reversed(contenders))
        for name in order:
            rates[name].append(contenders[name]())
            print(f"  {turn + 1}/{repeats} {name}: {rates[name][-1]:.3g}", flush=True)
    return rates


def rate(work: Callable[[], Any], images: int) -> float:
    """Images/s of `work` on so many, in this process."""
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def run(command: Sequence[str | Path], timeout: float = 3600) -> None:
    """Run a measured command in a process of its own, from the project's root."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=ROOT, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise MeasurementError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def run_module(module: str, *options: str | Path) -> Any:
    """Run `python -m module ... --json FILE` and return what it left in the file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "record.json"
        run([sys.executable, "-m", module, *options, "--json", out])
        return json.loads(out.read_text())


def after_warm_up(rates: Sequence[float]) -> float:
    """The median of the epochs after the first, which pays for caches, queues and compiled kernels."""
    if len(rates) < 2:
        raise ValueError(f"two epochs or more are needed, there is {len(rates)}")
    return median(rates[1:])


class ForeignLoad:
    """The share of all cores that programs other than this one and its children used; 0 where it cannot be known."""

    def __enter__(self) -> ForeignLoad:
        self._before = _processor_seconds()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        busy, own = (after - before for after, before in zip(_processor_seconds(), self._before, strict=True))
        cores = os.cpu_count() or 1
        self.share = max(0.0, busy - own) / (cores * (time.perf_counter() - self._start))


def _processor_seconds() -> tuple[float, float]:
    """Seconds all processes together, and this one with its finished children, have used."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    counters = Path("/proc/stat")
    if not counters.exists():
        return own, own
    user, nice, system, _idle, _iowait, *rest = (int(word) for word in counters.read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK"), own


def environment() -> dict[str, Any]:
    """What produced the numbers: processor, cores, versions, command, date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "command": " ".join(["python -m", _module(), *_options(sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    lines = description.read_text().splitlines() if description.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    words = [fields.get("model name") or platform.processor()]
    words += [f"family {fields['cpu family']} model {fields['model']}"] if "cpu family" in fields else []
    flags = fields.get("flags", "").split()
    units = [unit for unit in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if unit in flags]
    return ", ".join([*words, *units])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else Path(sys.argv[0]).name


def _options(words: Sequence[str]) -> list[str]:
    """The options of a command, absolute paths by their last part: whose machine it was is nobody's concern."""
    return [Path(word).name if Path(word).is_absolute() else word for word in words]


def write_report(
    folder: Path,
    name: str,
    title: str,
    comparisons: Sequence[Comparison],
    not_measured: Sequence[str] = NOT_MEASURED,
) -> None:
    """Write NAME.json with every repeat and NAME.md with the table; both say what was not measured, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, facts = [comparison.record() for comparison in comparisons], environment()
    record = {"environment": facts, "comparisons": rows, "not_measured": list(not_measured)}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    text = _markdown(title, facts, comparisons) + "\nNot measured:\n\n" + "".join(f"- {row}\n" for row in not_measured)
    (folder / f"{name}.md").write_text(text)
    print(text)


def read_report(folder: Path, name: str) -> list[Comparison]:
    """What `write_report` wrote, on a machine and with packages like these. Raises SystemExit where they are others."""
    record = json.loads((folder / f"{name}.json").read_text())
    here, there = environment(), record["environment"]
    if differing := [key for key in here if key not in ("command", "date") and here[key] != there[key]]:
        raise SystemExit(f"{folder / name}.json was measured elsewhere ({', '.join(differing)}); begin a new report")
    known = [each.name for each in fields(Comparison)]
    rows = [Comparison(**{key: row[key] for key in known}) for row in record["comparisons"]]
    return [
        row if _MEASURED in row.note else replace(row, note=f"{row.note}{_MEASURED}{there['date']}") for row in rows
    ]


def _markdown(title: str, facts: Mapping[str, Any], comparisons: Sequence[Comparison]) -> str:
    unit = comparisons[0].unit
    versions = ", ".join(f"{name} {found}" for name, found in facts["versions"].items())
    lines = [
        f"# {title}",
        "",
        f"`{facts['command']}`, {facts['date']}",
        "",
        f"{facts['processor']}; {facts['cores']} cores; {facts['system']}; Python {facts['python']}; {versions}.",
        "",
        "Median (least to greatest) of the repeats; the ratio is the median of the pairs measured side by side. Where "
        f"other programs took more than {DISTURBED:.0%} of the processor, a row is disturbed: neither met nor missed.",
        "",
        f"| what | peer, {unit} | ours, {unit} | ratio | target | | foreign load | note |",
        "|---|---|---|---|---|---|---|---|",
        *(comparison.row() for comparison in comparisons),
    ]
    return "\n".join(lines) + "\n"
