"""Load on one proxy, and what it costs the proxy: CPU time, system calls, memory, instructions."""

import re
import resource
import signal
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from peers import EDGE_TTL, HOST, Proxy

OPT_IN = {"X-Push-Invalidation": "enabled", "X-BYO-CDN-Type": "cloudflare"}
CONNECTIONS = 64
GENERATOR = Path(__file__).resolve().parents[1] / "load/target/release/bench-load"
LOAD_CORE = "1"
# The clients offer this one alone, so that every proxy does the same cryptography.
CIPHER = "TLS_AES_256_GCM_SHA384"


@dataclass
class Sample:
    requests: int
    seconds: float
    cpu_us: float
    # Milliseconds.
    p99: float

    @property
    def cpu_per_request(self) -> float:
        return self.cpu_us / self.requests


@dataclass
class Case:
    key: str
    title: str
    kind: str = "small"
    tls: bool = False
    http2: bool = False
    opt_in: bool = True
    # Distinct pages, of which each request gets any; 1: one hot page.
    pages: int = 100_000


def cpu_us(proxy: Proxy) -> float:
    """User and system time of all its threads, from the scheduler's own count (nanoseconds, not ticks)."""
    total = 0
    for pid in proxy.pids():
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1000


def fields(opt_in: bool, **more: str) -> list[str]:
    pairs = {**more, **(OPT_IN if opt_in else {})}
    return [part for name, value in pairs.items() for part in ("-H", f"{name}: {value}")]


def sample(proxy: Proxy, case: Case, seconds: float, rate: float | None = None, connections: int | None = None) -> Sample:
    """Ours is the load generator: it has made all requests beforehand, and it checks the body of every response."""
    port = proxy.tls if case.tls else proxy.plain
    connections = connections or (16 if case.http2 else CONNECTIONS)
    command = [str(GENERATOR), "--address", f"127.0.0.1:{port}", "--host", HOST, "--kind", case.kind,
               "--pages", str(case.pages), "--connections", str(connections), "--seconds", str(seconds),
               "--seed", str(time.time_ns() % 1_000_000)]
    command += ["--tls"] * case.tls + ["--http2"] * case.http2
    command += ["--rate", f"{rate:.1f}"] if rate else []
    command += [part for name, value in (OPT_IN if case.opt_in else {}).items() for part in ("--field", f"{name}: {value}")]
    before, start = cpu_us(proxy), time.monotonic()
    done = subprocess.run(["taskset", "-c", LOAD_CORE, *command], capture_output=True, text=True)
    elapsed = time.monotonic() - start
    cpu = cpu_us(proxy) - before
    told = re.match(r"requests (\d+) p50 (\d+) p99 (\d+)", done.stdout)
    if not told or int(told[1]) == 0:
        raise SystemExit(f"{proxy.name}, {case.key}: the load generator says\n{done.stdout}{done.stderr}")
    return Sample(int(told[1]), elapsed, cpu, int(told[3]) / 1000)


def syscalls_per_request(proxy: Proxy, case: Case, folder: Path) -> float:
    log = folder / "strace.txt"
    attach = [part for pid in proxy.pids() for part in ("-p", str(pid))]
    strace = subprocess.Popen(["taskset", "-c", LOAD_CORE, "strace", "-c", "-f", "-o", log, *attach],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    requests = sample(proxy, case, 4).requests
    strace.send_signal(signal.SIGINT)
    strace.wait(20)
    calls = re.search(r"([\d.]+)\s+[\d.]+\s+\d*\s+(\d+)\s+\d*\s*total", log.read_text())
    if not calls:
        raise SystemExit(f"strace of {proxy.name} gave no total:\n{log.read_text()}")
    return int(calls[2]) / requests


def memory(proxy: Proxy) -> int:
    """Bytes of memory that are its own share (PSS)."""
    total = 0
    for pid in proxy.pids():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) * 1024
    return total


def memory_per_idle_connection(proxy: Proxy, tls: bool, count: int) -> float:
    """After one request on each."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if limit < count + 100:
        raise SystemExit(f"{count} connections need that many file descriptors; the limit is {limit}")
    context = unverified() if tls else None
    before = memory(proxy)
    held = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", proxy.tls if tls else proxy.plain), timeout=10)
        if context:
            connection = context.wrap_socket(connection, server_hostname=HOST)
        request(connection)
        held.append(connection)
    time.sleep(0.5)
    after = memory(proxy)
    for connection in held:
        connection.close()
    return (after - before) / count


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def request(connection: socket.socket, path: str = "/small/000000", opt_in: bool = True) -> tuple[str, bytes]:
    """The head and the body of the response to one GET."""
    pairs = {"Host": HOST, **(OPT_IN if opt_in else {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in pairs.items())
    connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    if not length:
        raise SystemExit(f"a response without Content-Length: {head!r}")
    while len(body) < int(length[1]):
        body += receive(connection)
    return head.decode("latin-1"), body


def receive(connection: socket.socket) -> bytes:
    data = connection.recv(256 * 1024)
    if not data:
        raise SystemExit("a proxy closed its connection")
    return data


def wait_for(port: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_open(port):
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing listens on port {port}")
        time.sleep(0.05)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def instructions_per_request(proxy: Proxy, folder: Path, opt_in: bool = True, new_pages: bool = True) -> float:
    """Of user space, on one connection; of ours by the thread that serves it, since what others do varies, by millions where
    they collect entropy. The difference of two runs, so that start and end do not count."""
    instructions, requests = [], []
    for count in (500, 2500):
        out = folder / f"callgrind.{proxy.name}"
        proxy.start(folder, ["valgrind", "--tool=callgrind", "--separate-threads=yes",
                             f"--callgrind-out-file={out}.%p"])
        wait_for(proxy.plain, 60)
        with socket.create_connection(("127.0.0.1", proxy.plain), timeout=30) as connection:
            extra = wait_until_rewriting(connection)
            for number in range(count):
                head, _ = request(connection, f"/small/{number if new_pages else 0:06}", opt_in)
            if opt_in and EDGE_TTL not in head:
                raise SystemExit(f"{proxy.name} rewrites no more:\n{head}")
        proxy.stop()
        dumps = list(folder.glob(f"{out.name}.*"))
        texts = [dump.read_text() for dump in dumps]
        for dump in dumps:
            dump.unlink()
        totals = [re.search(r"^totals: (\d+)", text, re.M) for text in texts if proxy.serves in text]
        if not any(totals):
            raise SystemExit(f"{proxy.name}: callgrind gave no total")
        instructions.append(sum(int(total[1]) for total in totals if total))
        requests.append(count + extra)
    return (instructions[1] - instructions[0]) / (requests[1] - requests[0])


def wait_until_rewriting(connection: socket.socket) -> int:
    """How many requests it took: a proxy that checks its CDN first rewrites only after that."""
    for attempt in range(1, 201):
        head, _ = request(connection)
        if "172800" in head:
            return attempt
        time.sleep(0.1)
    raise SystemExit(f"no long lifetime after 20 s:\n{head}")
