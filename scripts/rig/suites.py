"""Runs test suites directly and through balancers, and compares them test by test.

For scripts/independent-suites, inside the network namespace that it makes: there a rule of nftables
redirects every connection to a balancer, but for those of the balancers' own user.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# A test that says nothing for so long hangs.
PATIENCE_S = 30
# After so many in one suite the others are not waited for.
HANGS_MAX = 3
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# The balancer asks for the original destination of what it accepts (SO_ORIGINAL_DST).
REDIRECTING = """
    chain output {
        type nat hook output priority -100
        meta l4proto tcp OTHERS counter redirect to :PORT
    }
"""
# HAProxy 2.6 asks for it over IPv4 only. Over IPv6 its listener is transparent, and accepts with the
# original destination as its own address.
REDIRECTING_IPV4 = REDIRECTING.replace("OTHERS", "meta nfproto ipv4 OTHERS")
LEADING_IPV6 = """
    chain marking {
        type filter hook output priority -150
        meta nfproto ipv6 tcp flags & (syn | ack) == syn OTHERS counter meta mark set 1
    }
    chain leading {
        type filter hook prerouting priority -150
        meta nfproto ipv6 meta mark 1 meta l4proto tcp tproxy ip6 to [::1]:PORT accept
    }
"""
Outcome = collections.namedtuple("Outcome", "state detail")


def main():
    options = arguments()
    outcomes = {}
    for through in options.through:
        outcomes[through] = run_all(options, through)
    flaky = repeat_what_differs(options, outcomes)
    report(options, outcomes, flaky)
    sys.exit(verdict(options, outcomes, flaky))


def arguments():
    parser = argparse.ArgumentParser()
    by_commas = lambda text: [part for part in text.split(",") if part]
    parser.add_argument("--suites", type=by_commas, required=True)
    parser.add_argument("--through", type=by_commas, required=True)
    parser.add_argument("--ports", type=lambda text: dict(pair.split("=") for pair in by_commas(text)))
    for name in ("--repeat", "--jobs", "--balancer-uid"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--logs", "--work"):
        parser.add_argument(name, required=True)
    return parser.parse_args()


# ---- running ----------------------------------------------------------------------------------


def run_all(options, through):
    """Every suite by this way: {suite: {test: Outcome}}."""
    started = time.monotonic()
    redirect(options, through)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {suite: pool.submit(run, options, through, suite) for suite in options.suites}
        found = {suite: run.result() for suite, run in runs.items()}
    tests = sum(map(len, found.values()))
    seconds = time.monotonic() - started
    print(f"{through}: {tests} tests in {seconds:.0f} s, {redirected(through)}", flush=True)
    return found


def redirect(options, through):
    """Leads what connects from now on this way."""
    subprocess.run(["nft", "flush ruleset"], check=True)
    if through == "direct":
        return
    port, others = options.ports[through], f"meta skuid != {options.balancer_uid} fib daddr type local"
    rules = REDIRECTING if through == "evenkeel" else REDIRECTING_IPV4 + LEADING_IPV6
    rules = rules.replace("PORT", port).replace("OTHERS", others)
    subprocess.run(["nft", "-f", "-"], input=f"table inet rig {{ {rules} }}", text=True, check=True)
    for host in ("127.0.0.1", "::1"):
        probe(through, host)


def probe(through, host):
    """Fails where not even one connection arrives, rather than after every test has waited."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        server.settimeout(5)
        try:
            with socket.create_connection(server.getsockname()[:2], timeout=5) as client:
                client.sendall(b"hello")
                accepted, peer = server.accept()
                with accepted:
                    accepted.settimeout(5)
                    if accepted.recv(5) != b"hello" or peer == client.getsockname():
                        raise OSError("it was not led through the balancer")
        except OSError as error:
            print(f"FAIL  a connection to {host} does not arrive through {through}: {error}")
            sys.exit(1)


def redirected(through):
    if through == "direct":
        return "no connection redirected"
    told = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    packets = sum(map(int, re.findall(r"packets (\d+)", told)))
    if packets == 0:
        sys.exit(f"no connection was redirected through {through}: the rule does not work")
    return f"{packets} connections redirected"


def run(options, through, suite, only=None, attempt=0):
    log = os.path.join(options.logs, f"{suite}-{through}{f'-again-{attempt}' if attempt else ''}.log")
    with open(log, "wb") as output:
        if suite == "memccapable":
            return run_memccapable(options, output, log, only)
        return run_python(options, suite, output, log, only)


def run_python(options, suite, output, log, only):
    """The tests of a module of Python's own; one that hangs is stopped, and the others go on."""
    outcomes = {}
    left = only
    for _ in range(HANGS_MAX):
        found, left = run_python_once(options, suite, output, log, left)
        outcomes.update(found)
        if not left:
            break
    outcomes.update((test, Outcome(FAILED, f"did not run, see {log}")) for test in left)
    return outcomes


def run_python_once(options, suite, output, log, only):
    """Returns what was found, and which tests are left because one hung or ended the process."""
    reading, writing = os.pipe()
    command = [sys.executable, os.path.join(HERE, "run_python_tests.py"), suite, str(writing), options.work]
    child = subprocess.Popen(
        command + (only or []), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        pass_fds=[writing], start_new_session=True, env=plain_environment(),
    )
    os.close(writing)
    outcomes, left, current = {}, [], None
    for line in lines_of(reading):
        if line is None:
            # Prints where it hangs.
            os.kill(child.pid, signal.SIGABRT)
            time.sleep(0.5)
            break
        kind, *rest = json.loads(line)
        if kind == "tests":
            left = rest[0]
        elif kind == "start":
            current = rest[0]
        elif kind == "fixture":
            # What a module or class needs has failed: all that is left of it does.
            state, name, detail = rest
            for test in [test for test in left if name in test]:
                outcomes[test] = Outcome(state, detail)
                left.remove(test)
        else:
            state, test, detail = rest
            outcomes[test] = Outcome(state, detail)
            left.remove(test)
            current = None
    os.close(reading)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
    if current is not None:
        outcomes[current] = Outcome(FAILED, f"hung or ended the process, see {log}")
        left.remove(current)
    elif not outcomes and not left:
        sys.exit(f"{suite} did not run, see {log}")
    return outcomes, left


def lines_of(descriptor):
    """Lines until the end; None when none came for too long."""
    selector = selectors.DefaultSelector()
    selector.register(descriptor, selectors.EVENT_READ)
    rest = b""
    while True:
        if not selector.select(PATIENCE_S):
            yield None
            return
        more = os.read(descriptor, 1 << 16)
        if not more:
            return
        *lines, rest = (rest + more).split(b"\n")
        yield from lines


def plain_environment():
    """Without proxies, and with one language: tests look at both."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {"LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def run_memccapable(options, output, log, only):
    """Against a server of its own, over IPv4 and IPv6."""
    server = subprocess.Popen(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "memcached", "-l", "127.0.0.1,::1", "-p", "11211"],
        stdin=subprocess.DEVNULL, stdout=output, stderr=output,
    )
    try:
        wait_for_port(11211)
        outcomes = {}
        for host in ("127.0.0.1", "::1"):
            for test in [None] if only is None else [name for name in only if name.endswith(host)]:
                command = ["memccapable", "-h", host, "-p", "11211", "-t", "10"]
                if test is not None:
                    command += ["-T", test.removesuffix(f" on {host}")]
                outcomes.update(memccapable_outcomes(command, host, output, log))
        return outcomes
    finally:
        server.kill()
        server.wait()


def memccapable_outcomes(command, host, output, log):
    # It writes names to one stream and "[FAIL]" to the other: only unbuffered they come in order.
    command = ["stdbuf", "--output=0", *command]
    try:
        told = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=4 * PATIENCE_S).stdout
    except subprocess.TimeoutExpired as hung:
        told = hung.stdout or b""
    output.write(told)
    states = {"pass": PASSED, "FAIL": FAILED, "skip": SKIPPED}
    found = re.findall(r"^(.+?) +\[(pass|FAIL|skip)\]", told.decode(errors="replace"), re.M)
    return {f"{name} on {host}": Outcome(states[state], f"see {log}") for name, state in found}


def wait_for_port(port):
    for _ in range(200):
        told = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
        if told:
            return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


# ---- comparing --------------------------------------------------------------------------------


def repeat_what_differs(options, outcomes):
    """A test that failed one way and not another is repeated where it failed: {(through, suite, test): at which attempt it passed}."""
    flaky = {}
    for through in options.through:
        for attempt in range(1, options.repeat + 1):
            again = {}
            for suite, test in differing(outcomes):
                if state_of(outcomes, through, suite, test) == FAILED and (through, suite, test) not in flaky:
                    again.setdefault(suite, []).append(test)
            if not again:
                break
            redirect(options, through)
            for suite, tests in again.items():
                for test, outcome in run(options, through, suite, tests, attempt).items():
                    if outcome.state == PASSED:
                        flaky[through, suite, test] = attempt
    return flaky


def differing(outcomes):
    """The tests that did not end alike everywhere."""
    tests = {(suite, test) for by_suite in outcomes.values() for suite, found in by_suite.items() for test in found}
    return sorted(key for key in tests if len({state_of(outcomes, through, *key) for through in outcomes}) > 1)


def state_of(outcomes, through, suite, test):
    """A test that was not even reported has failed: what ran it has ended."""
    found = outcomes[through][suite].get(test)
    return found.state if found else FAILED


def shown(outcomes, flaky, through, suite, test):
    again = flaky.get((through, suite, test))
    return f"flaky: passed when repeated ({again})" if again else state_of(outcomes, through, suite, test)


def worse(outcomes, flaky, suite, test):
    """It passes directly and through HAProxy, and fails through evenkeel, every time."""
    if "evenkeel" not in outcomes or (("evenkeel", suite, test) in flaky):
        return False
    others = [through for through in outcomes if through != "evenkeel"]
    passes = lambda through: (through, suite, test) in flaky or state_of(outcomes, through, suite, test) == PASSED
    return state_of(outcomes, "evenkeel", suite, test) != PASSED and all(map(passes, others))


def report(options, outcomes, flaky):
    width = max(map(len, options.suites))
    print(f"\n{'run/failed/skipped':{width}}  " + "  ".join(f"{through:>14}" for through in outcomes))
    for suite in options.suites + ["all"]:
        cells = []
        for found in outcomes.values():
            states = [outcome.state for name in found if suite in (name, "all") for outcome in found[name].values()]
            cells.append(f"{len(states)}/{states.count(FAILED)}/{states.count(SKIPPED)}")
        print(f"{suite:{width}}  " + "  ".join(f"{cell:>14}" for cell in cells))
    for suite, test in differing(outcomes):
        word = "WORSE" if worse(outcomes, flaky, suite, test) else "differs"
        print(f"\n{word}: {test}\n  " + ", ".join(f"{through} {shown(outcomes, flaky, through, suite, test)}" for through in outcomes))
        for through in outcomes:
            outcome = outcomes[through][suite].get(test)
            if outcome and outcome.state != PASSED:
                print(f"  {through}: {outcome.detail}")
    print()


def verdict(options, outcomes, flaky):
    found = [test for suite, test in differing(outcomes) if worse(outcomes, flaky, suite, test)]
    if not any(outcome.state == PASSED for by_suite in outcomes.values() for tests in by_suite.values() for outcome in tests.values()):
        print("FAIL  no test passed")
        return 1
    if "evenkeel" not in outcomes:
        print("skip  nothing to compare: evenkeel was not asked for")
        return 0
    if found:
        print(f"FAIL  {len(found)} tests fail through evenkeel and nowhere else (WORSE above), see {options.logs}")
        return 1
    others = [{"direct": "directly", "haproxy": "through HAProxy"}[through] for through in outcomes if through != "evenkeel"]
    print("pass  no test fails through evenkeel that passes " + " and ".join(others))
    if flaky:
        print(f"note  {len(flaky)} failed at first and passed when repeated (flaky above)")
    return 0


main()
