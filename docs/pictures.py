"""Takes the pictures of the site with the machine's Chromium: the report, as `volumehealth report` writes it.

`make docs` runs it before it builds. Without Chromium the site has no pictures: a page says where one belongs by
`<!-- picture: NAME: WORDS -->`, and the hook of the site puts it there if it is made. What they show are the scenes of the
report's tests.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.browser import CHROMIUM, WHY_NOT, Browser  # noqa: E402 - beside the tests
from unit.cli.report_scenes import NOW, thousand_bad, three_bad  # noqa: E402 - as above
from volumehealth.cli.reportpage import render_report  # noqa: E402 - as above

PICTURES = ROOT / "docs" / "pictures"
_WIDE, _NARROW = 1280, 390
SHOTS = (
    ("report-light", three_bad, _WIDE, False),
    ("report-phone", three_bad, _NARROW, True),
    ("report-thousand", thousand_bad, _WIDE, False),
)
"""Name, scene, width in pixels, and whether it is dark."""


async def take(target: Path) -> None:
    """Write every picture, as NAME.png.

    Args:
        target: the directory to write to.
    """
    # What is left of a browser that was killed may still write to it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        page = Path(scratch) / "report.html"
        async with Browser(Path(scratch)) as browser:
            for name, scene, width, dark in SHOTS:
                text = render_report(scene(), now=NOW, cluster="production")
                await asyncio.to_thread(page.write_text, text)
                await browser.open(page, width=width, dark=dark)
                await browser.screenshot(target / f"{name}.png")


if __name__ == "__main__":
    if CHROMIUM is None:
        print(f"no pictures: {WHY_NOT}")  # noqa: T201 - it is a program
    else:
        PICTURES.mkdir(exist_ok=True)
        asyncio.run(take(PICTURES))
