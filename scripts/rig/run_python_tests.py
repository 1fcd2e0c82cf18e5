"""Runs tests of one module of Python's own test package, and tells of each one as it goes.

run_python_tests.py MODULE DESCRIPTOR DIRECTORY [TEST...]: lines of JSON go to the descriptor. The
module's own runner is not used: its names and reports differ between versions.
"""

import faulthandler
import json
import os
import sys
import tempfile
import unittest

MODULE, DESCRIPTOR, DIRECTORY, WANTED = sys.argv[1], int(sys.argv[2]), sys.argv[3], set(sys.argv[4:])
sys.argv[1:] = []


def tell(*words):
    os.write(DESCRIPTOR, json.dumps(words).encode() + b"\n")


class Telling(unittest.TestResult):
    """The state of a test is told once: a subtest that fails, fails its test."""

    def __init__(self):
        super().__init__()
        self.failed = None

    def startTest(self, test):
        super().startTest(test)
        self.failed, self.skipped_why = None, None
        tell("start", test.id())

    def stopTest(self, test):
        super().stopTest(test)
        if self.failed is not None:
            tell("end", "failed", test.id(), self.failed)
        elif self.skipped_why is not None:
            tell("end", "skipped", test.id(), self.skipped_why)
        else:
            tell("end", "passed", test.id(), "")

    def addError(self, test, err):
        self.note(test, err)

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(subtest, err)

    def addUnexpectedSuccess(self, test):
        self.failed = "passed, which was not expected"

    def addSkip(self, test, reason):
        if isinstance(test, unittest.TestCase):
            self.skipped_why = reason
        else:
            tell("fixture", "skipped", fixture_of(test), reason)

    def note(self, test, err):
        print("=" * 70, test, self._exc_info_to_string(err, test), sep="\n", flush=True)
        why = f"{err[0].__name__}: {str(err[1]).strip() or '(nothing said)'}"
        why = why.splitlines()[0][:200]
        if isinstance(test, unittest.TestCase) or hasattr(test, "test_case"):
            self.failed = self.failed or why
        else:
            # setUpModule (test.test_ssl), setUpClass (test.test_ssl.SimpleTests)
            tell("fixture", "failed", fixture_of(test), why)


def fixture_of(test):
    return test.id().partition("(")[2].rstrip(")")


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def main():
    faulthandler.enable()
    from test import support

    # What regrtest does without -u: no test goes to the network outside.
    support.use_resources = []
    support.verbose = 0
    os.chdir(tempfile.mkdtemp(dir=DIRECTORY))
    tests = list(flat(unittest.defaultTestLoader.loadTestsFromName(f"test.{MODULE}")))
    tests = [test for test in tests if not WANTED or test.id() in WANTED]
    tell("tests", [test.id() for test in tests])
    unittest.TestSuite(tests).run(Telling())


main()
# Threads of tests that failed may still wait for something.
os._exit(0)
