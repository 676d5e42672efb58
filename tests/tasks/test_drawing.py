"""Pictures of predictions: what people must be able to see on them."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from vision_tasks.tasks import drawing
from vision_tasks.tasks.drawing import boxes_on, caption, class_colour, mask_on, save_mask

NAMES = ("background", "ship", "tree", "road", "car", "sky", "person", "a rather long name of a class")
GREY = np.full((300, 400, 3), 128, np.uint8)


def shows(picture, colour):
    """How many pixels have the colour."""
    return int((picture == np.array(colour)).all(axis=2).sum())


def contrast(one, other):
    """The contrast ratio of WCAG 2.2, from its definition."""
    light = []
    for colour in (one, other):
        share = np.array(colour) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(light) / min(light)


def test_text_stands_out_from_the_colour_of_every_class():
    for index in range(254):
        text = drawing._text_colour(class_colour(index))
        assert contrast(text, class_colour(index)) >= 4.5


def test_a_box_is_outlined_where_it_is():
    picture = boxes_on(GREY, [((50, 100, 150, 200), 1, "ship 0.90")], NAMES)
    assert picture.shape == GREY.shape
    colour = (picture == np.array(class_colour(1))).all(axis=2)
    for line in (colour[100, 50:150], colour[199, 50:150], colour[100:200, 50], colour[100:200, 149]):
        assert line.all()
    assert not colour[103:196, 53:146].any()
    assert not colour[201:].any()
    assert colour[85:100, 50:].any(), "its label is above it"


def test_the_picture_given_is_not_changed():
    before = GREY.copy()
    boxes_on(GREY, [((50, 100, 150, 200), 1, "ship")], NAMES)
    mask_on(GREY, np.ones((300, 400), np.uint8), NAMES)
    caption(GREY, ["ship"])
    assert (before == GREY).all()


def test_no_boxes_no_change():
    assert (boxes_on(GREY, [], NAMES) == GREY).all()


def test_what_has_no_room_is_said_below():
    many = [((10, 10, 300, 290), index, NAMES[index] * 3) for index in (1, 2)] * 40
    picture = boxes_on(GREY, many, NAMES)
    assert picture.shape[0] > 300
    assert picture.shape[1] == 400
    legend = picture[300:]
    assert shows(legend, class_colour(1)) > 100
    assert shows(legend, class_colour(2)) > 100
    assert shows(legend, class_colour(3)) == 0


def test_many_boxes_have_thinner_lines():
    def inked(count):
        rows = [((20, 20, 380, 280), 1, "")] + [((0, 0, 1, 1), 2, "")] * count
        return shows(boxes_on(GREY, rows, NAMES)[100:200, 100:], class_colour(1))

    assert inked(40) == 100
    assert inked(1) == 200


def test_of_a_crowd_the_best_have_labels_and_the_others_faint_lines():
    """61 boxes in a grid; the last is weakest."""
    grid = [(20 + 60 * (i % 10), 20 + 60 * (i // 10)) for i in range(61)]
    rows = [((x, y, x + 20, y + 20), 1 + (i >= 50), "ship 0.01") for i, (x, y) in enumerate(grid)]
    grey = np.full((500, 700, 3), 128, np.uint8)
    picture = boxes_on(grey, rows, NAMES)
    strong, weak = picture[20 + 19, 20:40], picture[20 + 360 + 19, 20:40]
    assert (strong == class_colour(1)).all()
    assert (np.abs(weak - (0.7 * 128 + 0.3 * np.array(class_colour(2)))) <= 1).all()
    assert shows(picture[370:430, 10:100], class_colour(2)) == 0, "no label"
    assert picture.shape[0] > 500, "a bar tells of it"
    assert shows(picture[500:], class_colour(2)) > 100, "the legend names what has no label"
    assert shows(picture[500:], class_colour(1)) == 0
    assert boxes_on(grey, rows[:50], NAMES).shape == grey.shape


def test_small_pictures_are_enlarged_until_text_can_be_read():
    assert boxes_on(GREY[:20, :30], [((5, 5, 20, 15), 1, "ship")], NAMES).shape[:2] == (180, 270)
    assert caption(GREY[:20, :30], ["ship"]).shape[1] == 270


def test_a_caption_has_room_for_all_of_it():
    one, many = caption(GREY, ["ship 0.90"]), caption(GREY, [f"{name} 0.50" for name in NAMES])
    assert many.shape[0] > one.shape[0] > 300
    assert (one[:300] == GREY).all()
    wide = caption(GREY, ["a name of a class that is wider than any picture of this size could ever be, and more"])
    assert wide.shape[1] > 400
    assert (wide[300:, -4:] == wide[-1, -1]).all(), "the text ends before the page"


def test_a_mask_shows_its_classes_and_names_them_below():
    index = np.zeros((300, 400), np.uint8)
    index[:100], index[100:200] = 2, 255
    picture = mask_on(GREY, index, NAMES)
    assert (picture[200:300] == 128).all(), "the background is left as it is"
    assert (picture[0, 0] == np.round((128 + np.array(class_colour(2))) / 2)).all()
    assert shows(picture[300:], class_colour(2)) > 100
    assert shows(picture[300:], class_colour(0)) == 0
    assert shows(picture[300:], (128, 128, 128)) > 100, "what is of no class is named, too"


def test_a_stored_mask_is_its_index_with_colours(tmp_path):
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_mask(tmp_path / "new" / "mask.png", index, 3)
    with Image.open(tmp_path / "new" / "mask.png") as stored:
        assert stored.mode == "P"
        assert (np.asarray(stored) == index).all()
        shown = np.asarray(stored.convert("RGB")).reshape(256, 3)
    assert [tuple(colour) for colour in shown[:3].tolist()] == [class_colour(i) for i in range(3)]
    assert (shown[3:] == 128).all()


def corners(box):
    return [float(box.find(edge).text) for edge in ("xmin", "ymin", "xmax", "ymax")]


@pytest.mark.shared
def test_every_cell_of_a_crowded_blood_smear_is_labelled(shared_data):
    """The 20 photos with most cells: no label falls to the legend."""
    root = shared_data / "detect-bccd-voc"
    trees = [ET.parse(path).getroot() for path in sorted((root / "Annotations").glob("*.xml"))]
    crowded = sorted(trees, key=lambda tree: -len(tree.findall("object")))[:20]
    for tree in crowded:
        rows = [(corners(item.find("bndbox")), 1, "Platelets 0.99") for item in tree.findall("object")]
        assert len(rows) > 15
        photo = np.asarray(Image.open(root / "JPEGImages" / tree.find("filename").text).convert("RGB"))
        assert boxes_on(photo, rows, NAMES).shape == photo.shape
