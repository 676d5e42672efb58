"""What a name of shards stands for."""

from pathlib import Path

import pytest

from vision_tasks.data.shards.names import expanded, file_of, folder_of, is_name_of_shards, is_url, restored
from vision_tasks.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{000..002}.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{train,val}-{0..1}.tar", ["train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar"]),
        ("a-{5..4}.tar", []),
    ],
)
def test_braces_are_expanded(pattern, names):
    assert expanded(pattern) == names


def test_braces_are_those_of_the_library():
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    for pattern in ("x/{train,val}-{00..12}.tar", "a{9..11}b{0..2}.tar", "a-{000000..000123}.tar"):
        assert expanded(pattern) == list(braceexpand(pattern))


def test_too_many_names_are_refused():
    with pytest.raises(UserError, match="more than 1000000 shards"):
        expanded("a-{0..999}-{0..9999}.tar")


@pytest.mark.parametrize(
    "url",
    ["http://host:80/a/b-{0..1}.tar", "s3://bucket/key.tar", "https://h/a.tar?x=1", "memory://a.tar",
     "simplecache::s3://bucket/key.tar"],
)  # fmt: skip
def test_a_url_survives_being_a_path(url):
    assert restored(Path(url)) == url
    assert is_url(Path(url))
    assert is_name_of_shards(Path(url))


@pytest.mark.parametrize("path", ["a/b.tar", "/a/b", "C:\\a\\b", "a:b", "a{b}", "{0..1}/x.jpg"])
def test_paths_are_no_urls(path):
    assert not is_url(path)
    assert not is_name_of_shards(path)
    assert restored(Path(path)) == str(Path(path))


def test_folder_and_file_of_a_name():
    assert (folder_of("http://h/a/b.tar?x=1"), file_of("http://h/a/b.tar?x=1")) == ("http://h/a/", "b.tar")
    assert (folder_of("b.tar"), file_of("b.tar")) == ("", "b.tar")
