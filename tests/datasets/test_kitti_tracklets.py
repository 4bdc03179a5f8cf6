import numpy as np
import pytest

from perception.datasets.kitti.tracklets import read_tracklets
from perception.errors import PerceptionError


def pose(x, y, z, rz=0.0, occlusion=0):
    return (
        f"<item><tx>{x}</tx><ty>{y}</ty><tz>{z}</tz><rx>0</rx><ry>0</ry><rz>{rz}</rz><state>2</state>"
        f"<occlusion>{occlusion}</occlusion><truncation>0</truncation></item>"
    )


def tracklet(first_frame, poses, name="Car", height="1.5"):
    return (
        f"<item><objectType>{name}</objectType><h>{height}</h><w>1.6</w><l>4</l><first_frame>{first_frame}</first_frame>"
        f"<poses><count>{len(poses)}</count>{''.join(poses)}</poses><finished>1</finished></item>"
    )


def document(*tracklets):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><boost_serialization signature="serialization::archive">'
        f"<tracklets><count>{len(tracklets)}</count>{''.join(tracklets)}</tracklets></boost_serialization>"
    )


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "tracklet_labels.xml"
        path.write_text(text, encoding="utf-8")
        return read_tracklets(path)

    return read_text


def test_a_tracklet(read):
    (found,) = read(document(tracklet(3, [pose(10, 2, -1.7, -3.2), pose(11, 2, -1.7)])))
    assert (found.name, found.first_frame, found.row(2), found.row(4), found.row(5)) == ("Car", 3, None, 1, None)
    assert np.allclose(found.boxes[0], [10, 2, -0.95, 4, 1.6, 1.5, 2 * np.pi - 3.2])
    assert found.state.tolist() == [2, 2]


def test_none_and_empty(read):
    assert read(document()) == []
    assert read(document(tracklet(0, [])))[0].boxes.shape == (0, 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not XML"),
        (document(tracklet(0, [pose(1, 2, 3)]))[:-40], "not XML"),
        ("<a/>", "no <tracklets>"),
        (document(tracklet(0, [pose(1, 2, "x")])), "<tz> 'x'"),
        (document(tracklet(0, [pose(1, 2, "nan")])), "<tz> 'nan'"),
        (document(tracklet(0, [pose(1, 2, "1e300")])), "<tz> '1e300'"),
        (document(tracklet(0, [], height="-1")), "size -1"),
        (document(tracklet(-4, [])), "first frame -4"),
        (
            document(tracklet(0, [pose(1, 2, 3)])).replace("<count>1</count><item><tx>", "<count>9</count><item><tx>"),
            "claims 9",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + document().partition("?>")[2], "<!DOCTYPE"),
        ('<!doctype a [<!entity b "c">]>' + document().partition("?>")[2], "<!DOCTYPE"),
        ("<a>" * 20_000, "not XML"),
    ],
)
def test_bad_files_are_named(read, text, says):
    with pytest.raises(PerceptionError) as error:
        read(text)
    assert says in str(error.value)
    assert "tracklet_labels.xml" in str(error.value)


def test_other_encodings_cannot_hide_declarations(tmp_path):
    path = tmp_path / "tracklet_labels.xml"
    path.write_bytes('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"))
    with pytest.raises(PerceptionError, match="not text"):
        read_tracklets(path)


def test_real_file(shared_data):
    tracklets = read_tracklets(shared_data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync/tracklet_labels.xml")
    assert [t.name for t in tracklets] == ["Car", "Car", "Car", "Tram", "Car"]
    assert all(len(t.boxes) == 8 and t.first_frame == 0 for t in tracklets)
