"""Each published layout in miniature, in the form its makers document, through its reader."""

import json
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from qa_core.data.open_table import open_table
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.agiqa1k import objects_of, read_agiqa1k
from qa_core.data.tables.aigciqa2023 import GENERATORS, read_aigciqa2023
from qa_core.data.tables.aigiqa20k import read_aigiqa20k
from qa_core.data.tables.evalmi50k import read_evalmi50k
from qa_core.data.tables.evalmuse40k import read_evalmuse40k
from qa_core.data.tables.genai_bench import read_genai_bench
from qa_core.data.tables.pku_aigiqa4k import read_pku_aigiqa4k
from qa_core.data.tables.qeval100k import read_qeval100k
from qa_core.data.tables.registry import READERS
from qa_core.errors import UserError
from qa_core.settings.data import DataConfig, DatasetName
from tests.conftest import SHARED


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


def test_agiqa1k_reads_the_image_of_two_rows_once(agiqa1k: Path):
    path = agiqa1k / "AIGC_MOS_Zscore.xlsx"
    table = pd.read_excel(path)
    twice = pd.concat([table, table.iloc[[1]].assign(MOS=1.0)])
    twice.to_excel(path, index=False)
    read = read_agiqa1k(agiqa1k)
    assert len(read.frame) == 3 and read.frame["mos_quality"].tolist() == [0.5, 0.6, 0.0]
    assert read.notes == (
        "dreamStudio_0_0_0_1.png stands in data rows 2 and 4, with 5.0 and 1.0: read once, as their"
        " mean.",
    )


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


def test_a_matlab_file_that_crashes_its_reader_is_named(aigciqa2023: Path):
    file = aigciqa2023 / "DATA" / "MOS" / "mosz1.mat"
    raw = bytearray(file.read_bytes())
    raw[176] = 137  # the type of the numbers, which SciPy looks up beyond its table
    file.write_bytes(raw)
    with pytest.raises(
        UserError, match=r"mosz1\.mat cannot be read as a MATLAB file with 'MOSz': "
    ):
        read_aigciqa2023(aigciqa2023)


def test_aigciqa2023_as_text_and_in_folders_by_generator(aigciqa2023: Path):
    whole = read_aigciqa2023(aigciqa2023)
    for number in (1, 2, 3):
        scores = number * np.arange(48) / 2
        (aigciqa2023 / "DATA" / "MOS" / f"mosz{number}.mat").unlink()
        np.savetxt(aigciqa2023 / "DATA" / f"moz{number}.txt", scores)
    read = read_aigciqa2023(aigciqa2023)
    for column in ("mos_quality", "mos_consistency"):
        assert read.frame[column].tolist() == whole.frame[column].tolist()
    shutil.rmtree(aigciqa2023 / "Image" / "allimg")
    for first in (0, 1):
        shutil.rmtree(aigciqa2023 / "Image", ignore_errors=True)
        for maker in GENERATORS:
            names = [f"{p:03d}-{j + first}.png" for p in range(2) for j in range(4)]
            touch(aigciqa2023 / "Image" / maker, *names)
        read = read_aigciqa2023(aigciqa2023)
        assert images_are_there(read)
        assert read.frame["name"].tolist()[:2] == [
            f"Controlnet/000-{j + first}.png" for j in (0, 1)
        ]
        assert read.frame["name"].tolist()[45] == f"Unidiffuser/001-{1 + first}.png"
        assert read.frame["prompt"].tolist() == whole.frame["prompt"].tolist()


@pytest.mark.parametrize("layout", ["img", "file", "generator/file"])
@pytest.mark.parametrize("scale", [1, 100])
def test_aigciqa2023_as_published_later(tmp_path: Path, layout: str, scale: int):
    third = "002-1.png" if layout == "file" else "000-1.png"
    (tmp_path / "AIGIQA2023+.csv").write_text(
        f"0,000-1.png,Controlnet\n1,001-1.png,图灵\n2,{third},Glide\n", encoding="gb18030"
    )
    moz = [(0.3, 0.5, 0.7), (0.4, 0.5, 0.6), (0.7, 0.6, 0.5)]

    def entries(*ids: int) -> list:
        return [
            {"id": str(i), "img": f"{i}.png", "prompt": f" prompt {i % 2}", "q1": q, "a1": a}
            | {f"moz{k + 1}": scale * value for k, value in enumerate(moz[i])}
            for i in ids
            for q, a in (("What is the quality of the image?", "Sharp."), ("And else?", f"N {i}."))
        ]

    (tmp_path / "mytraindict_llm_2023.json").write_text(json.dumps(entries(0, 2)))
    (tmp_path / "mytestdict_llm_2023.json").write_text(json.dumps(entries(1)))
    names = {
        "img": ["0.png", "2.png", "1.png"],
        "file": ["000-1.png", "002-1.png", "001-1.png"],
        "generator/file": ["Controlnet/000-1.png", "Glide/000-1.png", "图灵/001-1.png"],
    }[layout]
    touch(tmp_path / "Image", *names)
    read = read_aigciqa2023(tmp_path)
    assert images_are_there(read) and read.frame["name"].tolist() == names
    assert read.frame["part"].tolist() == ["train", "train", "test"]
    assert read.frame["generator"].tolist() == ["Controlnet", "Glide", "图灵"]
    assert read.frame["prompt"].tolist() == ["prompt 0", "prompt 0", "prompt 1"]
    assert read.frame["explanation"].tolist() == ["Sharp. N 0.", "Sharp. N 2.", "Sharp. N 1."]
    np.testing.assert_allclose(read.frame["mos_quality"], [0.3, 0.7, 0.4])
    np.testing.assert_allclose(read.frame["mos_consistency"], [0.7, 0.5, 0.6])
    assert read.range_quality == (0, scale)


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
    table.rename(columns=str.lower).to_excel(tmp_path / "annotation.xlsx", index=False)
    assert read_pku_aigiqa4k(tmp_path).sha256 == read.sha256


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


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")
def test_aigiqa20k_as_the_public_has_it():
    table = read_aigiqa20k(SHARED / "cases" / "08-aigiqa20k-public", require_images=False)
    assert len(table.frame) == 8 and "part" not in table.frame
    assert "info_val and info_test: absent or without scores, left out." in table.notes
    assert any("official test part is missing" in note for note in table.notes)


@pytest.mark.parametrize("kept", [("train",), ("train", "test"), ("val",), ("train", "val")])
@pytest.mark.parametrize("blank", [True, False])
def test_aigiqa20k_reads_the_parts_that_are_rated(tmp_path: Path, kept: tuple, blank: bool):
    for number, part in enumerate(("train", "val", "test")):
        scores = [1.25 + number, 2.0] if part in kept else ["", ""]
        rows = {"name": [f"G_{number}1.png", f"G_{number}2.png"], "prompt": ["x", f"y{number}"]}
        if blank or part in kept:
            pd.DataFrame(rows | {"mos": scores}).to_csv(tmp_path / f"info_{part}.csv", index=False)
    read = read_aigiqa20k(tmp_path, require_images=False)
    assert len(read.frame) == 2 * len(kept) and ("part" in read.frame) == ("test" in kept)


def test_aigiqa20k_without_any_scores_says_so(tmp_path: Path):
    (tmp_path / "info_test.csv").write_text("name,prompt\nG_1.png,x\n")
    with pytest.raises(UserError, match="column 'mos' is missing"):
        read_aigiqa20k(tmp_path, require_images=False)


def test_prompts_in_several_official_parts_are_counted(tmp_path: Path):
    for part, prompts in (("train", "abc"), ("val", "abd"), ("test", "ef")):
        rows = [f"G_{part}{p}_1.png,{p},{ord(p) % 5}" for p in prompts]
        (tmp_path / f"info_{part}.csv").write_text("\n".join(["name,prompt,mos", *rows]))
    config = DataConfig(dataset="aigiqa20k", data_root=str(tmp_path))
    table = open_table(config, "explanation", tmp_path, require_images=False)
    told = [note for note in table.notes if "official" in note]
    assert told == [
        "2 prompts of the official validation part, with 2 of its 3 images, are also in its train"
        " part."
    ]


def test_evalmuse40k_reads_test_scores_and_averages_of_others(tmp_path: Path):
    train = [{"prompt": f"p{k}", "img_path": f"A/{k}.png", "total_score": k} for k in (1, 2)]
    (tmp_path / "train_list.json").write_text(json.dumps(train))
    test = [{"prompt": "p3", "img_path": "B/3.png"}]
    (tmp_path / "test.json").write_text(json.dumps(test))
    read = read_evalmuse40k(tmp_path, require_images=False)
    assert read.frame["mos_consistency"].tolist() == [0, 0.25] and "part" not in read.frame
    assert all(np.isnan(read.frame["n_raters"]))
    assert any("test.json holds no scores" in note for note in read.notes)
    (tmp_path / "test.json").write_text(json.dumps([test[0] | {"total_score": [5, 4]}]))
    read = read_evalmuse40k(tmp_path, require_images=False)
    assert read.frame["part"].tolist() == ["train", "train", "test"]
    (tmp_path / "train_list.json").unlink()
    (tmp_path / "test.json").write_text(json.dumps([t | {"total_score": 3} for t in test]))
    assert len(read_evalmuse40k(tmp_path, require_images=False).frame) == 1


@pytest.mark.parametrize("first", [0, 1])
def test_evalmi50k_finds_prompts_by_the_image_number(tmp_path: Path, first: int):
    names = [
        f"{model}/{number + first:03d}.png" for model in ("flux", "sd3") for number in (0, 1, 2)
    ]
    scores = {
        "ImageName": names,
        "MOS1": [20, 30, 40, 50, 60, 70],
        "MOS2": [25, 35, 45, 55, 65, 70],
    }
    pd.DataFrame(scores).to_excel(tmp_path / "AIGI2025_MOS_yn.xlsx", index=False)
    questions = pd.DataFrame({"prompt": ["a", "b", "c"], "question_1": ["a?", "b?", "c?"]})
    questions.to_excel(tmp_path / "question.xlsx", index=False)
    touch(tmp_path / "images", *names)
    read = read_evalmi50k(tmp_path)
    assert images_are_there(read)
    assert read.frame["prompt"].tolist() == ["a", "b", "c"] * 2
    assert read.frame["generator"].tolist() == ["flux"] * 3 + ["sd3"] * 3
    np.testing.assert_allclose(read.frame["mos_quality"], np.arange(2, 8) / 10)
    assert read.range_consistency == (0, 100)
    questions.head(2).to_excel(tmp_path / "question.xlsx", index=False)
    with pytest.raises(UserError, match=rf"question.xlsx has no row {2 + first} with its prompt"):
        read_evalmi50k(tmp_path)


def test_qeval100k_joins_its_two_files(tmp_path: Path):
    def entries(scores: dict[str, float]) -> str:
        rows = [
            {"prompt": f"of {name}", "image_path": f"Images/{name}.png", "model": name.upper()}
            | {"gt_score": score}
            for name, score in scores.items()
        ]
        return json.dumps(rows)

    folder = tmp_path / "Images_train_jsons"
    folder.mkdir()
    (folder / "image_quality_train.json").write_text(entries({"b": 1, "a": 4.5, "c": 5}))
    (folder / "image_alignment_train.json").write_text(entries({"a": 1, "b": 2.5}))
    touch(tmp_path, *(f"Images/{name}.png" for name in "abc"))
    read = read_qeval100k(tmp_path)
    assert images_are_there(read)
    frame = read.frame.set_index("generator").loc[["A", "B", "C"]]
    np.testing.assert_allclose(frame["mos_quality"], [0.875, 0, 1])
    np.testing.assert_allclose(frame["mos_consistency"], [0, 0.375, np.nan])
    assert frame["prompt"].tolist() == ["of a", "of b", "of c"]
    (folder / "image_alignment_train.json").write_text(entries({"a": 1, "b": 2}).replace("of", "x"))
    with pytest.raises(UserError, match="has one prompt in image_quality_train"):
        read_qeval100k(tmp_path)


def test_genai_bench_has_an_image_a_prompt_and_model(tmp_path: Path):
    entries = {
        "00000": {"prompt": "two cats", "models": {"DALLE_3": [5, 4, 4], "SDXL_Turbo": [1, 2, 1]}},
        "00001": {"prompt": "no dog", "models": {"DALLE_3": [3, 3, 3]}},
    }
    (tmp_path / "genai_image.json").write_text(json.dumps(entries))
    names = ["DALLE_3/00000.jpeg", "SDXL_Turbo/00000.jpeg", "DALLE_3/00001.jpeg"]
    touch(tmp_path, *names)
    read = read_genai_bench(tmp_path)
    assert images_are_there(read) and read.frame["name"].tolist() == names
    np.testing.assert_allclose(read.frame["mos_consistency"] * 4 + 1, [13 / 3, 4 / 3, 3])
    assert read.frame["n_raters"].tolist() == [3, 3, 3]
    assert read.frame["generator"].tolist() == ["DALLE_3", "SDXL_Turbo", "DALLE_3"]
    (tmp_path / "genai_image.json").write_text(
        json.dumps({"0": {"prompt": "x", "models": {"a": "b"}}})
    )
    with pytest.raises(UserError, match="data row 1: the ratings of a are no numbers"):
        read_genai_bench(tmp_path)


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
