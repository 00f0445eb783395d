"""What a report shows of single images, written beside the runs once an ablation."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qa_core.records.images import rows_shown, write_images, write_thumbnails
from qa_core.records.schema import IMAGES_FILE, THUMBNAILS_FILE
from studies.context import Context


def log_tested_images(context: Context, say: Callable[[str], None]) -> bool:
    """Log the table of the tested images and small pictures of those that a report shows.

    An ablation that an earlier version finished gets them too; what is there stays.

    Returns:
        Whether they were not there.
    """
    client, ablation_id = context.tracker.client, context.ablation_id
    there = {entry.path for entry in client.list_artifacts(ablation_id)}
    if {IMAGES_FILE, THUMBNAILS_FILE} <= there:
        return False
    say("noting the tested images")
    table, tests = context.workspace.table, [split.test for split in context.plan.splits]
    groups = table.frame["group"].to_numpy(str)
    shown = np.array(rows_shown((rows, groups[rows]) for rows in tests), dtype=np.int64)
    own = table.of_rows(shown)
    own.draw_images()
    files = [Path(path) for path in own.frame["image_path"]]
    paths = dict(zip(shown.tolist(), files, strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_images(folder / IMAGES_FILE, table.frame.iloc[np.unique(np.concatenate(tests))])
        write_thumbnails(folder / THUMBNAILS_FILE, paths)
        for name in (IMAGES_FILE, THUMBNAILS_FILE):
            client.log_artifact(ablation_id, str(folder / name))
    return True
