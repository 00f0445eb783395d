"""`make ui` on a real ablation, its pages read by a headless browser; and what it refuses."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FinishedAblation
from playwright.sync_api import Page, sync_playwright

from qa_core.arms import CONTROLS, MODES
from qa_core.records.schema import Kind, Reference, Tag
from qa_core.records.tracking import Tracker
from reports.mlflow_pages.overview import publish
from reports.mlflow_pages.views import VIEW_TAG

CHROMIUM = shutil.which("chromium")
BROWSER_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update"
)
PATIENCE_MS = 120_000
CHART = ".js-plotly-plot, .parcoords"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium; .ci/run installs it")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ui(*flags: object) -> list[str]:
    return [sys.executable, "-m", "experiments.ui", *map(str, flags)]


@pytest.fixture(scope="module")
def links(finished_ablation: FinishedAblation) -> Iterator[dict[str, str]]:
    """What `make ui` prints, while it serves; then Ctrl-C."""
    command = ui("--out", finished_ablation.out, "--port", free_port())
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"DISPLAY": ""}
    )
    assert server.stdout is not None
    found: dict[str, str] = {}
    for line in server.stdout:
        if "Ctrl-C" in line:
            break
        what, _, link = line.partition("http")
        if link:
            found[what.strip()] = "http" + link.strip()
    assert found, "the server did not start"
    yield found
    server.send_signal(signal.SIGINT)
    assert server.stdout.read().strip() == "closed"
    assert server.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a headless browser, as high as the longest view, so that all of it is drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=BROWSER_FLAGS.split(), timeout=PATIENCE_MS
        )
        page = browser.new_page(viewport={"width": 1700, "height": 5000})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def open_charts(page: Page, link: str, count: int) -> str:
    """Open a link and wait until so many charts are drawn; the page as HTML."""
    page.goto(link)
    drawn = "([chart, count]) => document.querySelectorAll(chart).length >= count"
    page.wait_for_function(drawn, arg=[CHART, count])
    return page.content()


@needs_browser
def test_the_trials_open_as_charts(links: dict[str, str], page: Page) -> None:
    html = open_charts(page, links["trials"], 12)
    for mode in MODES:
        assert f"{mode} trial 0" in html
    for heading in ("All modes: knobs and scores", "How much may training touch?"):
        assert heading in html
    assert page.locator(".parcoords").count() == 2
    assert "train_val_gap_quality vs. val_srocc_quality" in html
    assert "frozen_blocks vs. val_srocc_consistency" in html
    assert page.get_by_test_id("experiment-view-compare-runs-card").count() == 12


@needs_browser
def test_the_modes_open_as_charts(links: dict[str, str], page: Page) -> None:
    html = open_charts(page, links["all modes"], 17)
    assert all(f">{name}<" in html for name in (*MODES, *CONTROLS, "ridge", "floor"))
    assert "Test SROCC (95 %)" in html and "alignment_retention" in html
    assert page.get_by_test_id("experiment-view-compare-runs-card").count() == 17


def test_the_modes_view_shows_the_intervals_of_the_report(
    links: dict[str, str], finished_ablation: FinishedAblation
) -> None:
    tracker = Tracker.open(finished_ablation.out)
    results = json.loads((finished_ablation.out / "results.json").read_text())
    found = results["guide_modes"] | results["baselines"]
    runs = [*tracker.runs(Kind.MODE), *tracker.runs(Kind.REFERENCE_MEANS)]
    names = [run.data.tags.get(Tag.MODE) or run.data.tags[Tag.REFERENCE] for run in runs]
    assert sorted(names) == sorted(found.keys() - {Reference.CEILING})
    places = set()
    for name, run in zip(names, runs, strict=True):
        interval = found[name]["srocc_quality"]
        drawn = tracker.client.get_metric_history(run.info.run_id, "srocc_quality_ci")
        ends = [interval[k] for k in ("low", "mean", "high")]
        assert {m.value for m in drawn} == {min(max(end, -1.0), 1.0) for end in ends}
        places |= {m.step for m in drawn}
    assert len(places) == len(runs)


def test_publishing_twice_writes_nothing_new(
    links: dict[str, str], finished_ablation: FinishedAblation
) -> None:
    tracker = Tracker.open(finished_ablation.out)
    before = histories(tracker)
    publish(tracker, finished_ablation.out)
    assert histories(tracker) == before
    (mode, *_) = tracker.runs(Kind.MODE)
    cell, *_ = tracker.runs(Kind.CONFIRMATION, mode=mode.data.tags[Tag.MODE])
    for name in ("val_srocc_quality", "train_val_gap_quality"):
        epochs = sorted(m.step for m in tracker.client.get_metric_history(cell.info.run_id, name))
        assert [step for step, _ in before[mode.info.run_id, name]] == epochs


def histories(tracker: Tracker) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Steps and values of every metric of the modes and references, by run and name."""
    return {
        (run.info.run_id, name): sorted(
            (m.step, m.value) for m in tracker.client.get_metric_history(run.info.run_id, name)
        )
        for kind in (Kind.MODE, Kind.REFERENCE_MEANS)
        for run in tracker.runs(kind)
        for name in run.data.metrics
    }


@needs_browser
def test_the_plain_link_needs_no_view(
    links: dict[str, str], page: Page, finished_ablation: FinishedAblation
) -> None:
    tracker = Tracker.open(finished_ablation.out)
    for key in ("trials", "modes"):
        tracker.client.set_experiment_tag(tracker.experiment_id, VIEW_TAG + key, "of the future")
    open_charts(page, links["plainly"], 1)
    for words in (f"Comparing {len(MODES) + len(CONTROLS)} Runs", "alignment_retention"):
        page.get_by_text(words).first.wait_for()
    page.wait_for_function(
        "modes => modes.every(mode => document.documentElement.outerHTML.includes(mode))",
        arg=list(MODES),
    )


def test_the_ablation_says_what_it_is_and_holds_the_report(
    links: dict[str, str], finished_ablation: FinishedAblation
) -> None:
    tracker = Tracker.open(finished_ablation.out)
    (ablation,) = tracker.runs(Kind.ABLATION)
    note = ablation.data.tags["mlflow.note.content"]
    assert note.startswith("**") and "| residual | " in note and "| zero-shot | " in note
    assert "Residual learning" in note and "**not tested**" in note
    assert f"/runs/{ablation.info.run_id}/artifacts/report.pdf" in note
    base = links["trials"].split("/#/")[0]
    file = f"{base}/get-artifact?path=report.pdf&run_uuid={ablation.info.run_id}"
    with urllib.request.urlopen(file) as answer:
        assert answer.read() == (finished_ablation.out / "report.pdf").read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--out", "nowhere"), "There is no mlflow.db in nowhere: run make ablation OUT=nowhere"),
        (("--port", "70000"), "PORT=70000 is no port: choose one from 1024 to 65535."),
    ],
)
def test_mistakes_are_told_in_a_sentence(flags: tuple[str, ...], words: str) -> None:
    if "--port" not in flags:
        flags = (*flags, "--port", str(free_port()))
    ended = subprocess.run(ui(*flags), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {words}") and "Traceback" not in ended.stderr


def test_a_busy_port_is_named_with_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        command = ui("--out", tmp_path, "--port", port)
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"Port {port} cannot be used (Address already in use)" in ended.stderr
    assert "make ui PORT=" in ended.stderr and "Traceback" not in ended.stderr
