"""The fuzz targets of tests/fuzz, each for FUZZ_SECONDS. What they find of interest stays in target/fuzz; the committed corpus
does not grow by itself."""

import os
import re
import subprocess

from running import ROOT, need

FUZZ = os.path.join(ROOT, "tests", "fuzz")
FOUND = os.path.join(ROOT, "target", "fuzz")


def run():
    need("cargo-fuzz", "cargo install cargo-fuzz, and rustup toolchain install nightly")
    # There is no unsafe code of ours for a sanitizer to look at.
    cargo = ["cargo", "+nightly", "fuzz"]
    options = ["--fuzz-dir", FUZZ, "--sanitizer", "none"]
    subprocess.run(cargo + ["build"] + options, cwd=ROOT, check=True)
    only = os.environ.get("FUZZ_TARGETS", "").split()
    targets = only or sorted(name[:-3] for name in os.listdir(os.path.join(FUZZ, "fuzz_targets")))
    return all([holds(cargo + ["run"] + options, target) for target in targets])


def holds(command, target):
    """Whether nothing breaks the law of the target."""
    found = os.path.join(FOUND, target)
    os.makedirs(found, exist_ok=True)
    seconds = os.environ.get("FUZZ_SECONDS", "600")
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-max_len=16384"]
    done = subprocess.run(command + [target, found, os.path.join(FUZZ, "corpus", target), "--", *limits], cwd=ROOT,
                          stderr=subprocess.PIPE, text=True, errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    if done.returncode:
        print(done.stderr[-6000:])
    print(f"fuzz {target}: {executions[1] if executions else '?'} executions in {seconds} s, "
          f"{covered[-1][0] if covered else '?'} edges, {covered[-1][2] if covered else '?'} inputs kept: "
          f"{'FAILED' if done.returncode else 'no crash'}", flush=True)
    return done.returncode == 0
