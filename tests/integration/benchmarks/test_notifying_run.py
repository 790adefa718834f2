"""The whole run of `benchmarks.notifying`, small."""

import asyncio
import sys
from pathlib import Path

import orjson

PROJECT = Path(__file__).parents[3]


async def test_every_notification_of_every_load_is_counted(mongo_uri: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.notifying", "--seconds", "0.5", "--warm-up", "0.2", "--rounds", "1"),
        *("--entities", "100", "--subscriptions", "50", "--connections", "8"),
        *("--mongo-uri", mongo_uri, "--json", str(figures)),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()

    run = orjson.loads(figures.read_bytes())
    assert set(run["rounds"]) == {"plain", "crowded", "notifying"}
    for told in (*run["told"], run["paced"]):
        assert told["owed"] > 0
        assert told["missing"] == 0
    assert 0 < run["paced"]["owed"] < run["told"][0]["owed"]
