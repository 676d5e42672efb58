"""Tables of labels in all the forms that people write them, and every fault with its file, line and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.factories import write_folder_per_class, write_mask_pairs, write_table
from vision_tasks.data.catalog import open_dataset, pick_split, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers import folder_per_class
from vision_tasks.data.readers.csv_labels import READER
from vision_tasks.errors import UserError
from vision_tasks.types import Labels

SIMPLE = {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": "cat"}


def contents(dataset: Dataset[Labels]) -> dict[str, dict[str, list[str]]]:
    """{split: {sample id: its classes}}."""
    found: dict[str, dict[str, list[str]]] = {}
    for split, samples in dataset.splits.items():
        found[split] = {}
        for sample in samples:
            weight = sample.truth((8, 8)).weight
            assert weight.shape == (1, len(dataset.classes))
            assert set(weight.unique().tolist()) <= {0.0, 1.0}
            found[split][sample.id] = [
                name for name, value in zip(dataset.classes, weight[0].tolist(), strict=True) if value
            ]
    return found


def single(labels: Mapping[str, str]) -> dict[str, list[str]]:
    return {path: [label] for path, label in labels.items()}


@pytest.mark.parametrize("name", ["labels.csv", "annotations.csv", "anything.csv", "Labels.CSV"])
def test_one_table_beside_its_images(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name, SIMPLE)
    for root in (tmp_path, tmp_path / name):
        dataset = open_dataset(root, [folder_per_class.READER, READER])
        assert (dataset.format, dataset.classes, dataset.exclusive) == ("csv", ("cat", "dog"), True)
        assert contents(dataset) == {"all": single(SIMPLE)}
        assert dataset.flaws == ()
        for sample in dataset.splits["all"]:
            assert sample.path == tmp_path / sample.id
            assert sample.stratum == SIMPLE[sample.id]


@pytest.mark.parametrize(
    "header", ["path,label", "Image,Class", "file,category", "FILENAME,Labels", "image_id,tags", "id,label"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_delimiters_and_encodings(tmp_path: Path, header: str, delimiter: str, encoding: str) -> None:
    write_table(tmp_path / "labels.csv", {"ä b.jpg": "café", "b, c.jpg": 'chien; "loup"'})
    text = (tmp_path / "labels.csv").read_text()
    body = 'ä b.jpg,café\n"b, c.jpg","chien; ""loup"""\n'
    assert text == "path,label\n" + body
    if delimiter != ",":
        body = f'ä b.jpg{delimiter}café\r\n"b, c.jpg"{delimiter}"chien; ""loup"""\r\n'
    (tmp_path / "labels.csv").write_text(header.replace(",", delimiter) + "\n" + body, encoding=encoding)
    dataset = READER.read(tmp_path)
    assert contents(dataset) == {"all": {"ä b.jpg": ["café"], "b, c.jpg": ['chien; "loup"']}}


@pytest.mark.parametrize("place", ["", "images/", "deep/er/"])
def test_paths_are_relative_to_the_table_or_to_images(tmp_path: Path, place: str) -> None:
    write_table(tmp_path / "labels.csv", {f"{place}{path}": label for path, label in SIMPLE.items()})
    expected = {"all": {f"{place}{path}": [label] for path, label in SIMPLE.items()}}
    assert contents(READER.read(tmp_path)) == expected
    if place == "images/":
        write_table(tmp_path / "labels.csv", SIMPLE, images=False)
        assert contents(READER.read(tmp_path)) == expected


def test_paths_as_windows_writes_them_and_without_extension(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", {"x/a.jpg": "cat", "x/b.v2.jpg": "dog", "c.jpg": "dog"})
    write_table(tmp_path / "labels.csv", {"x\\a.jpg": "cat", "./x/b.v2": "dog", "c": "dog"}, images=False)
    assert list(contents(READER.read(tmp_path))["all"]) == ["x/a.jpg", "x/b.v2.jpg", "c.jpg"]


@pytest.mark.parametrize(("listed", "stored"), [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
@pytest.mark.parametrize("end", [".jpg", ""])
def test_accents_stored_in_another_way_than_on_the_disk(tmp_path: Path, listed: str, stored: str, end: str) -> None:
    write_table(tmp_path / "labels.csv", {f"{stored}/{stored}.jpg": "a", "images/\u00f1.jpg": "b"})
    write_table(tmp_path / "labels.csv", {f"{listed}/{listed}{end}": listed, "n\u0303": "b"}, images=False)
    dataset = READER.read(tmp_path)
    assert contents(dataset) == {"all": {f"{stored}/{stored}.jpg": ["caf\u00e9"], "images/\u00f1.jpg": ["b"]}}
    assert all(sample.path.is_file() for sample in dataset.splits["all"])
    assert dataset.flaws == ()


def test_two_files_of_one_name_but_for_how_accents_are_stored(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", {"\u00e9.jpg": "a", "e\u0301.jpg": "b"})
    assert contents(READER.read(tmp_path)) == {"all": {"\u00e9.jpg": ["a"], "e\u0301.jpg": ["b"]}}


@pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_only_ends_of_lines_end_a_line(tmp_path: Path, odd: str, line_end: str) -> None:
    names = {f"a{odd}b.jpg": f"x{odd}y", "c.jpg": "z"}
    write_table(tmp_path / "labels.csv", names)
    lines = ["path;label", *(f"{name};{label}" for name, label in names.items()), "d.jpg;w;v"]
    (tmp_path / "labels.csv").write_bytes(line_end.join(lines[:-1]).encode())
    assert contents(READER.read(tmp_path)) == {"all": single(names)}
    (tmp_path / "labels.csv").write_bytes(line_end.join(lines).encode())
    with pytest.raises(UserError, match="line 4: has 3 cells"):
        READER.read(tmp_path)


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_table(tmp_path / f"{split}.csv", {f"{split}-{path}": label for path, label in SIMPLE.items()})
    dataset = READER.read(tmp_path)
    assert list(dataset.splits) == ["train", "val", "test"]
    assert contents(dataset)["val"] == {f"valid-{path}": [label] for path, label in SIMPLE.items()}


def test_images_in_a_folder_named_like_their_table(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_table(tmp_path / split / "x.csv", SIMPLE)
        (tmp_path / split / "x.csv").rename(tmp_path / f"{split}.csv")
    dataset = READER.read(tmp_path)
    assert contents(dataset)["test"] == {f"test/{path}": [label] for path, label in SIMPLE.items()}


def test_a_column_of_splits(tmp_path: Path) -> None:
    rows = ["a.jpg,cat,train", "b.jpg,dog,train", "c.jpg,cat,validation", "d.jpg,dog,holdout"]
    write_table(tmp_path / "labels.csv", dict.fromkeys(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], "x"))
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "\n".join(rows))
    splits = contents(READER.read(tmp_path))
    assert {split: list(samples) for split, samples in splits.items()} == {
        "train": ["a.jpg", "b.jpg"],
        "val": ["c.jpg"],
        "holdout": ["d.jpg"],
    }


def test_train_and_test_alone_hold_out_a_tenth(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", {f"{i:02}.jpg": "ab"[i % 2] for i in range(40)})
    write_table(tmp_path / "test.csv", {f"t{i}.jpg": "ab"[i % 2] for i in range(4)})
    train, val, said = train_val(READER.read(tmp_path))
    assert (len(train), len(val)) == (36, 4)
    assert "no val split: 4 of the 40 train images are held out" in said[0]


def test_several_labels_in_one_cell(tmp_path: Path) -> None:
    labels = {"a.jpg": "person|tree", "b.jpg": "", "c.jpg": " tree | sky|", "d.jpg": "person"}
    write_table(tmp_path / "labels.csv", labels)
    dataset = READER.read(tmp_path)
    assert (dataset.classes, dataset.exclusive, dataset.flaws) == (("person", "sky", "tree"), False, ())
    assert contents(dataset)["all"] == {
        "a.jpg": ["person", "tree"],
        "b.jpg": [],
        "c.jpg": ["sky", "tree"],
        "d.jpg": ["person"],
    }
    assert {sample.stratum for sample in dataset.splits["all"]} == {""}
    assert len(pick_split(dataset, "train")) == 2


def test_a_column_for_each_class(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", SIMPLE)
    (tmp_path / "labels.csv").write_text(
        "index,filename,tree,person,remark\n0,a.jpg,1,0,fine\n1,b.jpg,1.0,1,\n2,c.jpg,0,0,dark\n"
    )
    dataset = READER.read(tmp_path)
    assert (dataset.classes, dataset.exclusive) == (("person", "tree"), False)
    assert contents(dataset)["all"] == {"a.jpg": ["tree"], "b.jpg": ["person", "tree"], "c.jpg": []}
    assert [flaw.what for flaw in dataset.flaws] == ["no 0 or 1 in the columns remark: not read as classes"]


def test_what_may_be_meant_otherwise_is_told(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", SIMPLE | {"d.jpg": "|"})
    dataset = READER.read(tmp_path)
    assert not dataset.exclusive
    assert contents(dataset)["all"]["d.jpg"] == []
    told = f"1 rows have no label ({tmp_path}/labels.csv, line 5): read as images of none of the classes"
    assert [flaw.what for flaw in dataset.flaws] == [told]
    (tmp_path / "labels.csv").write_text("path,x,y\na.jpg,1,0\nb.jpg,0,1\nc.jpg,0,1\nd.jpg,1,0\n")
    dataset = READER.read(tmp_path)
    assert not dataset.exclusive
    assert "every image has one class; in a column 'label'" in dataset.flaws[0].what


def test_a_forgotten_label_does_not_make_classes_that_combine(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", SIMPLE)
    write_table(tmp_path / "test.csv", SIMPLE | {"d.jpg": ""})
    with pytest.raises(UserError, match=r"test.csv, line 5: has no label"):
        READER.read(tmp_path)
    write_table(tmp_path / "train.csv", SIMPLE | {"e.jpg": "cat|dog"})  # any of its files may say what the data set is
    assert contents(READER.read(tmp_path))["test"]["d.jpg"] == []


def test_rows_twice_and_images_without_a_row_are_told(tmp_path: Path) -> None:
    for name, rows in (("train", "a.jpg,cat\nb.jpg,dog\n./a.jpg,cat\n"), ("test", "b.jpg,dog\n")):
        write_table(tmp_path / f"{name}.csv", SIMPLE)
        (tmp_path / f"{name}.csv").write_text("path,label\n" + rows)
    write_table(tmp_path / "more" / "x.csv", SIMPLE)
    flaws = [flaw.what for flaw in READER.read(tmp_path).flaws]
    assert flaws == [
        "1 rows stand there twice: taken once (a.jpg)",
        "1 images are in more than one split (b.jpg)",
        "4 images stand in no row: not read (c.jpg, more/a.jpg, more/b.jpg and 1 more)",
    ]
    assert [len(samples) for samples in READER.read(tmp_path).splits.values()] == [2, 1]


def test_of_a_file_alone_only_the_images_beside_it_are_looked_at(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", SIMPLE)
    write_table(tmp_path / "more" / "x.csv", SIMPLE)
    (tmp_path / "z.jpg").touch()
    assert [flaw.what for flaw in READER.read(tmp_path / "labels.csv").flaws] == [
        "1 images stand in no row: not read (z.jpg)"
    ]


BAD = {
    "": r"labels.csv: is empty; it needs a header such as path,label",
    "path,label\n": r"labels.csv: has no rows below its header",
    "photo,label\na.jpg,cat\n": r"labels.csv: has no column 'path' for the images; its columns are 'photo', 'label'",
    "path,kind\na.jpg,cat\n": r"labels.csv: has no column 'label', nor two or more .* its columns are 'path', 'kind'",
    "path,x\na.jpg,1\nb.jpg,0\n": r"labels.csv: has no column 'label', nor two or more columns of 0 and 1",
    "path,x,y\na.jpg,1,0\nb.jpg,yes,1\n": r"labels.csv, line 3: has 'yes' in the column 'x'; a class has 0 or 1",
    "path,x,x\na.jpg,1,0\nb.jpg,1,1\n": r"labels.csv: the column x stands there twice",
    "path,x,X\na.jpg,1,0\nb.jpg,1,1\n": r"the classes X and x differ in case only",
    "path,x,y\na.jpg,1,0\nb.jpg,1,0\n": r"class 'y' has no images to train on",
    "path,label\na.jpg,cat\nb.jpg,Cat\n": r"the classes Cat and cat differ in case only; merge or rename",
    "path,label\na.jpg,cat\nb.jpg,cat\n": r"cat is the only class; classification needs two or more",
    "path,label\na.jpg,|\nb.jpg,\n": r"there is no class; classification needs two or more",
    "path,label\na.jpg,cat\nb.jpg,\nc.jpg,dog\n": r"labels.csv, line 3: has no label; fill it in or remove the row",
    "path,label\na.jpg,cat\nb.jpg\n": r"labels.csv, line 3: has 1 cells, but the header has 2 columns",
    "path,label\na.jpg,cat\n,dog\n": r"labels.csv, line 3: has no path; fill it in or remove the row",
    "path,label,split\na.jpg,cat,train\nb.jpg,dog,\n": r"labels.csv, line 3: has no split",
    'path,label\na.jpg,cat\n"b.jpg,dog\n': r"labels.csv, line 3: can't be read as CSV",
    "path,label\na.jpg,cat\n/etc/passwd,dog\n": r"labels.csv, line 3: '/etc/passwd' is no path below the list's",
    "path,label\na.jpg,cat\nx/../../b.jpg,dog\n": r"labels.csv, line 3: 'x/\.\./\.\./b.jpg' is no path below",
    "path,label\na.jpg,cat\nC:\\b.jpg,dog\n": r"labels.csv, line 3: 'C:\\b.jpg' is no path below",
    "path,label\na.jpg,cat\na.jpg,dog\n": r"labels.csv, line 3: a.jpg has the labels dog, but cat in .*line 2; keep",
    "path,label\na.jpg,cat\nx.jpg,dog\ny.jpg,dog\n": r"2 of the 3 images listed don't exist: x.jpg \(.*line 3\), y",
}


@pytest.mark.parametrize("text", BAD)
def test_faults_name_the_file_the_line_and_the_remedy(tmp_path: Path, text: str) -> None:
    write_table(tmp_path / "labels.csv", SIMPLE)
    (tmp_path / "labels.csv").write_text(text)
    for root in (tmp_path, tmp_path / "labels.csv"):
        with pytest.raises(UserError, match=BAD[text]) as caught:
            open_dataset(root, [READER])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", ["path,label\na.jpg,café\nb.jpg,x\n".encode("latin-1"), "path,label\n".encode("utf-16")]
)
def test_other_encodings_are_an_error(tmp_path: Path, data: bytes) -> None:
    write_table(tmp_path / "labels.csv", SIMPLE)
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(UserError, match=r"labels.csv: is not UTF-8 text; save it as such"):
        open_dataset(tmp_path, [READER])


def test_a_class_of_another_split_that_train_lacks(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", SIMPLE)
    write_table(tmp_path / "test.csv", {"x.jpg": "zebra"})
    with pytest.raises(UserError, match="class 'zebra' has no images to train on"):
        READER.read(tmp_path)


def test_the_same_split_twice(tmp_path: Path) -> None:
    for name in ("val", "valid"):
        write_table(tmp_path / f"{name}.csv", SIMPLE)
    with pytest.raises(UserError, match=r"val.csv and valid.csv are the same split"):
        READER.read(tmp_path)


def test_two_images_for_a_name_without_extension(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", SIMPLE)
    (tmp_path / "a.png").touch()
    write_table(tmp_path / "labels.csv", {"a": "cat", "b": "dog"}, images=False)
    with pytest.raises(UserError, match=r"line 2: .*a.jpg and a.png have the same name"):
        READER.read(tmp_path)


def test_other_formats_are_not_recognised(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path / "folders")
    (tmp_path / "folders" / "photos.csv").write_text("filename,width,height\ntrain/a/000.jpg,40,48\n")
    (tmp_path / "folders" / "labels.csv").write_text("id,name\n0,a\n1,b\n")
    write_mask_pairs(tmp_path / "masks")
    (tmp_path / "masks" / "classes.csv").write_text("name,r,g,b\nroad,0,1,0\nsky,1,0,0\n")
    (tmp_path / "words.txt").write_text("path,label\n")
    assert not any(READER.recognises(path) for path in tmp_path.iterdir())
