"""That every proxy did the job before its time is taken."""

import re
import socket
import subprocess

from load import fields, request, unverified
from peers import BROWSER_TTL, EDGE_TTL, HOST, Proxy


def check(proxy: Proxy) -> None:
    for tls in (False, True) if proxy.tls else (False,):
        with socket.create_connection(("127.0.0.1", proxy.tls if tls else proxy.plain), timeout=10) as connection:
            if tls:
                connection = unverified().wrap_socket(connection, server_hostname=HOST)
                expect(proxy, connection.version() == "TLSv1.3", f"speaks {connection.version()}")
            for path, size in (("/small/000007", 1024 - 25), ("/large/000007", 100 * 1024 - 25)):
                head, body = request(connection, path)
                whole = (path * size)[:size].encode()
                expect(proxy, head.startswith("HTTP/1.1 200") and body == whole, f"broke {path}:\n{head}")
                check_rewritten(proxy, parse(head))
            head, _ = request(connection, opt_in=False)
            check_untouched(proxy, parse(head))
    if proxy.tls:
        check_rewritten(proxy, over_http2(proxy))


def check_rewritten(proxy: Proxy, got: dict[str, str]) -> None:
    expect(proxy, BROWSER_TTL in got.get("cache-control", ""), f"left Cache-Control alone: {got}")
    expect(proxy, "max-age=300" not in got["cache-control"], f"kept the origin's Cache-Control: {got}")
    expect(proxy, EDGE_TTL in got.get("cloudflare-cdn-cache-control", ""), f"added no edge lifetime: {got}")
    if proxy.whole_job:
        tags = re.split("[, ]+", got.get("cache-tag", ""))
        expect(proxy, {"all", "product-42", "section-7"} <= set(tags), f"lost a tag: {got}")
        expect(proxy, "surrogate-key" not in got, f"kept Surrogate-Key: {got}")


def check_untouched(proxy: Proxy, got: dict[str, str]) -> None:
    if proxy.whole_job:
        same = got.get("cache-control") == "max-age=300" and "product-42" in got.get("surrogate-key", "").split()
        expect(proxy, same and "cache-tag" not in got, f"rewrote a response that did not opt in: {got}")


def parse(head: str) -> dict[str, str]:
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in head.split("\r\n")[1:])}


def over_http2(proxy: Proxy) -> dict[str, str]:
    url = f"https://127.0.0.1:{proxy.tls}/small/000007"
    command = ["nghttp", "-nv", "--no-dep", *fields(True), "-H", f":authority: {HOST}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    plain = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    got = dict(re.findall(r"recv \(stream_id=\d+\) (:?[\w-]+): (.*)", plain))
    expect(proxy, got.get(":status") == "200", f"over HTTP/2:\n{done.stdout}{done.stderr}")
    return got


def expect(proxy: Proxy, condition: bool, problem: str) -> None:
    if not condition:
        raise SystemExit(f"{proxy.name} {problem}")
