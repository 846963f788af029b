"""For `pytest benchmarks/kernels.py`: imports between the benchmarks, and what each kernel did a second."""

import sys
from pathlib import Path

import pytest

import skbce.kernels

# As Python does for a script: kernels.py imports its neighbours by name, like the other benchmarks.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.hookimpl(optionalhook=True)  # pytest-benchmark's
def pytest_benchmark_update_machine_info(machine_info):
    """What a comparison must have in common."""
    machine_info["skbce"] = {"instruction set": skbce.kernels.LEVEL}


def pytest_terminal_summary(terminalreporter):
    """A line for each benchmark that was timed: its median and rate, those of a network together."""
    networks = {}
    for report in terminalreporter.getreports("passed"):
        for network, microseconds, rate in [value for name, value in report.user_properties if name == "rate"]:
            line = f"{report.head_line.removeprefix('test_'):60} {microseconds:12.2f} us {rate:>18}"
            networks.setdefault(network, []).append(line)
    for network, lines in networks.items():
        terminalreporter.section(network)
        terminalreporter.write("\n".join(lines) + "\n")
