"""The report in a real browser: no error, no request, readable on a phone, light and dark, and used by keys alone."""

import re
import struct
import zlib
from pathlib import Path

import pytest

from support.browser import CHROMIUM, WHY_NOT, Browser
from support.script import load
from unit.cli.report_scenes import NOW, nothing_bad, thousand_bad, three_bad
from volumehealth.cli.reportpage import render_report
from volumehealth.oneshot.evidence import Evidence

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)]

DOCS = Path(__file__).parents[2] / "docs"
PICTURE = re.compile(r"<!-- picture: ([\w-]+): ")
SCENES = {"three": three_bad, "thousand": thousand_bad, "nothing": nothing_bad}
LOOKS = {
    "light": {"width": 1280, "dark": False},
    "dark": {"width": 1280, "dark": True},
    "phone": {"width": 390, "dark": True},
}


def written(evidence: Evidence, folder: Path) -> Path:
    """Write the page of a scene."""
    file = folder / "report.html"
    file.write_text(render_report(evidence, now=NOW, cluster="https://10.0.0.1:6443"))
    return file


def colors(png: bytes) -> int:
    """Count the different rows of bytes of a picture: an empty page has one or two."""
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    width = struct.unpack(">I", png[16:20])[0]
    raw = zlib.decompress(data)
    step = len(raw) // struct.unpack(">I", png[20:24])[0]
    assert width > 0
    return len({raw[start : start + step] for start in range(0, len(raw), step)})


async def test_the_site_shows_pictures_of_it_that_its_build_takes(tmp_path: Path) -> None:
    """The pages say where each belongs."""
    pictures = load(DOCS / "pictures.py")
    await pictures.take(tmp_path)
    assert varied(tmp_path) == {name for name, *_ in pictures.SHOTS}
    shown = {name for page in DOCS.glob("*.md") for name in PICTURE.findall(page.read_text())}
    assert shown
    assert shown <= varied(tmp_path)


def varied(folder: Path) -> set[str]:
    """Return the names of the pictures in a directory that show something."""
    return {file.stem for file in folder.glob("*.png") if colors(file.read_bytes()) > 50}


@pytest.mark.parametrize("scene", SCENES)
async def test_it_shows_without_an_error_and_fits_every_screen(scene: str, tmp_path: Path) -> None:
    file = written(SCENES[scene](), tmp_path)
    async with Browser(tmp_path / "browser") as browser:
        for name, look in LOOKS.items():
            await browser.open(file, width=int(look["width"]), dark=bool(look["dark"]))
            wide = await browser.eval(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{name}: the page is {wide} pixels wider than the screen"
            assert colors(await browser.screenshot(tmp_path / f"{scene}-{name}.png")) > 50
            ink = await browser.eval("getComputedStyle(document.body).color")
            assert (ink == "rgb(232, 237, 243)") == look["dark"]
        assert browser.complaints == []
        assert set(browser.requests) <= {file.as_uri(), "data:,"}


async def test_a_tile_is_reached_and_chosen_by_keys_and_the_claims_are_found_by_words(tmp_path: Path) -> None:
    file = written(thousand_bad(), tmp_path)
    shown = "[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length"
    active = "document.activeElement"
    async with Browser(tmp_path / "browser") as browser:
        await browser.open(file, width=1280)
        assert await browser.eval(shown) == 1000
        for _ in range(60):
            await browser.press("Tab")
            if await browser.eval(
                f"{active}.dataset.kind === 'node' && {active}.dataset.name === 'worker-7'"
            ):
                break
        assert await browser.eval(f"getComputedStyle({active}).outlineStyle") == "solid"
        await browser.press("Enter")
        assert await browser.eval(shown) == 14
        assert await browser.eval(f"{active}.getAttribute('aria-pressed')") == "true"
        await browser.press("Enter")
        assert await browser.eval(shown) == 1000
        await browser.eval("document.getElementById('find').focus()")
        for letter in "ledger":
            await browser.press(letter)
        assert await browser.eval(shown) == 1
        assert await browser.eval("document.getElementById('shown').textContent") == "1 of 1000 claims"
        assert browser.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_text_has_contrast_enough(dark: bool, tmp_path: Path) -> None:
    """WCAG 2 AA: 4.5 to 1, against the background that is really there."""
    file = written(three_bad(), tmp_path)
    async with Browser(tmp_path / "browser") as browser:
        await browser.open(file, width=1280, dark=dark)
        assert await browser.eval(_CONTRAST) == []


_CONTRAST = """
(() => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
  const paint = (colors) => { context.clearRect(0, 0, 1, 1); for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); } return [...context.getImageData(0, 0, 1, 1).data]; };
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const back = light(paint(behind).slice(0, 3)), front = light(paint([...behind, getComputedStyle(element).color]).slice(0, 3));
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < 4.5) bad.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return bad;
})()
"""
