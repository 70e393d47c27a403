"""Runs every case on every proxy, interleaved, and says which targets are missed. Started by benches/compare.sh."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import load
import peers
from checks import check
from load import CIPHER, Case
from peers import Proxy
from report import Samples, Targets, case_table, ratios, spread, value_table

ROOT = Path(__file__).resolve().parents[2]
PINGORA = ROOT / "benches/pingora/target/release/bench-pingora"
ENVOY = "target/tools/envoy/lib/python3*/site-packages/envoy/_bin/envoy"
NAME = "origin-shim"
TWO_WORKERS = "origin-shim, 2 workers"

CASES = [
    Case("small", "HTTP/1.1, 1 KiB, rewritten"),
    Case("hot", "HTTP/1.1, 1 KiB, rewritten, one hot page", pages=1),
    Case("large", "HTTP/1.1, 100 KiB", kind="large"),
    Case("tls", "TLS 1.3, HTTP/1.1, 1 KiB, rewritten", tls=True),
    Case("h2", "TLS 1.3, HTTP/2, 1 KiB, rewritten", tls=True, http2=True),
]
# CPU time per request, at most this share of nginx's and of HAProxy's.
RATIOS = {"small": (0.88, 0.82), "hot": (0.85, 0.80), "large": (0.82, 0.70), "tls": (0.82, 0.80), "h2": (0.75, 0.92)}
SCALING = 1.10
INSTRUCTIONS = 22_000
REWRITING = 1.35
MANY_SITES = 1.03
SYSCALLS = 4.2
P99 = 1.1
IDLE_PLAIN_KIB = 3.0
IDLE_TLS_KIB = 16.0
IDLE_CONNECTIONS = 10_000


def main() -> None:
    options = arguments()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        prepare(folder)
        if load.is_open(int(peers.ORIGIN.split(":")[1])):
            sys.exit(f"{peers.ORIGIN} is taken: is another comparison running?")
        binary = ROOT / "benches/origin/target/release/bench-origin"
        origin = subprocess.Popen(["taskset", "-c", load.LOAD_CORE, str(binary), peers.ORIGIN])
        makers = [peers.nginx, peers.haproxy, peers.h2o, peers.varnish, peers.caddy]
        proxies = [maker(folder) for maker in makers]
        proxies += [peers.envoy(binary, folder) for binary in sorted(ROOT.glob(ENVOY))[-1:]]
        if PINGORA.exists():
            proxies.append(peers.pingora(PINGORA, folder))
        if options.ours:
            two_workers = peers.ours(options.ours, folder, TWO_WORKERS, (8106, 8206), workers=2)
            proxies += [peers.ours(options.ours, folder), two_workers]
        try:
            load.wait_for(int(peers.ORIGIN.split(":")[1]), 5)
            for proxy in proxies:
                start(proxy, folder)
                check(proxy)
            report, missed = measure(proxies, options, folder)
        except BaseException:
            show_logs(proxies, folder)
            raise
        finally:
            for proxy in proxies:
                proxy.stop()
            origin.kill()
            origin.wait()
    report = "\n\n".join([*heading(proxies, options), *report, f"Took {time.monotonic() - started:.0f} s."])
    print(report)
    if options.write:
        (ROOT / "benches/RESULTS.md").write_text(report + "\n")
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/compare.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each proxy in each case (5)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a sample (2)")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=[c.key for c in CASES] + EXTRAS,
                        help="some of: " + " ".join([c.key for c in CASES] + EXTRAS))
    parser.add_argument("--ours", type=Path, default=ROOT / "target/dist/origin-shim", help="the binary to compare")
    parser.add_argument("--without-ours", action="store_const", dest="ours", const=None, help="only the peers")
    parser.add_argument("--pingora", action="store_true", help="build Pingora first; once built it is always there")
    parser.add_argument("--envoy", action="store_true", help="get Envoy from PyPI first; likewise")
    parser.add_argument("--write", action="store_true", help="write benches/RESULTS.md")
    return parser.parse_args()


def prepare(folder: Path) -> None:
    """A certificate for all."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", f"/CN={peers.HOST}", "-addext", f"subjectAltName=DNS:{peers.HOST}",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())


def start(proxy: Proxy, folder: Path) -> None:
    """Until it rewrites."""
    proxy.start(folder)
    load.wait_for(proxy.plain, 20)
    with load.socket.create_connection(("127.0.0.1", proxy.plain), timeout=10) as connection:
        load.wait_until_rewriting(connection)


def show_logs(proxies: list[Proxy], folder: Path) -> None:
    for proxy in proxies:
        log = folder / f"{proxy.name}.log"
        if log.exists() and (text := log.read_text(errors="replace")[-2000:].strip()):
            print(f"--- {proxy.name}\n{text}", file=sys.stderr)


def measure(proxies: list[Proxy], options: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    only = options.only or [case.key for case in CASES] + EXTRAS
    targets = Targets()
    cases = [case for case in CASES if case.key in only]
    samples = interleaved(proxies, cases, options, folder)
    references = {proxy.name for proxy in proxies if proxy.reference}
    report = [case_table(case, samples, references) for case in cases]
    for case in cases:
        for other, limit in zip(("nginx", "HAProxy"), RATIOS[case.key]):
            for_target(targets, f"{case.title}: CPU / {other}", ratios(samples, case.key, NAME, other), limit)
    if "small" in only:
        scaling = ratios(samples, "small", TWO_WORKERS, NAME)
        for_target(targets, "two workers / one, CPU per request", scaling, SCALING)
    named = {proxy.name: proxy for proxy in proxies if proxy.name in ("nginx", "HAProxy", NAME)}
    if "latency" in only:
        report.append(latency(named, options, folder, targets))
    if "syscalls" in only:
        report.append(syscalls(named, folder, targets))
    if "idle" in only:
        report.append(idle(named, folder, targets))
    if "instructions" in only:
        report.append(instructions(named, options, folder, targets))
    if targets.rows:
        report.append(targets.table())
    return report, targets.missed


EXTRAS = ["latency", "syscalls", "idle", "instructions"]


def for_target(targets: Targets, what: str, values: list[float], limit: float) -> None:
    if values:
        targets.at_most(what, spread(values)[0], limit)


def interleaved(proxies: list[Proxy], cases: list[Case], options: argparse.Namespace, folder: Path) -> Samples:
    """Every proxy once per case and round, in an order that turns round each time. Only nginx, HAProxy and ours are
    compared; the others are shown for reference and sampled every other round."""
    samples: Samples = {case.key: {} for case in cases}
    for number in range(options.rounds):
        for case in cases:
            for proxy in proxies[:: 1 if number % 2 == 0 else -1]:
                skipped = proxy.name == TWO_WORKERS and case.key != "small" or case.tls and proxy.tls is None
                if skipped or proxy.reference and number % 2:
                    continue
                taken = load.sample(proxy, case, options.seconds)
                samples[case.key].setdefault(proxy.name, {})[number] = taken
                progress(f"round {number + 1}, {case.key}, {proxy.name}: {taken.cpu_per_request:.1f} µs")
    return samples


def latency(named: dict[str, Proxy], options: argparse.Namespace, folder: Path, targets: Targets) -> str:
    """At half of what one nginx worker serves, so that nobody is saturated."""
    whole = load.sample(named["nginx"], CASES[0], options.seconds)
    rate = whole.requests / whole.seconds / 2
    tables = []
    for connections in (64, 1_000):
        taken: dict[str, list[float]] = {name: [] for name in named}
        for number in range(options.rounds):
            for name in list(named)[:: 1 if number % 2 == 0 else -1]:
                sample = load.sample(named[name], CASES[0], options.seconds, rate, connections)
                taken[name].append(sample.p99)
                progress(f"latency, {connections} connections, {name}: {sample.p99:.2f} ms")
        shares = [a / b for a, b in zip(taken.get(NAME, []), taken["nginx"])]
        for_target(targets, f"p99 / nginx, plain HTTP, {connections:,} connections", shares, P99)
        medians = {name: spread(values)[0] for name, values in taken.items()}
        title = f"p99 at {rate:,.0f} requests/s, plain HTTP/1.1, {connections:,} connections"
        tables.append(value_table(title, "ms", medians, 2))
    return "\n\n".join(tables)


def syscalls(named: dict[str, Proxy], folder: Path, targets: Targets) -> str:
    counts = {}
    for name, proxy in named.items():
        counts[name] = load.syscalls_per_request(proxy, CASES[0], folder)
        progress(f"system calls, {name}: {counts[name]:.2f}")
    if NAME in counts:
        targets.at_most("system calls per request", counts[NAME], SYSCALLS)
    return value_table("System calls per request, HTTP/1.1, 1 KiB", "calls", counts, 2)


def idle(named: dict[str, Proxy], folder: Path, targets: Targets) -> str:
    """Each on a fresh process, since memory that was used once is not given back. HAProxy is left out: its limit of
    connections is fixed at its start, below what is asked for here."""
    kib = {}
    for name in [name for name in ("nginx", NAME) if name in named]:
        for tls, limit in ((False, IDLE_PLAIN_KIB), (True, IDLE_TLS_KIB)):
            what = f"{name}, {'TLS' if tls else 'plain'}"
            named[name].stop()
            start(named[name], folder)
            kib[what] = load.memory_per_idle_connection(named[name], tls, IDLE_CONNECTIONS) / 1024
            progress(f"idle, {what}: {kib[what]:.1f} KiB")
            if name == NAME:
                targets.at_most(f"KiB per idle connection, {'TLS' if tls else 'plain'}", kib[what], limit)
    return value_table(f"Memory per connection, {IDLE_CONNECTIONS:,} idle ones", "KiB (PSS)", kib, 1)


def instructions(named: dict[str, Proxy], options: argparse.Namespace, folder: Path, targets: Targets) -> str:
    """User space only, under callgrind, which knows fewer instructions for SHA-256 than processors do: steady from run to
    run, unlike time. Each page comes for the first time, unless it is the hot one."""
    for proxy in named.values():
        proxy.stop()
    counts = {name: load.instructions_per_request(proxy, folder) for name, proxy in named.items()}
    if options.ours:
        passthrough = load.instructions_per_request(named[NAME], folder, opt_in=False)
        many = peers.ours(options.ours, folder, "10000-sites", (8107, 8207), sites=10_000)
        many_sites = load.instructions_per_request(many, folder)
        hot = load.instructions_per_request(named[NAME], folder, new_pages=False)
        counts |= {f"{NAME}, not opted in": passthrough, f"{NAME}, 10,000 sites": many_sites,
                   f"{NAME}, one hot page": hot}
        targets.at_most("instructions, rewritten", counts[NAME], INSTRUCTIONS)
        targets.at_most("instructions, rewriting / passthrough", counts[NAME] / passthrough, REWRITING)
        targets.at_most("instructions, 10,000 sites / one", many_sites / counts[NAME], MANY_SITES)
    return value_table("Instructions per request, HTTP/1.1, 1 KiB, rewritten", "instructions", counts, 0)


def heading(proxies: list[Proxy], options: argparse.Namespace) -> list[str]:
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    versions = ", ".join(f"{proxy.name} {proxy.version()}" for proxy in proxies if proxy.name != TWO_WORKERS)
    notes = "; ".join(f"{proxy.name}: {proxy.note}" for proxy in proxies if proxy.note)
    return [
        "# Results of benches/compare.sh",
        f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}. {versions}.",
        f"{time.strftime('%Y-%m-%d')}; {options.rounds} rounds of {options.seconds} s, interleaved. The proxy is alone "
        f"on core 0; origin and load generator share core 1. {load.CONNECTIONS} connections of HTTP/1.1, or 16 of HTTP/2 "
        "with 8 streams each. CPU is user and system time of the proxy's processes. Medians [quartiles]; ratios within a "
        f"round. All TLS is 1.3 with {CIPHER}.",
        "Each request asks for one of 100,000 pages, uniformly at random, except for the case of one hot page. Pages differ in "
        "path, body, ETag, Last-Modified, Content-Length, Link, and in three of their six tags; the Date moves every second. "
        "The generator checks the body of every response. Not varied: the fields of requests, the other fields of responses, "
        "the site, and the status.",
        f"† for reference only, in every other round. {notes}.",
    ]


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


main()
