"""Every form of file, what stays as the tool wrote it, and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from vision_tasks.data.readers.stored_labels import read_stored_labels
from vision_tasks.errors import UserError
from vision_tasks.metrics.classification import ClassificationMetric
from vision_tasks.types import Labels

CLASSES = ("ant", "bee", "cat")
IDS = ("test/ant/1.jpg", "test/bee/1.jpg")
CSV = "path,label,score\ntest/ant/1.jpg,ant,0.7\ntest/bee/1.jpg,cat,0.9\n"
COLUMNS = "path,ant,bee,cat\ntest/ant/1.jpg,0.7,0.2,0.1\ntest/bee/1.jpg,0.1,0.1,0.8\n"


def read(tmp_path: Path, text: str, ids: tuple = IDS, classes: tuple = CLASSES, name: str = "p.csv", **options):
    """The weights [B,K] that are read from a file of `text`."""
    (tmp_path / name).write_text(text, errors="surrogateescape")
    found = read_stored_labels(tmp_path / name, classes, ids, **options)
    assert all(one.weight.shape == (1, len(classes)) and one.weight.dtype == torch.float32 for one in found)
    return np.concatenate([one.weight.numpy() for one in found])


def paths(*names: str) -> str:
    return "path,label,score\n" + "".join(f"{name},ant,1\n" for name in names)


def test_one_label_an_image_leaves_the_rest_to_the_others(tmp_path: Path) -> None:
    np.testing.assert_allclose(read(tmp_path, CSV), [[0.7, 0.15, 0.15], [0.05, 0.05, 0.9]], rtol=1e-6)


def test_no_class_that_is_not_named_passes_one_that_is(tmp_path: Path) -> None:
    weights = read(tmp_path, paths(*IDS).replace(",1\n", ",0.2\n"))
    np.testing.assert_allclose(weights, 0.2, rtol=1e-6)
    assert (weights.argmax(axis=1) == 0).all()
    last = read(tmp_path, paths(*IDS).replace("ant,1\n", "cat,0\n"))  # even with nothing: cat comes last
    assert (last.argmax(axis=1) == 2).all()


def test_several_rows_are_an_images_best_labels_in_any_order_of_rows(tmp_path: Path) -> None:
    text = "path,label,score\ntest/bee/1.jpg,bee,0.3\ntest/ant/1.jpg,bee,0.25\ntest/bee/1.jpg,cat,0.5\n"
    weights = read(tmp_path, text + "test/ant/1.jpg,cat,0.25\n", classes=(*CLASSES, "dog"))
    np.testing.assert_allclose(weights, [[0.25, 0.25, 0.25, 0.25], [0.1, 0.3, 0.5, 0.1]], rtol=1e-6)
    # Equal scores stand in the order of the file, before those that are not named.
    assert np.argsort(-weights[0], kind="stable")[:2].tolist() == [1, 2]


def test_columns_are_taken_as_they_are_in_any_order(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, COLUMNS), np.float32([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    text = "cat,path,ant,bee\n0,test/bee/1.jpg,0,1\n1,test/ant/1.jpg,0,0\n"
    np.testing.assert_array_equal(read(tmp_path, text), [[0, 0, 1], [0, 1, 0]])


def test_predictions_of_this_project(tmp_path: Path) -> None:
    lines = [
        {"image": "bee/1.jpg", "width": 4, "height": 4, "predictions": [{"label": "bee", "score": 1.0}]},
        {"image": "ant/1.jpg", "predictions": [{"label": "cat", "score": 0.6}, {"label": "ant", "score": 0.2}]},
    ]
    weights = read(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), name="predictions.jsonl")
    np.testing.assert_allclose(weights, [[0.2, 0.2, 0.6], [0, 1, 0]], rtol=1e-6, atol=1e-20)


@pytest.mark.parametrize("decimals", [6, 2])
def test_the_scores_of_five_labels_an_image_are_those_of_all(tmp_path: Path, decimals: int) -> None:
    luck = np.random.default_rng(4)
    logits = luck.normal(size=(300, 12)) * 6  # sure enough that many scores round to 0
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.where(luck.random(300) < 0.5, probability.argmax(axis=1), luck.integers(12, size=300))
    classes, ids = tuple("abcdefghijkl"), tuple(f"{i}.png" for i in range(300))
    lines = []
    for name, row in zip(ids, probability, strict=True):
        best = [{"label": classes[i], "score": round(row[i], decimals)} for i in np.argsort(-row)[:5]]
        lines.append(json.dumps({"image": name, "predictions": best}))
    weights = read(tmp_path, "\n".join(lines) + "\n", ids, classes, "p.jsonl")
    metric = ClassificationMetric(classes)
    for row, label in zip(weights, truth, strict=True):
        metric.update(Labels(torch.from_numpy(row[None])), Labels.one_hot(int(label), 12), "1.jpg")
    result = metric.compute(intervals=False)
    for name, k in (("top1", 1), ("top5", 5)):
        assert result[name] == pytest.approx(top_k_accuracy_score(truth, probability, k=k), abs=1e-12)
    best = np.round(np.sort(probability)[:, ::-1][:, 0], decimals)
    np.testing.assert_allclose(weights.max(axis=1), best, atol=1e-6)  # what a calibration error sees


def test_several_classes_an_image_need_no_sum(tmp_path: Path) -> None:
    text = "path,ant,bee,cat\ntest/ant/1.jpg,0.9,0.9,0\ntest/bee/1.jpg,0,0,0\n"
    np.testing.assert_array_equal(read(tmp_path, text, exclusive=False), np.float32([[0.9, 0.9, 0], [0, 0, 0]]))
    all_named = [{"image": i, "predictions": [{"label": c, "score": 0.5} for c in CLASSES]} for i in IDS]
    weights = read(tmp_path, "\n".join(map(json.dumps, all_named)), name="p.jsonl", exclusive=False)
    np.testing.assert_array_equal(weights, 0.5)  # ties stay ties: they enter average precision together
    with pytest.raises(UserError, match=r"p.csv, line 2: 1 of 3 classes are named.*a column for each class"):
        read(tmp_path, CSV, exclusive=False)


@pytest.mark.parametrize("named", [[], ["bee"]])
def test_classes_below_the_threshold_are_no_zeros(tmp_path: Path, named: list[str]) -> None:
    """As `predict` writes them for many labels: only what is above --conf, for some images nothing at all."""
    predictions = [{"label": name, "score": 0.6} for name in named]
    lines = [json.dumps({"image": each, "width": 4, "height": 4, "predictions": predictions}) for each in IDS]
    message = rf"line 1: {len(named)} of 3 classes are named.* predict with --conf 0, or write a CSV"
    with pytest.raises(UserError, match=message):
        read(tmp_path, "\n".join(lines), name="predictions.jsonl", exclusive=False)


@pytest.mark.parametrize(
    "names",
    [
        ("test/ant/1.jpg", "test/bee/1.jpg"),
        ("./test/ant/1.jpg", "/home/me/photos/test/bee/1.jpg"),
        ("ant/1.jpg", "bee/1.jpg"),
        ("photos\\test\\ant\\1.jpg", "bee/1.jpg"),
    ],
)
def test_paths_match_from_their_ends(tmp_path: Path, names: tuple[str, str]) -> None:
    assert read(tmp_path, paths(*names)).shape == (2, 3)


def test_a_path_that_is_equal_wins_over_one_that_ends_alike(tmp_path: Path) -> None:
    weights = read(tmp_path, "path,label,score\n1.jpg,ant,1\na/1.jpg,bee,1\n", ids=("a/1.jpg", "1.jpg"))
    assert weights.argmax(axis=1).tolist() == [1, 0]


def test_a_sample_that_is_named_exactly_is_no_longer_to_be_had_by_its_end(tmp_path: Path) -> None:
    """A tool that predicted a whole folder: 1.jpg is another image than sub/1.jpg, also where only that is scored."""
    for names in (("1.jpg", "sub/1.jpg"), ("sub/1.jpg", "1.jpg")):
        text = "path,label,score\n" + "".join(f"{name},{'bee' if '/' in name else 'ant'},1\n" for name in names)
        assert read(tmp_path, text, ids=("sub/1.jpg",)).argmax(axis=1).tolist() == [1]
    text = "path,label,score\n/home/me/1.jpg,ant,1\n/home/me/sub/1.jpg,bee,1\n"
    assert read(tmp_path, text, ids=("sub/1.jpg", "1.jpg")).argmax(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize(("given", "known"), [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
@pytest.mark.parametrize("place", ["", "x/", "test/x/"])
@pytest.mark.parametrize("table", ["path,label,score\nx/{0}.jpg,{0},1\n", "path,{0},b\nx/{0}.jpg,1,0\n"])
def test_accents_match_however_they_are_stored(tmp_path: Path, given: str, known: str, place: str, table: str) -> None:
    weights = read(tmp_path, table.format(given), (f"{place}{known}.jpg",), ("b", known))
    np.testing.assert_allclose(weights, [[0, 1]], atol=1e-6)


def test_tables_of_other_delimiters_and_with_spaces(tmp_path: Path) -> None:
    expected = read(tmp_path, CSV)
    for delimiter in ("; ", "\t", " , "):
        assert np.array_equal(read(tmp_path, CSV.replace(",", delimiter)), expected)


def test_empty_lines_of_jsonl_are_passed_over(tmp_path: Path) -> None:
    row = '{"image": "%s", "predictions": [{"label": "ant", "score": 1}]}'
    text = "\n" + row % IDS[0] + "\r\n \n" + row % IDS[1].replace("bee", "bee\u2028") + "\n\n"
    weights = read(tmp_path, text, (IDS[0], "test/bee\u2028/1.jpg"), name="p.jsonl")
    assert weights.argmax(axis=1).tolist() == [0, 0]


def test_predictions_of_other_images_are_left_alone_where_none_is_missing(tmp_path: Path) -> None:
    assert read(tmp_path, paths("train/ant/9.jpg", *IDS, "val/x.jpg")).argmax(axis=1).tolist() == [0, 0]


def test_a_byte_order_mark_spaces_in_the_header_and_empty_lines_are_read(tmp_path: Path) -> None:
    text = "\ufeff" + CSV.replace("path,label,score", "path, label, score").replace("0.7\n", "0.7\n\n")
    np.testing.assert_allclose(read(tmp_path, text)[:, 0], [0.7, 0.05], rtol=1e-6)


def test_names_that_need_quotes_or_cannot_be_decoded(tmp_path: Path) -> None:
    odd = ('a,"b".jpg', "\udce9.jpg")
    assert len(read(tmp_path, 'path,label,score\n"a,""b"".jpg",ant,1\n\udce9.jpg,bee,1\n', ids=odd)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("ant,0.7", "ent,0.7"), r"p.csv, line 2: unknown label 'ent'; did you mean ant"),
        (CSV.replace("0.7", "much"), r"p.csv, line 2: the score 'much' is no number"),
        (CSV.replace("0.7", "nan"), r"line 2: the score nan is no probability"),
        (CSV.replace("0.9", "7.3"), r"line 3: the score 7.3 is no probability in \[0, 1\]; apply softmax"),
        (CSV.replace(",0.9", ""), r"line 3: has 2 cells, but the header has 3 columns"),
        (CSV + "test/ant/1.jpg,ant,0.1\n", r"line 4: the label ant is given twice"),
        (CSV + "test/ant/1.jpg,bee,0.6\n", r"line 2: the probabilities sum up to 1.3, not to 1"),
        (CSV.replace("score", "p"), r"has the columns path, label, p; needed are path, label and score"),
        (CSV.replace("score", "label"), r"two columns have the same name"),
        ("", r"p.csv: is empty; it needs a header"),
        (CSV[:-23], r"no prediction for 1 of 2 images: test/bee/1.jpg\. Predict them"),
        (paths("test/ant/1.jpg", "b.jpg"), r"1 of 2 images: test/bee/1.jpg; of no image here are .* for b.jpg"),
        (paths("bat/1.jpg", "1.jpg"), r"line 3: 1.jpg may be test/ant/1.jpg or test/bee/1.jpg; write more"),
        (paths("ant/1.jpg", "x/test/ant/1.jpg"), r"x/test/ant/1.jpg and ant/1.jpg are both test/ant/1.jpg; keep one"),
        (paths("./test/ant/1.jpg", *IDS), r"line 3: test/ant/1.jpg and ./test/ant/1.jpg are both test/ant/1.jpg"),
        (COLUMNS.replace("cat", "dog"), r"lacks the classes cat and has columns that are no classes: dog;"),
        (COLUMNS.replace("path", "file"), r"has the columns file, ant, bee, cat; needed"),
        (COLUMNS.replace("0.8", "0.5"), r"line 3: the probabilities sum up to 0.7, not to 1; apply softmax"),
        (COLUMNS + "test/ant/1.jpg,1,0,0\n", r"line 4: test/ant/1.jpg stands in .*line 2 already"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


LINE = '{"image": "test/ant/1.jpg", "predictions": [{"label": "ant", "score": 1}]}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINE + '{"image": "test/b', r"p.jsonl, line 2: not of the form"),
        (LINE.replace("score", "p"), r"line 1: not of the form"),
        (LINE.replace("image", "file"), r"line 1: not of the form"),
        ("[]\n", r"line 1: not of the form"),
        (
            LINE + LINE.replace('{"label": "ant", "score": 1}', "").replace("ant", "bee"),
            r"line 2: names no label; each",
        ),
        (LINE.replace("1}", "null}"), r"line 1: the score 'None' is no number"),
        (LINE * 2, r"line 2: test/ant/1.jpg stands in .*line 1 already"),
        (LINE.replace('"ant"', '["ant"]'), r"line 1: unknown label"),
    ],
)
def test_what_is_wrong_in_lines_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text, name="p.jsonl")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.csv: can't be read: No such file"):
        read_stored_labels(tmp_path / "no.csv", CLASSES, IDS)
    with pytest.raises(UserError, match="can't be read: Is a directory"):
        read_stored_labels(tmp_path, CLASSES, IDS)


def test_rounded_probabilities_sum_up_to_nearly_1(tmp_path: Path) -> None:
    text = COLUMNS.replace("0.7,0.2,0.1", "0.333,0.333,0.333")
    assert math.isclose(read(tmp_path, text)[0].sum(), 0.999, rel_tol=1e-6)
