"""cache-tests, differentially: what Varnish does before an origin, it does with the shim between them, which nobody asked
to lengthen anything. cache-tests.json names the tests whose results may differ, and why."""

import json
import os
import subprocess

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
    alone, between = results(False), results(True)
    # Tests race with clocks: what differs must differ again.
    if alone != between:
        alone_again, between_again = results(False), results(True)
    else:
        alone_again, between_again = alone, between
    differing = {name for name in alone
                 if between.get(name) not in (alone[name], alone_again.get(name))
                 and between_again.get(name) not in (alone[name], alone_again.get(name))}
    unlisted, unneeded = differing - set(exceptions), set(exceptions) - differing
    for name in sorted(differing):
        why = exceptions.get(name, "NOT LISTED")
        print(f"caches {name}: alone {alone[name]}, with the shim {between.get(name)}: {why}")
    for name in sorted(unneeded):
        print(f"caches {name}: listed, but the results are the same")
    passed = sum(result is True for result in alone.values())
    print(f"caches: {len(alone)} tests, {passed} pass with Varnish alone; {len(differing)} differ with the shim, "
          f"{len(unlisted)} of them not listed", flush=True)
    return len(alone) > 300 and set(alone) == set(between) and not unlisted


def results(with_shim):
    """The results of all tests, by their names."""
    with Run() as run:
        origin, varnish = free_port(), free_port()
        settings = {"npm_config_protocol": "http", "npm_config_port": str(origin), "npm_config_id": "", "npm_package_config_id": "",
                    "npm_config_base": f"http://127.0.0.1:{varnish}", "npm_config_pidfile": run.path("origin.pid")}
        run.start("origin", ["node", "server/server.mjs"], lambda: listens(origin), cwd=SUITE,
                  env=os.environ | settings)
        backend = origin
        if with_shim:
            _, ports = run.shim(origin, 'origin_host = "preserve"')
            backend = ports["plain"]
        varnishd = need("varnishd", "apt-get install varnish")
        run.start("varnishd", [varnishd, "-F", "-j", "none", "-T", "none", "-s", "malloc,64m", "-n", run.path("varnish"),
                               "-a", f"127.0.0.1:{varnish}", "-b", f"127.0.0.1:{backend}"], lambda: listens(varnish))
        done = subprocess.run(["node", "--no-warnings", "cli.mjs"], cwd=SUITE, env=os.environ | settings,
                              stdout=subprocess.PIPE, text=True, timeout=900, check=True)
    return json.loads(done.stdout[done.stdout.index("{"):])
