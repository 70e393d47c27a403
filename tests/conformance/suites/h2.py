"""h2spec: HTTP/2 by ALPN and with prior knowledge."""

import os
import re
import subprocess

from running import Run, need


# Over the plain listener what is no preface of HTTP/2 is HTTP/1.1, and is answered so, with 400 and the end of the connection.
HTTP1 = {"plain": ["2: Sends invalid connection preface"], "tls": []}


def run():
    tool = os.environ.get("H2SPEC") or need("h2spec", "https://github.com/summerwind/h2spec, or name it in H2SPEC")
    with Run() as run:
        _, ports = run.shim(run.origin(), tls=True)
        ways = {"tls": ["-t", "-k", "-p", str(ports["tls"])], "plain": ["-p", str(ports["plain"])]}
        return all([passes(tool, way, arguments) for way, arguments in ways.items()])


def passes(tool, way, arguments):
    """Whether every case passes."""
    done = subprocess.run([tool, "-h", "127.0.0.1", *arguments], stdout=subprocess.PIPE, text=True, timeout=900)
    tests = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    report = done.stdout[done.stdout.find("Failures:"):] if "Failures:" in done.stdout else ""
    failures = re.findall(r"× (.*)", report)
    unforeseen = [failure for failure in failures if failure not in HTTP1[way]]
    if not tests or unforeseen:
        print(report or done.stdout[-2000:])
    print(f"h2 {way}: {tests[0] if tests else 'no result'}, {len(failures) - len(unforeseen)} of them foreseen", flush=True)
    return bool(tests) and tests[3] == "0" and not unforeseen
