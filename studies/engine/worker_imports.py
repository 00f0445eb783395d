"""What a worker needs, imported once by the server that workers are forked from."""

import ctypes
import gc
import importlib
import signal

from qa_core.records.mlflow_store import import_quietly

_PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # else it would first import to the end

import_quietly()
for name in (
    "mlflow.store.tracking.sqlalchemy_store",
    "qa_core.training.training_run",
    "studies.confirmation",
    "studies.objective",
):
    importlib.import_module(name)

gc.freeze()  # collections in workers need not look at all this, and copy its pages
