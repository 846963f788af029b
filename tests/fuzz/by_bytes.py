"""The harness driven by Atheris, which makes bytes that reach new lines: `python -m tests.fuzz.by_bytes -runs=10000`.

Options are libFuzzer's. Atheris is no dependency of the tests: `python -m pip install atheris`.
"""

import sys


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["skbce"]):
        from tests.fuzz.harness import run
        from tests.fuzz.strategies import case

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        drawn = case(lambda n: provider.ConsumeIntInRange(0, n - 1))
        try:
            run(drawn)
        except AssertionError as error:
            error.add_note(repr(drawn))
            raise

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
