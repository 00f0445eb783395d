"""Each published layout in miniature, in the form its makers document, through its reader."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from qa_core.config import DatasetName
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.agiqa1k import objects_of, read_agiqa1k
from qa_core.data.tables.aigciqa2023 import GENERATORS, read_aigciqa2023
from qa_core.data.tables.aigiqa20k import read_aigiqa20k
from qa_core.data.tables.evalmuse40k import read_evalmuse40k
from qa_core.data.tables.pku_aigiqa4k import read_pku_aigiqa4k
from qa_core.data.tables.registry import READERS
from qa_core.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def images_are_there(table: RatedTable) -> bool:
    return all(Path(path).is_file() for path in table.frame["image_path"])


def test_every_name_has_a_reader():
    assert set(READERS) == set(get_args(DatasetName))


AGIQA1K_PROMPTS = [
    "bird driving aircraft, city, anime style",
    "bird driving aircraft, city, realistic style",
    "cat using laptop, wild, anime style",
]


@pytest.fixture
def agiqa1k(tmp_path: Path) -> Path:
    names = ["deepai_0_0_0_0.png", "dreamStudio_0_0_0_1.png", "deepai_1_10_1_0.png"]
    table = pd.DataFrame({"Image": names, "Prompt": AGIQA1K_PROMPTS, "MOS": [2.5, 5.0, 0.0]})
    table.to_excel(tmp_path / "AIGC_MOS_Zscore.xlsx", index=False)
    touch(tmp_path / "file", *names)
    return tmp_path


def test_agiqa1k_has_one_score_and_groups_by_objects(agiqa1k: Path):
    table = read_agiqa1k(agiqa1k)
    frame = table.frame
    assert images_are_there(table)
    assert (table.range_quality, table.range_consistency) == ((0, 5), None)
    assert "mos_consistency" not in frame
    assert frame["mos_quality"].tolist() == [0.5, 1.0, 0.0]
    groups = frame["group"].tolist()
    assert groups[0] == groups[1] != groups[2]
    assert frame["prompt"].tolist() == AGIQA1K_PROMPTS
    assert frame["generator"].tolist() == [
        *("stable-diffusion-v2", "stable-inpainting-v1", "stable-diffusion-v2")
    ]


def test_objects_of_a_prompt():
    assert objects_of("teddy-bear  playing football , wild, anime style") == (
        "teddybear playing football wild"
    )
    assert objects_of("a cat") == "a cat"


@pytest.fixture
def aigciqa2023(tmp_path: Path) -> Path:
    prompts = ["a red cube", "two dogs"]
    sheet = pd.DataFrame({"scene": ["Basic"] * 2, "challenge": ["Quantity"] * 2, "text": prompts})
    sheet.to_excel(tmp_path / "AIGCIQA2023_Prompts.xlsx", index=False, header=False)
    scores = np.arange(48, dtype=float)[:, None]
    for number in (1, 2, 3):
        (tmp_path / "DATA" / "MOS").mkdir(parents=True, exist_ok=True)
        (tmp_path / "DATA" / "STD").mkdir(parents=True, exist_ok=True)
        savemat(tmp_path / "DATA" / "MOS" / f"mosz{number}.mat", {"MOSz": number * scores / 2})
        savemat(tmp_path / "DATA" / "STD" / f"SD{number}.mat", {"SD": np.full((48, 1), 5.0)})
    touch(tmp_path / "Image" / "allimg", *(f"{i}.png" for i in range(48)))
    return tmp_path


def test_aigciqa2023_numbers_tell_generator_and_prompt(aigciqa2023: Path):
    table = read_aigciqa2023(aigciqa2023)
    frame = table.frame
    assert images_are_there(table)
    assert table.range_quality == table.range_consistency == (0, 100)
    assert frame["generator"].tolist() == [name for name in GENERATORS for _ in range(8)]
    assert frame["prompt"].tolist() == (["a red cube"] * 4 + ["two dogs"] * 4) * 6
    np.testing.assert_allclose(frame["mos_quality"], np.arange(48) / 200)
    np.testing.assert_allclose(frame["mos_consistency"], np.arange(48) * 3 / 200)
    np.testing.assert_allclose(frame["std_consistency"], 0.05)
    assert Path(frame["image_path"].tolist()[17]).name == "17.png"


def test_aigciqa2023_prompts_may_be_a_csv_and_must_be_as_many_as_the_scores(aigciqa2023: Path):
    whole = read_aigciqa2023(aigciqa2023)
    (aigciqa2023 / "AIGCIQA2023_Prompts.xlsx").unlink()
    path = aigciqa2023 / "AIGCIQA2023_Prompts.csv"
    path.write_text("prompt,style\na red cube,\ntwo dogs,\n")
    assert read_aigciqa2023(aigciqa2023).sha256 == whole.sha256
    path.write_text("prompt,style\na red cube,\n")
    with pytest.raises(
        UserError, match=r"mosz1\.mat has 48 scores, but the prompts make 24 images"
    ):
        read_aigciqa2023(aigciqa2023)


def test_pku_aigiqa4k_tells_what_an_image_was_made_from(tmp_path: Path):
    names = ["midjourney_1.png", "stable_diffusion_2.png", "DALLE_3.png"]
    table = pd.DataFrame(
        {
            "Image_prompt": ["photo.jpg", "photo.jpg", None],
            "Text_prompt": ["a cat", "a cat", "a dog"],
            "Generated_image": names,
            "MOS_q": [10.5, 50, 90],
            "MOS_a": [1, 2, 3],
            "MOS_c": [20, 40, 60],
        }
    )
    table.to_excel(tmp_path / "annotation.xlsx", index=False)
    touch(tmp_path / "All", *names)
    touch(tmp_path / "I2I" / "Image_prompt", "photo.jpg")
    read = read_pku_aigiqa4k(tmp_path)
    assert images_are_there(read)
    assert read.frame["setting"].tolist() == ["text and image", "text and image", "text"]
    assert read.frame["generator"].tolist() == ["Midjourney", "Stable Diffusion", "DALL-E 3"]
    np.testing.assert_allclose(read.frame["mos_quality"], [0.105, 0.5, 0.9])
    np.testing.assert_allclose(read.frame["mos_consistency"], [0.2, 0.4, 0.6])
    assert any("mos_quality is read on the scale 0 to 100" in note for note in read.notes)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("together", [True, False])
def test_aigiqa20k_keeps_the_official_parts(tmp_path: Path, suffix: str, together: bool):
    for part, image in (("train", "DALLE2_0001"), ("val", "SD_XL_0002"), ("test", "DALLE2_0003")):
        table = pd.DataFrame(
            {"name": [f"{image}.png"], "prompt": [f"p {part}"], "mos": [len(part)]}
        )
        path = tmp_path / f"info_{part}.{suffix}"
        table.to_csv(path, index=False) if suffix == "csv" else table.to_excel(path, index=False)
        touch(tmp_path / ("all" if together else part), f"{image}.png")
    read = read_aigiqa20k(tmp_path)
    assert images_are_there(read)
    assert read.frame["part"].tolist() == ["train", "validation", "test"]
    assert read.frame["generator"].tolist() == ["DALLE2", "SD_XL", "DALLE2"]
    assert read.frame["mos_quality"].tolist() == [1.0, 0.6, 0.8]
    assert read.range_consistency is None
    assert read.sha256 == read_aigiqa20k(tmp_path, require_images=False).sha256


def test_evalmuse40k_averages_the_raters(tmp_path: Path):
    entries = [
        {"prompt": "a cat", "img_path": "SDXL/00001.png", "total_score": [5, 4, 3]},
        {"prompt": "a dog", "img_path": "Dreamina/00002.png", "total_score": [1]},
    ]
    (tmp_path / "train_list.json").write_text(json.dumps(entries))
    touch(tmp_path / "images", "SDXL/00001.png", "Dreamina/00002.png")
    read = read_evalmuse40k(tmp_path)
    assert images_are_there(read)
    assert "mos_quality" not in read.frame and read.range_consistency == (1, 5)
    np.testing.assert_allclose(read.frame["mos_consistency"], [0.75, 0])
    np.testing.assert_allclose(read.frame["std_consistency"], [0.25, np.nan])
    assert read.frame["generator"].tolist() == ["SDXL", "Dreamina"]
    assert read.frame["n_raters"].tolist() == [3, 1]
    (tmp_path / "train_list.json").write_text(json.dumps([*entries, {"prompt": "x"}]))
    with pytest.raises(UserError, match="data row 3: has no prompt or no img_path"):
        read_evalmuse40k(tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if name != "csv"])
def test_a_folder_without_the_files_is_told_what_is_missing(name: DatasetName, tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no .*; give the data set's own folder"):
        READERS[name](tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        READERS[name](tmp_path / "nowhere")
