"""The code of the served model: MLflow runs this file anew wherever the model is loaded.

A request has the columns `image` (the bytes of an image file, base64 in JSON) and, unless the model
scores quality alone, `prompt`.
"""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from qa_core.scorer import Scorer


class ServedScorer(PythonModel):
    """Scores images with their prompts, from a checkpoint and nothing pickled."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint."""
        self._scorer = Scorer.load(context.artifacts["checkpoint"])

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]  # MLflow's has no type
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """One row of scores for each row of `image` and `prompt`."""
        prompts = model_input["prompt"].tolist() if "prompt" in model_input else None
        return self._scorer.score(model_input["image"].tolist(), prompts)


set_model(ServedScorer())
