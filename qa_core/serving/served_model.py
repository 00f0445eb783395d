"""The code of the served model: MLflow runs this file anew wherever the model is loaded.

A request has the columns `image` (the bytes of an image file, base64 in JSON) and, unless the model
scores quality alone, `prompt`.
"""

import logging
import threading
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from qa_core.errors import UserError
from qa_core.scorer import Scorer
from qa_core.serving.request import read_request


class ServedScorer(PythonModel):
    """Scores images with their prompts, from a checkpoint and nothing pickled."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint."""
        self._alone = threading.Lock()  # MLflow's own server has threads, a scorer is one's alone
        self._scorer = Scorer.load(context.artifacts["checkpoint"])

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]  # MLflow's has no type
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, float]]:
        """The scores of each row of `image` and `prompt`.

        Raises:
            MlflowException: The request cannot be answered; it says why.
        """
        try:
            pairs = read_request(model_input)
            with self._alone:
                return self._scorer.records(*pairs)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        except Exception:  # a client gets a sentence; what happened is for this machine alone
            logging.exception("A request could not be answered.")
            raise MlflowException("The request could not be answered.") from None


set_model(ServedScorer())
