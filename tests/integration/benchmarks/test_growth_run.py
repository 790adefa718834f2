"""The whole run of `benchmarks.growth`, over few entities."""

import asyncio
import sys
from pathlib import Path

import orjson

from benchmarks.growth_queries import growth_names

PROJECT = Path(__file__).parents[3]


async def test_every_query_is_measured_at_every_size_and_none_of_them_scans(mongo_uri: str, tmp_path: Path) -> None:
    figures, page = tmp_path / "growth.json", tmp_path / "growth.md"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.growth", "--sizes", "1200,2400", "--requests", "3"),
        *("--mongo-uri", mongo_uri, "--json", str(figures), "--write", str(page)),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()

    costs = orjson.loads(figures.read_bytes())["costs"]
    assert {(one["name"], one["size"]) for one in costs} == {
        (name, size) for name in growth_names() for size in (1200, 2400)
    }
    found = {(one["name"], one["size"]): one["found"] for one in costs}
    assert found["q text", 2400] == 1
    assert found["types", 2400] == 22
    assert found["export page", 2400] * 3 == 2160
    assert "growth.svg" in page.read_text()
    assert (tmp_path / "growth.svg").read_text().startswith("<svg")
