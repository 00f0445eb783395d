"""What a process that serves a model does: MLflow reads a request, the model scores it."""

import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from qa_core.system.processes import end_with_parent

if TYPE_CHECKING:  # who only passes requests on needs neither MLflow nor torch
    from mlflow.pyfunc import PyFuncModel

IMPORTS = ["mlflow.pyfunc.scoring_server", "qa_core.scorer"]
"""What takes long to import, and can be shared by processes that are forked."""
_loaded: list["PyFuncModel"] = []


class Answer(NamedTuple):
    """What a client gets."""

    text: str
    status: int
    media_type: str


def load(folder: str) -> None:
    """Load the model that this process serves, until its parent is gone."""
    from mlflow.pyfunc import load_model

    end_with_parent()
    _loaded.append(load_model(folder))


def is_loaded() -> bool:
    """Whether this process can answer."""
    return bool(_loaded)


def answer(body: bytes, content_type: str) -> Answer:
    """What this process's model answers."""
    return answer_of(_loaded[0], body, content_type)


def answer_of(model: "PyFuncModel", body: bytes, content_type: str) -> Answer:
    """Scores, or a sentence: MLflow alone would add the traceback of its code to some."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    try:
        found = invocations(body, content_type, model, model.metadata.get_input_schema())
        return Answer(found.response, found.status, found.mimetype)
    except MlflowException as error:
        return told(error.message, error.get_http_status_code(), error.error_code)
    except Exception:
        logging.exception("A request could not be answered.")
        return told("The request could not be answered.", 500)


def told(sentence: str, status: int, code: str = "INTERNAL_ERROR") -> Answer:
    """An error, in the form that MLflow's clients read."""
    return Answer(json.dumps({"error_code": code, "message": sentence}), status, "application/json")
