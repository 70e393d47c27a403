"""Medians, ratios and targets, as Markdown."""

from statistics import median, quantiles

from load import Case, Sample

# Samples by case and proxy, one per round.
Samples = dict[str, dict[str, dict[int, Sample]]]


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median and quartiles."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return median(values), low, high


def ratios(samples: Samples, case: str, name: str, to: str) -> list[float]:
    """CPU time per request against another proxy in the same round."""
    mine, theirs = samples[case].get(name, {}), samples[case].get(to, {})
    return [mine[r].cpu_per_request / theirs[r].cpu_per_request for r in sorted(mine.keys() & theirs.keys())]


def with_quartiles(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    middle, low, high = spread(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}–{high:.{digits}f}]"


def case_table(case: Case, samples: Samples, references: set[str]) -> str:
    columns = ["proxy", "CPU µs/request", "requests/s", "p99 ms", "CPU / nginx", "CPU / HAProxy"]
    rows = [f"### {case.title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    by_proxy = samples[case.key]
    order = sorted(by_proxy, key=lambda name: median(s.cpu_per_request for s in by_proxy[name].values()))
    for name in order:
        taken = list(by_proxy[name].values())
        p99 = [s.p99 for s in taken if s.p99 is not None]
        rows.append(
            f"| {name}{' †' if name in references else ''} "
            f"| {with_quartiles([s.cpu_per_request for s in taken], 1)} "
            f"| {median(s.requests / s.seconds for s in taken):,.0f} "
            f"| {with_quartiles(p99, 1)} "
            f"| {with_quartiles(ratios(samples, case.key, name, 'nginx'), 2)} "
            f"| {with_quartiles(ratios(samples, case.key, name, 'HAProxy'), 2)} |")
    return "\n".join(rows)


class Targets:
    """What must hold, and whether it does."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []

    def at_most(self, what: str, value: float, limit: float) -> None:
        self.rows.append((what, value, limit))

    @property
    def missed(self) -> list[str]:
        return [f"{what}: {value:.2f}, at most {limit:.2f}" for what, value, limit in self.rows if value > limit]

    def table(self) -> str:
        rows = ["### Targets", "", "| what | measured | at most | |", "|---|---|---|---|"]
        rows += [f"| {what} | {value:.2f} | {limit:.2f} | {'met' if value <= limit else '**missed**'} |"
                 for what, value, limit in self.rows]
        return "\n".join(rows)


def value_table(title: str, unit: str, values: dict[str, float], digits: int) -> str:
    rows = [f"### {title}", "", f"| proxy | {unit} |", "|---|---|"]
    rows += [f"| {name} | {value:,.{digits}f} |" for name, value in values.items()]
    return "\n".join(rows)
