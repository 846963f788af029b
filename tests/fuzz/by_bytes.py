"""The harness driven by Atheris, which makes bytes that reach new lines: `python -m tests.fuzz.by_bytes -runs=10000`.

Options are libFuzzer's. Atheris is no dependency of the tests: `python -m pip install atheris`.
"""

import sys


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["skbce"]):
        from hypothesis import HealthCheck, given, settings

        from tests.fuzz.harness import run
        from tests.fuzz.strategies import cases

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cases())
    def one(case):
        run(case)

    atheris.Setup(sys.argv, one.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
