"""Anything at all stands in a store or in a request: it is read, or a sentence says why not.

`make fuzz` tries far more of it.
"""

import base64
import copy
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from fuzzing import TRIED, VALUES, fuzzed, mutations, tell
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Run
from mlflow.models import infer_signature
from PIL import Image
from report_fixture import Made, make_ablation

from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.checkpoint import write_whole
from qa_core.records.mlflow_store import EXPERIMENT, open_client
from qa_core.records.schema import records_of
from qa_core.records.study_listing import StudyListing, StudyPoint
from qa_core.serving import served_model
from qa_core.serving.answers import answer_of
from reports.evidence import load
from reports.evidence.ablation import Ablation
from tests.test_scorer import checkpoint_of

SAID = (
    *("", "nan", "inf", "-1", "0", "2", "1e999", "many", "true", "null", "{}", "[1", '{"a": [1]}'),
    *("residual", "guide", "tuned", "confirmation", "trial", "mode", "quality", "prompt_bootstrap"),
)
TEXTS = st.sampled_from(SAID) | VALUES.map(json.dumps) | st.text(max_size=8)


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    yield
    tell()


# --- what a store holds ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Run]]:
    """The address of a store with a small ablation, and its runs."""
    out = tmp_path_factory.mktemp("records")
    make_ablation(out, Made(modes=("traditional", "residual"), n_splits=2, epochs=2, n_trials=2))
    address = f"sqlite:///{out}/mlflow.db"
    client = open_client(address)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return address, list(client.search_runs([experiment.experiment_id], max_results=5000))


@fuzzed(10)
@given(data=st.data())
def test_any_value_in_a_store_is_read_or_told(
    store: tuple[str, list[Run]], data: st.DataObject
) -> None:
    TRIED["stores"] += 1
    address, runs = store
    runs = copy.deepcopy(runs)
    for _ in range(data.draw(st.integers(1, 3))):
        run = data.draw(st.sampled_from(runs))
        held: dict[str, Any] = data.draw(
            st.sampled_from([run.data.params, run.data.tags, run.data.metrics])
        )
        if held:
            name = data.draw(st.sampled_from(sorted(held)))
            held[name] = data.draw(st.floats() if held is run.data.metrics else TEXTS)
    try:
        with records_of(address):
            found = load._load(open_client(address), runs, address, None)
    except UserError as error:
        assert len(str(error)) < 700
    else:
        TRIED["stores that could be read"] += 1
        assert isinstance(found, Ablation) and found.targets


POINT = StudyPoint("residual", {"scale": 0.1}, 1.0, 1e-4, 0.5, ("a", "b"), ((1e-4, 0.1, None),))


@fuzzed(50)
@given(changed=st.dictionaries(st.integers(0, 3), TEXTS, max_size=2))
def test_any_listing_of_a_study_is_read_or_told(changed: dict[int, str]) -> None:
    TRIED["listings"] += 1
    tags = StudyListing(2, 8, 0.7, (POINT,)).to_tags()
    tags |= {sorted(tags)[number]: value for number, value in changed.items()}
    try:
        with records_of("a store"):
            listing = StudyListing.from_tags(tags)
    except UserError:
        return
    assert listing is not None and (changed or listing.points == (POINT,))


# --- requests to the served model --------------------------------------------------------------


@pytest.fixture(scope="module")
def served(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The served model, loaded as MLflow's server loads it."""
    folder = tmp_path_factory.mktemp("served")
    trained = checkpoint_of(workspace, folder / "run", freeze_clip=True)
    write_whole(trained, folder / "checkpoint.pt")
    example = pd.DataFrame({"image": [picture()], "prompt": ["a grey square"]})
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=served_model.__file__,
        artifacts={"checkpoint": str(folder / "checkpoint.pt")},
        signature=infer_signature(example, pd.DataFrame({"quality": [0.5]})),
        pip_requirements=[],
    )
    logging.getLogger("mlflow.pyfunc.scoring_server").setLevel(logging.ERROR)
    return mlflow.pyfunc.load_model(str(folder / "model"))


def picture() -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(file, "PNG")
    return file.getvalue()


IMAGES = mutations(picture()).map(lambda raw: base64.b64encode(raw).decode())
IMAGES |= st.sampled_from(("/etc/hostname", "file:///etc/hostname", "http://127.0.0.1/a.png", ""))
SOUND = st.tuples(st.just(base64.b64encode(picture()).decode()), st.text(max_size=5))
ROWS = st.lists(SOUND | st.tuples(IMAGES | VALUES, st.text(max_size=5) | VALUES), max_size=3)
SPLIT = ROWS.map(lambda rows: {"columns": ["image", "prompt"], "data": rows})
RECORDS = ROWS.map(lambda rows: [{"image": image, "prompt": prompt} for image, prompt in rows])
COLUMNS = ROWS.map(lambda rows: {"image": [r[0] for r in rows], "prompt": [r[1] for r in rows]})
BODIES = (
    st.fixed_dictionaries({"dataframe_split": SPLIT})
    | st.fixed_dictionaries({"dataframe_records": RECORDS})
    | st.fixed_dictionaries({"inputs": RECORDS | COLUMNS | VALUES})
    | VALUES
).map(json.dumps)


@fuzzed(40)
@given(body=BODIES | st.text(max_size=30), kind=st.sampled_from(("json", "json", "json", "csv")))
def test_any_request_is_answered_by_scores_or_a_sentence(
    served: Any, body: str, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    TRIED["requests"] += 1
    kind = f"{'application' if kind == 'json' else 'text'}/{kind}"
    said, status, _ = answer_of(served, body.encode(), kind)
    TRIED["requests answered by scores"] += status == 200
    assert status in (200, 400, 415) and (status != 200 or "predictions" in said)
    assert str(tmp_path_factory.getbasetemp()) not in said and "served_model" not in said
    assert "site-packages" not in said and "Traceback" not in said
