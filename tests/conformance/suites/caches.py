"""cache-tests, differentially, in two cases. What Varnish does before an origin, it does with the shim between them, which
nobody asked to lengthen anything; and what it does with the VCL that we ship, it does when that VCL asks for long lifetimes,
but for what the shim is for. cache-tests.json names the tests whose results may differ in each case, and why."""

import json
import os
import subprocess
import time
import urllib.request

from running import ROOT, TOOLS, Run, free_port, listens, need

VERSION = "0.4.5"
PACKAGE = os.path.join(TOOLS, "cache-tests")
SUITE = os.path.join(PACKAGE, "node_modules", "http-cache-tests")
EXCEPTIONS = os.path.join(ROOT, "tests", "conformance", "cache-tests.json")


def run():
    need("node", "apt-get install nodejs npm")
    if not os.path.exists(os.path.join(SUITE, "package.json")):
        os.makedirs(PACKAGE, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "--prefix", PACKAGE,
                        f"http-cache-tests@{VERSION}"], check=True)
    with open(EXCEPTIONS) as file:
        exceptions = json.load(file)
    # By reason in the file, by test here.
    exceptions = {case: {test: why for why, tests in reasons.items() for test in tests}
                  for case, reasons in exceptions.items()}
    cases = {"passthrough": (alone, passed_through), "opted-in": (alone_with_our_vcl, opted_in)}
    return all([compare(case, *between, exceptions[case]) for case, between in cases.items()])


def compare(case, without, between, exceptions):
    """Whether nothing differs with the shim between but what is listed."""
    alone, with_shim = without(), between()
    # Tests race with clocks: what differs must differ again.
    if alone != with_shim:
        alone_again, with_shim_again = without(), between()
    else:
        alone_again, with_shim_again = alone, with_shim
    differing = {name for name in alone
                 if with_shim.get(name) not in (alone[name], alone_again.get(name))
                 and with_shim_again.get(name) not in (alone[name], alone_again.get(name))}
    unlisted, unneeded = differing - set(exceptions), set(exceptions) - differing
    for name in sorted(differing):
        why = exceptions.get(name, "NOT LISTED")
        print(f"caches {case} {name}: alone {alone[name]}, with the shim {with_shim.get(name)}: {why}")
    for name in sorted(unneeded):
        print(f"caches {case} {name}: listed, but the results are the same")
    passed = sum(result is True for result in alone.values())
    print(f"caches {case}: {len(alone)} tests, {passed} pass with Varnish alone; {len(differing)} differ with the shim, "
          f"{len(unlisted)} of them not listed", flush=True)
    return len(alone) > 300 and set(alone) == set(with_shim) and not unlisted


def alone():
    return results(lambda run, origin, varnish: origin)


def passed_through():
    return results(lambda run, origin, varnish: run.shim(origin, 'origin_host = "preserve"')[1]["plain"])


def alone_with_our_vcl():
    return results(lambda run, origin, varnish: origin, ours=True)


def opted_in():
    def shim(run, origin, varnish):
        site = f"""
origin_host = "preserve"
[[sites.cdns]]
type = "varnish"
hosts = ["127.0.0.1"]
api_urls = ["http://127.0.0.1:{varnish}"]
"""
        _, ports = run.shim(origin, site)
        run.admin = ports["admin"]
        return ports["plain"]

    return results(shim, ours=True)


def results(behind, ours=False):
    """The results of all tests, by their names, with what `behind` starts behind Varnish, and with our VCL or none."""
    with Run() as run:
        origin, varnish = free_port(), free_port()
        settings = {"npm_config_protocol": "http", "npm_config_port": str(origin), "npm_config_id": "", "npm_package_config_id": "",
                    "npm_config_base": f"http://127.0.0.1:{varnish}", "npm_config_pidfile": run.path("origin.pid")}
        run.start("origin", ["node", "server/server.mjs"], lambda: listens(origin), cwd=SUITE,
                  env=os.environ | settings)
        run.admin = None
        backend = behind(run, origin, varnish)
        varnishd = need("varnishd", "apt-get install varnish varnish-modules")
        how = ["-b", f"127.0.0.1:{backend}"]
        if ours:
            with open(os.path.join(ROOT, "config", "varnish.vcl")) as file:
                how = ["-f", run.write("shim.vcl", file.read().replace('"8080"', f'"{backend}"'))]
        run.start("varnishd", [varnishd, "-F", "-j", "none", "-T", "none", "-s", "malloc,64m", "-n", run.path("varnish"),
                               "-a", f"127.0.0.1:{varnish}", *how], lambda: listens(varnish))
        if run.admin:
            wait_until_healthy(run.admin)
        done = subprocess.run(["node", "--no-warnings", "cli.mjs"], cwd=SUITE, env=os.environ | settings,
                              stdout=subprocess.PIPE, text=True, timeout=900, check=True)
    return json.loads(done.stdout[done.stdout.index("{"):])


def wait_until_healthy(admin):
    """Until purges are known to get through: before that, nothing is lengthened."""
    for _ in range(600):
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5) as answer:
            if not json.load(answer)["degraded"]:
                return
        time.sleep(0.1)
    raise SystemExit("the shim does not become healthy")
