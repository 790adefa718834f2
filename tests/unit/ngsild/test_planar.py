"""shapely costs memory and time at the start: only what needs it loads it."""

import subprocess
import sys

LOADED = """
import sys
import broker.worker
from broker.ngsild.geometry import read_geometry

def check(expected):
    assert ("shapely" in sys.modules) is expected, sorted(sys.modules)
    assert ("numpy" in sys.modules) is expected

check(False)
read_geometry({"type": "Point", "coordinates": [1, 2]}, "")
read_geometry({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "")
check(False)
read_geometry({"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]}, "")
check(True)
"""


def test_a_worker_loads_shapely_when_the_first_polygon_comes() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
