"""The AGIQA-3K reader, on its real label table and on the layout in miniature."""

from pathlib import Path

import numpy as np
import pytest

from qa_core.data.tables.agiqa3k import read_agiqa3k
from qa_core.errors import UserError

ROOT = Path(__file__).parents[2] / "shared" / "data" / "agiqa3k"

HEADER = "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align\n"
ROWS = (
    "sd1.5_lowstep_000.jpg,a cat,,,,2.5,0.5,4.0,1.0\n"
    "AttnGAN_normal_001.jpg,a dog,,,anime,0.0,0.25,1.0,0.5\n"
)


@pytest.mark.skipif(not ROOT.is_dir(), reason="../shared/data/agiqa3k is absent")
def test_the_real_label_table_whole():
    table = read_agiqa3k(ROOT, require_images=False)
    frame = table.frame
    assert len(frame) == 2982
    assert len(set(frame["group"])) == 300
    assert len(set(frame["generator"])) == 6
    assert len(set(zip(frame["generator"], frame["setting"], strict=True))) == 10
    assert max(frame["mos_quality"]) * 5 == pytest.approx(4.488741, abs=1e-6)
    assert min(frame["mos_consistency"]) * 5 == pytest.approx(0.021462, abs=1e-6)
    assert np.mean(frame["std_consistency"]) * 5 == pytest.approx(0.741069, abs=1e-6)
    assert table.range_quality == table.range_consistency == (0, 5)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data.csv").write_text(HEADER + ROWS)
    return tmp_path


@pytest.mark.parametrize("folder", [".", "images", "AGIQA-3K", "file/AGIQA-3K"])
def test_images_are_found_whatever_their_folder_is_called(root, folder):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("sd1.5_lowstep_000.jpg", "AttnGAN_normal_001.jpg"):
        (root / folder / name).touch()
    frame = read_agiqa3k(root).frame
    assert frame["generator"].tolist() == ["sd1.5", "AttnGAN"]
    assert frame["setting"].tolist() == ["lowstep", "normal"]
    assert frame["mos_quality"].tolist() == [0.5, 0.0]
    assert frame["mos_consistency"].tolist() == [0.8, 0.2]
    expected = [str((root / folder / name).resolve()) for name in frame["name"]]
    assert frame["image_path"].tolist() == expected
    assert read_agiqa3k(root, image_dir=root / folder).frame.equals(frame)


def test_absent_images_are_an_error_unless_only_labels_are_wanted(root):
    with pytest.raises(UserError, match=r"no folder in it holds sd1.5_lowstep_000.jpg"):
        read_agiqa3k(root)
    (root / "sd1.5_lowstep_000.jpg").touch()
    with pytest.raises(UserError, match=r"data row 2: image AttnGAN_normal_001.jpg is not in"):
        read_agiqa3k(root)
    assert len(read_agiqa3k(root, require_images=False).frame) == 2


def test_foreign_names_and_columns_are_named(root):
    (root / "data.csv").write_text(HEADER + ROWS + "cat.jpg,a cat,,,,1,1,1,1\n")
    with pytest.raises(UserError, match=r"data row 3 \(cat.jpg\): is not named like"):
        read_agiqa3k(root, require_images=False)
    (root / "data.csv").write_text("name,prompt,mos_quality\nsd1.5_lowstep_000.jpg,a cat,1\n")
    with pytest.raises(UserError, match=r"column 'mos_align' is missing"):
        read_agiqa3k(root, require_images=False)
