"""What a worker needs, imported once by the server that workers are forked from."""

import atexit
import gc
import importlib
import os

from qa_core.mlflow_store import import_quietly

import_quietly()
for name in (
    "mlflow.store.tracking.sqlalchemy_store",
    "qa_core.training_run",
    "studies.confirmation",
    "studies.objective",
):
    importlib.import_module(name)

gc.freeze()  # collections in workers need not look at all this, and copy its pages
atexit.register(os._exit, 0)  # to take it apart again would hold up the end of the command
