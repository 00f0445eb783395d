"""report.html in Debian's chromium: a hostile table stays text, tables sort, images are found."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from report_fixture import HOSTILE, MODES, Made, make_ablation
from test_ui import BROWSER_FLAGS, CHROMIUM, PATIENCE_MS, needs_browser

from qa_core.records.images import write_images, write_thumbnails
from qa_core.records.schema import IMAGES_FILE, THUMBNAILS_FILE
from reports.claims import CLAIMS
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.html.browser import browser_data, browser_note
from reports.html.page import write_page
from reports.paper.arms import arm_content
from reports.paper.breakdown import breakdown_content
from reports.paper.content import build_content
from reports.paper.published import published_content
from reports.verdicts.decided import Decided, decide_ablation

MARKUP = '"><img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>'
N_IMAGES = 200


def log_images(out: Path, parent: str) -> None:
    """Log what an ablation tells of its images, hostile in every text, and pictures of them."""
    rows = range(N_IMAGES)
    frame = pd.DataFrame(
        {
            "name": [f"{MARKUP}{row}.png" for row in rows],
            "prompt": [HOSTILE[-1] if row % 40 == 0 else f"scene {row % 40}" for row in rows],
            "group": [f"scene {row % 40}" for row in rows],
            "generator": [(MARKUP, "beta", "gamma", "NA")[row % 4] for row in rows],
            "std_quality": 0.125,
            "n_raters": 21.0,
            f"extra.{MARKUP}": [(MARKUP, "plain")[row % 2] for row in rows],
            "extra.weight": [str(row / 10) for row in rows],
        }
    )
    for target in ("quality", "consistency"):
        frame[f"mos_{target}"] = [round(0.1 + 0.004 * ((37 * row) % N_IMAGES), 3) for row in rows]
    client = MlflowClient(tracking_uri=f"sqlite:///{out}/mlflow.db")
    with TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (300, 200), "teal").save(folder / "picture.png")
        write_images(folder / IMAGES_FILE, frame)
        write_thumbnails(folder / THUMBNAILS_FILE, dict.fromkeys(rows, folder / "picture.png"))
        for file in (IMAGES_FILE, THUMBNAILS_FILE):
            client.log_artifact(parent, str(folder / file))


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Decided:
    out = tmp_path_factory.mktemp("hostile")
    log_images(out, make_ablation(out, Made(n_splits=2, n_trials=0)))
    return decide_ablation(f"sqlite:///{out}/mlflow.db", out, CLAIMS, {})


@pytest.fixture(scope="module")
def ablation(decided: Decided) -> Ablation:
    return decided.ablation


@pytest.fixture(scope="module")
def written(decided: Decided, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page without figures, which take seconds."""
    folder = tmp_path_factory.mktemp("page")
    ablation, results = decided.ablation, decided.results
    content = build_content(ablation, results, (decided.guide, decided.tuned), [], [])
    content |= arm_content(ablation, results, []) | breakdown_content(ablation)
    content |= published_content({"This ablation": (ablation, results)})
    data = browser_data(ablation)
    assert data is not None
    more = {"browser_note": browser_note(data), "cover": []}
    write_page(folder / "report.html", content | more, folder, data)
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(written: Path) -> Iterator[Page]:
    """The page, opened once; what it asked for is in `requests`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=BROWSER_FLAGS.split(), timeout=PATIENCE_MS
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        told: list[str] = []
        page.on("request", lambda request: told.append(request.url))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("console", lambda message: told.append(f"console: {message.text}"))
        page.goto(written.as_uri())
        page.wait_for_selector(".card")
        assert [one for one in told if not one.startswith("data:")] == [written.as_uri()]
        yield page
        browser.close()


def pick(page: Page, name: str, option: str) -> None:
    page.locator(f"#filters select[name='{name}']").select_option(label=option)


def test_scores_are_those_of_the_runs(ablation: Ablation) -> None:
    data = browser_data(ablation)
    assert data is not None and json.loads(json.dumps(data, allow_nan=False)) == data
    assert [one["name"] for one in data["modes"]] == [
        "traditional", "residual", "partial freeze", "linear probe",
    ]  # fmt: skip
    own: Any = select(ablation.predictions, mode="residual")
    rows = sorted(set(own["row"]))
    for place in (0, 7, len(data["tests"]["image"]) - 1):
        row, split = rows[data["tests"]["image"][place]], data["tests"]["split"][place]
        (one,) = select(own, row=row, split=split).to_dict("records")
        scores = data["tests"]["scores"][1][MODES.index("residual")]
        assert scores["prediction"][place] == round(1000 * one["c"])
        assert scores["correction"][place] == round(1000 * 0.2 * one["c_delta"])
    assert "base" not in data["tests"]["scores"][0][0]  # traditional has none
    names = {one["name"]: one["levels"] for one in data["attributes"]}
    assert names["generator"] == [MARKUP, "beta", "gamma", "NA"]
    assert len(names["weight"]) == 4 and names["weight"][0].startswith("0–")


def test_an_ablation_of_an_earlier_version_says_what_it_lacks(ablation: Ablation) -> None:
    plain = browser_data(replace(ablation, images=pd.DataFrame(), pictures={}))
    assert plain is not None
    assert "largest errors alone" in browser_note(plain)
    none = browser_data(replace(ablation, images=pd.DataFrame(), pictures={}, thumbnails={}))
    assert none is not None and not any(none["images"]["picture"])
    assert "keeps no pictures" in browser_note(none)
    assert browser_data(replace(ablation, predictions=pd.DataFrame())) is None


@needs_browser
def test_a_hostile_table_stays_text_and_nothing_is_fetched(page: Page) -> None:
    assert page.evaluate("window.pwned === undefined")
    assert page.locator("main img:not([src^='data:image/'])").count() == 0
    pick(page, "sort", "order of the table")
    first = page.locator(".card").first.inner_text()
    assert "window.pwned = 1" in first and "21 raters" in first and "SD .125" in first
    refused = page.evaluate(
        """() => new Promise(resolve => {
            document.addEventListener('securitypolicyviolation', e => resolve(e.blockedURI));
            new Image().src = 'http://127.0.0.1:9/x.png';
        })"""
    )
    assert refused == "http://127.0.0.1:9/x.png"


@needs_browser
def test_tables_sort_by_a_click(page: Page) -> None:
    head = page.locator("#tables table").first.locator("thead th", has_text="SROCC").first
    column = head.evaluate("head => head.cellIndex")
    cells = (
        "table => [...table.tBodies[0].rows].slice(1)"
        f".map(row => parseFloat(row.cells[{column}].textContent))"
    )
    for order in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        values = page.locator("#tables table").first.evaluate(cells)
        assert len(values) == len(MODES)
        assert values == sorted(values, reverse=order == "descending")


@needs_browser
def test_images_are_filtered_and_sorted(page: Page, ablation: Ablation) -> None:
    own: Any = select(ablation.predictions, split=1, mode="linear_probe").merge(
        ablation.images, left_on="row", right_index=True, suffixes=("_run", "")
    )
    own = own[(own["generator"] == "NA") & own["prompt"].str.contains("3")]
    pick(page, "score", "consistency")
    pick(page, "split", "1")
    pick(page, "attribute-0", "NA")
    pick(page, "mode", "linear probe")
    pick(page, "sort", "largest error")
    page.locator("#filters input").fill("3")
    assert page.locator("#count").inner_text().startswith(f"{len(own)} of ")
    worst = own.loc[(own["c"] - own["mos_consistency"]).abs().idxmax()]
    assert f"{worst['name']}" in page.locator(".card").first.inner_text()
    page.locator("#filters input").fill("no such prompt")
    assert page.locator(".card").count() == 0


@needs_browser
def test_misranked_pairs_come_worst_first(page: Page, ablation: Ablation) -> None:
    page.reload()
    page.wait_for_selector(".card")
    means: Any = ablation.predictions.groupby(["mode", "row"])["q"].mean()
    images: Any = ablation.images
    by = 0.0
    for mode in MODES:
        own: Any = means[mode].to_frame().join(images[["group", "mos_quality"]])
        for _, group in own.groupby("group"):
            for one in group.itertuples():
                for other in group.itertuples():
                    gaps = one.mos_quality - other.mos_quality, other.q - one.q
                    by = max(by, min(gaps))
    pick(page, "sort", "misranked pairs within a prompt")
    said = page.locator(".pair > p").first.inner_text()
    people, model = (float(number) for number in re.findall(r"by (\.\d+)", said))
    assert min(people, model) == pytest.approx(by, abs=0.0021)  # of rounded predictions
    assert page.locator(".pair").first.locator(".card").count() == 2
